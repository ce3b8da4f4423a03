"""Samples, findings and rules for the tests of alerts, in few words."""

from collections.abc import Mapping
from pathlib import Path

from infer_opt.alerts.plan import AlertPlan
from infer_opt.alerts.rules import load_rules
from infer_opt.readings.findings import AlertEvent, AlertState, Finding, FindingKind, Severity
from infer_opt.readings.samples import Sample

WALL_S = 1_700_000_000.0


def sample(second: float, values: Mapping[str, float | None] | None = None) -> Sample:
    """A sample `second` seconds after the beginning, by both clocks."""
    return Sample(number=int(second), at_s=WALL_S + second, clock_s=1000.0 + second, values=values or {})


def finding(name: str, key: str, *, severity: Severity = Severity.WARNING, is_over: bool = False) -> Finding:
    return Finding(
        kind=FindingKind.TREND,
        name=name,
        key=key,
        what=f"{key} grows by 1 MB/s",
        at_s=WALL_S,
        since_s=WALL_S,
        confidence=0.9,
        severity=severity,
        is_over=is_over,
    )


def event(
    rule: str = "gpu-hot",
    *,
    key: str = "gpu[0].temperature_celsius",
    state: AlertState = AlertState.FIRING,
    value: float | None = 91.5,
    what: str = "GPU 0 is at 91.5 °C",
    severity: Severity = Severity.WARNING,
) -> AlertEvent:
    return AlertEvent(
        rule=rule, state=state, severity=severity, key=key, value=value, what=what, at_s=WALL_S + 30.5, since_s=WALL_S
    )


def rules(folder: Path, text: str, environment: Mapping[str, str] | None = None) -> AlertPlan:
    """The plan of a file with that text."""
    path = folder / "alerts.yaml"
    path.write_text(text)
    return load_rules(path, environment=environment or {})
