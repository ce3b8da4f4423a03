"""What a block is worth, when to look at rounds, and whether they are enough."""

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum

import numpy as np

from infer_opt.config import Objective
from infer_opt.errors import ConfigError, EvidenceError
from infer_opt.stats.intervals import FloatArray, Values, as_sample, hodges_lehmann_interval

FIRST_LOOK = 10
LOOK_GROWTH = 1.5
MERGES = ((0.4, 8), (0.2, 4), (0.1, 2))  # lag-1 correlation above which so many rounds count as one
MILD_FENCE, SEVERE_FENCE = 1.5, 3.0  # Tukey's, in interquartile ranges beyond the quartiles
EXTREME_DEVIATION = 14.8  # in MADs from the median: ten standard deviations of a normal


class Outlier(StrEnum):
    """How far out a value lies. A label for the reader; no value is ever deleted for it."""

    MILD = "mild"
    SEVERE = "severe"
    EXTREME = "extreme"


def block_value(latency_ns: Sequence[int], objective: Objective) -> float:
    """A block's one number: ln(median ns) for latency, ln(mean ns) for throughput. Smaller is faster in both.

    Raises:
        EvidenceError: the block is empty, or a run took no time or less: an error of the clock, not a zero.
    """
    sample = as_sample(np.asarray(latency_ns, dtype=np.float64))
    if sample.min() <= 0.0:
        raise EvidenceError(
            f"a run took {sample.min():.0f} ns: the clock is coarser than the run",
            hint="time several runs a sample",
        )
    return math.log(float(np.median(sample) if objective is Objective.LATENCY else sample.mean()))


def looks() -> Iterator[int]:
    """The numbers of rounds at which precision is judged: 10, 15, 23, 35, 53, 80 ... without end.

    Growing steps keep the number of looks, and so of chances to stop on a lucky one, small.
    """
    rounds = FIRST_LOOK
    while True:
        yield rounds
        rounds = math.ceil(rounds * LOOK_GROWTH)  # up: round() would send 22.5 to 22


def is_look(rounds: int) -> bool:
    """Whether `rounds` is one of `looks()`."""
    return next(look for look in looks() if look >= rounds) == rounds


def lag1(values: Values) -> float:
    """The lag-1 autocorrelation of consecutive rounds; 0 where it cannot be told (constant, or fewer than three).

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: Box, Jenkins & Reinsel 1994, "Time series analysis", section 2.1.
    """
    sample = as_sample(values)
    if sample.size < 3 or np.ptp(sample) == 0.0:
        return 0.0
    centred = sample - sample.mean()
    return float(centred[1:] @ centred[:-1]) / float(centred @ centred)


def merge_factor(correlation: float) -> int:
    """How many consecutive rounds count as one, 1, 2, 4 or 8, at this lag-1 correlation."""
    return next((factor for limit, factor in MERGES if correlation > limit), 1)


def merge_correlated(values: Values) -> FloatArray:
    """The rounds, correlated neighbours averaged: what is left counts as independent. No round is dropped.

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: Flyvbjerg & Petersen 1989, "Error estimates on averages of correlated data" (blocking).
    """
    sample = as_sample(values)
    groups = max(1, sample.size // merge_factor(lag1(sample)))
    return np.array([group.mean() for group in np.array_split(sample, groups)])


def achieved_half_width(differences: Values) -> float:
    """Half of the Hodges-Lehmann 95 % interval after merging correlated rounds; infinite when there are too few.

    On the differences' own scale, so about a share when they are log ratios.

    Raises:
        EvidenceError: no values, or one that is not finite.
    """
    interval = hodges_lehmann_interval(merge_correlated(differences))
    return (interval.high - interval.low) / 2.0


def is_precise(differences: Values, half_width: float) -> bool:
    """Whether the rounds pin the difference down to `half_width`. To be asked at `looks()` only.

    Raises:
        EvidenceError: no values, or one that is not finite.
        ConfigError: `half_width` is not positive.
    """
    if not half_width > 0.0:
        raise ConfigError(f"half_width must be positive, got {half_width}")
    return achieved_half_width(differences) <= half_width


def outlier_labels(values: Values) -> tuple[Outlier | None, ...]:
    """One label a value, None for an ordinary one, the strongest that applies otherwise.

    Where more than half of the values are equal the spreads are zero, and every other value lies outside.

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: Tukey 1977, "Exploratory data analysis" (fences); Leys et al. 2013 (median absolute deviation).
    """
    sample = as_sample(values)
    low, middle, high = np.quantile(sample, (0.25, 0.5, 0.75))
    beyond = np.maximum(low - sample, sample - high)  # distance outside the quartiles; negative inside
    deviations = np.abs(sample - middle)
    spread = float(np.median(deviations))
    labels: list[Outlier | None] = []
    for distance, deviation in zip(beyond, deviations, strict=True):
        if deviation > EXTREME_DEVIATION * spread:
            labels.append(Outlier.EXTREME)
        elif distance > SEVERE_FENCE * (high - low):
            labels.append(Outlier.SEVERE)
        else:
            labels.append(Outlier.MILD if distance > MILD_FENCE * (high - low) else None)
    return tuple(labels)
