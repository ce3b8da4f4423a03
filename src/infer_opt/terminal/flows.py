"""The blocks of disks and network: how much flows, now and lately."""

from collections.abc import Sequence
from dataclasses import dataclass

from infer_opt.readings.catalogue import key_of
from infer_opt.terminal.graphs import largest, nice_top, sparkline
from infer_opt.terminal.inks import Ink, Line, Room, Span, box
from infer_opt.terminal.seen import Seen
from infer_opt.terminal.texts import clean, fit, per_second, rate, share, size, width_of

_RATE_WIDTH = 9
_LEAST_SPARK = 3
_WIDEST_SPARK = 40
_LEAST_TOP = 10_000.0  # bytes a second: noise below it does not fill a sparkline


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What flows two ways: its readings, how they are marked, and what all of a kind together are called."""

    family: str
    title: str
    incoming: str
    outgoing: str
    marks: tuple[str, str]
    total: str


_DISKS = _Kind(
    family="disk",
    title="Disks",
    incoming="read_bytes_per_second",
    outgoing="written_bytes_per_second",
    marks=("r", "w"),
    total="all",
)
_NETWORK = _Kind(
    family="network",
    title="Network",
    incoming="received_bytes_per_second",
    outgoing="sent_bytes_per_second",
    marks=("↓", "↑"),
    total="all",
)


def draw_disks(seen: Seen, room: Room) -> list[Line]:
    """The frame of disks: rates of each, how busy, and the fullest file systems where there is room."""
    inner = room.within()
    lines = _lines(seen, _DISKS, seen.inventory.disks, inner)
    lines += _filesystems(seen, inner.width)[: max(0, inner.height - len(lines))]
    busy = seen.value("disk.busy")
    right: Line = ((f"busy {share(busy)}", Ink.WARNING if busy is not None and busy > 0.8 else Ink.TEXT),)
    return box(lines, room, title=_DISKS.title, right=right if seen.has("disk.busy") else ())


def draw_network(seen: Seen, room: Room) -> list[Line]:
    """The frame of network interfaces: rates of each, and what was lost."""
    lines = _lines(seen, _NETWORK, seen.inventory.interfaces, room.within())
    lost = [
        (f"{name} {per_second(value)}", Ink.WARNING)
        for name, value in (
            ("errors", seen.value("network.errors_per_second")),
            ("dropped", seen.value("network.dropped_per_second")),
        )
        if value
    ]
    right: list[Span] = []
    for span in lost:
        right += [("  ", Ink.TEXT), span] if right else [span]
    return box(lines, room, title=_NETWORK.title, right=tuple(right))


def draw_flows(seen: Seen, room: Room) -> list[Line]:
    """One line of sums, where there is no room for frames."""
    kinds = [kind for kind, there in ((_DISKS, seen.inventory.disks), (_NETWORK, seen.inventory.interfaces)) if there]
    line: Line = ((" ", Ink.TEXT),)
    if not kinds:
        return [line]
    width = (room.width - 1) // len(kinds)
    for kind in kinds:
        label = "disk" if kind is _DISKS else "net"
        gap: Line = (("  ", Ink.TEXT),) if len(line) > 1 else ()
        line += (*gap, *_line(seen, kind, label, None, width - 2, label_width=len(label)))
    return [line]


def _lines(seen: Seen, kind: _Kind, instances: Sequence[str], inner: Room) -> list[Line]:
    """One line for each; with several, a line of sums first, and the busiest where not all fit."""
    several = len(instances) > 1 and inner.height > 1
    shown = instances if len(instances) <= inner.height - several else _busiest(seen, kind, instances)
    shown = shown[: inner.height - several]
    label_width = min(12, max((width_of(name) for name in (*shown, kind.total)), default=0))
    rows: list[tuple[str, str | None]] = [(kind.total, None)] if several else []
    rows += [(name, name) for name in shown]
    return [_line(seen, kind, label, name, inner.width, label_width=label_width) for label, name in rows]


def _busiest(seen: Seen, kind: _Kind, instances: Sequence[str]) -> tuple[str, ...]:
    """Those that moved most lately first; equals keep their order."""
    return tuple(
        sorted(
            instances,
            key=lambda name: (
                -max(
                    largest(seen.series(key_of(kind.family, reading, name)))
                    for reading in (kind.incoming, kind.outgoing)
                )
            ),
        )
    )


def _line(seen: Seen, kind: _Kind, label: str, instance: str | None, width: int, *, label_width: int) -> Line:
    spark = min(_WIDEST_SPARK, (width - label_width - 2) // 2 - 3 - _RATE_WIDTH)
    spans: list[Span] = [(fit(label, label_width) + " ", Ink.LABEL)]
    for mark, reading, ink in zip(kind.marks, (kind.incoming, kind.outgoing), (Ink.READ, Ink.WRITE), strict=True):
        key = key_of(kind.family, reading, instance)
        spans.append((f"{mark} " if len(spans) == 1 else f" {mark} ", Ink.DIM))
        if spark >= _LEAST_SPARK:
            course = seen.series(key)[-spark:]
            spans.append((sparkline(course, width=spark, top=nice_top(course, _LEAST_TOP)) + " ", ink))
        spans.append((f"{rate(seen.value(key)):>{_RATE_WIDTH}}", Ink.TEXT))
    return tuple(spans)


def _filesystems(seen: Seen, width: int) -> list[Line]:
    """The fullest first."""
    rows = []
    for place in seen.inventory.filesystems:
        total, free = seen.of("filesystem", place, "total_bytes"), seen.of("filesystem", place, "free_bytes")
        full = None if total is None or free is None or not total else 1 - free / total
        text = f"{size(free)} free of {size(total)}"
        ink = Ink.CRITICAL if full is not None and full > 0.95 else Ink.TEXT
        name = fit(clean(place), min(width_of(place), max(4, width - len(text) - 1)))
        rows.append((-1.0 if full is None else full, ((f"{name} ", Ink.LABEL), (text, ink))))
    return [line for _, line in sorted(rows, key=lambda row: -row[0])]
