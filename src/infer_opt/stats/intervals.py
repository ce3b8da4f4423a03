"""Locations and their intervals: Hodges-Lehmann for paired rounds, Student t for processes.

scipy is imported inside the functions that need it: the coordinating process starts without it.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from infer_opt.errors import ConfigError, EvidenceError
from infer_opt.results import Estimate

FloatArray = NDArray[np.float64]
Values = Sequence[float] | FloatArray

PROCESSES_FOR_A_CLAIM = 5
MAXIMUM_WALSH_VALUES = 1000  # Walsh averages grow with the square: half a million here
EXACT_SIGNED_RANK_LIMIT = 120  # a whole race; above, the normal approximation is a few ranks off in thousands


def as_sample(values: Values) -> FloatArray:
    """`values` as a 1-D array.

    Raises:
        EvidenceError: there are none, or one of them is not a finite number.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0:
        raise EvidenceError(f"a statistic needs a non-empty list of numbers, got shape {sample.shape}")
    if not np.isfinite(sample).all():
        raise EvidenceError(f"{int((~np.isfinite(sample)).sum())} of {sample.size} values are not finite numbers")
    return sample


def student_t(probability: float, degrees: float) -> float:
    """The quantile of Student's t at `probability`, 0 to 1, with 1 or more degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def exp_ratio(log_value: float) -> float:
    """exp of a log ratio; infinite, not an overflow, where an open interval is far out."""
    return math.exp(log_value) if log_value < 700.0 else math.inf


def mean_interval(values: Values, *, confidence: float = 0.95) -> Estimate:
    """The mean with its Student t interval, on the values' own scale. One value has an infinite interval.

    Raises:
        EvidenceError: no values, or one that is not finite.
        ConfigError: `confidence` is not strictly between 0 and 1.

    Source: Student 1908.
    """
    sample = as_sample(values)
    _check_confidence(confidence)
    mean = float(sample.mean())
    if sample.size == 1:
        return Estimate(value=mean, low=-math.inf, high=math.inf, confidence=confidence)
    error = float(sample.std(ddof=1)) / math.sqrt(sample.size)
    reach = student_t((1.0 + confidence) / 2.0, sample.size - 1) * error
    return Estimate(value=mean, low=mean - reach, high=mean + reach, confidence=confidence)


def median_interval(log_values_per_process: Values, *, confidence: float = 0.95) -> Estimate:
    """The typical value over processes, from one ln(median) a process: Student t on the log scale, exponentiated.

    Processes are what replicates; runs within one share its luck. One process gives the interval (0, inf).

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time" (replicate where variance arises).
    """
    logs = mean_interval(log_values_per_process, confidence=confidence)
    return Estimate(
        value=exp_ratio(logs.value), low=exp_ratio(logs.low), high=exp_ratio(logs.high), confidence=confidence
    )


def is_provisional(processes: int) -> bool:
    """Whether too few processes stand behind a number to claim it: five make a claim."""
    return processes < PROCESSES_FOR_A_CLAIM


def hodges_lehmann(differences: Values) -> float:
    """The median of the Walsh averages (x_i + x_j) / 2, i <= j: a centre that bursts hardly move.

    Above 1000 values, 1000 evenly spaced order statistics stand for them.

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: Hodges & Lehmann 1963, "Estimates of location based on rank tests".
    """
    return float(np.median(_walsh_averages(_thinned(as_sample(differences)))))


def hodges_lehmann_of_columns(values: FloatArray) -> FloatArray:
    """`hodges_lehmann` of each column of a (values, columns) matrix at once: what a race asks after every round.

    Raises:
        EvidenceError: no values, or one that is not finite.
    """
    if len(values) > MAXIMUM_WALSH_VALUES:
        return np.array([hodges_lehmann(column) for column in values.T])
    as_sample(values.ravel())
    return np.asarray(np.median(_walsh_averages(values), axis=0))


def hodges_lehmann_interval(differences: Values, *, confidence: float = 0.95) -> Estimate:
    """Hodges-Lehmann with the inverted Wilcoxon signed-rank interval, on the differences' own scale.

    Coverage is at least `confidence` up to 120 values (exact), about it above. Too few values for it (fewer than
    six at 95 %) have the interval (-inf, inf). Above 1000 values the interval is that of 1000, so never too narrow.

    Raises:
        EvidenceError: no values, or one that is not finite.
        ConfigError: `confidence` is not strictly between 0 and 1.

    Source: Hollander & Wolfe 1999, "Nonparametric statistical methods", section 3.3.
    """
    sample = _thinned(as_sample(differences))
    _check_confidence(confidence)
    averages = np.sort(_walsh_averages(sample))
    value = float(np.median(averages))
    rank, _ = _signed_rank(sample.size, confidence)
    if rank == 0:
        return Estimate(value=value, low=-math.inf, high=math.inf, confidence=confidence)
    return Estimate(value=value, low=float(averages[rank - 1]), high=float(averages[-rank]), confidence=confidence)


def hodges_lehmann_error(differences: Values) -> float:
    """The standard error of `hodges_lehmann`: the interval's half-width over its normal quantile.

    The 95 % interval where there is one; below six values the range, at the confidence it really has
    (1 - 2^(1-n)). Infinite for one value, which says nothing about its own spread.

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: Lehmann 1963, "Nonparametric confidence intervals for a shift parameter".
    """
    sample = _thinned(as_sample(differences))
    if sample.size == 1:
        return math.inf
    rank, confidence = _signed_rank(sample.size, 0.95)
    if rank == 0:
        rank, confidence = 1, 1.0 - 2.0 ** (1 - sample.size)
    averages = np.sort(_walsh_averages(sample))
    half_width = float(averages[-rank] - averages[rank - 1]) / 2.0
    return half_width / NormalDist().inv_cdf((1.0 + confidence) / 2.0)


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"a confidence lies between 0 and 1, got {confidence}")


def _thinned(sample: FloatArray) -> FloatArray:
    if sample.size <= MAXIMUM_WALSH_VALUES:
        return sample
    # Evenly spaced in rank, not in time: the distribution stays, and so does the answer when rounds are permuted.
    kept = np.linspace(0, sample.size - 1, MAXIMUM_WALSH_VALUES).round().astype(np.intp)
    return np.sort(sample)[kept]


def _walsh_averages(sample: FloatArray) -> FloatArray:
    """(n,) -> (pairs,), or (n, columns) -> (pairs, columns)."""
    half = sample / 2.0  # halves first: the sum of two large values must not overflow
    # A race asks again after every round, for each entrant: the pairs of so many rounds are always the same.
    first, second = (_pairs if len(sample) <= EXACT_SIGNED_RANK_LIMIT else np.triu_indices)(len(sample))
    return np.asarray(half[first] + half[second], dtype=np.float64)


@lru_cache(maxsize=EXACT_SIGNED_RANK_LIMIT)
def _pairs(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The indices i <= j of all pairs of `size` values; 5 MB for all sizes that are kept."""
    return np.triu_indices(size)


@lru_cache(maxsize=1024)
def _signed_rank(size: int, confidence: float) -> tuple[int, float]:
    """The rank C of the Walsh average that ends the interval (0: none does), and the confidence it really has."""
    tail = (1.0 - confidence) / 2.0
    if size > EXACT_SIGNED_RANK_LIMIT:
        spread = math.sqrt(size * (size + 1) * (2 * size + 1) / 24.0)
        middle = size * (size + 1) / 4.0
        rank = math.floor(middle + 0.5 - NormalDist().inv_cdf(1.0 - tail) * spread)
        return max(rank, 0), confidence
    lower_tail = np.cumsum(_signed_rank_distribution(size))  # P(T <= t)
    rank = int(np.searchsorted(lower_tail, tail * (1.0 + 1e-12), side="right"))
    return rank, 1.0 - 2.0 * float(lower_tail[rank - 1]) if rank else 0.0


def _signed_rank_distribution(size: int) -> FloatArray:
    """P(T = t) of Wilcoxon's signed-rank statistic, t = 0 .. size (size + 1) / 2."""
    chances = np.zeros(size * (size + 1) // 2 + 1)
    chances[0] = 1.0
    for rank in range(1, size + 1):
        shifted = np.zeros_like(chances)
        shifted[rank:] = chances[:-rank]
        chances = (chances + shifted) / 2.0
    return chances
