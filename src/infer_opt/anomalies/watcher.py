"""Watches samples for anomalies and trends, with a bounded memory and a small cost, however long a session is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infer_opt.anomalies.growing import GROWING, Growing
from infer_opt.anomalies.physical import RULES
from infer_opt.anomalies.rules import RuleWatch, filled
from infer_opt.anomalies.shifts import NAME as SHIFT
from infer_opt.anomalies.shifts import SeriesWatch
from infer_opt.anomalies.trends import GrowthWatch
from infer_opt.anomalies.watched import watched_as
from infer_opt.readings.catalogue import CATALOGUE, split
from infer_opt.readings.findings import Finding
from infer_opt.readings.samples import Sample
from infer_opt.stats.charts import middle

DECISION_S = 1.0
EARLY_S = 0.25  # a sample this much before its second counts for it: a timer strays
PAUSE_S, PAUSE_STEPS = 5.0, 5.0  # between samples: longer, or so many times as long as usual, and it is a gap
AWAY_S = 60.0  # after a gap of this length nothing of before is known to hold
GONE_S = 600.0  # without a reading: its watchers are let go
PROCESS = "process"
FINDING_NAMES = tuple(sorted({SHIFT, *(rule.name for rule in RULES), *(growing.name for growing in GROWING)}))


@dataclass(slots=True, kw_only=True)
class _Growth:
    watch: GrowthWatch
    growing: Growing
    keys: tuple[str, ...]
    needed: int


class Watcher:
    """Finds what is out of the ordinary in samples: give it each sample as it comes, at any rate.

    It decides once a second at most, on the medians of what came since; so at 20 samples a second a decision costs no
    more than at one. What is not available is no anomaly, and neither is a gap: after a minute without samples, or with
    other processes, it begins anew. `series` are watches for readings that the catalogue does not know; their keys
    are looked for in the samples' values.
    """

    def __init__(self, series: Iterable[SeriesWatch] = ()) -> None:
        self._own = {watch.key: watch for watch in series}
        self._shifts: dict[str, SeriesWatch] = dict(self._own)
        self._growths: list[_Growth] = []
        self._rules = RuleWatch(RULES)
        self._seen_s: dict[str, float] = {}
        self._reads: set[str] = set(self._own)
        self._counters: set[str] = set()
        self._waiting: list[Mapping[str, float | None]] = []
        self._last: Sample | None = None
        self._due_s = 0.0
        self._step_s: float | None = None
        self._roots: frozenset[int] | None = None
        self._swept_s = 0.0

    def see(self, sample: Sample) -> tuple[Finding, ...]:
        """Take the next sample; gives the findings that begin, and those that are over (`is_over`), each once."""
        self._waiting.append(sample.values)
        last = self._last
        if last is None or sample.clock_s < last.clock_s:
            self._due_s = sample.clock_s
        elif sample.clock_s < self._due_s - EARLY_S:
            return ()
        self._due_s = max(self._due_s + DECISION_S, sample.clock_s + DECISION_S - EARLY_S)
        found = [] if last is None else self._mind_the_gap(last, sample)
        found += self._mind_the_processes(sample)
        self._last = sample
        self._discover(sample)
        values = self._medians()
        self._waiting = []
        return (*found, *self._decide(sample.at_s, values))

    def open(self) -> tuple[Finding, ...]:
        """The findings that go on now, in the order in which they were found."""
        growths = [growth.watch.open for growth in self._growths]
        shifts = [watch.open for watch in self._shifts.values()]
        found = [*self._rules.open(), *(one for one in (*shifts, *growths) if one is not None)]
        return tuple(sorted(found, key=lambda finding: finding.at_s))

    def _decide(self, at_s: float, values: Mapping[str, float | None]) -> list[Finding]:
        found = self._rules.see(at_s, values)
        for key, watch in self._shifts.items():
            found += watch.see(at_s, values.get(key))
        for growth in self._growths:
            arguments = [*map(values.get, growth.keys)]
            bound = None if None in arguments[: growth.needed] else growth.growing.bound(*arguments)
            found += growth.watch.see(at_s, arguments[0], bound)
        return found

    def _medians(self) -> Mapping[str, float | None]:
        """What the samples since the last decision say: medians; the newest of counters, which only grow."""
        waiting = self._waiting
        if len(waiting) == 1:
            return waiting[0]
        values: dict[str, float | None] = {}
        for key in self._reads:
            there = [value for one in waiting if (value := one.get(key)) is not None]
            if there:
                values[key] = there[-1] if key in self._counters else middle(sorted(there))
        return values

    def _mind_the_gap(self, last: Sample, sample: Sample) -> list[Finding]:
        # A suspended machine stops the monotonic clock and not the time of day; a clock that was set does the reverse.
        step_s = max(sample.clock_s - last.clock_s, abs(sample.at_s - last.at_s))
        usual, self._step_s = self._step_s, step_s if self._step_s is None else self._step_s
        if usual is None or step_s <= max(PAUSE_S, PAUSE_STEPS * usual):
            self._step_s = step_s if usual is None else usual + 0.1 * (step_s - usual)
            return []
        if step_s >= max(AWAY_S, 2 * PAUSE_STEPS * usual):
            return self._restart(sample.at_s)
        for watch in self._shifts.values():
            watch.pause()
        self._rules.interrupt()
        return []

    def _mind_the_processes(self, sample: Sample) -> list[Finding]:
        """Other processes are chosen than before: what is known of the old ones is not true of them."""
        if not sample.processes:
            return []
        chosen = {process.pid for process in sample.processes if process.is_chosen}
        roots = frozenset(
            process.pid for process in sample.processes if process.is_chosen and process.parent_pid not in chosen
        )
        before, self._roots = self._roots, roots
        return [] if before is None or before == roots else self._restart(sample.at_s, family=PROCESS)

    def _restart(self, at_s: float, *, family: str | None = None) -> list[Finding]:
        if family is None:
            self._rules.interrupt()
        found: list[Finding] = []
        for key, shift in self._shifts.items():
            if _is_of(family, key):
                found += shift.restart(at_s)
        for growth in self._growths:
            if _is_of(family, growth.keys[0]):
                found += growth.watch.restart(at_s)
        return found

    def _discover(self, sample: Sample) -> None:
        seen = self._seen_s
        for key in sample.values:
            if key not in seen:
                self._begin(key)
            seen[key] = sample.at_s
        if sample.at_s - self._swept_s > GONE_S:
            self._swept_s = sample.at_s
            self._let_go(sample.at_s)

    def _begin(self, key: str) -> None:
        if key in self._own:
            return
        family, instance, name = split(key)
        quantity = CATALOGUE.get((family, name))
        if quantity is not None and quantity.is_counter:
            self._counters.add(key)
        watched = watched_as(key)
        if watched is not None:
            self._shifts[key] = SeriesWatch(key, watched)
            self._reads.add(key)
        for growing in GROWING:
            there, written, called = split(growing.key)
            if (there, called) == (family, name) and (written is None) == (instance is None):
                keys = tuple(filled(one, instance) for one in (growing.key, *growing.needs, *growing.may_have))
                watch = GrowthWatch(key, growing)
                self._growths.append(_Growth(watch=watch, growing=growing, keys=keys, needed=1 + len(growing.needs)))
                self._reads.update(keys)
        self._reads.update(self._rules.discover(key))

    def _let_go(self, at_s: float) -> None:
        """Forget the watches of readings that are gone: a mount point, a device that was lost."""
        gone = {key for key, seen_s in self._seen_s.items() if seen_s < at_s - GONE_S and key not in self._own}
        if not gone:
            return
        for key in gone:
            del self._seen_s[key]
            self._shifts.pop(key, None)
        self._growths = [one for one in self._growths if one.keys[0] not in gone]
        self._rules.forget(gone)


def _is_of(family: str | None, key: str) -> bool:
    return family is None or key.startswith((f"{family}.", f"{family}["))
