"""Rules held against samples, one after the other: which alerts begin to fire, and which are resolved."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infer_opt.alerts.course import Course, Turn, Verdict
from infer_opt.alerts.plan import AlertPlan, Bound, Rule, RuleKind
from infer_opt.alerts.wording import ended, fired
from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import key_of, split
from infer_opt.readings.findings import AlertEvent, AlertState, Finding, Severity
from infer_opt.readings.samples import Sample

Values = Mapping[str, float | None]

_RANKS = {severity: rank for rank, severity in enumerate(Severity)}
_MOST_REMEMBERED = 10_000  # keys; processes come and go, and a monitor runs for months


@dataclass(slots=True, kw_only=True)
class _Watch:
    """One rule on one reading or finding. `partner` is the reading that a bound is a share of."""

    rule: Rule
    key: str
    course: Course
    partner: str | None = None
    finding: Finding | None = None
    was_known: bool = False
    before: float | None = None
    event: AlertEvent | None = None


class Alerts:
    """The state of all rules of a plan. Durations are measured on the samples' monotonic clock; it reads none itself.

    A reading that is not available neither fires nor resolves a rule; when that has lasted for the rule's `clear_for`,
    an alert about it is resolved, and its sentence says so.
    """

    def __init__(self, plan: AlertPlan) -> None:
        self._rules = plan.rules
        self._watches: dict[tuple[int, str, str], _Watch] = {}
        self._open: dict[tuple[str, str], Finding] = {}
        self._matching: dict[str, tuple[int, ...]] = {}
        self._wanted: dict[tuple[str, str], list[tuple[int, str | None]]] = {}
        for index, rule in enumerate(self._rules):
            if rule.reading is None:
                continue
            family, instance, name = split(rule.reading)
            self._wanted.setdefault((family, name), []).append((index, instance))
            if rule.kind is RuleKind.MISSING and instance is not None:
                # Asked for by its number, so it is missed even if it never was there.
                self._watch(index, rule.reading).was_known = True

    def see(self, sample: Sample, findings: Iterable[Finding] = ()) -> tuple[AlertEvent, ...]:
        """What begins and ends with this sample, in the order of the rules. Samples are given in their order.

        `findings` are those that begin or end with it (`Observation.findings`).
        """
        self._take(findings)
        for key in sample.values:
            for index in self._rules_for(key):
                self._watch(index, key)
        for name, key in self._open:
            for index, rule in enumerate(self._rules):
                if rule.kind is RuleKind.FINDING and rule.finding in (None, name):
                    self._watch(index, key, name)
        events = []
        for place in sorted(self._watches):
            event = self._step(self._watches[place], sample, self._open.get((place[2], place[1])))
            if event is not None:
                events.append(event)
        self._forget(sample.values)
        return tuple(events)

    def firing(self) -> tuple[AlertEvent, ...]:
        """The alerts that fire now, each as it began, in the order of the rules."""
        watches = (self._watches[place] for place in sorted(self._watches))
        return tuple(watch.event for watch in watches if watch.event is not None)

    def _take(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if finding.is_over:
                self._open.pop((finding.name, finding.key), None)
            else:
                self._open[finding.name, finding.key] = finding

    def _rules_for(self, key: str) -> tuple[int, ...]:
        found = self._matching.get(key)
        if found is None:
            found = self._matching[key] = self._look_up(key)
        return found

    def _look_up(self, key: str) -> tuple[int, ...]:
        try:
            family, instance, name = split(key)
        except ConfigError:  # no rule can name such a key
            return ()
        wanted = self._wanted.get((family, name), ())
        return tuple(index for index, asked in wanted if asked is None or asked == instance)

    def _watch(self, index: int, key: str, finding: str = "") -> _Watch:
        place = (index, key, finding)
        found = self._watches.get(place)
        if found is None:
            rule = self._rules[index]
            course = Course(for_s=rule.for_s, clear_for_s=rule.clear_for_s)
            found = self._watches[place] = _Watch(rule=rule, key=key, course=course, partner=_partner(rule, key))
        return found

    def _step(self, watch: _Watch, sample: Sample, finding: Finding | None) -> AlertEvent | None:
        watch.finding = finding or watch.finding
        if watch.rule.kind is RuleKind.FINDING:
            verdict = _verdict_on(finding, watch.rule)
        else:
            verdict = _verdict(watch, sample.values)
        turn = watch.course.step(verdict, sample.clock_s)
        event = None if turn is None else _event(watch, turn, sample)
        if turn is not None:
            watch.event = event if turn is Turn.FIRED else None
        value = _known(sample.values, watch.key)
        if value is not None:
            watch.was_known, watch.before = True, value
        return event

    def _forget(self, values: Values) -> None:
        """Let go of what is about nothing any more: processes that ended, findings that are over."""
        for place, watch in list(self._watches.items()):
            is_there = (place[2], place[1]) in self._open if place[2] else place[1] in values
            is_missed = watch.rule.kind is RuleKind.MISSING and watch.was_known
            if watch.course.is_idle and not is_there and not is_missed:
                del self._watches[place]
        if len(self._matching) > _MOST_REMEMBERED:
            self._matching.clear()


def _verdict(watch: _Watch, values: Values) -> Verdict:
    rule, value = watch.rule, _known(values, watch.key)
    if rule.kind is RuleKind.MISSING:
        return Verdict.HOLDS if value is None and watch.was_known else Verdict.CLEAR
    if value is None:
        return Verdict.UNKNOWN
    if rule.kind is RuleKind.GROWS:
        return Verdict.HOLDS if watch.before is not None and value > watch.before else Verdict.CLEAR
    bound, clear = _limit(watch, rule.bound, values), _limit(watch, rule.clear, values)
    if bound is None or clear is None:
        return Verdict.UNKNOWN
    if rule.kind is RuleKind.BELOW:
        value, bound, clear = -value, -bound, -clear
    if value > bound:
        return Verdict.HOLDS
    return Verdict.CLEAR if value <= clear else Verdict.BETWEEN


def _verdict_on(finding: Finding | None, rule: Rule) -> Verdict:
    holds = finding is not None and _RANKS[finding.severity] >= _RANKS[rule.at_least]
    return Verdict.HOLDS if holds else Verdict.CLEAR


def _limit(watch: _Watch, bound: Bound | None, values: Values) -> float | None:
    """What a bound comes to now, in the reading's unit; None while what it is a share of is not known."""
    if bound is None or watch.partner is None:
        return None if bound is None else bound.value
    whole = _known(values, watch.partner)
    return None if whole is None else bound.value * whole


def _partner(rule: Rule, key: str) -> str | None:
    """The reading that the rule's bound is a share of: in the same family, that of the same instance."""
    if rule.bound is None or rule.bound.of is None:
        return None
    family, instance, name = split(rule.bound.of)
    own_family, own_instance, _ = split(key)
    return key_of(family, name, own_instance) if instance is None and family == own_family else rule.bound.of


def _known(values: Values, key: str) -> float | None:
    value = values.get(key)
    return None if value is None or math.isnan(value) else value


def _event(watch: _Watch, turn: Turn, sample: Sample) -> AlertEvent:
    rule, key, value, finding = watch.rule, watch.key, _known(sample.values, watch.key), watch.finding
    if turn is not Turn.FIRED and watch.event is not None:
        limit = _limit(watch, rule.clear, sample.values)
        what = ended(rule, key, turn, value=value, limit=limit, finding=finding)
        severity, since_s = watch.event.severity, watch.event.since_s
    else:
        severity = rule.severity or (Severity.WARNING if finding is None else finding.severity)
        limit = _limit(watch, rule.bound, sample.values)
        what = fired(
            rule, key, value=value, before=watch.before, limit=limit, finding=finding, severity=severity
        )  # fmt: skip
        # By the monotonic clock, so that the length is true when the time of day was set meanwhile.
        began_s = sample.clock_s if watch.course.began_s is None else watch.course.began_s
        since_s = sample.at_s - (sample.clock_s - began_s)
    return AlertEvent(
        rule=rule.name,
        state=AlertState.FIRING if turn is Turn.FIRED else AlertState.RESOLVED,
        severity=severity,
        key=key,
        value=value,
        what=what,
        at_s=sample.at_s,
        since_s=since_s,
    )
