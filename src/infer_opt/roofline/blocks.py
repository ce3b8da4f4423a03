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
WARM_RUNS = 2  # the second of which says how long a run takes
FEWEST_BLOCKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to do a kind of work. A run does `amount` of it; `start` opens it anew and gives what runs it."""

    name: str
    amount: float
    start: Callable[[], AbstractContextManager[Run]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to look: each candidate for `screen_s` once, the `finalists` best in `openings` for `settle_s` each.

    On a slow machine, no further candidate is looked at after `enough_s`, and no further opening.
    """

    enough_s: float = 2.5
    screen_s: float = 0.08
    settle_s: float = 0.15
    openings: int = 3
    finalists: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """Which candidate was the fastest, and the amount a second that it kept up."""

    name: str
    rate: Estimate


def rates(run: Run, amount: float, *, seconds: float, clock: Clock) -> list[float]:
    """The amount a second in each of the blocks that fit into `seconds`, three at the least; a long run is a block."""
    for _ in range(WARM_RUNS):
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


def best(candidates: Sequence[Candidate], *, clock: Clock, effort: Effort, least: float = 0.0) -> Best | None:
    """The most that any candidate keeps up; None where none of them runs here, or reaches `least` at a first look.

    Each is looked at for a moment; the best ones are then opened anew in turn, several times, since how memory lies
    makes one session faster than the next, and since neighbours on a shared machine come and go within seconds. The
    rate is that of the best opening, for a ceiling is the most that was seen; its interval reaches down to what the
    worst opening of the same candidate kept up.
    """
    looks: dict[str, list[Estimate]] = {}
    end = clock() + round(effort.enough_s * NS)
    for candidate in candidates:
        if looks and clock() > end:
            break
        seen = _looked_at(candidate, seconds=effort.screen_s, clock=clock)
        if seen and max(seen) >= least:
            looks[candidate.name] = [sustained(seen)]
    finalists = sorted(
        (candidate for candidate in candidates if candidate.name in looks),
        key=lambda candidate: -looks[candidate.name][0].value,
    )[: effort.finalists]
    end = clock() + round(effort.enough_s * NS)
    for _ in range(effort.openings):
        for candidate in finalists if clock() < end else ():
            seen = _looked_at(candidate, seconds=effort.settle_s, clock=clock)
            looks[candidate.name] += [sustained(seen)] if seen else []
    return max(
        (_most(candidate.name, looks[candidate.name]) for candidate in finalists),
        key=lambda one: one.rate.value,
        default=None,
    )


def _most(name: str, openings: Sequence[Estimate]) -> Best:
    most = max(openings, key=lambda one: one.value)
    low = min(most.low, *(one.value for one in openings))
    return Best(name=name, rate=Estimate(value=most.value, low=low, high=most.high))


def _looked_at(candidate: Candidate, *, seconds: float, clock: Clock) -> list[float]:
    """No rates where the runtime has no kernel for it, which it says when it opens or runs."""
    try:
        with candidate.start() as run:
            return rates(run, candidate.amount, seconds=seconds, clock=clock)
    except (ModelError, UnavailableError):
        return []
