"""Timing inside a worker: blocks of consecutive runs, and the warm-up before them. Runs in the worker's process."""

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from infer_opt.errors import EvidenceError
from infer_opt.protocols import Array, Feeds
from infer_opt.results import Block
from infer_opt.stats.warmup import has_steady_state

MS = 1_000_000
LEAD_IN_NS = 2 * MS
BLOCK_NS = 10 * MS
SLOW_RUN_NS = 30 * MS  # above this a run is long enough to be its own lead-in
MINIMUM_RUNS = 3
AFTER_STOP_RUNS = 5  # the first runs after SIGCONT are 1.1 to 2.5 times slow
WARM_UP_RUNS = 5
WARM_UP_BLOCKS = 20
CAP_RUNS = 100
SLOW_CAPS, FEWEST_WARM_UP_RUNS = 4, 12  # after four times its cap in time, so many runs must do
DROP_AFTER_RUNS = 3

Clock = Callable[[], int]
BlockOf = Callable[..., Block]  # measure_block of a session, or what stands in for it where several run at once


class Runnable(Protocol):
    """What is timed: the session's own `run`, exactly as a deployed bundle calls it."""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """One inference, host to host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many runs a block has: thrown away, timed samples, and runs that share one pair of clock readings."""

    lead_in_runs: int
    timed_runs: int
    runs_per_sample: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockCost:
    """What reading the clock costs and how fine it is, in ns."""

    call_ns: int
    resolution_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUpPlan:
    """How long to warm up, in time and runs. `drop_above_ns` ends it early for what is hopelessly slow after 3 runs."""

    least_ns: int = 200 * MS
    cap_ns: int = 3_000 * MS
    cap_runs: int = CAP_RUNS
    drop_above_ns: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """What the warm-up saw: the typical latency at its end, and whether it had stopped drifting."""

    latency_ns: float
    runs: int
    is_steady: bool
    was_dropped: bool = False


def clock_cost(clock: Clock = time.perf_counter_ns) -> ClockCost:
    """The smallest cost of a pair of readings and the smallest step seen, over 2,000 pairs."""
    pairs = [(clock(), clock()) for _ in range(2000)]
    differences = [after - before for before, after in pairs]
    return ClockCost(call_ns=min(differences), resolution_ns=min((d for d in differences if d > 0), default=1))


def plan_block(latency_ns: float, cost: ClockCost, *, after_stop: bool = True) -> Plan:
    """The block for a configuration that takes about `latency_ns` a run (measurement.md, section 2)."""
    latency_ns = max(latency_ns, 1.0)
    if latency_ns > SLOW_RUN_NS:
        return Plan(lead_in_runs=1, timed_runs=1)
    lead_in = max(MINIMUM_RUNS, _ceil(LEAD_IN_NS, latency_ns), AFTER_STOP_RUNS if after_stop else 0)
    timed = max(MINIMUM_RUNS, _ceil(BLOCK_NS, latency_ns))
    floor_ns = max(1000 * cost.resolution_ns, 200 * cost.call_ns)
    per_sample = 1 if latency_ns >= floor_ns else _ceil(floor_ns, latency_ns)
    return Plan(lead_in_runs=lead_in, timed_runs=max(MINIMUM_RUNS, timed // per_sample), runs_per_sample=per_sample)


def measure_block(
    session: Runnable, feeds: Sequence[Feeds], *, plan: Plan, start: int = 0, clock: Clock = time.perf_counter_ns,
    clock_ns: int = 0,
) -> Block:  # fmt: skip
    """Lead-in, then timed runs, over `feeds` in turn; the first timed run uses `feeds[start % len(feeds)]`.

    Every configuration is given the same `start` in the same round, so pairs are timed on the same inputs.

    Raises:
        EvidenceError: a run took no time or less, which only a broken clock explains.
    """
    count = plan.timed_runs * plan.runs_per_sample
    size = len(feeds)
    before = [feeds[(start - plan.lead_in_runs + i) % size] for i in range(plan.lead_in_runs)]
    timed = [feeds[(start + i) % size] for i in range(count)]
    samples = [0] * plan.timed_runs
    run = session.run
    gc.disable()
    try:
        for feed in before:
            run(feed)
        if plan.runs_per_sample == 1:
            _time_each(run, timed, samples, clock)
        else:
            _time_groups(run, timed, samples, clock)
    finally:
        gc.enable()
    latency = tuple((total - clock_ns) // plan.runs_per_sample for total in samples)
    if min(latency) <= 0:
        raise EvidenceError(f"a run took {min(latency)} ns", hint="the clock of this machine cannot be trusted")
    return Block(latency_ns=latency)


def _time_each(run: Callable[[Feeds], object], timed: Sequence[Feeds], samples: list[int], clock: Clock) -> None:
    for index, feed in enumerate(timed):
        begin = clock()
        run(feed)
        samples[index] = clock() - begin


def _time_groups(run: Callable[[Feeds], object], timed: Sequence[Feeds], samples: list[int], clock: Clock) -> None:
    size = len(timed) // len(samples)
    groups = [timed[index * size : (index + 1) * size] for index in range(len(samples))]
    for index, group in enumerate(groups):
        begin = clock()
        for feed in group:
            run(feed)
        samples[index] = clock() - begin


def warm_up(
    session: Runnable, feeds: Sequence[Feeds], *, plan: WarmUpPlan, cost: ClockCost,
    clock: Clock = time.perf_counter_ns, block: BlockOf | None = None,
) -> WarmUp:  # fmt: skip
    """Run until the run times stop drifting by MSER-5, or the caps of `plan` are reached.

    `block` gives a block as `measure_block` does, of `session` unless given.
    """
    begin = clock()
    measured = block or partial(measure_block, session)
    times: list[int] = []
    while len(times) < WARM_UP_RUNS or clock() - begin < plan.least_ns:
        times.extend(_timed_runs(session, feeds, len(times), clock))
        if len(times) == DROP_AFTER_RUNS and plan.drop_above_ns is not None and min(times) > plan.drop_above_ns:
            return WarmUp(latency_ns=_middle(times), runs=len(times), is_steady=False, was_dropped=True)
    steady, runs, recent = False, len(times), times[len(times) // 2 :]
    while not steady:
        before, recent = recent, list[int]()
        for _ in range(WARM_UP_BLOCKS):
            shape = replace(plan_block(_middle(times[-9:]), cost, after_stop=False), lead_in_runs=0)
            found = measured(feeds, plan=shape, start=runs, clock=clock)
            runs += shape.timed_runs * shape.runs_per_sample
            recent.extend(found.latency_ns)
            times.extend(found.latency_ns)
            if clock() - begin >= SLOW_CAPS * plan.cap_ns and runs >= FEWEST_WARM_UP_RUNS:
                break  # a run that takes a second or more must not warm up for minutes
        steady = has_steady_state(_logs(recent), before=_logs(before))
        elapsed_ns = clock() - begin
        if elapsed_ns >= SLOW_CAPS * plan.cap_ns or (elapsed_ns >= plan.cap_ns and runs >= plan.cap_runs):
            break
    return WarmUp(latency_ns=_middle(recent), runs=runs, is_steady=steady)


def _timed_runs(session: Runnable, feeds: Sequence[Feeds], done: int, clock: Clock) -> list[int]:
    begin = clock()
    session.run(feeds[done % len(feeds)])
    return [max(1, clock() - begin)]


def _logs(values: Sequence[int]) -> list[float]:
    return [math.log(value) for value in values]


def _middle(values: Sequence[int]) -> float:
    return float(sorted(values)[len(values) // 2])


def _ceil(total: float, part: float) -> int:
    return int(-(-total // part))
