"""Alert rules in a YAML file. Everything is checked when the file is read, and a fault is told with its place.

    rules:
      - name: gpu-hot
        reading: gpu.temperature_celsius   # of every GPU, each for itself; gpu[0].temperature_celsius is one of them
        above: 85C
        for: 30s
        clear: 80C

docs/alerts.md describes every key.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from infer_opt.alerts.nodes import Entry, Node, nearest, read_yaml
from infer_opt.alerts.plan import Action, AlertPlan, Rule, RuleKind
from infer_opt.alerts.quantities import parse_value
from infer_opt.alerts.targets import Targets, read_targets
from infer_opt.alerts.thresholds import read_bounds, read_reading
from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import Unit, quantity_of
from infer_opt.readings.findings import Severity

RULE_KEYS = (
    "name", "reading", "finding", "above", "below", "missing", "grows", "at_least", "for", "clear", "clear_for",
    "severity", "message", "actions",
)  # fmt: skip
GROWN_CLEAR_FOR_S = 300.0  # a counter stands still most of the time: without this an alert would end at once
ANY = "any"
LONGEST_NAME = 80

_OF_A_READING = (RuleKind.ABOVE, RuleKind.BELOW, RuleKind.MISSING, RuleKind.GROWS)
_EVERYWHERE = ("name", "severity", "message", "actions", "clear_for")
_BESIDE = {
    RuleKind.ABOVE: ("reading", "above", "for", "clear"),
    RuleKind.BELOW: ("reading", "below", "for", "clear"),
    RuleKind.MISSING: ("reading", "missing", "for"),
    RuleKind.GROWS: ("reading", "grows"),
    RuleKind.FINDING: ("finding", "at_least", "for"),
}
_TOLD = ("rule", "severity", "reading", "instance", "value")
_TOLD_BESIDE = {RuleKind.ABOVE: ("bound",), RuleKind.BELOW: ("bound",), RuleKind.FINDING: ("what",)}


def default_path() -> Path:
    """The rules that come along: in the installed package, or in the checkout that it runs from."""
    installed = Path(__file__).parents[1] / "configs" / "alerts.yaml"
    return installed if installed.is_file() else Path(__file__).parents[3] / "configs" / "alerts.yaml"


def load_rules(
    path: Path, *, environment: Mapping[str, str] | None = None, finding_names: Collection[str] = ()
) -> AlertPlan:
    """The rules in the file at `path`.

    `environment` is what `${NAME}` is looked up in, os.environ unless given. With `finding_names`, all names that a
    finding can have, another one is refused.

    Raises:
        ConfigError: the file cannot be read or says what makes no sense; with file, line and column, and what would be
            right.
    """
    root = read_yaml(path)
    top = root.entries("a file of alert rules", ("actions", "rules"))
    if "rules" not in top:
        raise root.fault("there are no rules", "they are a list under the key rules; see configs/alerts.yaml")
    targets = read_targets(top.get("actions"), os.environ if environment is None else environment)
    rules: dict[str, Rule] = {}
    for node in top["rules"].items("rules"):
        entries = node.entries("a rule", RULE_KEYS)
        rule = _RuleReader(node=node, entries=entries, targets=targets, finding_names=finding_names).read()
        if rule.name in rules:
            raise entries["name"].fault(f"a second rule is named {rule.name!r}", "give each rule a name of its own")
        rules[rule.name] = rule
    return AlertPlan(rules=tuple(rules.values()), log=targets.log, webhook=targets.webhook, exit_code=targets.exit_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RuleReader:
    """One rule of the file, on its way to a Rule."""

    node: Node
    entries: dict[str, Entry]
    targets: Targets
    finding_names: Collection[str]

    def read(self) -> Rule:
        name, kind = self._name(), self._kind()
        self._check_company(kind)
        for_s = self._duration("for", 0.0)
        default = GROWN_CLEAR_FOR_S if kind is RuleKind.GROWS else for_s
        reading = self.entries.get("reading")
        key = None if reading is None else read_reading(reading)
        if kind is RuleKind.GROWS and key is not None and not quantity_of(key).is_counter:
            raise self.entries["grows"].misplaced(
                f"grows is for readings that only ever grow, and {key} is none", "say above: or below: instead"
            )
        bound = clear = None
        if key is not None and kind in (RuleKind.ABOVE, RuleKind.BELOW):
            bound, clear = read_bounds(key, kind, self.entries[kind], self.entries.get("clear"))
        return Rule(
            name=name,
            kind=kind,
            reading=key,
            finding=self._finding(),
            at_least=self._severity("at_least") or Severity.INFO,
            bound=bound,
            clear=clear,
            for_s=for_s,
            clear_for_s=self._duration("clear_for", default),
            severity=self._severity("severity") or (None if kind is RuleKind.FINDING else Severity.WARNING),
            message=self._message(kind),
            actions=self._actions(),
        )

    def _name(self) -> str:
        if "name" not in self.entries:
            raise self.node.fault("this rule has no name", "give it one: name: gpu-hot")
        entry = self.entries["name"]
        name = entry.text("name").strip()
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise entry.fault(f"a name is one line of at most {LONGEST_NAME} letters", "a name like gpu-hot")
        return name

    def _kind(self) -> RuleKind:
        has_reading, has_finding = "reading" in self.entries, "finding" in self.entries
        if has_reading and has_finding:
            raise self.entries["finding"].misplaced(
                "a rule waits for a reading or for a finding, not for both", "make two rules of it"
            )
        if not has_reading and not has_finding:
            raise self.node.fault(
                "this rule does not say what it waits for", "add reading: gpu.temperature_celsius, say"
            )
        if has_finding:
            return RuleKind.FINDING
        found = [kind for kind in _OF_A_READING if kind in self.entries]
        if not found:
            raise self.node.fault(
                "this rule does not say when it holds", "add above: 85, below: 10%, missing: true or grows: true"
            )
        if len(found) > 1:
            raise self.entries[found[1]].misplaced(
                f"{found[1]} stands beside {found[0]}", "a rule has one condition: make two rules of it"
            )
        kind = found[0]
        if kind in (RuleKind.MISSING, RuleKind.GROWS) and not self.entries[kind].is_true(kind):
            raise self.entries[kind].fault(f"{kind}: false says nothing", "leave the line out, or say true")
        return kind

    def _check_company(self, kind: RuleKind) -> None:
        for key, entry in self.entries.items():
            if key not in _EVERYWHERE and key not in _BESIDE[kind]:
                known = ", ".join((*_BESIDE[kind], *_EVERYWHERE))
                raise entry.misplaced(f"{key} means nothing beside {kind}", f"what goes there is {known}")

    def _finding(self) -> str | None:
        entry = self.entries.get("finding")
        if entry is None:
            return None
        name = entry.text("finding").strip()
        if name == ANY:
            return None
        if self.finding_names and name not in self.finding_names:
            raise entry.fault(f"there is no finding {name!r}", nearest(name, (*self.finding_names, ANY)))
        return name

    def _duration(self, key: str, default: float) -> float:
        entry = self.entries.get(key)
        if entry is None:
            return default
        try:
            seconds = parse_value(entry.text(key), Unit.SECONDS, of_what=key)
        except ConfigError as error:
            raise entry.fault(error.what, error.hint) from error
        if seconds < 0:
            raise entry.fault(f"{key} is 0 or more seconds", "write it as 30s or 5m")
        return seconds

    def _severity(self, key: str) -> Severity | None:
        entry = self.entries.get(key)
        return None if entry is None else Severity(entry.choice(key, tuple(Severity)))

    def _message(self, kind: RuleKind) -> str | None:
        entry = self.entries.get("message")
        if entry is None:
            return None
        text, known = " ".join(entry.text("message").split()), (*_TOLD, *_TOLD_BESIDE.get(kind, ()))
        try:
            fields = [(field, spec, turned) for _, field, spec, turned in Formatter().parse(text) if field is not None]
        except ValueError as error:
            raise entry.fault(f"the braces of message do not match: {error}", "a brace itself is written {{") from error
        for field, spec, turned in fields:
            if field not in known:
                raise entry.fault(f"message has no value {{{field}}} here", nearest(field, known))
            if spec or turned:
                raise entry.fault(f"{{{field}}} comes with its unit and takes no format", f"write {{{field}}}")
        return text

    def _actions(self) -> frozenset[Action]:
        entry = self.entries.get("actions")
        if entry is None:
            return self.targets.usual
        found = set()
        for item in entry.items("actions"):
            action = Action(item.choice("an action", tuple(Action)))
            if action in (Action.LOG, Action.WEBHOOK) and action not in self.targets.usual:
                raise item.fault(
                    f"this rule wants the {action}, which is not set up",
                    f"say where it goes under actions: at the top of the file, in {action}:",
                )
            found.add(action)
        return frozenset(found)
