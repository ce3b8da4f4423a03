"""An alert as others read it: the JSON that a webhook gets, and a line of the log. docs/alerts.md describes both."""

import json
import re
from datetime import UTC, datetime

from infer_opt.alerts.plan import LogFormat
from infer_opt.alerts.wording import unit_of
from infer_opt.readings.findings import AlertEvent

SCHEMA_VERSION = 1

_BARE = re.compile(r"[^\s\"=\\]+\Z")


def as_document(event: AlertEvent, host: str) -> dict[str, object]:
    """The body that a webhook gets. Within one `version` fields are only added; null is "not available"."""
    return {
        "version": SCHEMA_VERSION,
        "source": "infer-opt",
        "host": host,
        "text": f"[{event.severity}] {event.state} on {host}: {event.rule}: {event.what}",
        "alert": {"id": _identity(event, host), **_fields(event)},
    }


def as_line(event: AlertEvent, form: LogFormat) -> str:
    """One line, without its end."""
    fields = _fields(event)
    if form is LogFormat.JSON:
        return json.dumps({"version": SCHEMA_VERSION, **fields})
    return " ".join(f"{name}={_quoted(value)}" for name, value in fields.items() if value is not None)


def _fields(event: AlertEvent) -> dict[str, object]:
    return {
        "at": _time(event.at_s),
        "state": event.state.value,
        "severity": event.severity.value,
        "rule": event.rule,
        "reading": event.key,
        "value": event.value,
        "unit": unit_of(event.key).value,
        "since": _time(event.since_s),
        "message": event.what,
    }


def _identity(event: AlertEvent, host: str) -> str:
    """The same for the beginning and the end of one alert, and for every try to deliver either."""
    import hashlib  # three megabytes of it: only where there is a webhook

    parts = (host, event.rule, event.key, f"{event.since_s:.3f}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quoted(value: object) -> str:
    """A value of logfmt: bare where it can be, else in quotes with whatever would end the line written as \\n."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if _BARE.match(text) and text.isprintable() else json.dumps(text, ensure_ascii=False)
