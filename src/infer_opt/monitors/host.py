"""The host in snapshots that are cheap enough to take between blocks, and what passed between two of them.

`snapshot` costs well under 200 microseconds: plain reads of /proc/stat and /proc/PID files, no libraries, because it
runs while workers are being timed. What a monitor shows is read by the other modules of this folder.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from infer_opt.monitors.files import content

TICK_S = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSnapshot:
    """Clocks and CPU time counters at one moment. None is "this platform does not say", never zero.

    `time_ns` is the monotonic clock and `wall_ns` the time of day. `busy_s`, `steal_s` and `idle_s` are CPU seconds
    since boot over the CPUs that this process may use: busy without steal (guests and interrupts included), steal as
    the hypervisor reports it, idle with waiting for disks. `cpu_s` holds, for each process asked for, the CPU seconds
    of all its threads, of its children that are still alive and of those that it has waited for.
    `foreign_gpu_processes` and `thermal_slowdown` are handed in by whoever reads the GPU.
    """

    time_ns: int
    wall_ns: int
    busy_s: float | None = None
    steal_s: float | None = None
    idle_s: float | None = None
    cpu_s: tuple[tuple[int, float | None], ...] = ()
    foreign_gpu_processes: int | None = None
    thermal_slowdown: bool | None = None

    @property
    def own_cpu_s(self) -> float | None:
        """CPU seconds of all processes asked for; None when none of them could be read."""
        known = [seconds for _, seconds in self.cpu_s if seconds is not None]
        return sum(known) if known else None


def snapshot(
    pids: Iterable[int],
    *,
    root: Path = Path("/"),
    foreign_gpu_processes: int | None = None,
    thermal_slowdown: bool | None = None,
) -> HostSnapshot:
    """Read the counters now.

    Give the coordinating process and every live worker, and the same ones before and after. A child that is itself in
    `pids` is not counted a second time with its parent.
    """
    proc = f"{root}/proc" if str(root) != "/" else "/proc"
    busy, steal, idle = _system(proc)
    return HostSnapshot(
        time_ns=time.perf_counter_ns(),
        wall_ns=time.time_ns(),
        busy_s=busy,
        steal_s=steal,
        idle_s=idle,
        cpu_s=_processes(proc, tuple(dict.fromkeys(pids))),
        foreign_gpu_processes=foreign_gpu_processes,
        thermal_slowdown=thermal_slowdown,
    )


def others_cpu_s(before: HostSnapshot, after: HostSnapshot) -> float | None:
    """CPU seconds that processes other than the given ones used in between; None where that cannot be told."""
    busy, own = passed(before.busy_s, after.busy_s), passed(before.own_cpu_s, after.own_cpu_s)
    # Less than nothing: one of the processes ended and somebody else waited for it, so its seconds are lost to us.
    if busy is None or own is None or own < 0:
        return None
    return max(0.0, busy - own)


def steal_share(before: HostSnapshot, after: HostSnapshot) -> float | None:
    """Stolen CPU time over the CPU time asked for, busy plus stolen, in between; None where it is not counted.

    Idle CPUs have nothing to be stolen: counting them would hide a worker's loss on a machine with many cores.
    """
    busy, steal = passed(before.busy_s, after.busy_s), passed(before.steal_s, after.steal_s)
    if busy is None or steal is None:
        return None
    return steal / (busy + steal) if busy + steal > 0 else 0.0


def passed(before: float | None, after: float | None) -> float | None:
    """What a counter gained; None where it is missing on either side."""
    return None if before is None or after is None else after - before


def _system(proc: str) -> tuple[float | None, float | None, float | None]:
    stat = content(f"{proc}/stat")
    if stat is None:
        return None, None, None
    rows = [line.split() for line in stat.splitlines() if line.startswith(b"cpu")]
    mine = _allowed(len(rows) - 1)
    chosen = [row for row in rows[1:] if mine is not None and int(row[0][3:]) in mine] or rows[:1]
    sums = [sum(int(row[field]) for row in chosen if field < len(row)) * TICK_S for field in range(1, 9)]
    if not chosen:
        return None, None, None
    user, nice, system, idle, iowait, irq, softirq, steal = sums
    return user + nice + system + irq + softirq, steal, idle + iowait


def _allowed(cpus: int) -> frozenset[int] | None:
    """The CPUs of this process's affinity mask, where that leaves some out: the others are not in our way."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    mine = os.sched_getaffinity(0)
    return frozenset(mine) if len(mine) < cpus else None


def _processes(proc: str, pids: tuple[int, ...]) -> tuple[tuple[int, float | None], ...]:
    seen = set(pids)
    return tuple((pid, _tree(proc, pid, seen)) for pid in pids)


def _tree(proc: str, pid: int, seen: set[int]) -> float | None:
    fields = _fields(proc, pid)
    if fields is None:
        return None
    reaped = (int(fields[13]) + int(fields[14])) * TICK_S
    # Children forked by the main thread, which is where this project starts all of its own.
    children = [int(child) for child in (content(f"{proc}/{pid}/task/{pid}/children") or b"").split()]
    alive = 0.0
    for child in children:
        if child not in seen:
            seen.add(child)
            alive += _tree(proc, child, seen) or 0.0
    return _threads(proc, pid, fields) + reaped + alive


def _threads(proc: str, pid: int, fields: list[bytes]) -> float:
    """CPU seconds of the process's own threads.

    The kernel's CPU-time clock of a process has nanoseconds, /proc/PID/stat has ticks of 10 ms, which over a round of a
    few dozen milliseconds would make our own work look like somebody else's. Clock number: `clock_getcpuclockid(3)` of
    glibc.
    """
    if proc == "/proc":
        try:
            return time.clock_gettime_ns((~pid << 3) | 2) / 1e9
        except (AttributeError, OSError, OverflowError):  # no such clock here, or the process just ended
            pass
    return (int(fields[11]) + int(fields[12])) * TICK_S


def _fields(proc: str, pid: int) -> list[bytes] | None:
    """/proc/PID/stat after the command's name, which may itself hold spaces and brackets."""
    stat = content(f"{proc}/{pid}/stat")
    fields = [] if stat is None else stat.rpartition(b")")[2].split()
    return fields if len(fields) > 14 else None
