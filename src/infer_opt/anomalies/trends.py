"""Trends that lead somewhere: what grows, since when, and when its bound is reached.

Points on six scales, 40 of each, medians of 1, 4, 15, 60, 240 and 960 seconds: the last 40 seconds to the last ten
hours. A trend over the newest 8 to 40 points of a scale is a finding when

* it used up 30 % (on the shortest scale) to 10 % of what was left: nobody can look further ahead than ten times what
  was seen, and a model that loads looks like a leak until it is loaded;
* it is stronger than chance (Mann-Kendall's z of 4 or more, allowing for correlation), has not slowed down, and is no
  step;
* the reading is higher than it ever was before: memory that is collected now and then is no leak.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import sub

from infer_opt.anomalies.growing import Growing
from infer_opt.anomalies.wording import said, span, unit_of, when
from infer_opt.readings.findings import Finding, FindingKind, Forecast, Severity
from infer_opt.stats.charts import middle
from infer_opt.stats.trends import Reach, Trend, beginning, time_to_reach, trend

POINTS = 40
SCALES_S = (1.0, 4.0, 15.0, 60.0, 240.0, 960.0)
LEAST_GONE = (0.3, 0.2, 0.2, 0.15, 0.1, 0.1)  # of what was left, on each scale: a model that loads grows steadily too
LEAST_Z = (3.3, 4.0, 4.0, 4.0, 4.0, 4.0)
WINDOWS = ((8, 12, 20, 40), (12, 24, 40))  # newest points, on the first scale and on the others: when did it begin
SLOWED_SHARE = 0.4  # of the growth that fell into its second half: below, it is coming to an end
STEP_SHARE = 0.5  # of the growth that came between two points: above, it is a step and no trend
STOPPED_SHARE = 0.25  # of the growth expected over the newest points: below, it has come to one
STOPPED_POINTS = 15
FELL_SHARE = 0.5  # of the growth given back: over at once
SOON_S = 600.0
FEWEST_DATED = 6  # points of growth alone that tell its slope
LOST = 60  # values missing in a row
RECORD = 0.02  # of the room left, above the highest before


class Points:
    """The newest 40 points on one scale: the time of each block's end, and its median. Mutable."""

    __slots__ = ("_began_s", "_block", "block_s", "times_s", "values")

    def __init__(self, block_s: float) -> None:
        self.block_s = block_s
        self.times_s: deque[float] = deque(maxlen=POINTS)
        self.values: deque[float] = deque(maxlen=POINTS)
        self._block: list[float] = []
        self._began_s = 0.0

    def add(self, at_s: float, value: float) -> bool:
        """Take the next value; whether a block was full."""
        if self.block_s <= SCALES_S[0]:
            self.times_s.append(at_s)
            self.values.append(value)
            return True
        block = self._block
        if not block:
            self._began_s = at_s
        block.append(value)
        if at_s - self._began_s < self.block_s - SCALES_S[0]:
            return False
        block.sort()
        self.times_s.append(0.5 * (self._began_s + at_s))
        self.values.append(middle(block))
        self._block = []
        return True

    def forget(self) -> None:
        """As if the series had just begun."""
        self.times_s.clear()
        self.values.clear()
        self._block = []


@dataclass(slots=True, kw_only=True)
class _Growth:
    """A finding that goes on: on which scale it was found, from where it grew, and how fast."""

    finding: Finding
    scale: int
    began: float
    slope: float
    highest: float


class GrowthWatch:
    """Finds growth of one series towards its bound. Everything inside is turned so that it rises.

    Confidence is the share of pairs of points in which the later one is higher: 1 for a steady climb.
    """

    __slots__ = ("_growing", "_growth", "_highest", "_missing", "_scales", "_sign", "key")

    def __init__(self, key: str, growing: Growing) -> None:
        self.key = key
        self._growing = growing
        self._sign = -1.0 if growing.is_falling else 1.0
        self._scales = tuple(Points(seconds) for seconds in SCALES_S)
        self._growth: _Growth | None = None
        self._highest: float | None = None
        self._missing = 0

    @property
    def open(self) -> Finding | None:
        """The growth that goes on now."""
        return None if self._growth is None else self._growth.finding

    def see(self, at_s: float, value: float | None, bound: float | None) -> tuple[Finding, ...]:
        """Take the next value and its bound, None where there is none; gives what was found or is over, if anything."""
        if value is None:
            self._missing += 1
            return self.restart(at_s) if self._missing == LOST else ()
        self._missing = 0
        level = self._sign * value
        full = [points.add(at_s, level) for points in self._scales]
        growth = self._growth
        if growth is not None:
            return self._follow(growth, at_s, level, is_new_point=full[growth.scale])
        if bound is None:
            return ()
        room = self._sign * bound - level
        if room <= 0.0:
            return ()
        for scale, is_full in enumerate(full):
            for window in WINDOWS[scale > 0] if is_full else ():
                if self._may_reach(scale, window, room):
                    found = self._judge(scale, window, at_s, level, room)
                    if found is not None:
                        return (found,)
        return ()

    def restart(self, at_s: float) -> tuple[Finding, ...]:
        """The source is another one, or was away: begin anew. What was open is over."""
        for points in self._scales:
            points.forget()
        self._highest = None
        return self._end(at_s, "no longer followed: its source was replaced or away")

    def _may_reach(self, scale: int, window: int, room: float) -> bool:
        """Whether growth over the window, end to end, used up enough of what was left: cheap, and mostly not so."""
        values = self._scales[scale].values
        if len(values) < window:
            return False
        gain = values[-1] - values[-window]
        return gain >= LEAST_GONE[scale] * (gain + room)

    def _judge(self, scale: int, window: int, at_s: float, level: float, room: float) -> Finding | None:
        points = self._scales[scale]
        times, values = list(points.times_s)[-window:], list(points.values)[-window:]
        gain = values[-1] - values[0]
        if _second_half(values) < SLOWED_SHARE or max(map(sub, values[1:], values)) > STEP_SHARE * gain:
            return None
        if not self._is_record(values[0], times[0], level, room):
            return None
        found = trend(times, values)
        reach = time_to_reach(found, level, level + room)
        # Where a third of all memory went within seconds, it is no matter whether neighbours resemble each other.
        strength = found.z if scale else found.z * math.sqrt(found.points / found.effective_points)
        if strength < LEAST_Z[scale] or reach is None or (found.low <= 0.0 and scale):
            return None
        began = beginning(times, values)
        if began and len(times) - began >= FEWEST_DATED:  # the level before it would flatten the slope
            times, values = times[began:], values[began:]
            found = trend(times, values)
            reach = time_to_reach(found, level, level + room) or reach
        finding = self._finding(at_s, times[0], values[-1] - values[0], level + room, found, reach)
        self._growth = _Growth(finding=finding, scale=scale, began=values[0], slope=found.slope, highest=level)
        return finding

    def _is_record(self, began: float, began_s: float, level: float, room: float) -> bool:
        """Whether the level is higher than it was before this growth began, as far as is remembered."""
        highest = began
        for points in self._scales[1:]:
            before = [value for at, value in zip(points.times_s, points.values, strict=True) if at < began_s]
            highest = max((highest, *before))
        if self._highest is not None:
            highest = max(highest, self._highest)
        return level > highest + (RECORD * room if highest > began else 0.0)

    def _finding(
        self, at_s: float, since_s: float, gain: float, bound: float, found: Trend, reach: Reach
    ) -> Finding:  # fmt: skip
        growing, unit = self._growing, unit_of(self.key)
        verb = "falls" if growing.is_falling else "grows"
        rate = f"{said(found.slope, unit)}/s" if found.slope >= 1.0 else f"{said(found.slope * 60.0, unit)}/min"
        is_soon = reach.in_s < SOON_S and growing.severity is Severity.WARNING
        return Finding(
            kind=FindingKind.TREND,
            name=growing.name,
            key=self.key,
            what=f"{self.key} {verb} by {rate}, {said(gain, unit)} in {span(at_s - since_s)}; "
            f"{growing.then} {when(reach.in_s, reach.low_s, reach.high_s)}",
            at_s=at_s,
            since_s=since_s,
            confidence=found.rising,
            severity=Severity.CRITICAL if is_soon else growing.severity,
            causes=growing.causes,
            forecast=Forecast(bound=self._sign * bound, in_s=reach.in_s, low_s=reach.low_s, high_s=reach.high_s),
        )

    def _follow(self, growth: _Growth, at_s: float, level: float, *, is_new_point: bool) -> tuple[Finding, ...]:
        growth.highest = max(growth.highest, level)
        if level < growth.highest - FELL_SHARE * (growth.highest - growth.began):
            return self._end(at_s, "it was given back")
        points = self._scales[growth.scale]
        if is_new_point and len(points.values) >= STOPPED_POINTS:
            newest = list(islice(reversed(points.values), STOPPED_POINTS))
            times = list(islice(reversed(points.times_s), STOPPED_POINTS))
            expected = growth.slope * (times[0] - times[-1])
            if middle(sorted(newest[:3])) - middle(sorted(newest[-3:])) < STOPPED_SHARE * expected:
                return self._end(at_s, "it stopped")
        return ()

    def _end(self, at_s: float, how: str) -> tuple[Finding, ...]:
        growth = self._growth
        if growth is None:
            return ()
        self._growth = None
        self._highest = max(growth.highest, growth.highest if self._highest is None else self._highest)
        finding = growth.finding
        what = f"{self.key}: {how}, after {span(at_s - finding.since_s)}"
        return (replace(finding, what=what, at_s=at_s, is_over=True, forecast=None),)


def _second_half(values: Sequence[float]) -> float:
    """The share of the growth that fell into the second half of the points, each end a median of three."""
    half = len(values) // 2
    first, centre, last = (middle(sorted(values[at : at + 3])) for at in (0, half - 1, len(values) - 3))
    return (last - centre) / (last - first) if last > first else 0.0
