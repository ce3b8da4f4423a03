"""The CPUs: how they spend their time, how many threads want them, and how fast they are clocked."""

import os
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from infer_opt.errors import UnavailableError
from infer_opt.monitors.counters import Rates, scaled
from infer_opt.monitors.files import content, elsewhere, integer, integers, prefix, rows_named, table
from infer_opt.readings.catalogue import key_of

# CPU number -> time as user, nice, system, idle, iowait, irq, softirq and stolen, in the order of /proc/stat. Guests
# are in user and nice already.
Times = Mapping[int, Sequence[float]]

IDLE, WAITING = 3, 4
SHARES = ("busy", "user", "system", "waiting", "steal")
LOADS = ("load_1m", "load_5m", "load_15m")
COUNTS = rows_named("ctxt", "procs_running", "procs_blocked")
CPUINFO = re.compile(rb"^processor\s*:\s*(\d+)$.*?^cpu MHz\s*:\s*([\d.]+)$", re.MULTILINE | re.DOTALL)


class CpuMonitor:
    """Readings of the family `cpu`: of all CPUs that this process may use, and `busy` and the clock of each CPU.

    CPUs that go offline lose their instance, and what they did since the sample before is left out of the sums. The
    monitor's own thread is not counted among the runnable ones, as `vmstat` has it. The clock comes from cpufreq, else
    from /proc/cpuinfo where the processor counts its cycles (`aperfmperf`); without it that file holds the nominal
    clock, which is no reading.

    Arguments:
        allowed: gives the CPUs that this process may use; those of its affinity mask when left out.
        psutil: read instead of /proc; taken by itself on systems without /proc.

    Raises:
        UnavailableError: there is neither a /proc/stat nor anything in its place.
    """

    name = "cpu"

    def __init__(
        self,
        *,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
        allowed: Callable[[], Collection[int]] | None = None,
        psutil: Any = None,
    ) -> None:
        self._prefix, self._clock = prefix(root), clock
        self._psutil = elsewhere(root) if psutil is None else psutil
        self._allowed = _affinity if allowed is None else allowed
        self._before: Times = {}
        self._rates = Rates()
        if self._psutil is None and content(f"{self._prefix}/proc/stat") is None:
            raise UnavailableError(f"{self._prefix}/proc/stat cannot be read", hint="mount /proc")
        # Not through psutil: what it gives is the nominal clock on most systems.
        self._has_cpufreq = self._psutil is None
        self._has_cpuinfo = self._psutil is None and b"aperfmperf" in (content(f"{self._prefix}/proc/cpuinfo") or b"")

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        """The readings, now; whichever processes are asked for."""
        times, values = self._from_proc() if self._psutil is None else self._from_psutil()
        gains = {number: _gain(self._before.get(number), now) for number, now in times.items()}
        self._before = times
        mine = self._allowed()
        # Where none of the mask is listed, the container's CPUs are numbered anew (LXCFS): all of them are ours then.
        own = [gain for number, gain in gains.items() if number in mine] or list(gains.values())
        known = [gain for gain in own if gain is not None]
        together = [sum(column) for column in zip(*known, strict=True)] if known else None
        readings = {key_of("cpu", name): value for name, value in {**_shares(together), **values}.items()}
        for number, gain in gains.items():
            readings[key_of("cpu", "busy", number)] = _shares(gain)["busy"]
        return readings | self._frequencies(times)

    def close(self) -> None:
        """Nothing is held open."""

    def _from_proc(self) -> tuple[Times, dict[str, float | None]]:
        stat = content(f"{self._prefix}/proc/stat")
        counts = table(stat, COUNTS)
        running = counts.get("procs_running")
        loads = (content(f"{self._prefix}/proc/loadavg") or b"").split()[:3]
        return _times(stat or b""), {
            "runnable": None if running is None else max(0, running - 1),
            "blocked": counts.get("procs_blocked"),
            "switches_per_second": self._switches(counts.get("ctxt")),
            **{name: _decimal(loads[place]) if len(loads) == 3 else None for place, name in enumerate(LOADS)},
        }

    def _from_psutil(self) -> tuple[Times, dict[str, float | None]]:
        fields = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        try:
            rows = self._psutil.cpu_times(percpu=True)
            times = {number: [getattr(row, name, 0.0) for name in fields] for number, row in enumerate(rows)}
            switches: float | None = self._psutil.cpu_stats().ctx_switches
            loads: Sequence[float | None] = self._psutil.getloadavg()
        except (self._psutil.Error, OSError):
            times, switches, loads = {}, None, (None, None, None)
        return times, {
            "runnable": None,
            "blocked": None,
            "switches_per_second": self._switches(switches),
            **dict(zip(LOADS, loads, strict=True)),
        }

    def _switches(self, counter: float | None) -> float | None:
        return self._rates.of({"switches": counter}, self._clock())["switches"]

    def _frequencies(self, numbers: Collection[int]) -> dict[str, float | None]:
        clocks: dict[int, float | None] = dict.fromkeys(numbers)
        if self._has_cpufreq and numbers:
            place = f"{self._prefix}/sys/devices/system/cpu/cpu"
            clocks = {number: _khz(f"{place}{number}/cpufreq/scaling_cur_freq") for number in numbers}
            self._has_cpufreq = any(clock is not None for clock in clocks.values())
        if not self._has_cpufreq and self._has_cpuinfo:
            found = CPUINFO.findall(content(f"{self._prefix}/proc/cpuinfo") or b"")
            clocks |= {int(number): scaled(_decimal(mhz), 1e6) for number, mhz in found if int(number) in clocks}
        known = [clock for clock in clocks.values() if clock is not None]
        mean = None if not known else sum(known) / len(known)
        each = {key_of("cpu", "frequency_hertz", number): clock for number, clock in clocks.items()}
        return {key_of("cpu", "frequency_hertz"): mean, **each}


def _affinity() -> Collection[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()


def _times(stat: bytes) -> Times:
    times = {}
    for line in stat.splitlines():
        if not line.startswith(b"cpu"):
            break  # what follows, interrupts above all, may be long
        name, *words = line.split()
        number, row = integer(name[3:]), integers(words[:8])
        if number is not None and row is not None and len(row) > IDLE:
            times[number] = row + [0] * (8 - len(row))
    return times


def _gain(before: Sequence[float] | None, now: Sequence[float]) -> list[float] | None:
    """What each kind of time gained; None in the first sample and after the counters began anew."""
    if before is None:
        return None
    gains = [later - earlier for earlier, later in zip(before, now, strict=True)]
    if any(gain < 0 for kind, gain in enumerate(gains) if kind not in (IDLE, WAITING)):
        return None
    # The kernel lets these two go back a little now and then: proc_stat(5).
    gains[IDLE], gains[WAITING] = max(0, gains[IDLE]), max(0, gains[WAITING])
    return gains if sum(gains) > 0 else None


def _shares(gain: Sequence[float] | None) -> dict[str, float | None]:
    if gain is None:
        return dict.fromkeys(SHARES)
    user, nice, system, idle, waiting, irq, softirq, stolen = gain
    passed = sum(gain)
    return {
        "busy": (passed - idle - waiting - stolen) / passed,
        "user": (user + nice) / passed,
        "system": (system + irq + softirq) / passed,
        "waiting": waiting / passed,
        "steal": stolen / passed,
    }


def _khz(path: str) -> float | None:
    return scaled(integer(content(path)), 1e3)


def _decimal(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
