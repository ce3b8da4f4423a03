"""Processes on a GPU: the memory that each holds, and how busy it keeps the device."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from infer_opt.monitors.nvml_asking import Asker, Handle

Held = Mapping[int, int | None]  # process -> bytes of device memory; None where the driver does not tell

NOT_AVAILABLE = (1 << 64) - 1
# The driver samples a process once a second at the longest: one that had no sample for twice that time is idle.
KEPT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The processes that readings are about, and how to find out whether a process exists here."""

    pids: frozenset[int]
    exists: Callable[[int], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Who uses a GPU: to compute, to draw, and how busily, 0 to 1. None where the driver does not say.

    The driver lists only busy processes in `busy`: who holds memory and is not among them, was idle.
    """

    computing: Held | None = None
    drawing: Held | None = None
    busy: Mapping[int, float] | None = None

    @property
    def held(self) -> Held | None:
        """Device memory of each process. One that both computes and draws is in both lists with all that it holds."""
        if self.computing is None:
            return None
        drawing = self.drawing or {}
        return {pid: _larger(self.computing, drawing, pid) for pid in {**self.computing, **drawing}}

    def readings(self, chosen: Chosen) -> dict[str, float | None]:
        """`process_memory_bytes`, `process_utilisation` and `foreign_processes`."""
        held = self.held
        own = [] if held is None else [pid for pid in held if pid in chosen.pids]
        memory = [None if held is None else held[pid] for pid in own]
        known = [value for value in memory if value is not None]
        busy = None if self.busy is None or not own else sum(self.busy.get(pid, 0.0) for pid in own)
        return {
            "process_memory_bytes": float(sum(known)) if own and len(known) == len(own) else None,
            "process_utilisation": None if busy is None else min(1.0, busy),
            "foreign_processes": self.foreign(chosen),
        }

    def foreign(self, chosen: Chosen) -> float | None:
        """Processes that compute there and are not chosen ones; None where that cannot be told."""
        if self.computing is None:
            return None
        # In a container NVML may give the host's process numbers: then none of ours is listed under the number that we
        # know, and one that we cannot see may be our own.
        others = self.computing.keys() - chosen.pids
        is_ours_listed = len(others) < len(self.computing)
        ambiguous = bool(chosen.pids) and not is_ours_listed and not all(chosen.exists(pid) for pid in others)
        return None if ambiguous else float(len(others))


class Samples:
    """How busy each process keeps one GPU, from the samples that its driver takes by itself.

    Source: `nvidia-smi pmon -s u` (sm).
    """

    def __init__(self) -> None:
        self._since_us: int | None = None
        self._seen: dict[int, tuple[float, float]] = {}  # process -> share of time, and when that was read

    def read(self, asker: Asker, device: Handle, now_s: float) -> dict[int, float] | None:
        """The latest share of time of each process that was busy; None at the first read, and where it is not told.

        The first only learns how far the driver's samples go: they may be of long ago.
        """
        since_us = self._since_us
        samples = asker.ask_list("nvmlDeviceGetProcessUtilization", device, since_us or 0)
        if samples is None:
            return None
        self._since_us = max([since_us or 0, *(sample.timeStamp for sample in samples)])
        if since_us is None:
            return None
        # Some drivers fill their list up with garbage: shares far above 100 %, of process 0.
        for sample in sorted(samples, key=lambda sample: int(sample.timeStamp)):
            if sample.pid and sample.smUtil <= 100:
                self._seen[sample.pid] = (sample.smUtil / 100, now_s)
        self._seen = {pid: seen for pid, seen in self._seen.items() if now_s - seen[1] < KEPT_S}
        return {pid: seen[0] for pid, seen in self._seen.items()}


def computing(asker: Asker, device: Handle) -> Held | None:
    """Processes that compute on a GPU or a MIG instance: `nvidia-smi --query-compute-apps=pid,used_memory`."""
    return _listed(asker.ask("nvmlDeviceGetComputeRunningProcesses_v3", device))


def drawing(asker: Asker, device: Handle) -> Held | None:
    """Processes that draw on it: those of type G in the table of `nvidia-smi`."""
    return _listed(asker.ask("nvmlDeviceGetGraphicsRunningProcesses_v3", device))


def together(parts: Iterable[Held | None]) -> Held | None:
    """The processes of several MIG instances; None where none of them says. One that is in two holds the sum."""
    known = [part for part in parts if part is not None]
    return _summed((pid, held) for part in known for pid, held in part.items()) if known else None


def by_process(usages: Iterable[Usage]) -> dict[int, tuple[int | None, float | None]]:
    """Device memory in bytes over all GPUs, and utilisation of the one that each keeps busiest."""
    found: dict[int, tuple[int | None, float | None]] = {}
    for usage in usages:
        held = usage.held
        if held is None:
            held = dict.fromkeys(usage.busy or ())
        for pid, memory in held.items():
            busy = None if usage.busy is None else usage.busy.get(pid, 0.0)
            if pid in found:
                memory, busy = _added(found[pid][0], memory), _busier(found[pid][1], busy)
            found[pid] = (memory, busy)
    return found


def _listed(processes: Any) -> Held | None:
    if processes is None:
        return None
    return _summed((process.pid, _available(process.usedGpuMemory)) for process in processes)


def _summed(entries: Iterable[tuple[int, int | None]]) -> Held:
    sums: dict[int, int | None] = {}
    for pid, held in entries:
        sums[pid] = _added(sums[pid], held) if pid in sums else held
    return sums


def _available(held: int | None) -> int | None:
    return None if held is None or held == NOT_AVAILABLE else int(held)


def _added(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _busier(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)


def _larger(one: Held, other: Held, pid: int) -> int | None:
    known = [held for held in (one.get(pid), other.get(pid)) if held is not None]
    return max(known, default=None)
