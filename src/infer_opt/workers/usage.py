"""What a worker uses while it runs and after it, read from outside of it: the worker only runs, or rests."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from infer_opt.errors import UnavailableError
from infer_opt.monitors.host import HostSnapshot, passed, snapshot
from infer_opt.protocols import Monitor
from infer_opt.workers.messages import Ran, Run
from infer_opt.workers.process import WorkerProcess

RUN_S, CUDA_RUN_S, REST_S = 0.3, 1.5, 0.2
MEMORY = "gpu[0].process_memory_bytes"
THROTTLES = ("heat", "power")
LATE = 0.7  # of the runs, when the device is read: NVML averages over up to a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of one worker and its children. None is "not available".

    `cores_running` and `cores_after` are their CPU time over wall time, during runs and in the rest after them
    (spinning); `threads` theirs while running. `gpu_utilisation` and `power_watts` are of the device in the middle of
    the runs, `device_memory_bytes` the worker's own, `energy_joules` the device's over all `runs`; `throttled_by` says
    what held the device's clock down then, `heat` or `power`.
    """

    runs: int
    seconds: float
    cores_running: float | None = None
    cores_after: float | None = None
    device_memory_bytes: int | None = None
    gpu_utilisation: float | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    throttled_by: tuple[str, ...] = ()


def usage(
    worker: WorkerProcess,
    *,
    timeout_s: float,
    run_s: float = RUN_S,
    rest_s: float = REST_S,
    device: Monitor | None = None,
    look: Callable[[Iterable[int]], HostSnapshot] = snapshot,
    sleep: Callable[[float], None] = time.sleep,
) -> Usage:
    """Have the worker run for a while, then rest, and read what it uses.

    Arguments:
        device: the GPU that it runs on; None on a CPU.

    Raises:
        WorkerError: it died, or did not answer in time.
        ModelError: the runtime failed on the inputs.
    """
    pids = (worker.pid,)
    before = _read(device, worker)
    began = look(pids)
    worker.send(Run(seconds=run_s))
    during: Mapping[str, float | None] = {}
    if device is not None:
        sleep(run_s * LATE)
        during = _read(device, worker)
    ran: Ran = worker.receive(timeout_s=timeout_s)
    ended = look(pids)
    after = _read(device, worker)
    rested = ended
    if rest_s > 0:
        sleep(rest_s)
        rested = look(pids)
    return Usage(
        runs=ran.runs,
        seconds=ran.seconds,
        cores_running=_cores(began, ended),
        cores_after=_cores(ended, rested),
        device_memory_bytes=_whole(during.get(MEMORY)),
        gpu_utilisation=during.get("gpu[0].utilisation"),
        power_watts=during.get("gpu[0].power_watts"),
        throttled_by=tuple(cause for cause in THROTTLES if during.get(f"gpu[0].throttled_by_{cause}")),
        energy_joules=passed(before.get("gpu[0].energy_joules"), after.get("gpu[0].energy_joules")),
    )


def device_memory_bytes(device: Monitor, worker: WorkerProcess) -> int | None:
    """What a worker holds of the device's memory now; None where that cannot be read."""
    return _whole(_read(device, worker).get(MEMORY))


def _read(device: Monitor | None, worker: WorkerProcess) -> Mapping[str, float | None]:
    """CUDA goes on without NVML: when that stops to answer in the middle, its readings are n/a from then on."""
    if device is None:
        return {}
    try:
        return device.read((worker.pid,))
    except UnavailableError:
        return {}


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _cores(before: HostSnapshot, after: HostSnapshot) -> float | None:
    used, wall_s = passed(before.own_cpu_s, after.own_cpu_s), (after.time_ns - before.time_ns) / 1e9
    return None if used is None or used < 0 or wall_s <= 0 else used / wall_s
