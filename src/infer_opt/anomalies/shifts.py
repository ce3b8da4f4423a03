"""Shifts of a reading's level: charts propose, and what the series did in the last day decides.

Charts with the limits of textbooks cry 180 times a day and series, once in 469 values, and more where neighbours
resemble each other. So they only point at the moment. A finding needs all of these:

* the step since then is larger than a steady series shows once a day (`LIMIT`, by the formula of its run length);
* it is 5 % of the level or more, and no less than what matters for that reading (`Watched`);
* three quarters of the values since then lie beyond a quarter of it: a burst is no level;
* it is larger than what blocks of 20 values did in the last hour;
* the series was not at that level for 1 % of the last day: a load that comes and goes is two levels, and no news;
* after findings in the last two days, it has held for longer and stands out more.
"""

import math
import zlib
from collections import deque
from dataclasses import dataclass, replace

from infer_opt.anomalies.levels import Levels
from infer_opt.anomalies.wording import said, span, unit_of
from infer_opt.readings.catalogue import Unit
from infer_opt.readings.findings import Finding, FindingKind, Severity
from infer_opt.stats.charts import (
    CUSUM_LIMIT,
    Baseline,
    Charts,
    RollingBaseline,
    Step,
    discounted,
    middle,
    step_limit,
    step_run_length,
    step_strength,
)

NAME = "level-shift"
MANIFOLD = 10.0  # from which a ratio is said as such, and not as a percentage
DAY_S = 86_400.0
REMEMBERED_S = 2 * DAY_S  # for so long a finding makes the next one harder
# All that follows is counted in values, of which there is one a second at most.
WARM_UP, WINDOW, GUARD = 60, 600, 40
REFIT, YOUNG_REFIT = 120, 40  # apart, with a full window and before
LEAST_STEPS, MOST_STEPS = 18, 40  # that a new level must have held, and that are looked at
LIMIT = step_limit(DAY_S, least=LEAST_STEPS, most=MOST_STEPS)
YOUNG, YOUNG_INDEPENDENT = 8.0, 3.0  # values, and independent ones, of a baseline that doubles the limit
BLOCK_SPREADS = 2.5
HELD_SHARE, HELD_BEYOND = 0.75, 0.25
KNOWN_NEAR = 0.25  # of the shift: levels that are this near to the new one are the same
LIMIT_RISE = 0.2  # standard errors, for each finding that is remembered
HOLD_RISE, HOLD_GROWTH = 1.4, 3.0  # times `Watched.hold` after one finding that is remembered, and for each one more
MOST_FINDINGS = 6
LEAST_NOISE = 0.25  # of the least shift that matters: the least spread that a series is thought to have
REST = 2  # after a look that found nothing
KNOWN_FOR_S = 60.0  # what was known a minute ago is not looked up again
FIRST_LEVEL = 60  # after which a new level, known from a few at first, is estimated again, whatever the charts say
RETURN_LOOK, RETURN_EVERY = 15, 5
ADOPTED = 600  # after which a new level is the ordinary one
LOST = 60  # missing ones in a row
MOST_CONFIDENCE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """How a series is watched: which shifts matter, how much, and what is usually behind them.

    `least` is in the series' own unit, `least_share` a share of its level; the larger one counts. `hold` is how many
    values a new level must have held: more for what comes in bursts.
    """

    least: float = 0.0
    least_share: float = 0.05
    hold: int = LEAST_STEPS
    on_rise: Severity = Severity.INFO
    on_fall: Severity = Severity.INFO
    rise_causes: tuple[str, ...] = ()
    fall_causes: tuple[str, ...] = ()

    def least_shift(self, level: float) -> float:
        """The smallest shift that matters at this level, in the series' unit."""
        return max(self.least, self.least_share * abs(level))


@dataclass(slots=True, kw_only=True)
class _Shift:
    """A finding that goes on: what was ordinary before, and how far the level went."""

    finding: Finding
    before: Baseline
    by: float
    age: int = 0


class SeriesWatch:
    """Finds shifts of the level of one series, of any name: a reading of the catalogue, or somebody's throughput.

    Give it a value a second, or fewer. After 60 values it begins to judge; it holds 640 of them, and the last
    day as medians of 20 in 4 bytes each. Confidence is 1 / (1 + r), where r is how many steps of that strength a steady
    series shows a day by chance: what a finding is worth where one true shift a day is to be expected.
    """

    __slots__ = (
        "_charts", "_fit_in", "_found_s", "_known", "_levels", "_missing", "_recent", "_rest", "_rolling", "_shift",
        "_times", "_unit", "_watched", "key",
    )  # fmt: skip

    def __init__(self, key: str, watched: Watched | None = None, *, unit: Unit | None = None) -> None:
        self.key = key
        self._watched = watched or Watched(on_fall=Severity.WARNING)
        self._unit = unit or unit_of(key)
        self._rolling = RollingBaseline(window=WINDOW, guard=GUARD)
        self._recent: deque[float] = deque(maxlen=MOST_STEPS)
        self._times: deque[float] = deque(maxlen=MOST_STEPS)
        self._levels = Levels()
        self._found_s: deque[float] = deque(maxlen=MOST_FINDINGS)
        self._charts: Charts | None = None
        self._shift: _Shift | None = None
        self._known = (0.0, 0.0, -math.inf)  # from, to, until when
        self._fit_in = self._rest = self._missing = 0

    @property
    def open(self) -> Finding | None:
        """The shift that goes on now."""
        return None if self._shift is None else self._shift.finding

    def see(self, at_s: float, value: float | None) -> tuple[Finding, ...]:
        """Take the next value, None where there is none; gives what was found or is over, if anything.

        After a minute without values it begins anew.
        """
        if value is None or not math.isfinite(value):
            self._missing += 1
            return self.restart(at_s) if self._missing == LOST else ()
        self._missing = 0
        self._rolling.add(value)
        self._levels.add(value)
        charts = self._charts
        if charts is None:
            self._warm_up()
            return ()
        self._recent.append(charts.step(value))
        self._times.append(at_s)
        self._fit_in -= 1
        is_loud = charts.up >= CUSUM_LIMIT or charts.down >= CUSUM_LIMIT
        if is_loud:
            found = self._look(charts, at_s)
            if found:
                return found
        if self._fit_in <= 0 and (not is_loud or charts.steps > FIRST_LEVEL):
            self._refit(charts)
        return () if self._shift is None else self._follow(self._shift, at_s)

    def pause(self) -> None:
        """A few values are missing: what comes next does not follow on what came before."""
        if self._charts is not None:
            self._charts.restart()
        self._recent.clear()
        self._times.clear()

    def restart(self, at_s: float) -> tuple[Finding, ...]:
        """The source is another one, or was away: begin anew, with a warm-up. What was open is over."""
        self._rolling.restart()
        self._levels.forget()
        self._known = (0.0, 0.0, -math.inf)
        self.pause()
        self._charts = None
        return self._end(at_s, "is no longer compared with what it was: its source was replaced or away")

    def _warm_up(self) -> None:
        if len(self._rolling) >= WARM_UP:
            self._charts = Charts(self._fitted(is_guarded=False))
            self._fit_in = YOUNG_REFIT + zlib.crc32(self.key.encode()) % YOUNG_REFIT  # not all series at one moment

    def _fitted(self, *, is_guarded: bool) -> Baseline:
        level = middle(sorted(self._rolling.last(WARM_UP)))
        least = LEAST_NOISE * self._watched.least_shift(level)
        return self._rolling.fit(least_spread=least, is_guarded=is_guarded)

    def _refit(self, charts: Charts) -> None:
        held = len(self._rolling)
        if held >= WARM_UP + GUARD:
            charts.rebase(self._fitted(is_guarded=True))
        elif charts.ordinary.count < WARM_UP:
            centre = middle(sorted(self._rolling.last(held)))
            charts.rebase(replace(charts.ordinary, centre=centre, count=held))
        self._fit_in = REFIT if held >= WINDOW else YOUNG_REFIT

    def _look(self, charts: Charts, at_s: float) -> tuple[Finding, ...]:
        """Whether what the charts point at is a shift. In the order of what the questions cost."""
        if self._rest:
            self._rest -= 1
            return ()
        if not charts.sign or charts.steps < LEAST_STEPS or len(self._recent) < LEAST_STEPS:
            return ()
        ordinary, earlier = charts.ordinary, self._earlier(at_s)
        step = step_strength(self._recent, ordinary.correlation, least=LEAST_STEPS, most=MOST_STEPS)
        step = discounted(step, ordinary)
        if abs(step.z) < (LIMIT + LIMIT_RISE * earlier) * _allowance(ordinary):
            return ()
        self._rest = REST
        after = middle(sorted(self._rolling.last(step.steps)))
        by = after - ordinary.centre
        hold = _hold(self._watched.hold, earlier)
        if by * step.z <= 0.0 or abs(by) < self._watched.least_shift(ordinary.centre):
            return ()
        if not self._has_held(hold, ordinary.centre + HELD_BEYOND * by, by):
            return ()
        before = max(hold, step.steps)
        if abs(by) < BLOCK_SPREADS * self._levels.spread(before=before):
            return ()
        if self._is_known(after, by, at_s, before=before, is_restless=earlier >= 2):
            return ()
        return self._begin(charts, step, after, at_s)

    def _earlier(self, at_s: float) -> int:
        found = self._found_s
        while found and found[0] < at_s - REMEMBERED_S:
            found.popleft()
        return len(found)

    def _has_held(self, hold: int, bound: float, by: float) -> bool:
        values = self._rolling.last(max(hold, LEAST_STEPS))
        beyond = sum([value > bound for value in values] if by > 0.0 else [value < bound for value in values])
        return len(values) >= hold and beyond >= HELD_SHARE * len(values)

    def _is_known(self, after: float, by: float, at_s: float, *, before: int, is_restless: bool) -> bool:
        """A level that the series was at, or for a restless series any that is less far out than where it was."""
        near = KNOWN_NEAR * abs(by)
        low, high, until_s = self._known
        if at_s < until_s and low <= after <= high:
            return True
        low, high = after - near, after + near
        if is_restless:
            low, high = (low, math.inf) if by > 0.0 else (-math.inf, high)
        if not self._levels.is_known(low, high, before=before):
            return False
        self._known = after - 0.5 * near, after + 0.5 * near, at_s + KNOWN_FOR_S
        return True

    def _begin(self, charts: Charts, step: Step, after: float, at_s: float) -> tuple[Finding, ...]:
        before = charts.ordinary
        steps = step.steps if step.steps < MOST_STEPS else max(charts.steps, step.steps)
        times = self._times
        apart_s = (times[-1] - times[0]) / (len(times) - 1)
        finding = self._finding(before.centre, after, at_s, since_s=at_s - apart_s * (steps - 1), z=step.z)
        over = self._end(at_s, "moved on to another level")
        self._found_s.append(at_s)
        self._shift = _Shift(finding=finding, before=before, by=after - before.centre)
        self._rolling.restart(self._rolling.last(step.steps))
        self._go_on(replace(before, centre=after, count=step.steps))
        return (*over, finding)

    def _finding(self, before: float, after: float, at_s: float, *, since_s: float, z: float) -> Finding:
        watched, is_rise = self._watched, after > before
        false_a_day = DAY_S / step_run_length(abs(z), least=LEAST_STEPS, most=MOST_STEPS)
        share = _by(after / before) if before else ""
        values = f"from {said(before, self._unit)} to {said(after, self._unit)}"
        return Finding(
            kind=FindingKind.SHIFT,
            name=NAME,
            key=self.key,
            what=f"{self.key} {'rose' if is_rise else 'fell'} {values}{share}, {span(at_s - since_s)} ago",
            at_s=at_s,
            since_s=since_s,
            confidence=min(MOST_CONFIDENCE, 1.0 / (1.0 + false_a_day)),
            severity=watched.on_rise if is_rise else watched.on_fall,
            causes=watched.rise_causes if is_rise else watched.fall_causes,
        )

    def _go_on(self, ordinary: Baseline) -> None:
        self._charts = Charts(ordinary)
        self._recent.clear()
        self._times.clear()
        self._fit_in = FIRST_LEVEL

    def _follow(self, shift: _Shift, at_s: float) -> tuple[Finding, ...]:
        """Whether the shift that is open is over: the level went back, or is the ordinary one by now."""
        shift.age += 1
        if shift.age >= ADOPTED:
            return self._end(at_s, "has stayed there: that is its ordinary level now")
        if shift.age < RETURN_LOOK or shift.age % RETURN_EVERY:
            return ()
        last = self._rolling.last(RETURN_LOOK)
        level = middle(sorted(last))
        if (level - shift.before.centre) / shift.by >= 0.5:
            return ()
        self._rolling.restart(last)
        self._go_on(shift.before)
        return self._end(at_s, f"is back at {said(level, self._unit)}")

    def _end(self, at_s: float, how: str) -> tuple[Finding, ...]:
        if self._shift is None:
            return ()
        finding, self._shift = self._shift.finding, None
        lasted = span(at_s - finding.since_s)
        return (replace(finding, what=f"{self.key} {how}, after {lasted}", at_s=at_s, is_over=True),)


def _allowance(ordinary: Baseline) -> float:
    """By how much the limit is raised because the baseline's own level, noise and correlation are estimates."""
    independent = ordinary.count * (1.0 - ordinary.correlation) / (1.0 + ordinary.correlation)
    return 1.0 + YOUNG / ordinary.count + YOUNG_INDEPENDENT / independent


def _hold(least: int, earlier: int) -> int:
    """How many values a new level must have held, after so many findings of late."""
    return min(WINDOW, round(least * HOLD_RISE * HOLD_GROWTH ** (earlier - 1))) if earlier else least


def _by(ratio: float) -> str:
    """` (by 12%)`; ` (to 31,000 times as much)` from ten times on; nothing where it changed its sign."""
    if ratio <= 0.0:
        return ""
    return f" (to {float(f'{ratio:.2g}'):,.0f} times as much)" if ratio >= MANIFOLD else f" (by {abs(ratio - 1.0):.0%})"
