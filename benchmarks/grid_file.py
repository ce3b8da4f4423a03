"""A recorded grid: what every configuration of a space took, process by process and round by round, in one small file.

Values are ln(ns an item) of a block, so a difference of two of them is the logarithm of a ratio of times. In the file
each process trace is its centre in float32 and the rounds around it in float16: within 10 % of the centre that is exact
to 0.006 %, an order of magnitude below what any of the traces can tell.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer_opt.config import TrialConfig
from infer_opt.errors import StorageError
from infer_opt.recipes import Recipe
from infer_opt.results import FailureKind

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
VERSION = 1
PARTS = frozenset({"recipe", "options"})  # of a configuration; all else of it is a plain value
LEFT_OUT = object()  # what a description does not name where it is as usual: equal to no value
SECONDS = ("open_s", "warm_s", "round_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFailure:
    """Why a configuration cannot be used, and what finding that out took in seconds, its build left out."""

    kind: FailureKind
    reason: str
    cost_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Every configuration of one model's space, measured in `processes` fresh processes of `rounds` rounds each.

    `values` is (configurations, processes, rounds); `group` (configurations, processes) says with whom a trace was
    live, -1 where there is none; `stock` and `clone` are (groups, rounds). nan is a round that was not measured.
    `seconds` are (configurations, processes): opening in a fresh process, warm-up, and a round of it and stock.
    `parity_s` (configurations) is what the check of outputs took; `build_s` what making an artefact took, by recipe.
    `discarded` (groups) counts the rounds that were disturbed from outside and redone. `about` is how it was recorded.
    """

    model: str
    stock_config: TrialConfig
    configs: tuple[TrialConfig, ...]
    values: Floats
    group: Integers
    stock: Floats
    clone: Floats
    seconds: Mapping[str, Floats]
    parity_s: Floats
    build_s: Mapping[Recipe, float]
    discarded: Integers
    failures: Mapping[int, RecordedFailure]
    cores: int = 1
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many configurations, stock left out."""
        return len(self.configs)

    def log_ratios(self) -> Floats:
        """(configurations, processes, rounds): ln(time / stock's time in the same round); nan where not measured."""
        found = np.full(self.values.shape, np.nan)
        for process in range(self.values.shape[1]):
            there = self.group[:, process] >= 0
            found[there, process] = self.values[there, process] - self.stock[self.group[there, process]]
        return found

    def processes_of(self, index: int) -> tuple[int, ...]:
        """The processes of this configuration in which anything was measured."""
        return tuple(int(process) for process in np.flatnonzero(np.isfinite(self.values[index]).any(axis=1)))


def save(grid: Grid, path: Path) -> None:
    """Write `grid` by rename: what was there stays until the new one is whole.

    Raises:
        StorageError: it cannot be written.
    """
    document = {
        "version": VERSION,
        "model": grid.model,
        "stock": grid.stock_config.to_dict(),
        "configs": [_changes(config) for config in grid.configs],
        "builds": [[_recipe_owner(recipe, grid.configs), seconds] for recipe, seconds in grid.build_s.items()],
        "failures": [
            [index, str(failure.kind), failure.reason, round(failure.cost_s, 4)]
            for index, failure in grid.failures.items()
        ],
        "cores": grid.cores,
        "about": grid.about,
    }
    arrays = {
        "document": np.frombuffer(json.dumps(document, sort_keys=True).encode(), dtype=np.uint8),
        "group": grid.group.astype(np.int16),
        "discarded": grid.discarded.astype(np.int16),
        "parity_s": grid.parity_s.astype(np.float32),
        **{name: grid.seconds[name].astype(np.float32) for name in SECONDS},
    }
    for name, values in (("values", grid.values), ("stock", grid.stock), ("clone", grid.clone)):
        arrays |= {f"{name}_centre": (centre := centres(values)), name: (values - centre[..., None]).astype(np.float16)}
    temporary = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for options
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def load(path: Path) -> Grid:
    """The grid that `save` wrote.

    Raises:
        StorageError: there is none, or it is not a grid of this release.
    """
    try:
        with np.load(path) as found:
            arrays = {name: found[name] for name in found.files}
        document = json.loads(arrays["document"].tobytes())
        if document["version"] != VERSION:
            raise StorageError(f"{path} is a grid of version {document['version']}, not {VERSION}")
        values, stock, clone = (
            arrays[name].astype(np.float64) + arrays[f"{name}_centre"].astype(np.float64)[..., None]
            for name in ("values", "stock", "clone")
        )
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(
            f"{path} is not a recorded grid: {error}", hint="record one with: python -m benchmarks.grids MODEL"
        ) from error
    configs = tuple(_config(changes) for changes in document["configs"])
    return Grid(
        model=document["model"],
        stock_config=TrialConfig.from_dict(document["stock"]),
        configs=configs,
        values=values,
        group=arrays["group"].astype(np.intp),
        stock=stock,
        clone=clone,
        seconds={name: arrays[name].astype(np.float64) for name in SECONDS},
        parity_s=arrays["parity_s"].astype(np.float64),
        build_s={configs[index].recipe: seconds for index, seconds in document["builds"]},
        discarded=arrays["discarded"].astype(np.intp),
        failures={
            index: RecordedFailure(kind=FailureKind(kind), reason=reason, cost_s=cost_s)
            for index, kind, reason, cost_s in document["failures"]
        },
        cores=document["cores"],
        about=document["about"],
    )


def centres(values: Floats) -> NDArray[np.float32]:
    """The median of each trace; 0 for one of which nothing was measured."""
    there = np.isfinite(values).any(axis=-1)
    found = np.zeros(values.shape[:-1], dtype=np.float32)
    found[there] = np.nanmedian(values[there], axis=-1)
    return found


def _changes(config: TrialConfig) -> dict[str, Any]:
    """What differs from stock settings: a space of 1,500 configurations is mostly repetition."""
    whole, plain = config.to_dict(), TrialConfig().to_dict()
    values = {name: value for name, value in whole.items() if name not in PARTS}
    return _differing(values, plain) | {part: _differing(whole[part], plain[part]) for part in PARTS}


def _differing(fields: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value != plain.get(name, LEFT_OUT)}


def _config(changes: Mapping[str, Any]) -> TrialConfig:
    plain = TrialConfig().to_dict()
    parts = {part: plain[part] | changes[part] for part in PARTS}
    return TrialConfig.from_dict({**plain, **changes, **parts})


def _recipe_owner(recipe: Recipe, configs: Sequence[TrialConfig]) -> int:
    return next(index for index, config in enumerate(configs) if config.recipe == recipe)
