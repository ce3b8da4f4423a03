"""Blocks of repeated runs, and which of several ways to do the same is the fastest that can be kept up."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from infer_opt.errors import ModelError, UnavailableError
from infer_opt.results import Estimate
from infer_opt.stats.sustained import sustained

Clock = Callable[[], int]
Run = Callable[[], object]

NS = 1e9
BLOCK_NS = 2_000_000  # a thousand times what reading a clock takes, and short beside what disturbs
WARM_RUNS = 2
FEWEST_BLOCKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to do a kind of work. A run does `amount` of it; `start` opens it anew and gives what runs it."""

    name: str
    amount: float
    start: Callable[[], AbstractContextManager[Run]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to look: each candidate for `screen_s` once, the `finalists` best in `openings` for `settle_s` each."""

    screen_s: float = 0.08
    settle_s: float = 0.25
    openings: int = 2
    finalists: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """Which candidate was the fastest, and the amount a second that it kept up."""

    name: str
    rate: Estimate
    blocks: int


def rates(run: Run, amount: float, *, seconds: float, clock: Clock) -> list[float]:
    """The amount a second in each of the blocks that fit into `seconds`, five at the least.

    A run that takes a fifth of that is a block of its own.
    """
    for _ in range(WARM_RUNS):
        run()
    begin = clock()
    run()
    once = max(1, clock() - begin)
    runs = max(1, round(BLOCK_NS / once))
    found: list[float] = []
    end = clock() + round(seconds * NS)
    while len(found) < FEWEST_BLOCKS or clock() < end:
        begin = clock()
        for _ in range(runs):
            run()
        found.append(amount * runs * NS / max(1, clock() - begin))
    return found


def best(candidates: Sequence[Candidate], *, clock: Clock, effort: Effort) -> Best | None:
    """The most that any candidate keeps up; None where none of them runs here.

    Each is looked at for a moment; the best ones are then opened anew, several times, since how memory lies makes one
    session faster than the next. Blocks of all openings of a candidate are one sample: a ceiling is what it reaches
    when it is lucky with its memory, but not only for a moment.
    """
    screened = []
    for candidate in candidates:
        seen = _looked_at(candidate, seconds=effort.screen_s, clock=clock)
        if seen:
            screened.append((sustained(seen).value, candidate))
    screened.sort(key=lambda one: -one[0])
    settled = []
    for _, candidate in screened[: effort.finalists]:
        blocks = [
            rate for _ in range(effort.openings) for rate in _looked_at(candidate, seconds=effort.settle_s, clock=clock)
        ]
        settled.append(Best(name=candidate.name, rate=sustained(blocks), blocks=len(blocks)))
    return max(settled, key=lambda one: one.rate.value, default=None)


def _looked_at(candidate: Candidate, *, seconds: float, clock: Clock) -> list[float]:
    """No rates where the runtime has no kernel for it, which it says when it opens or when it runs."""
    try:
        with candidate.start() as run:
            return rates(run, candidate.amount, seconds=seconds, clock=clock)
    except (ModelError, UnavailableError):
        return []
