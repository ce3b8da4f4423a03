"""Differences of means over processes, one or many at a time: paired by Student's t, unpaired by Welch's, Holm's steps
for many. Pure functions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from infer_opt.errors import ConfigError, EvidenceError
from infer_opt.results import Estimate
from infer_opt.stats.intervals import Values, as_sample, student_t

TRIM = 0.2
SMALLEST_CHANCE, HALVINGS = 1e-12, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference of two means with its standard error and the degrees of freedom behind that.

    `resolution` is the standard error that a coarse clock leaves: the same in every process, so that no number of them
    tells of it, and known beforehand, so that no degrees of freedom belong to it. The error is infinite, with 1 degree,
    where one side has a single value.
    """

    value: float
    error: float
    degrees: float
    resolution: float = 0.0

    @property
    def strength(self) -> float:
        """The two-sided chance of such a difference where there is none; chances below 1e-12 are 0."""
        if not math.isfinite(self.error):
            return 1.0
        if self.error == self.resolution == 0.0:
            return 1.0 if self.value == 0.0 else 0.0
        if self.resolution == 0.0:
            from scipy.special import stdtr

            return 2.0 * float(stdtr(self.degrees, -abs(self.value) / self.error))
        low, high = math.log(SMALLEST_CHANCE), 0.0
        if self._reach(SMALLEST_CHANCE) < abs(self.value):
            return 0.0
        for _ in range(HALVINGS):  # the chance at which the interval ends at 0
            middle = (low + high) / 2.0
            low, high = (low, middle) if self._reach(math.exp(middle)) < abs(self.value) else (middle, high)
        return math.exp((low + high) / 2.0)

    def interval(self, confidence: float) -> Estimate:
        """The difference with its interval; infinite for a single value.

        Raises:
            ConfigError: `confidence` is not strictly between 0 and 1.
        """
        if not 0.0 < confidence < 1.0:
            raise ConfigError(f"a confidence lies between 0 and 1, got {confidence}")
        reach = self._reach(1.0 - confidence) if math.isfinite(self.error) else math.inf
        return Estimate(value=self.value, low=self.value - reach, high=self.value + reach, confidence=confidence)

    def _reach(self, chance: float) -> float:
        """Half of the interval that misses by `chance`."""
        spread = -student_t(chance / 2.0, self.degrees) * self.error if self.error else 0.0
        return math.hypot(spread, -NormalDist().inv_cdf(chance / 2.0) * self.resolution)


def trimmed_mean(values: Values, share: float = TRIM) -> float:
    """The mean without the `share` of values at either end: bursts do not count, and whole microseconds average out.

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: Tukey & McLaughlin 1963, "Less vulnerable confidence and significance procedures".
    """
    sample = np.sort(as_sample(values))
    cut = int(share * sample.size)
    return float(sample[cut : sample.size - cut].mean())


def paired_difference(subject: Values, reference: Values, *, resolution: float = 0.0) -> Difference:
    """The mean of subject - reference over processes that ran in turn, one of each.

    Arguments:
        resolution: the standard error that the clock's coarseness adds, however many processes there are.

    Raises:
        EvidenceError: no values, one that is not finite, or not as many of each.

    Source: Student 1908.
    """
    first, second = as_sample(subject), as_sample(reference)
    if first.size != second.size:
        raise EvidenceError(f"pairs need as many of each, got {first.size} and {second.size}")
    found = first - second
    if found.size == 1:
        return Difference(value=float(found[0]), error=math.inf, degrees=1.0)
    error = float(found.std(ddof=1)) / math.sqrt(found.size)
    return Difference(value=float(found.mean()), error=error, degrees=float(found.size - 1), resolution=resolution)


def welch_difference(subject: Values, reference: Values, *, resolution: float = 0.0) -> Difference:
    """The difference of the means over processes that did not run in turn, whose spreads may be unlike.

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: Welch 1947, "The generalization of Student's problem when several different population variances are
    involved".
    """
    first, second = as_sample(subject), as_sample(reference)
    value = float(first.mean() - second.mean())
    if min(first.size, second.size) == 1:
        return Difference(value=value, error=math.inf, degrees=1.0)
    parts = [(float(one.var(ddof=1)) / one.size, one.size - 1) for one in (first, second)]
    squared = sum(part for part, _ in parts)
    spread = sum(part**2 / count for part, count in parts)
    degrees = squared**2 / spread if spread > 0.0 else float(first.size + second.size - 2)
    return Difference(value=value, error=math.sqrt(squared), degrees=degrees, resolution=resolution)


def judged(differences: Mapping[str, Difference], *, level: float) -> dict[str, Estimate]:
    """Each difference with an interval such that any one excludes 0 by chance no more often than `level`.

    Holm's steps: the most certain is judged at level / (how many there are), the next at level / (one fewer), and all
    that follow the first which cannot be told from noise at that one's level.

    Raises:
        ConfigError: `level` is not strictly between 0 and 1.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    ordered = sorted(differences, key=lambda name: differences[name].strength)
    found: dict[str, Estimate] = {}
    left = len(ordered)
    for name in ordered:
        estimate = differences[name].interval(1.0 - level / left)
        found[name] = estimate
        if estimate.low > 0.0 or estimate.high < 0.0:
            left = max(1, left - 1)
        # Otherwise those that follow are judged at this level too, and are less certain.
    return {name: found[name] for name in differences}


def sums_by_call(rows: Sequence[Sequence[float]]) -> list[float]:
    """The sum of several nodes' times call by call; a node that did not run in this process adds nothing.

    Raises:
        EvidenceError: the nodes were timed over unlike numbers of calls.
    """
    lengths = {len(row) for row in rows if len(row)}
    if len(lengths) > 1:
        raise EvidenceError(f"nodes of one process were timed over {min(lengths)} and {max(lengths)} calls")
    return [float(total) for total in np.sum([row for row in rows if len(row)], axis=0)] if lengths else []
