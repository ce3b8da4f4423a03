"""Values with units, as people write them in rules and read them in sentences: `85C`, `10%`, `2GB`, `30s`."""

import difflib
import math
import re

from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import Unit

_DECIMAL = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def _prefixed(name: str, prefixes: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}{name}": scale for prefix, scale in prefixes.items()}


_BYTES = _prefixed("B", _DECIMAL | _BINARY)

# unit -> {how it is written: what one of it is in the catalogue's unit}. The first is what sentences show.
_WRITTEN: dict[Unit, dict[str, float]] = {
    Unit.RATIO: {"%": 0.01},
    Unit.BYTES: _BYTES | {"KB": 1e3},
    Unit.BYTES_PER_SECOND: {f"{name}/s": scale for name, scale in (_BYTES | {"KB": 1e3}).items()},
    Unit.PER_SECOND: {"/s": 1.0},
    Unit.CORES: {"cores": 1.0, "core": 1.0},
    Unit.COUNT: {},
    Unit.HERTZ: _prefixed("Hz", _DECIMAL),
    Unit.CELSIUS: {"°C": 1.0, "C": 1.0},
    Unit.WATTS: _prefixed("W", _DECIMAL) | {"mW": 1e-3},
    Unit.JOULES: _prefixed("J", _DECIMAL),
    Unit.SECONDS: {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "m": 60.0, "min": 60.0, "h": 3600.0},
    Unit.BITS: {},
}
_EXAMPLES = {
    Unit.RATIO: "10% or 0.1",
    Unit.BYTES: "2GB, 512MiB or a number of bytes",
    Unit.BYTES_PER_SECOND: "100MB/s or a number of bytes a second",
    Unit.PER_SECOND: "5/s or 5",
    Unit.CORES: "1.5cores or 1.5",
    Unit.COUNT: "a bare number",
    Unit.HERTZ: "1.4GHz or a number of hertz",
    Unit.CELSIUS: "85C or 85",
    Unit.WATTS: "300W or 300",
    Unit.JOULES: "5kJ or a number of joules",
    Unit.SECONDS: "500ms, 30s, 5m or a number of seconds",
    Unit.BITS: "a bare number",
}
_NAMES = {
    Unit.RATIO: "a share",
    Unit.BYTES: "bytes",
    Unit.BYTES_PER_SECOND: "bytes a second",
    Unit.PER_SECOND: "so many a second",
    Unit.CORES: "cores",
    Unit.COUNT: "a bare number",
    Unit.HERTZ: "hertz",
    Unit.CELSIUS: "degrees Celsius",
    Unit.WATTS: "watts",
    Unit.JOULES: "joules",
    Unit.SECONDS: "seconds",
    Unit.BITS: "a bit mask",
}
_VALUE = re.compile(r"\s*(?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*(?P<unit>[^\s\d]\S*)?\s*\Z")
_SCALED = (Unit.BYTES, Unit.BYTES_PER_SECOND, Unit.HERTZ, Unit.JOULES)


def parse_value(text: str, unit: Unit, *, of_what: str) -> float:
    """The number in `text` in `unit`, the catalogue's. Without a unit of its own it already is; shares are 0 to 1.

    `of_what` names the thing in the message.

    Raises:
        ConfigError: no number, not a finite one, in a unit that is no unit or another one, or a share above 1.
    """
    example = f"write it as {_EXAMPLES[unit]}"
    found = _VALUE.match(text)
    if found is None:
        raise ConfigError(f"{text!r} is not a value of {of_what}", hint=example)
    written = found["unit"] or ""
    if written and written not in _WRITTEN[unit]:
        raise ConfigError(*_wrong_unit(text, written, unit, of_what))
    value = float(found["number"]) * (_WRITTEN[unit][written] if written else 1.0)
    if not math.isfinite(value):
        raise ConfigError(f"{text!r} is too large a number for {of_what}", hint=example)
    if unit is Unit.RATIO and not 0.0 <= value <= 1.0:
        hint = f"write {found['number']}%" if not written and 1.0 < value <= 100.0 else "it lies between 0 and 100%"
        raise ConfigError(f"{text!r} is not a share of 0 to 1, which {of_what} is", hint=hint)
    return value


def _wrong_unit(text: str, written: str, unit: Unit, of_what: str) -> tuple[str, str]:
    """What is wrong with a unit, and what would be right."""
    other = next((known for known, names in _WRITTEN.items() if written in names), None)
    if other is not None:
        return f"{text!r} is {_NAMES[other]}, and {of_what} is {_NAMES[unit]}", f"write it as {_EXAMPLES[unit]}"
    names = list(_WRITTEN[unit])
    alike = [name for name in names if name.lower() == written.lower()]
    near = alike or difflib.get_close_matches(written, names, n=1)
    hint = f"did you mean {text.strip().removesuffix(written)}{near[0]}?" if near else f"write it as {_EXAMPLES[unit]}"
    return f"{text!r} has the unit {written!r}, which is none of {of_what}", hint


def show_value(value: float | None, unit: Unit) -> str:
    """For people, with three significant digits: `91 °C`, `8.02 %`, `2.10 GB`, `1.41 GHz`; n/a for None."""
    if value is None:
        return "n/a"
    if not math.isfinite(value):
        return f"{value:g}"
    match unit:
        case Unit.RATIO:
            return f"{_digits(value * 100)} %"
        case Unit.BITS:
            return f"{int(value):#x}"
        case Unit.COUNT:
            return f"{value:,.0f}" if value == int(value) else _digits(value)
        case Unit.PER_SECOND:
            return f"{_digits(value)}/s"
    names = _WRITTEN[unit]
    if unit in _SCALED:
        steps = [(name, scale) for name, scale in names.items() if "i" not in name and name[0] != "K"]
        name, scale = next(((name, scale) for name, scale in reversed(steps) if abs(value) >= 0.9995 * scale), steps[0])
        return f"{_digits(value / scale)} {name}"
    return f"{_digits(value)} {next(iter(names))}"


def show_duration(seconds: float) -> str:
    """A duration for people, as it is written in a rule: `500 ms`, `30 s`, `5 min`, `1.5 h`."""
    for name, scale in (("h", 3600.0), ("min", 60.0)):
        if seconds >= scale and (seconds / scale * 2).is_integer():
            return f"{seconds / scale:g} {name}"
    return f"{seconds:g} s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:g} ms"


def _digits(value: float) -> str:
    """Three significant digits, and whole numbers without a point: `91`, `91.5`, `0.0712`, `1,230`."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.2e}")
    if rounded == int(rounded):
        return f"{rounded:,.0f}"
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"
