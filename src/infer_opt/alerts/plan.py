"""What a file of alert rules says, checked and ready to be held against samples."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from infer_opt.readings.findings import Severity


class RuleKind(StrEnum):
    """What a rule waits for: a reading above or below a bound, gone, or grown; or a finding."""

    ABOVE = "above"
    BELOW = "below"
    MISSING = "missing"
    GROWS = "grows"
    FINDING = "finding"


class Action(StrEnum):
    """What is done when an alert fires or is resolved. `exit` ends the monitor, and only when one fires."""

    SCREEN = "screen"
    LOG = "log"
    WEBHOOK = "webhook"
    EXIT = "exit"


class LogFormat(StrEnum):
    """How a line of the alert log is written."""

    LOGFMT = "logfmt"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A value in the unit of the reading or, with `of` (the key of another reading), a share of that one's value."""

    value: float
    of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    `reading` is the key as written: without an instance it means each instance and the plain reading, every one apart.
    `finding` is the name of a finding, None for any. `bound` and `clear` (at which it is resolved) are there for
    `above` and `below` alone. `severity` is None where that of the finding counts. Durations are in seconds.
    """

    name: str
    kind: RuleKind
    reading: str | None = None
    finding: str | None = None
    at_least: Severity = Severity.INFO
    bound: Bound | None = None
    clear: Bound | None = None
    for_s: float = 0.0
    clear_for_s: float = 0.0
    severity: Severity | None = Severity.WARNING
    message: str | None = None
    actions: frozenset[Action] = frozenset({Action.SCREEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTarget:
    """The file that alerts are appended to."""

    path: Path
    format: LogFormat = LogFormat.LOGFMT


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTarget:
    """Where alerts are posted to. URL and headers may hold secrets, so no text for people shows more than `address`."""

    url: str = field(repr=False)
    address: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout_s: float = 10.0
    tries: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPlan:
    """Rules, whose names are unique, and what their actions need. `exit_code` is what `exit` leaves behind."""

    rules: tuple[Rule, ...]
    log: LogTarget | None = None
    webhook: WebhookTarget | None = None
    exit_code: int = 8
