"""Presets: YAML files in configs/presets that say how much a tuning tries. Users copy and name their own."""

import difflib
import re
from pathlib import Path

import msgspec

from infer_opt.config import Searching
from infer_opt.errors import ConfigError

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
LOOKS = (4, 6, 9, 13, 19)
SPACES = ("usual", "wide")
UNIFORM, PER_LAYER = "uniform", "per-layer"


class Preset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a tuning tries. The comments in configs/presets/*.yaml say what each key means."""

    description: str
    budget: str
    search: str = "exhaustive"
    space: str = "usual"
    precision: str = UNIFORM
    trials: int
    entrants: int
    rivals: int
    epochs: int


def folder() -> Path:
    """Where the presets lie: in the installed package, or in the checkout that it runs from."""
    installed = Path(__file__).parent / "configs" / "presets"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "configs" / "presets"


def names() -> tuple[str, ...]:
    """The presets that come with infer-opt."""
    return tuple(sorted(path.stem for path in folder().glob("*.yaml")))


def load_preset(name: str) -> Preset:
    """The preset called `name`, or the one in the file of that path.

    Raises:
        ConfigError: there is none, or it has an unknown key or a value of another type; it says where.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder() / f"{name}.yaml"
    try:
        # Bytes that are no text become characters that YAML refuses with a message of its own.
        text = path.read_text("utf-8", errors="surrogateescape")
    except OSError as error:
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names())}, or name a .yaml file"
        raise ConfigError(f"there is no preset {name!r}", hint=hint) from error
    preset = parse_preset(path, text)
    if preset.epochs not in LOOKS:
        raise ConfigError(f"{path}: epochs must be one of {LOOKS}, got {preset.epochs}")
    choices = (
        ("search", preset.search, tuple(Searching)),
        ("space", preset.space, SPACES),
        ("precision", preset.precision, (UNIFORM, PER_LAYER)),
    )
    for key, value, known in choices:
        if value not in known:
            raise ConfigError(f"{path}: {key} must be one of {', '.join(known)}, got {value!r}")
    if preset.trials < 1 or preset.entrants < 1 or preset.rivals < 0:
        raise ConfigError(f"{path}: trials and entrants must be 1 or more, rivals 0 or more")
    try:
        parse_duration(preset.budget)
    except ConfigError as error:
        raise ConfigError(f"{path}: budget: {error.what}", hint=error.hint) from error
    return preset


def parse_preset(path: Path, text: str) -> Preset:
    """`text` as a Preset.

    Raises:
        ConfigError: not YAML, or not a preset; with the line and the nearest key.
    """
    import yaml

    try:
        node = yaml.compose(text)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    known = Preset.__struct_fields__
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value not in known:
            near = difflib.get_close_matches(key.value, known, n=1, cutoff=0.3)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(known)}"
            raise ConfigError(f"{path}, line {key.start_mark.line + 1}: unknown key {key.value!r}", hint=hint)
    try:
        return msgspec.convert(data, Preset)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}", hint="compare it with the presets in configs/presets") from error


def parse_duration(text: str) -> float:
    """Seconds in `90s`, `3m`, `1.5h` or a bare number of seconds.

    Raises:
        ConfigError: anything else, or not above 0.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if found is None or float(found[1]) <= 0:
        raise ConfigError(f"{text!r} is not a duration", hint="write it as 90s, 3m or 1.5h")
    return float(found[1]) * UNITS_S[found[2] or "s"]
