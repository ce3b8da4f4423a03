"""What was found in a series of samples: anomalies, trends and alerts."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much it matters, from a remark to what needs somebody now."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class FindingKind(StrEnum):
    """How it was found: by a physical rule, as a shift of a reading's level, or as a trend."""

    RULE = "rule"
    SHIFT = "shift"
    TREND = "trend"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When a trend reaches a bound: seconds from now, with a 90 % interval. `high_s` is None where it may never."""

    bound: float
    in_s: float
    low_s: float
    high_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found. It begins once and ends once: `is_over` is True in the second of the two.

    `name` is the rule's (`memory-leak`, `level-shift`, ...); with `key`, the reading that it concerns, it says which
    finding this is. `what` is one sentence with the values, `since_s` when it began (Unix time, at or before `at_s`,
    when it was found), `confidence` 0 to 1 how sure, and `causes` what usually is behind it, the likeliest first.
    """

    kind: FindingKind
    name: str
    key: str
    what: str
    at_s: float
    since_s: float
    confidence: float
    severity: Severity = Severity.WARNING
    causes: tuple[str, ...] = ()
    forecast: Forecast | None = None
    is_over: bool = False


class AlertState(StrEnum):
    """An alert begins to fire, and is resolved."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertEvent:
    """A rule of the user's began to fire or was resolved, for one reading.

    `since_s` is when the condition began to hold (Unix time), `at_s` when it had held for the rule's duration.
    """

    rule: str
    state: AlertState
    severity: Severity
    key: str
    value: float | None
    what: str
    at_s: float
    since_s: float
