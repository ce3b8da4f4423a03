"""The block of main memory, and the lines of what the machine as a whole is under: load, pressure, limits."""

from collections.abc import Sequence

from infer_opt.terminal.graphs import graph, meter_line
from infer_opt.terminal.inks import Ink, Line, Room, Span, beside, box, cells, level
from infer_opt.terminal.seen import MEMORY_USED, Seen, share_of
from infer_opt.terminal.texts import count, decimal, per_second, rate, share, size, size_of

_METERS_WIDTH = 30
_LEAST_GRAPH = 14
_GAP = 2
_PRESSED = 0.1  # a share of time from which on waiting is worth a colour


def draw_memory(seen: Seen, room: Room) -> list[Line]:
    """The frame of main memory and swap."""
    used, total = seen.value("memory.used_bytes"), seen.value("memory.total_bytes")
    inner = room.within()
    width = inner.width if inner.width < _METERS_WIDTH + _LEAST_GRAPH + _GAP else _METERS_WIDTH
    left = inner.width - width - _GAP if width < inner.width else 0
    course = graph(seen.series(MEMORY_USED), width=left, height=inner.height, ink=Ink.MEMORY) if left else []
    lines = beside(((course, left), (_meters(seen, width), width)), height=inner.height, gap=_GAP)
    taken = share_of(used, total)
    return box(lines, room, title=f"Memory · {size(total)}", right=((share(taken), level(taken)),))


def _meters(seen: Seen, width: int) -> list[Line]:
    """The most important first: what does not fit is cut off at the end."""
    total = seen.value("memory.total_bytes")
    used, cached = seen.value("memory.used_bytes"), seen.value("memory.cached_bytes")
    available = seen.value("memory.available_bytes")
    lines = [_meter("used", used, total, width=width, ink=Ink.MEMORY)]
    limit = seen.value("cgroup.memory_limit_bytes")
    if limit is not None:
        held = seen.value("cgroup.memory_bytes")
        lines.append(meter_line("group    ", share_of(held, limit), size_of(held, limit), width=width))
    lines.append(_meter("available", available, total, width=width, ink=Ink.GOOD))
    swap_total = seen.value("memory.swap_total_bytes")
    if swap_total != 0:
        lines.append(_meter("swap", seen.value("memory.swap_used_bytes"), swap_total, width=width))
    lines.append(_meter("cached", cached, total, width=width, ink=Ink.CACHE))
    if swap_total == 0:
        lines.append((("swap      ", Ink.LABEL), ("none", Ink.DIM)))
    if seen.has("memory.dirty_bytes"):
        lines.append(_meter("dirty", seen.value("memory.dirty_bytes"), total, width=width))
    return lines


def _meter(label: str, part: float | None, whole: float | None, *, width: int, ink: Ink | None = None) -> Line:
    return meter_line(f"{label:<9}", share_of(part, whole), f"{size(part):>8}", width=width, ink=ink)


def draw_loads(seen: Seen, room: Room) -> list[Line]:
    """Lines without a frame: the chosen processes, load, pressure, limits, what the monitor itself takes."""
    machine = (_load(seen), _pressure(seen), _paging(seen))
    ours = (_chosen(seen), _limits(seen), _own(seen))
    apart = [*_flowing(machine, room.width), *_flowing(ours, room.width)]
    return apart if len(apart) <= room.height else _flowing((*ours[:2], *machine, ours[2]), room.width)[: room.height]


def _flowing(groups: Sequence[Line], width: int) -> list[Line]:
    """Groups in lines, a new line where one does not fit as a whole."""
    groups = [group for group in groups if group]
    if not groups:
        return []
    lines: list[Line] = []
    line: Line = ((" ", Ink.TEXT),)
    for group in groups:
        between: Line = (("   ", Ink.TEXT),) if len(line) > 1 else ()
        if len(line) > 1 and cells(line) + cells(between) + cells(group) > width:
            lines.append(line)
            line, between = ((" ", Ink.TEXT),), ()
        line += between + group
    return [*lines, line]


def _named(title: str, *items: tuple[str, str, Ink]) -> Line:
    spans: list[Span] = [(title, Ink.LABEL)]
    for label, value, ink in items:
        spans.append((f" {label} " if label else " ", Ink.DIM))
        spans.append((value, ink))
    return tuple(spans)


def _load(seen: Seen) -> Line:
    if not seen.has("cpu.load_1m"):
        return ()
    cores = max(1, len(seen.inventory.cores))
    items = []
    for name in ("load_1m", "load_5m", "load_15m"):
        value = seen.value(f"cpu.{name}")
        crowded = value is not None and value > 1.5 * cores
        items.append(("", decimal(value), Ink.WARNING if crowded else Ink.TEXT))
    for name in ("runnable", "blocked"):
        if seen.has(f"cpu.{name}"):
            items.append((name, count(seen.value(f"cpu.{name}")), Ink.TEXT))
    if seen.has("cpu.switches_per_second"):
        items.append(("switches", per_second(seen.value("cpu.switches_per_second")), Ink.TEXT))
    return _named("load", *items)


def _pressure(seen: Seen) -> Line:
    items = []
    for name, label in (("cpu_some", "cpu"), ("memory_some", "memory"), ("io_some", "disk")):
        value = seen.value(f"pressure.{name}")
        if seen.has(f"pressure.{name}"):
            pressed = value is not None and value > _PRESSED
            items.append((label, share(value), Ink.WARNING if pressed else Ink.TEXT))
    return _named("pressure", *items) if items else ()


def _limits(seen: Seen) -> Line:
    quota, used = seen.value("cgroup.quota_cores"), seen.value("cgroup.cpu_cores")
    if quota is None:
        return ()
    throttled = seen.value("cgroup.throttled")
    hurts = throttled is not None and throttled > 0.01
    return _named(
        "quota",
        ("", f"{decimal(used)} of {quota:g} cores", Ink.TEXT),
        ("throttled", share(throttled), Ink.CRITICAL if hurts else Ink.TEXT),
    )


def _paging(seen: Seen) -> Line:
    """Only while it happens: nobody needs to read that nothing is swapped."""
    items = []
    for name, label in (("swapped_in_bytes_per_second", "in"), ("swapped_out_bytes_per_second", "out")):
        value = seen.value(f"memory.{name}")
        if value:
            items.append((label, rate(value), Ink.WARNING))
    kills = seen.value("memory.oom_kills")
    out_of_memory = (("ended for want of memory", count(kills), Ink.CRITICAL),) if kills else ()
    return _named("swapped", *items, *out_of_memory) if items else _named("memory", *out_of_memory) if kills else ()


def _chosen(seen: Seen) -> Line:
    number = seen.value("process.count")
    if not number:
        return ()
    return _named(
        "chosen",
        ("", f"{count(number)} process" + ("es" if number > 1 else ""), Ink.CHOSEN),
        ("cores", decimal(seen.value("process.cpu_cores")), Ink.TEXT),
        ("memory", size(seen.value("process.rss_bytes")), Ink.TEXT),
        ("threads", count(seen.value("process.threads")), Ink.TEXT),
    )


def _own(seen: Seen) -> Line:
    if not seen.has("monitor.cpu_cores"):
        return ()
    return _named(
        "monitor",
        ("", share(seen.value("monitor.cpu_cores")), Ink.DIM),
        ("", size(seen.value("monitor.rss_bytes")), Ink.DIM),
    )
