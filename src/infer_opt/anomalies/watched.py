"""Which readings have a level that means something, from which shift on it matters, and what is usually behind it.

Not here: what is instantaneous (`cpu.runnable`, PCIe traffic of the last 20 ms), what only grows or is held (memory,
disk space, energy: trends), single CPUs (threads wander), counts that are zero unless something is wrong (rules).
"""

from infer_opt.anomalies.shifts import Watched
from infer_opt.readings.catalogue import split
from infer_opt.readings.findings import Severity

_WARNING = Severity.WARNING
_POINTS, _CORES = 0.05, 0.1
_BURSTS = 60  # values: disks and networks work in bursts, and half a minute of them is ordinary
_DISK_BYTES, _NETWORK_BYTES = 2e6, 5e5

_LESS_WORK = ("less work arrives", "the work ended", "something before it became slower")
_MORE_WORK = ("more work arrives", "another program started")
_SLOWER_FEED = (
    "batches or requests became smaller or fewer",
    "the CPU side became slower: tokenisation, data loading, logging",
    "the work ended",
)


def _busy(*, least: float = _POINTS, rise: tuple[str, ...] = _MORE_WORK) -> Watched:
    return Watched(least=least, rise_causes=rise, fall_causes=_LESS_WORK)


def _in_bursts(*, least: float, rise: tuple[str, ...] = _MORE_WORK) -> Watched:
    return Watched(least=least, hold=_BURSTS, rise_causes=rise, fall_causes=_LESS_WORK)


def _gpu_busy() -> Watched:
    return Watched(least=_POINTS, on_fall=_WARNING, rise_causes=_MORE_WORK, fall_causes=_SLOWER_FEED)


def _pressure(*causes: str) -> Watched:
    return Watched(
        least=_POINTS, hold=_BURSTS, on_rise=_WARNING, rise_causes=causes, fall_causes=("the load went away",)
    )


WATCHED: dict[tuple[str, str], Watched] = {
    ("cpu", "busy"): _busy(),
    ("cpu", "system"): _busy(
        rise=("more system calls or interrupts", "memory is being reclaimed", "a network or disk load"),
    ),
    ("cpu", "waiting"): _busy(rise=("files are read that are not in memory", "a slow or shared disk")),
    ("cpu", "frequency_hertz"): Watched(
        on_fall=_WARNING,
        rise_causes=("fewer cores are busy, so each may clock higher", "a power profile changed"),
        fall_causes=("heat or a power limit", "more cores are busy", "wide vector units (AVX-512, AMX) are in use"),
    ),
    ("pressure", "cpu_some"): _pressure("more threads than cores", "another program started", "a quota is used up"),
    ("pressure", "memory_some"): _pressure("memory is nearly full", "another program's memory grew"),
    ("pressure", "io_some"): _pressure("files are read that are not in memory", "another program uses the disk"),
    ("disk", "read_bytes_per_second"): _in_bursts(least=_DISK_BYTES, rise=("files are read that are not in memory",)),
    ("disk", "written_bytes_per_second"): _in_bursts(
        least=_DISK_BYTES, rise=("logs, checkpoints or swap are written",)
    ),
    ("network", "received_bytes_per_second"): _in_bursts(least=_NETWORK_BYTES),
    ("network", "sent_bytes_per_second"): _in_bursts(least=_NETWORK_BYTES),
    ("cgroup", "cpu_cores"): _busy(least=_CORES),
    ("process", "cpu_cores"): _busy(least=_CORES),
    ("gpu", "utilisation"): _gpu_busy(),
    ("gpu", "process_utilisation"): _gpu_busy(),
    ("gpu", "sm_active"): _gpu_busy(),
    ("gpu", "tensor_active"): _gpu_busy(),
    ("gpu", "dram_active"): _gpu_busy(),
    ("gpu", "memory_utilisation"): _busy(),
    ("gpu", "power_watts"): _busy(least=10.0),
    ("gpu", "sm_clock_hertz"): Watched(
        on_fall=_WARNING,
        rise_causes=("work began", "the device cooled down", "a limit was raised"),
        fall_causes=("heat or a power limit", "the device is idle", "somebody locked the clock"),
    ),
}
_WITH_INSTANCES = frozenset({"gpu", "process"})


def watched_as(key: str) -> Watched | None:
    """How the reading of that key is watched for shifts; None where its level means nothing.

    Raises:
        ConfigError: `key` is not written as a key.
    """
    family, instance, name = split(key)
    found = WATCHED.get((family, name))
    return None if instance is not None and family not in _WITH_INSTANCES else found
