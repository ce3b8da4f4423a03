"""The workings in motion: whole tunings, warm-up and discards. Rows 7, 9 and 10 of the contract's tests."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks.simulation.noise import RUN_SD, Array
from benchmarks.simulation.ours import Tuned
from benchmarks.simulation.rates import Rate

from infer_opt.config import Objective, TrialConfig
from infer_opt.measure import ClockCost, WarmUpPlan, plan_block, warm_up
from infer_opt.monitors.host import HostSnapshot
from infer_opt.monitors.interference import interference
from infer_opt.results import Block
from infer_opt.stats.confirm import DEFAULT_ROUNDS, epoch_value
from infer_opt.workers.process import WorkerProcess
from infer_opt.workers.rounds import Entrant, Watch, measure_round

MS = 1_000_000
MOST_BIAS = 0.005
FEEDS: Sequence[Mapping[str, Any]] = ({},)
COST = ClockCost(call_ns=50, resolution_ns=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """The mean of `count` values with its standard error."""

    value: float
    error: float
    count: int

    @property
    def largest(self) -> float:
        """The far end of the 95 % interval of its size."""
        return abs(self.value) + 1.96 * self.error


def mean_of(values: Sequence[float]) -> Mean:
    """Their mean; 0 of none."""
    if len(values) < 2:
        return Mean(value=float(sum(values)), error=0.0, count=len(values))
    sample = np.asarray(values)
    return Mean(value=float(sample.mean()), error=float(sample.std(ddof=1)) / len(values) ** 0.5, count=len(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Curse:
    """By how many points what was printed exceeds what was measured again. 1 point = 0.01 in "times faster".

    `printed` is infer-opt's number; `claimed` only where it said "faster"; `screen` the best that the screen saw.
    """

    printed: Mean
    claimed: Mean
    screen: Mean


def curse_of(found: Sequence[Tuned]) -> Curse:
    """Row 7: the inflation that whole tunings show, each measured again after."""
    return Curse(
        printed=mean_of([_points(one.printed, one.again) for one in found]),
        claimed=mean_of([_points(one.printed, one.again) for one in found if one.is_claimed]),
        screen=mean_of([_points(one.screened, one.screened_again) for one in found]),
    )


def _points(printed: float, again: float) -> float:
    return float(100.0 * (np.exp(printed) - np.exp(again)))


class PlayedSession:
    """Runs whose excess over the steady time (ln) is known, with noise on top. It is its own clock."""

    def __init__(self, rng: np.random.Generator, steady_ns: float, excess: Callable[[float], float]) -> None:
        self.now_ns = 0
        self.excesses: list[float] = []
        self._steady_ns = steady_ns
        self._excess = excess
        self._noise = RUN_SD * rng.standard_normal(4096)

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """One call: only time passes."""
        excess = self._excess(self.now_ns / 1e9)
        noise = self._noise[len(self.excesses) % len(self._noise)]
        self.excesses.append(excess)
        self.now_ns += round(self._steady_ns * float(np.exp(excess + noise)))
        return {}

    def clock(self) -> int:
        """Nanoseconds since the beginning."""
        return self.now_ns


def step(size: float, length_s: float) -> Callable[[float], float]:
    """Slow by `size` (ln), then not."""
    return lambda at_s: size if at_s < length_s else 0.0


def exponential(size: float, length_s: float) -> Callable[[float], float]:
    """Slow by `size` at first, by a twentieth of it after `length_s`."""
    return lambda at_s: size * float(np.exp(-3.0 * at_s / length_s))


def ramp(size: float, length_s: float) -> Callable[[float], float]:
    """Slow by `size` at first, evenly less until `length_s`."""
    return lambda at_s: size * max(0.0, 1.0 - at_s / length_s)


SHAPES = {"step": step, "exponential": exponential, "ramp": ramp}


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmedUp:
    """What was left of the slow beginning in the 20 blocks after the warm-up (ln), and whether it was flagged."""

    bias: float
    is_flagged: bool
    bias_without: float


def warmed_up(
    shape: str,
    rng: np.random.Generator,
    *,
    repeats: int,
    lengths_s: tuple[float, float],
    plan: WarmUpPlan | None = None,
) -> list[WarmedUp]:
    """Row 9: beginnings slow by 10 to 150 % that last between two lengths, runs of 0.5 to 10 ms.

    `bias_without` is that of ten warm-up runs, the rule that others use.
    """
    plan = WarmUpPlan() if plan is None else plan
    shortest, longest = np.log(lengths_s)
    found = []
    for _ in range(repeats):
        size = float(np.log1p(rng.uniform(0.1, 1.5)))
        excess = SHAPES[shape](size, float(np.exp(rng.uniform(shortest, longest))))
        steady_ns = float(np.exp(rng.uniform(np.log(0.5 * MS), np.log(10.0 * MS))))
        session = PlayedSession(rng, steady_ns, excess)
        seen = warm_up(session, FEEDS, plan=plan, cost=COST, clock=session.clock)
        naive = PlayedSession(rng, steady_ns, excess)
        for _ in range(10):
            naive.run({})
        found.append(
            WarmedUp(
                bias=_bias(session, seen.latency_ns),
                is_flagged=not seen.is_steady,
                bias_without=_bias(naive, steady_ns),
            )
        )
    return found


def _bias(session: PlayedSession, latency_ns: float) -> float:
    plan = plan_block(latency_ns, COST)
    blocks = []
    for _ in range(DEFAULT_ROUNDS):
        for _ in range(plan.lead_in_runs + plan.timed_runs):
            session.run({})
        blocks.append(float(np.median(session.excesses[-plan.timed_runs :])))
    return epoch_value(blocks)


class PlayedWorker(WorkerProcess):
    """Answers each request for a block with the next of its latencies."""

    def __init__(self, pid: int, latency_ns: Sequence[int]) -> None:
        self._played = pid
        self._latency_ns = list(latency_ns)

    @property
    def pid(self) -> int:
        """A number: there is no process."""
        return self._played

    def ask(self, command: object, *, timeout_s: float) -> Block:
        """The next block."""
        return Block(latency_ns=(self._latency_ns.pop(0),) * 3)

    def freeze(self) -> None:
        """There is nothing to stop."""


def discards(latency_ns: Array, watch: Callable[[], Watch]) -> list[str | None]:
    """The reason to discard of each round, for latencies (rounds, configurations) of played workers."""
    entrants = {
        str(index): Entrant(config=TrialConfig(), worker=PlayedWorker(index, [int(value) for value in column]))
        for index, column in enumerate(latency_ns.T)
    }
    judged = watch()
    rounds = (
        measure_round(
            entrants, number=number, objective=Objective.LATENCY, generator=random.Random(number), watch=judged
        )
        for number in range(len(latency_ns))
    )
    return [one.discarded for one in rounds]


def disturbed_host(stolen_s: Sequence[float]) -> Callable[[], Watch]:
    """A watch over counters of a host that was robbed of so many CPU seconds in each round of 100 ms."""

    def begin() -> Watch:
        left = list(stolen_s)

        def watch(pids: Sequence[int]) -> Callable[[], str | None]:
            before = HostSnapshot(time_ns=0, wall_ns=0, busy_s=0.0, steal_s=0.0, idle_s=0.0, cpu_s=((0, 0.0),))
            after = HostSnapshot(
                time_ns=100 * MS, wall_ns=100 * MS, busy_s=0.1, steal_s=left.pop(0), idle_s=0.0, cpu_s=((0, 0.1),)
            )
            return lambda: interference(before, after, cores_in_use=1.0)

        return watch

    return begin


def blind_discards(rng: np.random.Generator, *, repeats: int, rounds: int = 30) -> Rate:
    """Row 10: how often the same rounds are discarded when latencies change places, all else being equal."""
    same = 0
    for _ in range(repeats):
        latency = MS * np.exp(0.3 * rng.standard_normal((rounds, 3)))
        watch = disturbed_host(np.where(rng.random(rounds) < 0.2, 0.05, 0.0).tolist())
        permuted = rng.permutation(latency.reshape(-1)).reshape(latency.shape)
        same += discards(latency, watch) == discards(permuted, watch)
    return Rate(hits=same, trials=repeats)
