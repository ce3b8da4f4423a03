"""What a GPU did in a call, from the kernels and copies in the runtime's profile."""

from collections.abc import Sequence

from infer_opt.profiles.executed import DeviceCall, DeviceEvent, SeenCall

_DIRECTIONS = {
    "MemcpyHostToDevice": "host to device",
    "MemcpyDeviceToHost": "device to host",
    "MemcpyDeviceToDevice": "device to device",
    "MemcpyHostToHost": "host to host",
}


def device_call(call: SeenCall) -> DeviceCall | None:
    """Kernels and copies of one call; None where the profile has none, as on a CPU."""
    if not call.device:
        return None
    kernels = [event for event in call.device if not event.is_copy]
    copies: dict[str, tuple[int, int, int]] = {}
    for event in call.device:
        if event.is_copy:
            name = _DIRECTIONS.get(event.name, event.name)
            count, size, spent = copies.get(name, (0, 0, 0))
            copies[name] = (count + 1, size + (event.bytes or 0), spent + event.duration_us)
    begin = min((event.begin_us for event in kernels), default=0)
    end = max((event.begin_us + event.duration_us for event in kernels), default=0)
    return DeviceCall(launches=len(kernels), busy_us=_covered_us(kernels), span_us=end - begin, copies=copies)


def _covered_us(events: Sequence[DeviceEvent]) -> int:
    """The time in which at least one of them ran: kernels of several streams overlap."""
    covered = until = 0
    for event in sorted(events, key=lambda one: one.begin_us):
        end = event.begin_us + event.duration_us
        covered += max(0, end - max(event.begin_us, until))
        until = max(until, end)
    return covered
