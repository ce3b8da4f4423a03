"""Every reading: its unit, its definition, and the public command that gives the same.

A key is `family.name` (`memory.available_bytes`), or `family[instance].name` where there are several of a kind
(`cpu[3].busy`, `disk[vda].read_bytes_per_second`, `gpu[0].power_watts`, `gpu[0.mig1].memory_used_bytes`). Shares are
0 to 1. What is marked "since the sample before" is None in the first sample. Not available is None, never 0.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from infer_opt.errors import ConfigError


class Unit(StrEnum):
    """What a value counts; the words are those of Prometheus's base units."""

    RATIO = "ratio"
    BYTES = "bytes"
    BYTES_PER_SECOND = "bytes_per_second"
    PER_SECOND = "per_second"
    CORES = "cores"
    COUNT = "count"
    HERTZ = "hertz"
    CELSIUS = "celsius"
    WATTS = "watts"
    JOULES = "joules"
    SECONDS = "seconds"
    BITS = "bits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One kind of reading. `is_counter`: it only grows (until its source starts anew), so take differences.

    `command` gives the same reading on a shell.
    """

    family: str
    name: str
    unit: Unit
    definition: str
    command: str
    is_counter: bool = False


def _quantities(family: str, rows: Iterable[tuple[str, Unit, str, str]]) -> dict[tuple[str, str], Quantity]:
    return {
        (family, name): Quantity(
            family=family,
            name=name,
            unit=unit,
            definition=definition,
            command=command,
            is_counter=name in _COUNTERS,
        )
        for name, unit, definition, command in rows
    }


_COUNTERS = frozenset({"energy_joules", "oom_kills", "uncorrected_errors"})
_R, _B, _BPS, _PS, _N = Unit.RATIO, Unit.BYTES, Unit.BYTES_PER_SECOND, Unit.PER_SECOND, Unit.COUNT

_CPU = _quantities(
    "cpu",
    (
        ("busy", _R, "CPU time neither idle, waiting nor stolen, over all CPU time of the CPUs that this process may use, since the sample before; with an instance, of that CPU", "mpstat -P ALL 1 (100 - %idle - %iowait - %steal)"),
        ("user", _R, "CPU time in programs, niced ones and guests included, since the sample before", "mpstat 1 (%usr + %nice)"),
        ("system", _R, "CPU time in the kernel, interrupts included, since the sample before", "mpstat 1 (%sys + %irq + %soft)"),
        ("waiting", _R, "CPU time idle while a disk request was outstanding, since the sample before", "mpstat 1 (%iowait)"),
        ("steal", _R, "CPU time that the hypervisor gave to others, over all CPU time, since the sample before", "mpstat 1 (%steal)"),
        ("runnable", _N, "threads running or waiting for a CPU, now, without the one that counts them", "vmstat 1 (r)"),
        ("blocked", _N, "threads that wait for a disk, now", "vmstat 1 (b)"),
        ("switches_per_second", _PS, "context switches since the sample before", "vmstat 1 (cs)"),
        ("load_1m", _N, "runnable and blocked threads, averaged over the last minute", "uptime"),
        ("load_5m", _N, "the same over five minutes", "uptime"),
        ("load_15m", _N, "the same over fifteen minutes", "uptime"),
        ("frequency_hertz", Unit.HERTZ, "clock now, the mean of the CPUs; with an instance, of that CPU; n/a in virtual machines that know the nominal clock alone", "grep MHz /proc/cpuinfo"),
    ),
)  # fmt: skip
_PRESSURE = _quantities(
    "pressure",
    (
        ("cpu_some", _R, "time in which some thread waited for a CPU, since the sample before", "cat /proc/pressure/cpu (total)"),
        ("memory_some", _R, "time in which some thread waited for memory, since the sample before", "cat /proc/pressure/memory (some total)"),
        ("memory_full", _R, "time in which all threads waited for memory, since the sample before", "cat /proc/pressure/memory (full total)"),
        ("io_some", _R, "time in which some thread waited for a disk, since the sample before", "cat /proc/pressure/io (some total)"),
        ("io_full", _R, "time in which all threads waited for a disk, since the sample before", "cat /proc/pressure/io (full total)"),
    ),
)  # fmt: skip
_MEMORY = _quantities(
    "memory",
    (
        ("total_bytes", _B, "main memory of this machine", "free -b (total)"),
        ("available_bytes", _B, "what can still be given to programs without swapping", "free -b (available)"),
        ("used_bytes", _B, "total less available", "free -b (total - available)"),
        ("cached_bytes", _B, "pages of files that are kept in memory, buffers included", "free -b (buff/cache)"),
        ("dirty_bytes", _B, "pages that are yet to be written to disk", "grep Dirty /proc/meminfo"),
        ("swap_total_bytes", _B, "swap space; 0 is a machine without any", "free -b (Swap total)"),
        ("swap_used_bytes", _B, "swap space in use", "free -b (Swap used)"),
        ("swapped_in_bytes_per_second", _BPS, "read back from swap since the sample before", "vmstat 1 (si)"),
        ("swapped_out_bytes_per_second", _BPS, "written to swap since the sample before", "vmstat 1 (so)"),
        ("major_faults_per_second", _PS, "page faults that had to read a disk, since the sample before", "sar -B 1 (majflt/s)"),
        ("oom_kills", _N, "processes that the kernel ended for want of memory, since boot", "grep oom_kill /proc/vmstat"),
    ),
)  # fmt: skip
_DISK = _quantities(
    "disk",
    (
        ("read_bytes_per_second", _BPS, "read from whole disks since the sample before, their sum; with an instance, of that disk", "iostat -x 1 (rkB/s)"),
        ("written_bytes_per_second", _BPS, "written to whole disks since the sample before, likewise", "iostat -x 1 (wkB/s)"),
        ("reads_per_second", _PS, "read requests done since the sample before, likewise", "iostat -x 1 (r/s)"),
        ("writes_per_second", _PS, "write requests done since the sample before, likewise", "iostat -x 1 (w/s)"),
        ("busy", _R, "time with at least one request outstanding, since the sample before; without an instance, of the busiest disk", "iostat -x 1 (%util)"),
    ),
)  # fmt: skip
_FILESYSTEM = _quantities(
    "filesystem",
    (
        ("total_bytes", _B, "size of the file system that is mounted at the instance's place", "df -B1 (1B-blocks)"),
        ("free_bytes", _B, "what users who are not root can still write there", "df -B1 (Available)"),
    ),
)
_NETWORK = _quantities(
    "network",
    (
        ("received_bytes_per_second", _BPS, "received since the sample before, over the interfaces with hardware behind them, or where there are none, as in a container, over all but the loopback; with an instance, of that interface", "sar -n DEV 1 (rxkB/s)"),
        ("sent_bytes_per_second", _BPS, "sent since the sample before, likewise", "sar -n DEV 1 (txkB/s)"),
        ("received_packets_per_second", _PS, "packets received since the sample before, likewise", "sar -n DEV 1 (rxpck/s)"),
        ("sent_packets_per_second", _PS, "packets sent since the sample before, likewise", "sar -n DEV 1 (txpck/s)"),
        ("errors_per_second", _PS, "packets with errors, both ways, since the sample before, likewise", "ip -s link (errors)"),
        ("dropped_per_second", _PS, "packets dropped, both ways, since the sample before, likewise", "ip -s link (dropped)"),
    ),
)  # fmt: skip
_CGROUP = _quantities(
    "cgroup",
    (
        ("quota_cores", Unit.CORES, "CPU time over wall time that this process's group may use; n/a where nothing limits it", "cat /sys/fs/cgroup/.../cpu.max"),
        ("cpu_cores", Unit.CORES, "CPU time over wall time that the group used since the sample before", "cat /sys/fs/cgroup/.../cpu.stat (usage_usec)"),
        ("throttled", _R, "scheduling periods in which the group was stopped for having used up its quota, over all periods in which it ran, since the sample before", "cat /sys/fs/cgroup/.../cpu.stat (nr_throttled / nr_periods)"),
        ("throttled_cores", Unit.CORES, "time that the group's CPUs were stopped over wall time, since the sample before", "cat /sys/fs/cgroup/.../cpu.stat (throttled_usec)"),
        ("memory_bytes", _B, "memory charged to the group, file pages included", "cat /sys/fs/cgroup/.../memory.current"),
        ("memory_limit_bytes", _B, "memory at which the kernel begins to end the group's processes; n/a where nothing limits it", "cat /sys/fs/cgroup/.../memory.max"),
        ("oom_kills", _N, "processes of the group that the kernel ended for want of memory", "cat /sys/fs/cgroup/.../memory.events (oom_kill)"),
    ),
)  # fmt: skip
_PROCESS = _quantities(
    "process",
    (
        ("count", _N, "chosen processes and all that descend from them, now; with an instance, of the tree of that number", "pstree -p PID"),
        ("cpu_cores", Unit.CORES, "their CPU time over wall time since the sample before (2.0 = two cores busy), children that came and went included", "pidstat -u -p PID 1 (%CPU / 100)"),
        ("rss_bytes", _B, "memory that they hold now; pages that they share count in each", "ps -o rss= -p PID"),
        ("threads", _N, "their threads now", "ps -o nlwp= -p PID"),
        ("read_bytes_per_second", _BPS, "what they had read from disks since the sample before", "pidstat -d -p PID 1 (kB_rd/s)"),
        ("written_bytes_per_second", _BPS, "what they had written to disks since the sample before", "pidstat -d -p PID 1 (kB_wr/s)"),
        ("involuntary_switches_per_second", _PS, "times that they were taken off a core against their will, since the sample before", "pidstat -w -t -p PID 1 (nvcswch/s, the sum of its threads)"),
        ("major_faults_per_second", _PS, "page faults of theirs that had to read a disk, since the sample before", "pidstat -r -p PID 1 (majflt/s)"),
        ("open_files", _N, "file descriptors that they hold", "ls /proc/PID/fd | wc -l"),
    ),
)  # fmt: skip
_MONITOR = _quantities(
    "monitor",
    (
        ("cpu_cores", Unit.CORES, "CPU time over wall time of the monitor itself, since the sample before", "pidstat -u -p PID 1"),
        ("rss_bytes", _B, "memory that the monitor itself holds", "ps -o rss= -p PID"),
        ("late_seconds", Unit.SECONDS, "how much later than planned this sample was taken", "none: it is this program's own"),
    ),
)  # fmt: skip
_GPU = _quantities(
    "gpu",
    (
        ("utilisation", _R, "share of the driver's last sampling period (1/6 to 1 s) in which some kernel ran; n/a under MIG", "nvidia-smi --query-gpu=utilization.gpu --format=csv"),
        ("memory_utilisation", _R, "share of that period in which device memory was read or written", "nvidia-smi --query-gpu=utilization.memory --format=csv"),
        ("memory_used_bytes", _B, "held by all processes, without what the driver keeps to itself", "nvidia-smi --query-gpu=memory.used --format=csv"),
        ("memory_free_bytes", _B, "what can still be allocated", "nvidia-smi --query-gpu=memory.free --format=csv"),
        ("memory_total_bytes", _B, "memory of the device", "nvidia-smi --query-gpu=memory.total --format=csv"),
        ("memory_reserved_bytes", _B, "what the driver and the firmware keep to themselves", "nvidia-smi --query-gpu=memory.reserved --format=csv"),
        ("sm_clock_hertz", Unit.HERTZ, "clock of the multiprocessors now", "nvidia-smi --query-gpu=clocks.sm --format=csv"),
        ("sm_clock_most_hertz", Unit.HERTZ, "the highest that it can be", "nvidia-smi --query-gpu=clocks.max.sm --format=csv"),
        ("memory_clock_hertz", Unit.HERTZ, "clock of device memory now", "nvidia-smi --query-gpu=clocks.mem --format=csv"),
        ("temperature_celsius", Unit.CELSIUS, "of the chip", "nvidia-smi --query-gpu=temperature.gpu --format=csv"),
        ("memory_temperature_celsius", Unit.CELSIUS, "of device memory (HBM)", "nvidia-smi --query-gpu=temperature.memory --format=csv"),
        ("power_watts", Unit.WATTS, "of the board, averaged over about a second on Ampere and later", "nvidia-smi --query-gpu=power.draw --format=csv"),
        ("power_limit_watts", Unit.WATTS, "at which the driver lowers clocks", "nvidia-smi --query-gpu=enforced.power.limit --format=csv"),
        ("energy_joules", Unit.JOULES, "used since the driver was loaded", "dcgmi dmon -e 156 (mJ)"),
        ("fan", _R, "intended speed of the fan over its highest; n/a on boards without one", "nvidia-smi --query-gpu=fan.speed --format=csv"),
        ("performance_state", _N, "0 (fastest) to 15", "nvidia-smi --query-gpu=pstate --format=csv"),
        ("throttle_reasons", Unit.BITS, "bit mask of why the clock is not higher", "nvidia-smi --query-gpu=clocks_event_reasons.active --format=csv"),
        ("throttled_by_heat", _R, "1 while heat holds a clock down, else 0", "nvidia-smi --query-gpu=clocks_event_reasons.hw_thermal_slowdown,clocks_event_reasons.sw_thermal_slowdown --format=csv"),
        ("throttled_by_power", _R, "1 while a power limit holds a clock down, else 0", "nvidia-smi --query-gpu=clocks_event_reasons.sw_power_cap,clocks_event_reasons.hw_power_brake_slowdown --format=csv"),
        ("pcie_received_bytes_per_second", _BPS, "host to device over PCIe, in the driver's last 20 ms", "nvidia-smi dmon -s t (rxpci)"),
        ("pcie_sent_bytes_per_second", _BPS, "device to host over PCIe, in the driver's last 20 ms", "nvidia-smi dmon -s t (txpci)"),
        ("pcie_generation", _N, "of the link now; it may fall while the device is idle", "nvidia-smi --query-gpu=pcie.link.gen.current --format=csv"),
        ("pcie_generation_most", _N, "the highest that device and slot can do together", "nvidia-smi --query-gpu=pcie.link.gen.max --format=csv"),
        ("pcie_width", _N, "lanes of the link now", "nvidia-smi --query-gpu=pcie.link.width.current --format=csv"),
        ("pcie_width_most", _N, "lanes that device and slot have together", "nvidia-smi --query-gpu=pcie.link.width.max --format=csv"),
        ("encoder_utilisation", _R, "of the video encoders", "nvidia-smi dmon -s u (enc)"),
        ("decoder_utilisation", _R, "of the video decoders", "nvidia-smi dmon -s u (dec)"),
        ("uncorrected_errors", _N, "memory errors that ECC could not correct, since the driver was loaded", "nvidia-smi --query-gpu=ecc.errors.uncorrected.volatile.total --format=csv"),
        ("process_memory_bytes", _B, "device memory held by the chosen processes and their children", "nvidia-smi --query-compute-apps=pid,used_memory --format=csv"),
        ("process_utilisation", _R, "share of time in which their kernels ran, as the driver samples it", "nvidia-smi pmon -s u (sm)"),
        ("foreign_processes", _N, "processes that compute there and are not chosen ones", "nvidia-smi --query-compute-apps=pid --format=csv"),
        ("graphics_active", _R, "share of time in which the compute or graphics engines were active, since the sample before (GPM, Hopper and later)", "dcgmi dmon -e 1001"),
        ("sm_active", _R, "share of multiprocessors with at least one warp, averaged over time, since the sample before (GPM)", "dcgmi dmon -e 1002"),
        ("sm_occupancy", _R, "warps resident over the most that fit, since the sample before (GPM)", "dcgmi dmon -e 1003"),
        ("tensor_active", _R, "share of cycles in which the tensor cores worked, since the sample before (GPM)", "dcgmi dmon -e 1004"),
        ("dram_active", _R, "device memory bandwidth used over its highest, since the sample before (GPM)", "dcgmi dmon -e 1005"),
    ),
)  # fmt: skip

CATALOGUE = _CPU | _PRESSURE | _MEMORY | _DISK | _FILESYSTEM | _NETWORK | _CGROUP | _PROCESS | _MONITOR | _GPU

_KEY = re.compile(r"(?P<family>[a-z]+)(?:\[(?P<instance>[^\]]+)\])?\.(?P<name>[a-z0-9_]+)\Z")


def key_of(family: str, name: str, instance: str | int | None = None) -> str:
    """The key of a reading."""
    return f"{family}.{name}" if instance is None else f"{family}[{instance}].{name}"


def split(key: str) -> tuple[str, str | None, str]:
    """Family, instance (None without one) and name of a key.

    Raises:
        ConfigError: `key` is not written as a key.
    """
    found = _KEY.match(key)
    if found is None:
        raise ConfigError(
            f"{key!r} is not the name of a reading",
            hint="it is written family.name or family[instance].name: memory.available_bytes, gpu[0].power_watts",
        )
    return found["family"], found["instance"], found["name"]


def quantity_of(key: str) -> Quantity:
    """What the reading of that key is.

    Raises:
        ConfigError: `key` is not written as a key, or there is no such reading.
    """
    family, _, name = split(key)
    try:
        return CATALOGUE[family, name]
    except KeyError:
        known = [there for where, there in CATALOGUE if where == family]
        hint = f"{family} has {', '.join(known)}" if known else "choose from " + ", ".join(_families())
        raise ConfigError(f"there is no reading {family}.{name}", hint=hint) from None


def _families() -> list[str]:
    return list(dict.fromkeys(family for family, _ in CATALOGUE))
