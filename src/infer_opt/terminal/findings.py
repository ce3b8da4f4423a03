"""Findings and alerts as lines: one each in a list, and all that is known of one in the view of details."""

from collections.abc import Sequence

from infer_opt.readings.findings import Severity
from infer_opt.terminal.inks import Ink, Line, Room, Span, box, fitted, indented, plain
from infer_opt.terminal.ledger import Entry
from infer_opt.terminal.seen import Seen
from infer_opt.terminal.texts import about, clean, fit, number, share, time_of_day, wrap

INKS = {Severity.INFO: Ink.INFO, Severity.WARNING: Ink.WARNING, Severity.CRITICAL: Ink.CRITICAL}
_MARKS = {Severity.INFO: "●", Severity.WARNING: "▲", Severity.CRITICAL: "◆"}
_SEVERITY_WIDTH = 8
_NAME_WIDTH = 22
_WIDE = 110  # cells from which on severity and name are told in words
_TIMED = 72  # and times, and how sure


def draw_findings(
    seen: Seen, room: Room, *, entries: Sequence[Entry], first: int = 0, selected: int | None = None
) -> list[Line]:
    """Entries from the `first` on, in a frame where there is room for more than one line."""
    now_s = seen.at_s or 0.0
    framed = room.height > 2
    inner = room.within() if framed else room.bare()
    shown = entries[first : first + inner.height]
    lines = [
        _entry_line(entry, now_s, inner.width, is_selected=first + number == selected)
        for number, entry in enumerate(shown)
    ]
    if not framed:
        return indented(lines)
    if not lines:
        lines = [(("nothing was found so far", Ink.DIM),)]
    holding = sum(entry.over_s is None for entry in entries)
    over = len(entries) - holding
    right: Line = ((f"{holding} now", Ink.TEXT if not holding else Ink.WARNING), (f" · {over} over", Ink.DIM))
    return box(lines, room, title="Findings and alerts", right=right)


def _entry_line(entry: Entry, now_s: float, width: int, *, is_selected: bool) -> Line:
    is_over = entry.over_s is not None
    mark = "○" if is_over else _MARKS[entry.severity]
    ink = Ink.DIM if is_over else INKS[entry.severity]
    text_ink = Ink.DIM if is_over else Ink.TEXT
    spans: list[Span] = [(f"{mark} ", ink)]
    if width >= _WIDE:
        spans.append((fit(str(entry.severity), _SEVERITY_WIDTH) + " ", ink))
        spans.append((fit(clean(entry.name), _NAME_WIDTH) + " ", ink))
    end = _when(entry, now_s) if width >= _TIMED else about(max(0.0, now_s - entry.since_s))
    if width >= _TIMED:
        end += "       alert" if entry.confidence is None else f"  {share(entry.confidence):>5} sure"
    room = width - sum(len(text) for text, _ in spans) - len(end) - 2
    what = clean(entry.what)
    if room >= 20:
        spans += [(fit(what, room), text_ink), (f"  {end}", Ink.DIM)]
    else:
        spans.append((what, text_ink))
    line = fitted(tuple(spans), width)
    return ((plain(line), Ink.SELECTED),) if is_selected else line


def _when(entry: Entry, now_s: float) -> str:
    if entry.over_s is not None:
        return f"{time_of_day(entry.since_s)} to {time_of_day(entry.over_s)}"
    return f"since {time_of_day(entry.since_s)}, {about(max(0.0, now_s - entry.since_s)):>6}"


def draw_details(seen: Seen, room: Room, *, entry: Entry | None) -> list[Line]:
    """All that is known of one finding or alert, in a frame."""
    if entry is None:
        lines: list[Line] = [(("choose a finding with the arrows", Ink.DIM),)]
        return box(lines, room, title="Details")
    lines = entry_lines(seen, entry, room.within().width)
    return box(
        lines, room, title=f"Details · {clean(entry.name)}", right=((str(entry.severity), INKS[entry.severity]),)
    )


def entry_lines(seen: Seen, entry: Entry, width: int) -> list[Line]:
    """What it says, when, how sure, the forecast, and what usually is behind it, in lines of at most that width."""
    now_s = seen.at_s or 0.0
    lines: list[Line] = [((text, Ink.BOLD),) for text in wrap(clean(entry.what), width)]
    lines += _named("reading", entry.key, width)
    value = seen.value(entry.key)
    if seen.has(entry.key):
        lines += _named("now", number(entry.key, value), width)
    lines += _named("since", f"{time_of_day(entry.since_s)}, {about(max(0.0, now_s - entry.since_s))} ago", width)
    lines += _named("noticed", f"{time_of_day(entry.at_s)}, {about(max(0.0, entry.at_s - entry.since_s))} later", width)
    if entry.over_s is not None:
        lines += _named("over", time_of_day(entry.over_s), width)
    sure = "an alert: its rule holds" if entry.confidence is None else f"{share(entry.confidence)} sure"
    lines += _named("how sure", sure, width)
    if entry.forecast is not None:
        forecast = entry.forecast
        latest = "never" if forecast.high_s is None else about(forecast.high_s)
        text = (
            f"reaches {number(entry.key, forecast.bound)} in {about(forecast.in_s)}"
            f" (90 %: {about(forecast.low_s)} to {latest})"
        )
        lines += _named("forecast", text, width)
    for order, cause in enumerate(entry.causes, 1):
        lines += _named("causes" if order == 1 else "", f"{order}. {clean(cause)}", width)
    return lines


def _named(label: str, text: str, width: int) -> list[Line]:
    """A label and a text that goes on below itself."""
    rows = wrap(text, max(10, width - 10))
    return [((f"{label if number == 0 else '':<10}", Ink.LABEL), (row, Ink.TEXT)) for number, row in enumerate(rows)]
