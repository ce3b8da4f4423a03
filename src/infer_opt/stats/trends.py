"""Trends: how fast a series grows, whether it grows at all, and when it reaches a bound.

Plain Python on a few dozen points: a monitor looks at several series every few seconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import mul
from statistics import NormalDist

from infer_opt.errors import ConfigError, EvidenceError
from infer_opt.stats.charts import middle

FEWEST_POINTS = 4
MOST_CORRELATION = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How a series changes a second: the slope with its interval, and `z`, the strength of the trend as such.

    `z` is Mann and Kendall's, in standard errors, with its sign. Both allow for the correlation of what is left when
    the slope is taken away: `points` count for `effective_points` independent ones. `rising` is the share of pairs of
    points in which the later one is higher, ties counting half.
    """

    slope: float
    low: float
    high: float
    z: float
    rising: float
    points: int
    effective_points: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Seconds until a bound is reached; `high_s` is None where it may never be."""

    in_s: float
    low_s: float
    high_s: float | None


def trend(times_s: Sequence[float], values: Sequence[float], *, confidence: float = 0.9) -> Trend:
    """The Theil-Sen slope with its interval, and the Mann-Kendall test, of points in the order of time.

    The slope is the median over all pairs, n (n - 1) / 2 of them, so thin a long series first: a point may be the
    median of many values. The interval is that of ranks of these slopes. Ties count for neither direction.

    Raises:
        EvidenceError: fewer than four points, not as many times as values, or a time not after the one before.
        ConfigError: `confidence` is not strictly between 0 and 1.

    Source: Theil 1950; Sen 1968, "Estimates of the regression coefficient based on Kendall's tau" (slope, interval);
    Mann 1945, Kendall 1975 (test); Yue & Wang 2004, "The Mann-Kendall test modified by effective sample size to detect
    trend in serially correlated hydrological series" (correlation, of what is left without the trend).
    """
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"confidence lies between 0 and 1, got {confidence}")
    slopes, balance = _pairs(times_s, values)
    count = len(values)
    slope = middle(slopes)
    offset = middle(sorted([value - slope * at for at, value in zip(times_s, values, strict=True)]))
    left = [value - slope * at - offset for at, value in zip(times_s, values, strict=True)]
    effective = count * _independent_share(left)
    variance = _variance(values) * count / effective
    if variance <= 0.0:  # all are equal
        z, reach = 0.0, 0.0
    else:
        # Continuity: the balance moves in steps of two.
        z = math.copysign(max(0.0, abs(balance) - 1.0), balance) / math.sqrt(variance)
        reach = NormalDist().inv_cdf(0.5 + confidence / 2.0) * math.sqrt(variance)
    pairs = len(slopes)
    low = slopes[min(max(math.floor((pairs - reach) / 2.0), 0), pairs - 1)]
    high = slopes[min(max(math.ceil((pairs + reach) / 2.0), 0), pairs - 1)]
    if reach >= pairs:  # so few independent points that any slope is possible
        low, high = -math.inf, math.inf
    rising = 0.5 + 0.5 * balance / pairs
    return Trend(slope=slope, low=low, high=high, z=z, rising=rising, points=count, effective_points=effective)


def beginning(times_s: Sequence[float], values: Sequence[float]) -> int:
    """The position of the point at which a level ends and growth begins; 0 where it grows from the first on.

    Of all broken lines, level up to a point and straight from there, that with the smallest sum of squares; four points
    at least are left of the growth.

    Raises:
        EvidenceError: fewer than four points, or not as many times as values.
    """
    count = len(values)
    if count < FEWEST_POINTS or len(times_s) != count:
        raise EvidenceError(f"a trend needs {FEWEST_POINTS} points or more, got {len(times_s)} times, {count} values")
    return min(range(count - FEWEST_POINTS + 1), key=lambda at: _misfit(times_s, values, at))


def _misfit(times_s: Sequence[float], values: Sequence[float], at: int) -> float:
    """What is left, in squares, beside a level up to `at` and a straight line from there."""
    grown = [max(0.0, time_s - times_s[at]) for time_s in times_s]
    centre_x, centre_y = sum(grown) / len(grown), sum(values) / len(values)
    xs, ys = [x - centre_x for x in grown], [y - centre_y for y in values]
    slope = sum(map(mul, xs, ys)) / sum(map(mul, xs, xs))
    left = [y - slope * x for x, y in zip(xs, ys, strict=True)]
    squares: float = sum(map(mul, left, left))
    return squares


def time_to_reach(found: Trend, level: float, bound: float) -> Reach | None:
    """When a series that is at `level` now reaches `bound`; None when it does not move towards it.

    The interval is that of the slope, so it holds if the trend goes on as it is.
    """
    far = bound - level
    if far == 0.0:
        return Reach(in_s=0.0, low_s=0.0, high_s=0.0)
    slope, slow, fast = found.slope, found.low, found.high
    if far < 0.0:
        far, slope, slow, fast = -far, -slope, -fast, -slow
    if slope <= 0.0:
        return None
    return Reach(in_s=far / slope, low_s=far / fast, high_s=far / slow if slow > 0.0 else None)


def _pairs(times_s: Sequence[float], values: Sequence[float]) -> tuple[list[float], int]:
    """The slopes of all pairs, in order, and how many more of them rise than fall."""
    count = len(values)
    if count < FEWEST_POINTS or len(times_s) != count:
        raise EvidenceError(f"a trend needs {FEWEST_POINTS} points or more, got {len(times_s)} times, {count} values")
    if any(later <= sooner for sooner, later in pairwise(times_s)):
        raise EvidenceError("a trend needs points in the order of time, each later than the one before")
    slopes: list[float] = []
    for index in range(1, count):
        at, value = times_s[index], values[index]
        slopes += [(value - other) / (at - when) for when, other in zip(times_s[:index], values[:index], strict=True)]
    slopes.sort()
    return slopes, sum([slope > 0.0 for slope in slopes]) - sum([slope < 0.0 for slope in slopes])


def _variance(values: Sequence[float]) -> float:
    """Of Kendall's balance under no trend, less by what ties take away."""
    count = len(values)
    tied: dict[float, int] = {}
    for value in values:
        tied[value] = tied.get(value, 0) + 1
    less = sum([many * (many - 1) * (2 * many + 5) for many in tied.values() if many > 1])
    return (count * (count - 1) * (2 * count + 5) - less) / 18.0


def _independent_share(left: Sequence[float]) -> float:
    """(1 - r) / (1 + r) of the lag-1 correlation, corrected for its bias; 1 where there is none, or a negative one."""
    squares = sum(map(mul, left, left))
    if squares <= 0.0:
        return 1.0
    correlation: float = sum(map(mul, left, left[1:])) / squares
    correlation += (1.0 + 4.0 * correlation) / len(left)  # a line was fitted, which takes away more than a mean
    correlation = min(max(correlation, 0.0), MOST_CORRELATION)
    return (1.0 - correlation) / (1.0 + correlation)
