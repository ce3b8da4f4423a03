"""The block of the CPU: its course, how its time is split, and a meter for each core, however many there are."""

import math
from collections.abc import Sequence

from infer_opt.terminal.graphs import block, graph, meter
from infer_opt.terminal.inks import Ink, Line, Room, Span, beside, box, cells, filled, level
from infer_opt.terminal.seen import Seen
from infer_opt.terminal.texts import clock, share

METER_WIDTH = 15  # the narrowest meter of a core that is worth its room: `12 ━━━━── 100 %`
_WIDEST_METER = 26
_LEAST_GRAPH = 8
_GAP = 2
_HURTS = 0.05  # a share of time that is stolen or waited for


def draw_cpu(seen: Seen, room: Room) -> list[Line]:
    """The frame of the CPU."""
    busy, clock_now = seen.value("cpu.busy"), seen.value("cpu.frequency_hertz")
    count = len(seen.inventory.cores)
    title = "CPU" if not count else f"CPU · {count} core" + ("s" if count > 1 else "")
    speed: Line = ((f"{clock(clock_now)}  ", Ink.DIM),) if clock_now is not None else ()
    return box(_content(seen, room.within()), room, title=title, right=(*speed, (share(busy), level(busy))))


def _content(seen: Seen, inner: Room) -> list[Line]:
    if inner.height < 1 or inner.width < 1:
        return []
    rows = inner.height - 1 if inner.height > 1 else 1
    busy = [seen.of("cpu", core, "busy") for core in seen.inventory.cores]
    meters, width = core_meters(busy, rows=rows, width=inner.width)
    left = inner.width - width - (_GAP if width else 0)
    if left < _LEAST_GRAPH:
        lines = filled(meters, Room(width=inner.width, height=rows))
    else:
        course = graph(seen.series("cpu.busy"), width=left, height=rows)
        lines = beside(((course, left), (meters, width)), height=rows, gap=_GAP)
    return [*lines, _split(seen, inner.width)] if inner.height > 1 else lines


def _split(seen: Seen, width: int) -> Line:
    """How the time is split, whole items only; what others take or disks hold up comes first where it hurts."""
    items: list[tuple[bool, Line]] = []
    for name in ("user", "system", "steal", "waiting"):
        value = seen.value(f"cpu.{name}")
        hurts = name in ("steal", "waiting") and value is not None and value > _HURTS
        gap: Span = ("  " if items else "", Ink.TEXT)
        items.append((hurts, (gap, (f"{name} ", Ink.LABEL), (share(value), Ink.WARNING if hurts else Ink.TEXT))))
    spans: Line = ()
    for _, item in sorted(items, key=lambda item: not item[0]):
        if cells(spans) + cells(item) <= width:
            spans += item
    return spans


def core_meters(busy: Sequence[float | None], *, rows: int, width: int) -> tuple[list[Line], int]:
    """Meters in columns, and how wide they are together; marks of one character where meters do not fit.

    The graph beside them keeps at least two fifths of the width, unless the marks need it.
    """
    if not busy or rows < 1:
        return [], 0
    columns = math.ceil(len(busy) / rows)
    most = width * 3 // 5
    each = min(_WIDEST_METER, (most - _GAP * (columns - 1)) // columns)
    if each >= METER_WIDTH or (len(busy) <= rows and each >= 8):
        return _in_columns(busy, rows=math.ceil(len(busy) / columns), width=each), columns * (each + _GAP) - _GAP
    return _marks(busy, rows=rows, width=width)


def _in_columns(busy: Sequence[float | None], *, rows: int, width: int) -> list[Line]:
    digits = len(str(len(busy) - 1))
    lines: list[Line] = []
    for row in range(rows):
        line: Line = ()
        for number in range(row, len(busy), rows):
            value = busy[number]
            full, empty = meter(value, width - digits - 7)
            gap: Line = ((" " * _GAP, Ink.TEXT),) if line else ()
            line += (
                *gap,
                (f"{number:>{digits}} ", Ink.LABEL),
                (full, level(value)),
                (empty, Ink.DIM),
                (f"{share(value):>6}", Ink.TEXT),
            )
        lines.append(line)
    return lines


def _marks(busy: Sequence[float | None], *, rows: int, width: int) -> tuple[list[Line], int]:
    """One character a core, in rows of a round number; one for the busiest of several where even that is too much."""
    digits = len(str(len(busy) - 1)) + 1
    half = width * 3 // 5 - digits
    room = half if half * rows >= len(busy) else width - digits
    if room < 1:
        return [], 0
    together = math.ceil(len(busy) / (room * rows))
    marks = [busy[start : start + together] for start in range(0, len(busy), together)]
    across = _across(len(marks), rows=rows, room=room)
    lines: list[Line] = []
    for start in range(0, len(marks), across):
        spans: list[Span] = [(f"{start * together:>{digits - 1}} ", Ink.LABEL)]
        for group in marks[start : start + across]:
            known = [value for value in group if value is not None]
            value = max(known) if known else None
            spans.append((block(value), level(value)))
        lines.append(tuple(_joined(spans)))
    return lines, digits + across


def _across(marks: int, *, rows: int, room: int) -> int:
    """How many marks to a row: a power of two where there is room for it, so that numbers of cores are easy to find."""
    needed = math.ceil(marks / rows)
    power: int = 1 << (needed - 1).bit_length()
    return min(marks, power if power <= room else room)


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Neighbours in one ink as one piece: that is less to send to the terminal."""
    joined: list[Span] = []
    for text, ink in spans:
        if joined and joined[-1][1] is ink:
            joined[-1] = (joined[-1][0] + text, ink)
        else:
            joined.append((text, ink))
    return joined
