"""The sentences of alerts: what fired and with which value, and why it ended."""

from infer_opt.alerts.course import Turn
from infer_opt.alerts.plan import Bound, Rule, RuleKind
from infer_opt.alerts.quantities import show_duration, show_value
from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import Unit, quantity_of, split
from infer_opt.readings.findings import Finding, Severity

WHOLE = "all"


def fired(
    rule: Rule,
    key: str,
    *,
    value: float | None,
    before: float | None = None,
    limit: float | None = None,
    finding: Finding | None = None,
    severity: Severity = Severity.WARNING,
) -> str:
    """What to say when `rule` fires for the reading `key`, by the rule's own message where it has one.

    `before` is the value of the sample before, `limit` what the bound came to.
    """
    unit = unit_of(key)
    shown, bound = show_value(value, unit), _bound(rule.bound, limit, unit)
    if rule.message is not None:
        return rule.message.format(
            rule=rule.name, severity=severity, reading=key, instance=_instance(key), value=shown, bound=bound,
            what=finding.what if finding is not None else "",
        )  # fmt: skip
    lasted = f" for {show_duration(rule.for_s)}" if rule.for_s else ""
    match rule.kind:
        case RuleKind.FINDING:
            return finding.what if finding is not None else rule.name
        case RuleKind.MISSING:
            return f"{key} is n/a{lasted}"
        case RuleKind.GROWS:
            return f"{key} grew from {show_value(before, unit)} to {shown}"
    return f"{key} is {shown}, {rule.kind} {bound}{lasted}"


def ended(
    rule: Rule,
    key: str,
    turn: Turn,
    *,
    value: float | None,
    limit: float | None = None,
    finding: Finding | None = None,
) -> str:
    """What to say when the alert of `rule` for `key` ends. `limit` is what the bound for the end came to."""
    unit = unit_of(key)
    lasted = f" for {show_duration(rule.clear_for_s)}" if rule.clear_for_s else ""
    if turn is Turn.LOST:
        return f"{key} is n/a{lasted}: resolved, though it is not known to be well"
    match rule.kind:
        case RuleKind.FINDING:
            return f"{finding.name if finding is not None else rule.name} of {key} is over"
        case RuleKind.MISSING:
            return f"{key} is there again: {show_value(value, unit)}"
        case RuleKind.GROWS:
            return f"{key} has not grown{lasted}"
    side = "at or below" if rule.kind is RuleKind.ABOVE else "at or above"
    return f"{key} is {show_value(value, unit)}, {side} {_bound(rule.clear, limit, unit)}{lasted}"


def unit_of(key: str) -> Unit:
    """The unit of a reading; a plain number where the catalogue does not know it."""
    try:
        return quantity_of(key).unit
    except ConfigError:
        return Unit.COUNT


def _instance(key: str) -> str:
    try:
        return split(key)[1] or WHOLE
    except ConfigError:
        return WHOLE


def _bound(bound: Bound | None, limit: float | None, unit: Unit) -> str:
    if bound is None:
        return ""
    if bound.of is None:
        return show_value(bound.value, unit)
    share = f"{show_value(bound.value, Unit.RATIO)} of {bound.of}"
    return share if limit is None else f"{share} ({show_value(limit, unit)})"
