"""A configuration as knobs, and how alike two configurations are, knob by knob."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.recipes import Quantisation, Recipe

Matrix = npt.NDArray[np.float64]
Level = Any  # of a count, a float; of a category, whatever the configuration holds: it can be hashed

COUNT_SCALE = 1.5  # doublings after which two counts are alike by 1/e
COUNTED = ("intra_threads", "inter_threads", "batch", "instances")  # knobs whose levels have distances, in doublings
QUANTISED_BY = ("calibration", "per_channel", "reduce_range", "weight_type", "floats", "smooth", "weight_only")
NOT_QUANTISED = "none"


def settings(config: TrialConfig, *, cores: int) -> dict[str, Level]:
    """Every knob of `config` by name. Counts are log2 of what they stand for; the others are categories.

    Threads left to the runtime (0) count as `cores`, and are a category of their own too: the runtime then pins them.
    """
    recipe, options = config.recipe, config.options
    knobs: dict[str, Level] = {
        name: getattr(recipe, name) for name in Recipe.__slots__ if name != "quantise"
    } | _quantisation(recipe.quantise)
    knobs |= {name: getattr(options, name) for name in SessionOptions.__slots__ if name not in COUNTED}
    branches = options.inter_threads or (cores if options.parallel else 1)
    return knobs | {
        "runtime": config.runtime,
        "intra_threads": math.log2(options.intra_threads or cores),
        "intra_threads_stock": options.intra_threads == 0,
        "inter_threads": math.log2(branches),
        "batch": math.log2(config.batch),
        "instances": math.log2(config.instances),
    }


def _quantisation(quantise: Quantisation | None) -> dict[str, Level]:
    """Whether and how; a knob of a quantisation that is not made has a level of its own."""
    if quantise is None:
        return dict.fromkeys(("quantised", *QUANTISED_BY), NOT_QUANTISED)
    return {"quantised": quantise.kind} | {name: getattr(quantise, name) for name in QUANTISED_BY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One knob and the levels that it takes in a space. Those of a count are log2 and ascend."""

    name: str
    levels: tuple[Level, ...]

    @property
    def is_count(self) -> bool:
        """Whether its levels have distances."""
        return self.name in COUNTED


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """The knobs that vary over a space, and with them the likeness of its configurations."""

    varying: tuple[Knob, ...]
    cores: int

    @property
    def levels(self) -> int:
        """The number of levels of all knobs together."""
        return sum(len(knob.levels) for knob in self.varying)

    def rows(self, configs: Sequence[TrialConfig]) -> Matrix:
        """(configs, knobs): log2 for counts, else the level's position; NaN for a level that the space lacks."""
        table = np.empty((len(configs), len(self.varying)))
        for row, config in enumerate(configs):
            chosen = settings(config, cores=self.cores)
            for column, (knob, codes) in enumerate(zip(self.varying, self._codes, strict=True)):
                level = chosen[knob.name]
                table[row, column] = level if knob.is_count else codes.get(level, math.nan)
        return table

    def alike(self, left: Matrix, right: Matrix) -> tuple[Matrix, Matrix]:
        """The means of s_k over knobs and of s_k s_l over pairs of knobs, each (left, right), from `rows`.

        s_k is [equal] for a category and exp(-|log2 a - log2 b| / 1.5) for a count: all are positive semidefinite,
        and 1 for a configuration of the space with itself. Without two knobs there are no pairs: both are equal then.
        """
        counts = [column for column, knob in enumerate(self.varying) if knob.is_count]
        total: Matrix = self._one_hot(left) @ self._one_hot(right).T  # of categories: s_k is its own square
        squares = total.copy()
        for column in counts:
            near = np.exp(-np.abs(left[:, column, None] - right[None, :, column]) / COUNT_SCALE)
            total += near
            squares += near**2
        number = len(self.varying)
        single = total / number if number else np.ones_like(total)
        return single, (total**2 - squares) / (number * (number - 1)) if number > 1 else single

    def _one_hot(self, rows: Matrix) -> Matrix:
        """(rows, levels of all categories): a level that the space lacks is like nothing."""
        parts = [
            rows[:, column, None] == np.arange(len(knob.levels))
            for column, knob in enumerate(self.varying)
            if not knob.is_count
        ]
        return np.concatenate(parts, axis=1, dtype=np.float64) if parts else np.zeros((len(rows), 1))

    @cached_property
    def _codes(self) -> tuple[Mapping[Level, int], ...]:
        return tuple({level: code for code, level in enumerate(knob.levels)} for knob in self.varying)


def knobs_of(configs: Sequence[TrialConfig], *, cores: int) -> Knobs:
    """The knobs of which `configs` take more than one level, with their levels in the order of appearance."""
    seen: dict[str, dict[Level, None]] = {}
    for config in configs:
        for name, level in settings(config, cores=cores).items():
            seen.setdefault(name, {})[level] = None
    varying = (Knob(name=name, levels=_ordered(name, tuple(levels))) for name, levels in seen.items())
    return Knobs(varying=tuple(knob for knob in varying if len(knob.levels) > 1), cores=cores)


def _ordered(name: str, levels: tuple[Level, ...]) -> tuple[Level, ...]:
    return tuple(sorted(levels)) if name in COUNTED else levels
