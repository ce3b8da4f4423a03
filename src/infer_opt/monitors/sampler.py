"""The sampler: all monitors, read one after the other into one Sample, whatever happens to any of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from infer_opt.errors import ConfigError, InferOptError
from infer_opt.monitors import MONITORS, open_monitor
from infer_opt.monitors.counters import Rates
from infer_opt.monitors.files import PAGE_BYTES, content, elsewhere, integers
from infer_opt.monitors.processes import ProcessMonitor, ProcessTable
from infer_opt.protocols import Monitor
from infer_opt.readings.catalogue import key_of
from infer_opt.readings.samples import ProcessReading, Sample

TRY_AGAIN_S = 30.0

# By process number: device memory held, in bytes, and the share of time in which the process's kernels ran.
DeviceUse = Mapping[int, tuple[int | None, float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """What samples are stamped by, in seconds: Unix time, monotonic time, and CPU time of this process."""

    time_of_day: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    cpu: Callable[[], float] = time.process_time


@dataclass(slots=True, kw_only=True)
class _Source:
    """A monitor, None while it is out of order, and the keys that it last gave."""

    name: str
    monitor: Monitor | None
    keys: tuple[str, ...] = ()
    try_again_s: float = 0.0
    has_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What one monitor gave: a table of processes with who of them is chosen, or who uses a device, where it knows."""

    values: Mapping[str, float | None]
    processes: tuple[ProcessReading, ...] = ()
    chosen: tuple[int, ...] | None = None
    device_use: DeviceUse = field(default_factory=dict)


class Sampler:
    """Samples of this machine. What one monitor suffers does not touch the others.

    A monitor that this machine has no device for is left out, and `notices` says so. One that fails later (a driver
    that ends, a GPU that falls off the bus) is named once; its keys are None from then on, and it is opened anew every
    30 s until it answers.

    Arguments:
        names: which monitors; all of MONITORS when left out.
        opener: opens a monitor by its name.

    Raises:
        ConfigError: no monitor has one of the names.
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        *,
        opener: Callable[[str], Monitor] = open_monitor,
        clocks: Clocks | None = None,
    ) -> None:
        self._opener, self._clocks = opener, Clocks() if clocks is None else clocks
        self._notices: list[str] = []
        self._sources: list[_Source] = []
        self._rates = Rates()
        self._number = 0
        for name in tuple(MONITORS) if names is None else tuple(dict.fromkeys(names)):
            self._begin(name)
        # Processes first: the others are asked about the chosen ones and all that descend from them.
        self._sources.sort(key=lambda source: not isinstance(source.monitor, ProcessMonitor))

    def sample(self, roots: Sequence[int], *, everything: bool = False, due_s: float | None = None) -> Sample:
        """All readings, now. Samples are numbered from 0; the first has no rates.

        Arguments:
            roots: the processes that the user asked for.
            everything: whether `processes` holds all there are, or the chosen ones alone.
            due_s: when this sample was to be taken, by the monotonic clock.
        """
        at_s, clock_s = self._clocks.time_of_day(), self._clocks.monotonic()
        values = self._of_itself(clock_s, due_s)
        processes: tuple[ProcessReading, ...] = ()
        pids, device_use = tuple(roots), dict[int, tuple[int | None, float | None]]()
        for source in self._sources:
            answer = self._ask(source, pids, everything=everything, now_s=clock_s)
            if answer is None:
                values.update(dict.fromkeys(source.keys))
                continue
            source.keys = tuple(answer.values)
            values.update(answer.values)
            device_use.update(answer.device_use)
            if answer.chosen is not None:
                processes, pids = answer.processes, answer.chosen
        number, self._number = self._number, self._number + 1
        return Sample(
            number=number,
            at_s=at_s,
            clock_s=clock_s,
            values=values,
            processes=tuple(_with_device(process, device_use) for process in processes),
        )

    def notices(self) -> tuple[str, ...]:
        """What is to be said of monitors since the call before: which are not read and why, and which are again."""
        notices, self._notices = tuple(self._notices), []
        return notices

    def gone(self) -> tuple[int, ...]:
        """Roots of the last sample that have ended; what descends from them may be alive."""
        table = self._table()
        return () if table is None else table.gone()

    def ended(self) -> tuple[int, ...]:
        """Roots of the last sample that have ended with all that descended from them."""
        table = self._table()
        return () if table is None else table.ended()

    def close(self) -> None:
        """Close the monitors. Safe to call twice."""
        for source in self._sources:
            self._give_back(source)
        self._sources = []

    def _begin(self, name: str) -> None:
        try:
            self._sources.append(_Source(name=name, monitor=self._opener(name)))
        except ConfigError:
            self.close()
            raise
        except (InferOptError, OSError) as error:
            self._notices.append(f"{name} is not read: {error}")

    def _ask(self, source: _Source, pids: tuple[int, ...], *, everything: bool, now_s: float) -> _Answer | None:
        """What the monitor gives; None while it is out of order."""
        if source.monitor is None and now_s < source.try_again_s:
            return None
        try:
            if source.monitor is None:
                source.monitor = self._opener(source.name)
            answer = _read(source.monitor, pids, everything=everything)
        except (InferOptError, OSError) as error:
            if not source.has_failed:
                again = f"it is tried again every {TRY_AGAIN_S:.0f} s"
                self._notices.append(f"{source.name} is not read any more: {error}; {again}")
            self._give_back(source)
            source.has_failed, source.try_again_s = True, now_s + TRY_AGAIN_S
            return None
        if source.has_failed:
            source.has_failed = False
            self._notices.append(f"{source.name} is read again")
        return answer

    def _give_back(self, source: _Source) -> None:
        monitor, source.monitor = source.monitor, None
        try:
            if monitor is not None:
                monitor.close()
        except (InferOptError, OSError):
            return  # it is out of order, and what it held is lost with it

    def _table(self) -> ProcessTable | None:
        found = [source.monitor for source in self._sources]
        return next((monitor.table for monitor in found if isinstance(monitor, ProcessMonitor)), None)

    def _of_itself(self, now_s: float, due_s: float | None) -> dict[str, float | None]:
        rates = self._rates.of({"cpu_cores": self._clocks.cpu()}, now_s)
        return {
            key_of("monitor", "cpu_cores"): rates["cpu_cores"],
            key_of("monitor", "rss_bytes"): _own_rss_bytes(),
            key_of("monitor", "late_seconds"): None if due_s is None else max(0.0, now_s - due_s),
        }


def _read(monitor: Monitor, pids: tuple[int, ...], *, everything: bool) -> _Answer:
    if isinstance(monitor, ProcessMonitor):
        processes = monitor.table.read(pids, everything=everything)
        return _Answer(values=monitor.table.sums(), processes=processes, chosen=monitor.table.chosen())
    values = monitor.read(pids)
    by_process: Callable[[], DeviceUse] | None = getattr(monitor, "by_process", None)
    return _Answer(values=values, device_use={} if by_process is None else by_process())


def _with_device(process: ProcessReading, use: DeviceUse) -> ProcessReading:
    if process.pid not in use:
        return process
    memory_bytes, utilisation = use[process.pid]
    return replace(process, gpu_memory_bytes=memory_bytes, gpu_utilisation=utilisation)


def _own_rss_bytes() -> float | None:
    psutil = elsewhere(Path("/"))
    if psutil is not None:
        return float(psutil.Process().memory_info().rss)
    pages = integers((content("/proc/self/statm") or b"").split()[1:2])
    return pages[0] * PAGE_BYTES if pages else None
