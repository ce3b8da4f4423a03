"""Samples: all readings of one moment, and what was concluded from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from infer_opt.readings.findings import AlertEvent, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReading:
    """One process at one moment. None is "not available", never zero.

    `cpu_cores`, `read_bytes_per_second`, `written_bytes_per_second` and `gpu_utilisation` cover the time since the
    sample before and are None in the first. `is_chosen` marks the processes that the user asked for and all that
    descend from them. `started_s` is Unix time.
    """

    pid: int
    name: str
    parent_pid: int | None = None
    command: str | None = None
    user: str | None = None
    state: str | None = None
    started_s: float | None = None
    cpu_cores: float | None = None
    rss_bytes: int | None = None
    threads: int | None = None
    read_bytes_per_second: float | None = None
    written_bytes_per_second: float | None = None
    gpu_memory_bytes: int | None = None
    gpu_utilisation: float | None = None
    is_chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """All readings of one moment.

    `at_s` is Unix time, `clock_s` the monotonic clock (differences are true when the time of day is set). `values` maps
    a key of `readings.catalogue` to its value in the unit that the catalogue states; None is "not available".
    """

    number: int
    at_s: float
    clock_s: float
    values: Mapping[str, float | None]
    processes: tuple[ProcessReading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One step of a monitor: the sample, what it showed, which alerts began or ended, and what else is to be said."""

    sample: Sample
    findings: tuple[Finding, ...] = field(default=())
    alerts: tuple[AlertEvent, ...] = field(default=())
    notices: tuple[str, ...] = field(default=())
