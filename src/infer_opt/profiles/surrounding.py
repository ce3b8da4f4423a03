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
    were idle, `holding` those that held Python's global interpreter lock; None where that was not looked at.
    `memory` are stacks by bytes allocated at the peak, None likewise. `shares` are the application's time by what it
    does, (name, share of all on-CPU samples): `infer-opt` and runtimes, numpy, the application's own modules.
    """

    subject: str
    seconds: float
    rate_hz: int
    stacks: tuple[Stack, ...]
    waiting: tuple[Stack, ...] | None = None
    holding: tuple[Stack, ...] | None = None
    memory: tuple[Stack, ...] | None = None
    peak_bytes: int | None = None
    shares: tuple[tuple[str, float], ...] = ()
    exit_code: int | None = None
