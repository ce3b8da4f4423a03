"""What was seen so far: the latest sample, short histories for graphs, findings, notices."""

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import key_of, split
from infer_opt.readings.samples import Observation, ProcessReading, Sample
from infer_opt.terminal.inventory import Inventory, take_inventory
from infer_opt.terminal.ledger import Ledger

KEPT = 600  # samples of a reading: two to a cell, so a graph of 300 cells
KEPT_OF_A_PROCESS = 120

MEMORY_USED = "memory.used"  # a share, made from two readings
_UNKNOWN = math.nan

# What there are graphs of; the instances of each are told apart.
_DRAWN = {
    ("cpu", "busy"),
    ("disk", "read_bytes_per_second"),
    ("disk", "written_bytes_per_second"),
    ("network", "received_bytes_per_second"),
    ("network", "sent_bytes_per_second"),
    ("gpu", "utilisation"),
    ("gpu", "graphics_active"),
}


class Series:
    """The newest values of one reading, NaN where it was not available."""

    __slots__ = ("_kept", "_values")

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._values = array("f")

    def append(self, value: float | None) -> None:
        """One value more; the oldest are dropped now and then."""
        values = self._values
        values.append(_UNKNOWN if value is None else value)
        if len(values) >= 2 * self._kept:
            del values[: self._kept]

    @property
    def values(self) -> Sequence[float]:
        """The values kept, the oldest first."""
        return self._values[-self._kept :]

    def copy(self) -> "Series":
        """The same values, whatever comes later."""
        copied = Series(self._kept)
        copied._values = self._values[:]
        return copied


@dataclass(slots=True)
class ProcessHistory:
    """The course of one process: cores busy and bytes of memory, and of device memory where it holds any."""

    started_s: float | None
    cpu_cores: Series = field(default_factory=lambda: Series(KEPT_OF_A_PROCESS))
    rss_bytes: Series = field(default_factory=lambda: Series(KEPT_OF_A_PROCESS))
    gpu_memory_bytes: Series | None = None

    def add(self, process: ProcessReading) -> None:
        """One sample more."""
        self.cpu_cores.append(process.cpu_cores)
        self.rss_bytes.append(process.rss_bytes)
        if self.gpu_memory_bytes is None and process.gpu_memory_bytes is not None:
            self.gpu_memory_bytes = Series(KEPT_OF_A_PROCESS)
        if self.gpu_memory_bytes is not None:
            self.gpu_memory_bytes.append(process.gpu_memory_bytes)

    def copy(self) -> "ProcessHistory":
        """The same course, whatever comes later."""
        return ProcessHistory(
            started_s=self.started_s,
            cpu_cores=self.cpu_cores.copy(),
            rss_bytes=self.rss_bytes.copy(),
            gpu_memory_bytes=None if self.gpu_memory_bytes is None else self.gpu_memory_bytes.copy(),
        )


class Seen:
    """Takes observations in, in order, and answers what is to be drawn."""

    def __init__(self) -> None:
        self.sample: Sample | None = None
        self.ledger = Ledger()
        self.inventory = Inventory()
        self.notice: tuple[str, float] | None = None  # the last one, and the monotonic time at which it was given
        self._first_clock_s: float | None = None
        self._keys: frozenset[str] = frozenset()
        self._drawn: tuple[str, ...] = ()
        self._series: dict[str, Series] = {}
        self._histories: dict[int, ProcessHistory] = {}

    def add(self, observation: Observation) -> None:
        """One observation more."""
        sample = observation.sample
        self.sample = sample
        if self._first_clock_s is None:
            self._first_clock_s = sample.clock_s
        if sample.values.keys() != self._keys:
            self._meet(sample.values)
        for key in self._drawn:
            self._series_of(key).append(sample.values.get(key))
        self._series_of(MEMORY_USED).append(share_of(self.value("memory.used_bytes"), self.value("memory.total_bytes")))
        self._follow(sample.processes)
        self.ledger.add(observation.findings, observation.alerts)
        if observation.notices:
            self.notice = (observation.notices[-1], sample.clock_s)

    @property
    def at_s(self) -> float | None:
        """The time of the latest sample (Unix time)."""
        return None if self.sample is None else self.sample.at_s

    @property
    def length_s(self) -> float:
        """How long the session lasts so far."""
        if self.sample is None or self._first_clock_s is None:
            return 0.0
        return self.sample.clock_s - self._first_clock_s

    def value(self, key: str) -> float | None:
        """A reading of the latest sample; None where it is not available."""
        return None if self.sample is None else self.sample.values.get(key)

    def has(self, key: str) -> bool:
        """Whether the latest sample speaks of the reading at all, available or not."""
        return self.sample is not None and key in self.sample.values

    def of(self, family: str, instance: str, name: str) -> float | None:
        """A reading of one of several of a kind."""
        return self.value(key_of(family, name, instance))

    def series(self, key: str) -> Sequence[float]:
        """The course of a reading that there are graphs of, NaN where it was not available."""
        found = self._series.get(key)
        return () if found is None else found.values

    @property
    def processes(self) -> tuple[ProcessReading, ...]:
        """The processes of the latest sample."""
        return () if self.sample is None else self.sample.processes

    def history(self, pid: int) -> ProcessHistory | None:
        """The course of a process of the latest sample."""
        return self._histories.get(pid)

    def copy(self) -> "Seen":
        """What was seen until now, whatever comes later: what a frozen screen shows."""
        copied = Seen()
        copied.sample, copied.inventory, copied.notice = self.sample, self.inventory, self.notice
        copied.ledger = self.ledger.copy()
        copied._first_clock_s, copied._keys, copied._drawn = self._first_clock_s, self._keys, self._drawn
        copied._series = {key: series.copy() for key, series in self._series.items()}
        copied._histories = {pid: history.copy() for pid, history in self._histories.items()}
        return copied

    def _meet(self, values: Mapping[str, float | None]) -> None:
        """Other readings than before: a device appeared or was lost."""
        self._keys = frozenset(values)
        self.inventory = take_inventory(values)
        self._drawn = tuple(key for key in values if _is_drawn(key))
        for key in self._series.keys() - {*self._drawn, MEMORY_USED}:
            del self._series[key]

    def _series_of(self, key: str) -> Series:
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = Series(KEPT)
        return found

    def _follow(self, processes: Sequence[ProcessReading]) -> None:
        before, now = self._histories, {}
        for process in processes:
            history = before.get(process.pid)
            if history is None or not is_same(history.started_s, process.started_s):
                history = ProcessHistory(started_s=process.started_s)
            history.add(process)
            now[process.pid] = history
        self._histories = now


def share_of(part: float | None, whole: float | None) -> float | None:
    """A part over its whole; None where either is not known, or there is no whole."""
    return None if part is None or whole is None or whole <= 0 else part / whole


def _is_drawn(key: str) -> bool:
    try:
        family, instance, name = split(key)
    except ConfigError:
        return False
    if (family, name) not in _DRAWN:
        return False
    return family != "cpu" or instance is None


def is_same(before_s: float | None, now_s: float | None) -> bool:
    """Whether a number still is that process's: a pid is given out anew, but not with the same start."""
    return before_s is None or now_s is None or abs(before_s - now_s) < 1.0
