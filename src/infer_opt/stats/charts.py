"""Control charts: has the level of a series shifted, since when, and how sure is that.

Plain Python, no arrays: a monitor runs them over dozens of series, once a second, in a few megabytes.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import mul

from infer_opt.errors import ConfigError, EvidenceError

EWMA_WEIGHT, EWMA_LIMIT = 0.2, 2.962  # of the newest value; in standard deviations of the average
CUSUM_SLACK, CUSUM_LIMIT = 0.5, 5.0  # in standard deviations of an innovation
CUSUM_MOST = 3.0 * CUSUM_LIMIT  # a sum is held here, so that a long burst is forgotten as fast as a short one
CLIP = 4.0  # innovations beyond so many standard deviations count as that many: one spike is no shift
MOST_CORRELATION = 0.95
MAD_TO_SD, MEAN_DEVIATION_TO_SD = 1.4826, 1.2533  # of a normal

_EWMA_REACH = EWMA_LIMIT * math.sqrt(EWMA_WEIGHT / (2.0 - EWMA_WEIGHT))
_OVERSHOOT = 1.166  # twice the mean by which a random walk oversteps a line


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a series ordinarily is: its level, how far values stray, and how much of that carries over to the next.

    `spread` and `noise` are standard deviations that outliers do not move much: of the values, and of what is left of
    a value when `correlation` (with the value before, 0 to 0.95) times that one is taken away. `count` values.
    """

    centre: float
    spread: float
    correlation: float
    noise: float
    count: int


def baseline(values: Sequence[float], *, least_spread: float = 0.0) -> Baseline:
    """Median, spread by the median absolute deviation, and lag-1 correlation of the values, in their order.

    Where more than half of the values are equal (clocks that tick, counters that are mostly 0) that deviation is 0, and
    the mean absolute deviation takes its place. No spread is less than `least_spread`. The correlation is that of
    values clipped at four spreads, corrected for its bias; a negative one counts as none.

    Raises:
        EvidenceError: fewer than three values, or one that is not finite.

    Source: Rousseeuw & Croux 1993 (MAD); Kendall 1954, "Note on bias in the estimation of autocorrelation".
    """
    count = len(values)
    if count < 3 or not math.isfinite(sum(values)):
        raise EvidenceError(f"a baseline needs three finite values or more, got {count}")
    centre = middle(sorted(values))
    far = [value - centre for value in values]
    spread = MAD_TO_SD * middle(sorted(map(abs, far)))
    if spread <= 0.0:
        spread = MEAN_DEVIATION_TO_SD * sum(map(abs, far)) / count
    spread = max(spread, least_spread)
    if spread <= 0.0:
        return Baseline(centre=centre, spread=0.0, correlation=0.0, noise=0.0, count=count)
    far = _clipped(far, CLIP * spread)
    squares = sum(map(mul, far, far))
    correlation = 0.0
    if squares > 0.0:
        seen = sum(map(mul, far, islice(far, 1, None))) / squares
        correlation = min(max(seen + (1.0 + 3.0 * seen) / count, 0.0), MOST_CORRELATION)
    usual = spread * math.sqrt(1.0 - correlation**2)
    left = _clipped([new - correlation * old for old, new in zip(far, islice(far, 1, None))], CLIP * usual)  # noqa: B905
    noise = math.sqrt(sum(map(mul, left, left)) / len(left))
    least = max(least_spread * math.sqrt(1.0 - correlation**2), 1e-3 * usual)
    return Baseline(centre=centre, spread=spread, correlation=correlation, noise=max(noise, least), count=count)


def middle(ordered: Sequence[float]) -> float:
    """The median of values that are in order already; at least one."""
    half, is_odd = divmod(len(ordered), 2)
    return ordered[half] if is_odd else 0.5 * (ordered[half - 1] + ordered[half])


class RollingBaseline:
    """The last `window` values of a series, but for the newest `guard`: a shift must not become its own baseline.

    Holds `window + guard` values, however long the series is. Mutable: `add` takes the next one.
    """

    __slots__ = ("_values", "guard")

    def __init__(self, *, window: int, guard: int) -> None:
        self.guard = guard
        self._values: deque[float] = deque(maxlen=window + guard)

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: float) -> None:
        """Take the next value."""
        self._values.append(value)

    def last(self, count: int) -> list[float]:
        """The newest `count` values, or as many as there are, in order."""
        values = self._values
        return list(islice(values, max(0, len(values) - count), None))

    def restart(self, values: Iterable[float] = ()) -> None:
        """Forget what was there, and begin with `values`."""
        kept = list(values)
        self._values.clear()
        self._values.extend(kept)

    def fit(self, *, least_spread: float = 0.0, is_guarded: bool = True) -> Baseline:
        """The baseline of what is held.

        Raises:
            EvidenceError: fewer than three values.
        """
        held = len(self._values) - (self.guard if is_guarded else 0)
        return baseline(list(islice(self._values, max(0, held))), least_spread=least_spread)


class Charts:
    """An EWMA and a two-sided CUSUM over the innovations of a series, standardised by a baseline.

    Mutable: `step` takes the next value. `up` and `down` are the CUSUM's sums, and `up_steps` and `down_steps` how many
    values ago they were last 0, which is when the shift began that they show, if it is one. `agrees` says that the EWMA
    was outside of its limits since then.

    Source: Page 1954, "Continuous inspection schemes" (CUSUM); Roberts 1959, "Control chart tests based on geometric
    moving averages" (EWMA); Lu & Reynolds 1999 and 2001 (both on residuals of an AR(1) model).
    """

    __slots__ = ("_before", "agrees", "down", "down_steps", "ewma", "ordinary", "up", "up_steps")

    def __init__(self, ordinary: Baseline) -> None:
        self.ordinary = ordinary
        self.restart()

    def restart(self) -> None:
        """As if nothing had come yet; the baseline stays."""
        self._before: float | None = None
        self.ewma = self.up = self.down = 0.0
        self.up_steps = self.down_steps = 0
        self.agrees = False

    def rebase(self, ordinary: Baseline) -> None:
        """Go on with another baseline: sums and averages stay."""
        if self._before is not None:
            self._before += self.ordinary.centre - ordinary.centre
        self.ordinary = ordinary

    @property
    def sign(self) -> int:
        """1 while the level looks higher than it was, -1 while it looks lower, 0 while neither chart says so."""
        largest = max(self.up, self.down)
        if largest < CUSUM_LIMIT or not self.agrees:
            return 0
        return 1 if self.up >= self.down else -1

    @property
    def steps(self) -> int:
        """How many values ago the shift began that the larger sum shows."""
        return self.up_steps if self.up >= self.down else self.down_steps

    def step(self, value: float) -> float:
        """Take the next value; gives its innovation in standard deviations, clipped at 4."""
        ordinary = self.ordinary
        far, before = value - ordinary.centre, self._before
        self._before = far
        if before is None:
            left, noise = far, ordinary.spread
        else:
            left, noise = far - ordinary.correlation * before, ordinary.noise
        if noise > 0.0:
            left /= noise
            left = CLIP if left > CLIP else -CLIP if left < -CLIP else left
        elif left:
            left = math.copysign(CLIP, left)
        ewma = self.ewma = self.ewma + EWMA_WEIGHT * (left - self.ewma)
        up = self.up + left - CUSUM_SLACK
        if up > 0.0:
            self.up = up if up < CUSUM_MOST else CUSUM_MOST
            self.up_steps += 1
        else:
            self.up, self.up_steps = 0.0, 0
        down = self.down - left - CUSUM_SLACK
        if down > 0.0:
            self.down = down if down < CUSUM_MOST else CUSUM_MOST
            self.down_steps += 1
        else:
            self.down, self.down_steps = 0.0, 0
        if not self.up_steps and not self.down_steps:
            self.agrees = False
        elif ewma > _EWMA_REACH or ewma < -_EWMA_REACH:
            self.agrees = True
        return left


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A shift of the level that began `steps` values ago, and its size in its own standard errors, with its sign."""

    z: float
    steps: int


def step_strength(innovations: Sequence[float], correlation: float, *, least: int, most: int) -> Step:
    """The likeliest moment at which the level stepped, among those `least` to `most` values ago, and its z.

    `innovations` are standardised, in order, the newest last. A step of an AR(1) series shows in its innovations as a
    pulse, and by 1 - correlation in all that follow, so that is how they are weighed.

    Raises:
        EvidenceError: there are fewer innovations than `least`.

    Source: Siegmund & Venkatraman 1995, "Using the generalized likelihood ratio statistic for sequential detection of a
    change-point"; Apley & Shi 1999, "The GLRT for statistical process control of autocorrelated processes".
    """
    if not 1 <= least <= len(innovations):
        raise EvidenceError(f"a step at least {least} values ago cannot be seen in {len(innovations)} of them")
    carried = 1.0 - correlation
    best = Step(z=0.0, steps=least)
    total = 0.0
    for steps, value in enumerate(islice(reversed(innovations), most), 1):
        if steps >= least:
            z = (value + carried * total) / math.sqrt(1.0 + (steps - 1) * carried * carried)
            if abs(z) > abs(best.z):
                best = Step(z=z, steps=steps)
        total += value
    return best


def discounted(step: Step, ordinary: Baseline) -> Step:
    """The step's z, less by what the baseline's own level is uncertain: it rests on `count` values."""
    return replace(step, z=step.z * math.sqrt(ordinary.count / (ordinary.count + step.steps)))


def step_run_length(limit: float, *, least: int, most: int) -> float:
    """How many values of a steady series pass on average until `step_strength` exceeds `limit` in either direction.

    Raises:
        ConfigError: `limit` is not positive, or not 1 <= least < most.

    Source: Siegmund & Venkatraman 1995, equation 7, with the integral over the windows that are looked at (Lai 1995,
    "Sequential changepoint detection in quality control and dynamical systems"); the overshoot as in Siegmund & Yakir
    2007, "The statistics of gene mapping", section 5.
    """
    if not limit > 0.0 or not 1 <= least < most:
        raise ConfigError(f"a run length needs a positive limit and 1 <= least < most, got {limit}, {least}, {most}")
    low, high, cells = limit / math.sqrt(most), limit / math.sqrt(least), 200
    width = (high - low) / cells
    integral = sum(_overshoot_factor(low + (cell + 0.5) * width) for cell in range(cells)) * width
    return math.sqrt(2.0 * math.pi) * math.exp(min(limit * limit / 2.0, 300.0)) / (limit * integral)


def step_limit(run_length: float, *, least: int, most: int) -> float:
    """The limit on `step_strength` at which a steady series runs for `run_length` values until a false alarm.

    Raises:
        ConfigError: `run_length` is not more than a hundred, or not 1 <= least < most.
    """
    if not run_length > 100.0:
        raise ConfigError(f"a run length of {run_length} is no limit")
    low, high = 2.0, 20.0
    for _ in range(60):
        half = 0.5 * (low + high)
        low, high = (half, high) if step_run_length(half, least=least, most=most) < run_length else (low, half)
    return high


def cusum_run_length(limit: float = CUSUM_LIMIT, *, slack: float = CUSUM_SLACK) -> float:
    """How many values of a steady, uncorrelated series pass on average until a two-sided CUSUM alarms: 469 at 0.5, 5.

    Raises:
        ConfigError: `limit` or `slack` is not positive.

    Source: Siegmund 1985, "Sequential analysis", section 2.6 (with his correction for the overshoot).
    """
    if not limit > 0.0 or not slack > 0.0:
        raise ConfigError(f"limit and slack must be positive, got {limit} and {slack}")
    reach = 2.0 * slack * (limit + _OVERSHOOT)
    return (math.expm1(reach) - reach) / (2.0 * slack * slack) / 2.0


def _overshoot_factor(x: float) -> float:
    half = 0.5 * x
    below = 0.5 * math.erfc(-half / math.sqrt(2.0))
    density = math.exp(-0.5 * half * half) / math.sqrt(2.0 * math.pi)
    factor = (below - 0.5) / half / (half * below + density)
    return x * factor * factor


def _clipped(values: list[float], reach: float) -> list[float]:
    if max(values) <= reach and min(values) >= -reach:
        return values
    return [reach if value > reach else -reach if value < -reach else value for value in values]
