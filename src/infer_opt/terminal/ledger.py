"""Findings and alerts of a session: which hold now, and which are over."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from infer_opt.readings.findings import AlertEvent, AlertState, Finding, Forecast, Severity

KEPT = 200  # of those that are over

_RANKS = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A finding or an alert. `over_s` is when it ended (Unix time), None while it holds.

    `confidence` is None for alerts: a rule holds or does not.
    """

    name: str
    key: str
    what: str
    severity: Severity
    since_s: float
    at_s: float
    is_alert: bool = False
    confidence: float | None = None
    causes: tuple[str, ...] = ()
    forecast: Forecast | None = None
    over_s: float | None = None


class Ledger:
    """Takes findings and alert events in, in order, and says how things stand."""

    def __init__(self) -> None:
        self._open: dict[tuple[bool, str, str], Entry] = {}
        self._over: deque[Entry] = deque(maxlen=KEPT)

    def add(self, findings: Iterable[Finding], alerts: Iterable[AlertEvent]) -> None:
        """What one observation brought."""
        for finding in findings:
            self._put(_of_finding(finding), is_over=finding.is_over)
        for alert in alerts:
            self._put(_of_alert(alert), is_over=alert.state is AlertState.RESOLVED)

    @property
    def firing(self) -> int:
        """How many alerts fire now."""
        return sum(entry.is_alert for entry in self._open.values())

    @property
    def open(self) -> tuple[Entry, ...]:
        """What holds now: the most severe first, alerts before findings, then the latest."""
        return tuple(
            sorted(self._open.values(), key=lambda entry: (_RANKS[entry.severity], not entry.is_alert, -entry.since_s))
        )

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What holds now and then what is over, the latest first."""
        return (*self.open, *reversed(self._over))

    def copy(self) -> "Ledger":
        """How things stand now, whatever comes later."""
        copied = Ledger()
        copied._open = dict(self._open)
        copied._over = deque(self._over, maxlen=KEPT)
        return copied

    def _put(self, entry: Entry, *, is_over: bool) -> None:
        name = (entry.is_alert, entry.name, entry.key)
        if not is_over:
            self._open[name] = entry
            return
        began = self._open.pop(name, entry)
        causes = entry.causes or began.causes
        self._over.append(
            replace(entry, since_s=began.since_s, severity=began.severity, causes=causes, over_s=entry.at_s)
        )


def _of_finding(finding: Finding) -> Entry:
    return Entry(
        name=finding.name,
        key=finding.key,
        what=finding.what,
        severity=finding.severity,
        since_s=finding.since_s,
        at_s=finding.at_s,
        confidence=finding.confidence,
        causes=finding.causes,
        forecast=finding.forecast,
    )


def _of_alert(alert: AlertEvent) -> Entry:
    return Entry(
        name=alert.rule,
        key=alert.key,
        what=alert.what,
        severity=alert.severity,
        since_s=alert.since_s,
        at_s=alert.at_s,
        is_alert=True,
    )
