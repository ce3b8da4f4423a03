"""Timing a session that is called with several shapes: they take turns within a block, as they do in a day's calls.

Feeds of several shapes lie in turn: feed i is of shape i modulo the number of shapes.
"""

import gc
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from infer_opt.errors import EvidenceError
from infer_opt.measure import (
    AFTER_STOP_RUNS,
    BLOCK_NS,
    LEAD_IN_NS,
    MINIMUM_RUNS,
    SLOW_RUN_NS,
    Clock,
    ClockCost,
    Runnable,
    WarmUp,
    WarmUpPlan,
    warm_up,
)
from infer_opt.protocols import Array, Feeds
from infer_opt.results import Block

SETTLING_RUNS = 3  # in the first shape, before the first calls in the others are timed
LATENCY_PASSES = 3  # that say what each shape takes, for blocks to be planned by


@dataclass(frozen=True, slots=True, kw_only=True)
class MixturePlan:
    """How many passes over all shapes a block has: thrown away and timed, and how many runs of a shape share a sample.

    `timed_passes` times each shape gives one sample.
    """

    lead_in_passes: int
    timed_passes: int
    runs_per_sample: tuple[int, ...]


class Passes:
    """A session whose every run is one pass over all shapes: what the rules for one shape warm up."""

    def __init__(self, session: Runnable) -> None:
        self._run = session.run

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """One inference for each value of `feeds`, which are feeds themselves."""
        for feed in feeds.values():
            self._run(feed)
        return {}


def first_calls(
    session: Runnable, feeds: Sequence[Feeds], shapes: int, *, clock: Clock = time.perf_counter_ns
) -> tuple[int, ...]:
    """What the first call in each further shape takes, in ns, in a process that has settled in the first shape."""
    for _ in range(SETTLING_RUNS):
        session.run(feeds[0])
    times = []
    for feed in feeds[1:shapes]:
        begin = clock()
        session.run(feed)
        times.append(clock() - begin)
    return tuple(times)


def warm_up_mixture(
    session: Runnable, feeds: Sequence[Feeds], shapes: int, *, plan: WarmUpPlan, cost: ClockCost,
    clock: Clock = time.perf_counter_ns,
) -> tuple[WarmUp, tuple[float, ...]]:  # fmt: skip
    """`warm_up` over passes; its latency is the mean over shapes. And what a run in each shape takes, in ns."""
    turns = [feeds[start : start + shapes] for start in range(0, len(feeds) - shapes + 1, shapes)]
    passes = [{str(index): feed for index, feed in enumerate(turn)} for turn in turns]
    limit = None if plan.drop_above_ns is None else plan.drop_above_ns * shapes
    by_pass = replace(plan, drop_above_ns=limit, cap_runs=_ceil(plan.cap_runs, shapes))
    warmed = warm_up(Passes(session), passes, plan=by_pass, cost=cost, clock=clock)
    times: list[list[int]] = [[] for _ in range(shapes)]
    for number in range(LATENCY_PASSES):
        for index, feed in enumerate(turns[number % len(turns)]):
            begin = clock()
            session.run(feed)
            times[index].append(max(1, clock() - begin))
    seen = tuple(float(sorted(shape)[len(shape) // 2]) for shape in times)
    return replace(warmed, latency_ns=warmed.latency_ns / shapes), seen


def plan_mixture(latencies_ns: Sequence[float], cost: ClockCost, *, after_stop: bool = True) -> MixturePlan:
    """The block for a session that takes about `latencies_ns[i]` a run in shape i: `plan_block`, by the mean run.

    At least three passes are timed, and one where a run takes more than 30 ms on average.
    """
    floor_ns = max(1000 * cost.resolution_ns, 200 * cost.call_ns)
    per_sample = tuple(1 if latency >= floor_ns else _ceil(floor_ns, max(latency, 1.0)) for latency in latencies_ns)
    pass_ns = max(1.0, sum(latencies_ns))
    if pass_ns > SLOW_RUN_NS * len(latencies_ns):
        return MixturePlan(lead_in_passes=1, timed_passes=1, runs_per_sample=per_sample)
    sampled_ns = sum(runs * max(latency, 1.0) for runs, latency in zip(per_sample, latencies_ns, strict=True))
    least = _ceil(AFTER_STOP_RUNS if after_stop else 1, len(latencies_ns))
    return MixturePlan(
        lead_in_passes=max(least, _ceil(LEAD_IN_NS, pass_ns)),
        timed_passes=max(MINIMUM_RUNS, _ceil(BLOCK_NS, sampled_ns)),
        runs_per_sample=per_sample,
    )


def measure_mixture(
    session: Runnable, feeds: Sequence[Feeds], *, plan: MixturePlan, start: int = 0,
    clock: Clock = time.perf_counter_ns, clock_ns: int = 0,
) -> Block:  # fmt: skip
    """Lead-in, then timed passes, each over all shapes in an order drawn from `start` and the pass.

    Every configuration is given the same `start` in the same round, so pairs see the same shapes, orders and inputs.

    Raises:
        EvidenceError: a run took no time or less, which only a broken clock explains.
    """
    shapes = len(plan.runs_per_sample)
    before = [feed for number in range(-plan.lead_in_passes, 0) for _, feed in _turn(feeds, shapes, start, number)]
    timed = [
        (shape, _samples(feeds, shapes, start + number, shape, plan.runs_per_sample[shape]))
        for number in range(plan.timed_passes)
        for shape, _ in _turn(feeds, shapes, start, number)
    ]
    totals = [0] * len(timed)
    run = session.run
    gc.disable()
    try:
        for feed in before:
            run(feed)
        for index, (_, group) in enumerate(timed):
            begin = clock()
            for feed in group:
                run(feed)
            totals[index] = clock() - begin
    finally:
        gc.enable()
    latency = tuple((total - clock_ns) // len(group) for total, (_, group) in zip(totals, timed, strict=True))
    if min(latency) <= 0:
        raise EvidenceError(f"a run took {min(latency)} ns", hint="the clock of this machine cannot be trusted")
    return Block(latency_ns=latency, shapes=tuple(shape for shape, _ in timed))


def _turn(feeds: Sequence[Feeds], shapes: int, start: int, number: int) -> list[tuple[int, Feeds]]:
    """Pass `number` of a block: every shape with an input, in an order that is the same for all configurations."""
    order = list(range(shapes))
    random.Random(f"{start}/{number}").shuffle(order)
    return [(shape, _samples(feeds, shapes, start + number, shape, 1)[0]) for shape in order]


def _samples(feeds: Sequence[Feeds], shapes: int, place: int, shape: int, count: int) -> list[Feeds]:
    """`count` inputs of a shape in turn, from the one at `place` on."""
    own = feeds[shape::shapes]
    return [own[(place + index) % len(own)] for index in range(count)]


def _ceil(total: float, part: float) -> int:
    return int(-(-total // part))
