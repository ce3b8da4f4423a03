"""Physical rules over a series of samples: each instance's condition, from when it holds to when it is over."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from infer_opt.anomalies.episodes import Episode
from infer_opt.anomalies.physical import RULES, Rule
from infer_opt.anomalies.wording import place, span
from infer_opt.readings.catalogue import CATALOGUE, key_of, split
from infer_opt.readings.findings import Finding, FindingKind

LOST_S = 60.0  # without its readings, a finding is over
ANY = "*"


@dataclass(slots=True, kw_only=True)
class _Applied:
    """A rule on one instance."""

    rule: Rule
    keys: tuple[str, ...]
    needed: int  # of the keys, the first so many
    is_counter: bool
    episode: Episode
    finding: Finding | None = None
    count: float | None = None
    known_s: float = 0.0


class RuleWatch:
    """All rules on all instances that were ever offered by `discover`. Mutable: `see` takes the next moment."""

    def __init__(self, rules: Sequence[Rule] = RULES) -> None:
        self._by_reading: dict[tuple[str, str, bool], list[Rule]] = {}
        for rule in rules:
            family, instance, name = split(rule.key)
            self._by_reading.setdefault((family, name, instance is not None), []).append(rule)
        self._applied: list[_Applied] = []

    def discover(self, key: str) -> tuple[str, ...]:
        """Apply the rules that concern this reading; gives the keys that they read, none where there is no rule.

        Raises:
            ConfigError: `key` is not written as a key.
        """
        family, instance, name = split(key)
        rules = self._by_reading.get((family, name, instance is not None), [])
        applied = [_apply(rule, instance) for rule in rules]
        self._applied += applied
        return tuple(read for one in applied for read in one.keys)

    def forget(self, keys: Iterable[str]) -> None:
        """These readings are gone for good: what was found in them is over by now."""
        gone = frozenset(keys)
        self._applied = [one for one in self._applied if one.keys[0] not in gone]

    def open(self) -> tuple[Finding, ...]:
        """The findings that go on now."""
        return tuple(one.finding for one in self._applied if one.finding is not None)

    def see(self, at_s: float, values: Mapping[str, float | None]) -> list[Finding]:
        """What began or ended at this moment."""
        found: list[Finding] = []
        for one in self._applied:
            first = values.get(one.keys[0])
            if first is None:
                found += _lose(one, at_s)
                continue
            if one.is_counter:
                before, one.count = one.count, first
                # A counter that fell began anew: what it counts since is not known to be new.
                first = first - before if before is not None and first > before else 0.0
            arguments = [first, *map(values.get, one.keys[1:])]
            if None in arguments[: one.needed]:
                found += _lose(one, at_s)
                continue
            one.known_s = at_s
            if one.episode.see(at_s, one.rule.holds(*arguments)):
                begun = one.finding
                found.append(_begin(one, at_s, arguments) if begun is None else _end(one, begun, at_s))
        return found

    def interrupt(self) -> None:
        """Time passed that nobody saw: conditions that had not held for long enough begin anew."""
        for one in self._applied:
            if one.finding is None:
                one.episode.forget()


def _apply(rule: Rule, instance: str | None) -> _Applied:
    written = (rule.key, *rule.needs, *rule.may_have)
    keys = tuple(filled(key, instance) for key in written)
    family, _, name = split(rule.key)
    quantity = CATALOGUE.get((family, name))
    return _Applied(
        rule=rule,
        keys=keys,
        needed=1 + len(rule.needs),
        is_counter=quantity is not None and quantity.is_counter,
        episode=Episode(hold_s=rule.hold_s, clear_s=rule.clear_s),
    )


def filled(key: str, instance: str | None) -> str:
    """The key with the instance in the place of `*`."""
    family, written, name = split(key)
    return key_of(family, name, instance if written == ANY else written)


def _begin(one: _Applied, at_s: float, arguments: Sequence[float | None]) -> Finding:
    rule = one.rule
    one.finding = Finding(
        kind=FindingKind.RULE,
        name=rule.name,
        key=one.keys[0],
        what=f"{place(one.keys[0])}: {rule.says(*arguments)}",
        at_s=at_s,
        since_s=one.episode.since_s,
        confidence=rule.directness * one.episode.share,
        severity=rule.severity,
        causes=rule.causes,
    )
    return one.finding


def _end(one: _Applied, begun: Finding, at_s: float, how: str = "over") -> Finding:
    one.finding = None
    what = f"{begun.what}; {how} after {span(at_s - begun.since_s)}"
    return replace(begun, what=what, at_s=at_s, is_over=True)


def _lose(one: _Applied, at_s: float) -> tuple[Finding, ...]:
    """Its readings are missing: after a minute, a finding that goes on is over."""
    if one.finding is None or at_s - one.known_s < LOST_S:
        return ()
    one.episode.forget()
    return (_end(one, one.finding, at_s, "no longer measured"),)
