"""What each level of each knob is worth, with all other knobs allowed for: an additive model by least squares."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from infer_opt.results import Estimate
from infer_opt.stats.intervals import FloatArray, as_sample, student_t

_ESTIMABLE = 1e-8  # what rounding leaves of a zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one level of a knob adds to the value, against the knob's reference level.

    `levels` are (knob, level): several where they always came together, and have one effect. `trials` have them.
    `estimate` is None where the effect cannot be told from those of others.
    """

    levels: tuple[tuple[str, str], ...]
    trials: int
    estimate: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """The effects of all levels but the reference's, knob by knob in the order of the settings, and what they explain.

    `explained` is the share of the values' variance (R squared), `noise` what the values stray by about the model (its
    residual standard deviation); both are None where no value is left to judge by, and intervals are then infinite.
    """

    effects: tuple[Effect, ...]
    trials: int
    explained: float | None
    noise: float | None


def main_effects(
    settings: Sequence[Mapping[str, str]], values: Sequence[float], reference: Mapping[str, str], *,
    confidence: float = 0.95,
) -> Effects:  # fmt: skip
    """The additive effects of the levels in `settings` on `values`.

    Arguments:
        settings: for each value, knob -> level; all of them name the same knobs.
        reference: knob -> the level that the others are compared with.

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: Montgomery 2017, "Design and analysis of experiments", chapter 10 (regression of unbalanced designs);
    a level's effect is estimable where it lies in the row space of the design matrix (Searle 1971).
    """
    sample = as_sample(values)
    columns = _columns(settings, reference)
    design = np.column_stack([np.ones(sample.size), *(np.array(column, dtype=np.float64) for column in columns)])
    found, errors, estimable, freedom = _least_squares(design, sample)
    noise = float(np.sqrt(np.sum((sample - design @ found) ** 2) / freedom)) if freedom > 0 else None
    reach = math.inf if noise is None else student_t((1.0 + confidence) / 2.0, freedom) * noise
    effects = tuple(
        Effect(
            levels=levels,
            trials=sum(column),
            estimate=_interval(found[place], reach * errors[place], confidence) if estimable[place] else None,
        )
        for place, (column, levels) in enumerate(columns.items(), start=1)
    )
    return Effects(effects=effects, trials=sample.size, explained=_explained(sample, noise, freedom), noise=noise)


def _columns(
    settings: Sequence[Mapping[str, str]], reference: Mapping[str, str]
) -> dict[tuple[bool, ...], tuple[tuple[str, str], ...]]:
    """Which values have a level, of all levels but the reference's; levels that came together share a column."""
    found: dict[tuple[bool, ...], tuple[tuple[str, str], ...]] = {}
    for knob, stock in reference.items():
        for level in dict.fromkeys(one[knob] for one in settings):
            if level != stock:
                column = tuple(one[knob] == level for one in settings)
                found[column] = (*found.get(column, ()), (knob, level))
    return found


def _least_squares(design: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray, list[bool], int]:
    """The coefficients, their standard errors in units of the noise, which are estimable, and degrees of freedom."""
    left, strengths, right = np.linalg.svd(design, full_matrices=False)
    rank = int((strengths > strengths[0] * max(design.shape) * np.finfo(float).eps).sum())
    basis = right[:rank].T / strengths[:rank]
    # What of each coefficient lies outside of the rows of the design: nothing, where it can be told.
    estimable = (1.0 - (right[:rank] ** 2).sum(axis=0) < _ESTIMABLE).tolist()
    found = basis @ (left[:, :rank].T @ values)
    return found, np.sqrt((basis**2).sum(axis=1)), estimable, len(values) - rank


def _interval(value: float, half: float, confidence: float) -> Estimate:
    half = math.inf if math.isnan(half) else float(half)
    return Estimate(value=float(value), low=float(value) - half, high=float(value) + half, confidence=confidence)


def _explained(sample: FloatArray, noise: float | None, freedom: int) -> float | None:
    whole = float(((sample - sample.mean()) ** 2).sum())
    if noise is None or whole <= 0.0:
        return None
    return max(0.0, 1.0 - noise**2 * freedom / whole)
