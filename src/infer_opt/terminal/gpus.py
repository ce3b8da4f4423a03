"""The blocks of GPUs: one frame for each where there is room, else one line for each."""

from collections.abc import Mapping

from infer_opt.terminal.graphs import graph, meter, meter_line
from infer_opt.terminal.inks import Ink, Line, Room, Span, beside, box, cells, indented, level
from infer_opt.terminal.inventory import Device
from infer_opt.terminal.seen import Seen, share_of
from infer_opt.terminal.texts import NOT_KNOWN, celsius, clean, clock, clock_of, count, fit, rate, share, size_of, watts

_METERS_WIDTH = 40
_METERS_WIDEST = 64
_LEAST_GRAPH = 16
_GAP = 2
_NAMED = 110  # cells from which on a line of a device has its name
_NAME_WIDTH = 22
_CLOCKED = 96  # and its clock, and why that is held back
_WHY_WIDTH = 14
_WIDEST_BAR = 40
_HOT_C = 85.0
_SIGNS_OF_LIFE = ("memory_used_bytes", "temperature_celsius", "power_watts", "utilisation", "sm_clock_hertz")

# Bits of the driver's mask of why a clock is not higher (NVML's nvmlClocksEventReason...), in a few words each.
REASONS = {
    0x2: ("clocks set", Ink.DIM),
    0x4: ("power cap", Ink.WARNING),
    0x8: ("hardware slowdown", Ink.CRITICAL),
    0x10: ("sync boost", Ink.DIM),
    0x20: ("heat", Ink.CRITICAL),
    0x40: ("heat", Ink.CRITICAL),
    0x80: ("power brake", Ink.CRITICAL),
}


def draw_device(seen: Seen, room: Room, *, device: Device, names: Mapping[str, str]) -> list[Line]:
    """The frame of one device, and a line for each of the instances that it is split into."""
    name = clean(names.get(device.instance, ""))
    title = f"GPU {device.instance}" + (f" · {name}" if name else "")
    inner = room.within()
    parts = [_part(seen, part, inner.width) for part in device.parts]
    if is_lost(seen, device.instance):
        return box([(("does not answer: it was lost, or the driver was", Ink.CRITICAL),)], room, title=title)
    height = max(1, inner.height - len(parts))
    width = (
        inner.width
        if inner.width < _METERS_WIDTH + _LEAST_GRAPH + _GAP
        else min(_METERS_WIDEST, max(_METERS_WIDTH, inner.width * 2 // 3))
    )
    left = inner.width - width - _GAP if width < inner.width else 0
    course = graph(_course(seen, device.instance), width=left, height=height) if left else []
    lines = beside(((course, left), (_meters(seen, device.instance, width), width)), height=height, gap=_GAP)
    return box([*lines, *parts], room, title=title, right=held_back(seen, device.instance))


def draw_devices(seen: Seen, room: Room, *, names: Mapping[str, str]) -> list[Line]:
    """One line for each device, in one frame; without the frame where there is room for two lines at most."""
    framed = room.height > 2
    inner = room.within() if framed else room.bare()
    lines: list[Line] = []
    for device in seen.inventory.gpus:
        lines.append(_device_line(seen, device, inner.width, names))
        lines += [_part(seen, part, inner.width) for part in device.parts]
    hidden = len(lines) - inner.height
    if hidden > 0:
        lines = [*lines[: inner.height - 1], ((f"and {hidden + 1} more", Ink.DIM),)]
    return box(lines, room, title="GPUs") if framed else indented(lines)


def is_lost(seen: Seen, instance: str) -> bool:
    """Whether a device that is spoken of gives none of the readings that every device has."""
    return all(seen.of("gpu", instance, name) is None for name in _SIGNS_OF_LIFE)


def held_back(seen: Seen, instance: str) -> Line:
    """Why the clock is not higher, and memory errors: only what matters."""
    found: dict[str, Ink] = {}
    mask = seen.of("gpu", instance, "throttle_reasons")
    for bit, (words, ink) in REASONS.items():
        if mask is not None and int(mask) & bit:
            found[words] = ink
    if seen.of("gpu", instance, "throttled_by_heat") and "heat" not in found:
        found["heat"] = Ink.CRITICAL
    if seen.of("gpu", instance, "throttled_by_power") and not {"power cap", "power brake"} & found.keys():
        found["power cap"] = Ink.WARNING
    errors = seen.of("gpu", instance, "uncorrected_errors")
    if errors:
        found[f"{count(errors)} memory errors"] = Ink.CRITICAL
    spans: list[Span] = []
    for words, ink in found.items():
        spans += [(", ", Ink.DIM), (words, ink)] if spans else [(words, ink)]
    return tuple(spans)


def _course(seen: Seen, instance: str) -> tuple[float, ...] | list[float]:
    """Utilisation; under MIG, where the driver does not say it, how much the engines were active."""
    course = seen.series(f"gpu[{instance}].utilisation")
    if seen.of("gpu", instance, "utilisation") is None and seen.of("gpu", instance, "graphics_active") is not None:
        course = seen.series(f"gpu[{instance}].graphics_active")
    return list(course)


def _meters(seen: Seen, instance: str, width: int) -> list[Line]:
    busy = seen.of("gpu", instance, "utilisation")
    label = "busy  "
    if busy is None and seen.of("gpu", instance, "graphics_active") is not None:
        busy, label = seen.of("gpu", instance, "graphics_active"), "active"
    used, total = _memory(seen, instance)
    power, limit = (seen.of("gpu", instance, f"power_{name}") for name in ("watts", "limit_watts"))
    power_text = f"{_number_of_watts(power)} of {watts(limit)}"
    activity, traffic = _activity(seen, instance), _traffic(seen, instance)
    if activity and traffic and cells(activity) + cells(traffic) > width:
        last = [activity, traffic]
    else:
        last = [activity + traffic]
    return [
        meter_line(label, busy, f"{share(busy):>18}", width=width),
        meter_line("memory", share_of(used, total), f"{size_of(used, total):>18}", width=width, ink=Ink.MEMORY),
        meter_line("power ", share_of(power, limit), f"{power_text:>18}", width=width),
        _state(seen, instance),
        *last,
    ]


def _memory(seen: Seen, instance: str) -> tuple[float | None, float | None]:
    return seen.of("gpu", instance, "memory_used_bytes"), seen.of("gpu", instance, "memory_total_bytes")


def _number_of_watts(value: float | None) -> str:
    return NOT_KNOWN if value is None else f"{value:.0f}"


def _state(seen: Seen, instance: str) -> Line:
    heat, memory_heat = (seen.of("gpu", instance, f"{part}temperature_celsius") for part in ("", "memory_"))
    speed, most = (seen.of("gpu", instance, f"sm_clock_{part}hertz") for part in ("", "most_"))
    spans: list[Span] = [(celsius(heat), _heat_ink(heat))]
    if memory_heat is not None:
        spans += [(" mem ", Ink.DIM), (celsius(memory_heat), Ink.TEXT)]
    spans += [("  ", Ink.TEXT), (clock_of(speed, most), Ink.TEXT)]
    fan, state = seen.of("gpu", instance, "fan"), seen.of("gpu", instance, "performance_state")
    if state is not None:
        spans += [("  ", Ink.TEXT), (f"P{state:.0f}", Ink.TEXT)]
    if fan is not None:
        spans += [("  fan ", Ink.DIM), (share(fan), Ink.TEXT)]
    return tuple(spans)


def _heat_ink(heat: float | None) -> Ink:
    return Ink.WARNING if heat is not None and heat >= _HOT_C else Ink.TEXT


def _activity(seen: Seen, instance: str) -> Line:
    """What the device counts of its own units where it does (GPM)."""
    spans: list[Span] = []
    for name, label in (("sm_active", "SM"), ("tensor_active", "tensor"), ("dram_active", "DRAM")):
        value = seen.of("gpu", instance, name)
        if value is not None:
            spans += [(f"{label} ", Ink.DIM), (f"{share(value)}  ", Ink.TEXT)]
    return tuple(spans)


def _traffic(seen: Seen, instance: str) -> Line:
    received, sent = (seen.of("gpu", instance, f"pcie_{way}_bytes_per_second") for way in ("received", "sent"))
    if received is None and sent is None:
        return ()
    return (("PCIe ", Ink.DIM), (f"↓ {rate(received)} ↑ {rate(sent)}", Ink.TEXT))


def _device_line(seen: Seen, device: Device, width: int, names: Mapping[str, str]) -> Line:
    """Everything in columns: whatever one device has to say, the bars of all are as long."""
    instance = device.instance
    digits = max(len(other.instance) for other in seen.inventory.gpus)
    start: Line = ((f"{instance:>{digits}} ", Ink.LABEL),)
    if width >= _NAMED and names:
        start += ((fit(clean(names.get(instance, "")), _NAME_WIDTH) + " ", Ink.TEXT),)
    if is_lost(seen, instance):
        return (*start, ("does not answer", Ink.CRITICAL))
    busy = seen.of("gpu", instance, "utilisation")
    if busy is None:
        busy = seen.of("gpu", instance, "graphics_active")
    used, total = _memory(seen, instance)
    heat = seen.of("gpu", instance, "temperature_celsius")
    power, limit = (seen.of("gpu", instance, f"power_{name}") for name in ("watts", "limit_watts"))
    power_text = f"{_number_of_watts(power)}/{watts(limit)}"
    values: Line = ((f" {power_text:>9}", Ink.TEXT), (f" {celsius(heat):>6}", _heat_ink(heat)))
    if width >= _CLOCKED:
        values += ((f" {clock(seen.of('gpu', instance, 'sm_clock_hertz')):>8}", Ink.TEXT),)
    why = held_back(seen, instance)
    reserved = _WHY_WIDTH if width >= _CLOCKED else 2
    memory_text = size_of(used, total).replace(" of ", "/").rjust(13)
    room = width - cells(start) - cells(values) - reserved - 6 - len(memory_text)
    bar = min(_WIDEST_BAR, room // 2) if room >= 10 else 0
    reason: Line = ((" ", Ink.TEXT), *why) if reserved > 2 else ((" !", why[0][1]),) if why else ()
    return (
        *start,
        *_bar(busy, bar, None),
        (f"{share(busy):>5} ", Ink.TEXT),
        *_bar(share_of(used, total), bar, Ink.MEMORY),
        (memory_text, Ink.TEXT),
        *values,
        *reason,
    )


def _bar(value: float | None, width: int, ink: Ink | None) -> Line:
    if width < 3:
        return ()
    full, empty = meter(value, width - 1)
    return ((full, ink or level(value)), (empty + " ", Ink.DIM))


def _part(seen: Seen, part: str, width: int) -> Line:
    """One instance of a device that is split (MIG)."""
    used, total = (seen.of("gpu", part, f"memory_{name}_bytes") for name in ("used", "total"))
    label = "  " + (part.partition(".")[2] or part)
    active = seen.of("gpu", part, "graphics_active")
    if active is None:
        active = seen.of("gpu", part, "utilisation")
    values = f"{size_of(used, total)}  busy {share(active)}"
    return meter_line(f"{label:<8}", share_of(used, total), values, width=width, ink=Ink.MEMORY)
