"""The process around a model: where the application's own time and memory go."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One call stack, outermost frame first (`function (file:line)`), and how many samples were in it."""

    frames: tuple[str, ...]
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SurroundingProfile:
    """A sampling profile of a program or function.

    `rate_hz` samples a second were taken over `seconds`. `stacks` are on-CPU samples, `waiting` those of threads that
    were idle, `waiting_for_gil` those that wanted Python's global interpreter lock and did not have it, `holding` those
    that held it; None where that was not looked at. `memory` are stacks by bytes allocated at the peak, None likewise;
    `peak_bytes` are those bytes altogether. `shares` are the application's time by what it does, (name, share of all
    on-CPU samples): `infer-opt` and runtimes, numpy, the application's own modules. `threads` are on-CPU samples by the
    name of the thread.

    `late_s` is how long the program had run when sampling began. `cpu_s` is the CPU time of all of its threads and
    children by the system's account, those without Python too, and `rss_peak_bytes` the most resident memory seen; None
    where the system does not say. `notes` are sentences on what is missing, and why.
    """

    subject: str
    seconds: float
    rate_hz: int
    stacks: tuple[Stack, ...]
    waiting: tuple[Stack, ...] | None = None
    waiting_for_gil: tuple[Stack, ...] | None = None
    holding: tuple[Stack, ...] | None = None
    memory: tuple[Stack, ...] | None = None
    peak_bytes: int | None = None
    shares: tuple[tuple[str, float], ...] = ()
    threads: tuple[tuple[str, int], ...] = ()
    processes: int = 1
    late_s: float = 0.0
    cpu_s: float | None = None
    rss_peak_bytes: int | None = None
    exit_code: int | None = None
    notes: tuple[str, ...] = ()
