"""What each safeguard promises, as a figure of how far a simulated machine is from it: 0 is a promise kept.

Every check runs the real code, in a world in which its safeguard matters.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fakes import MS, FakeClock, FakeSession, FakeWorker, make_rig
from infer_opt import measure
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.confirming import Epoch, confirm
from infer_opt.measure import ClockCost, WarmUpPlan, measure_block, warm_up
from infer_opt.racing import race
from infer_opt.results import Verdict
from infer_opt.stats import confirm as claims
from infer_opt.stats.confirm import decide
from infer_opt.stats.intervals import FloatArray
from proof.worlds import (
    FAST,
    ROUNDS,
    STOCK,
    CoRunner,
    Machine,
    Noise,
    always,
    cold_after_idle,
    confirmed,
    identical,
    is_two_threaded,
    spinning_idlers,
    verdict_of,
)

COST = ClockCost(call_ns=50, resolution_ns=1)


def share_of(verdict: Verdict, worlds: int, made: Callable[[int], Machine], **settings: Any) -> float:
    """The share of so many worlds in which FAST gets that verdict."""
    found = [verdict_of(confirmed(made(seed), **settings)) for seed in range(worlds)]
    return sum(one is verdict for one in found) / worlds


# A fresh process for each configuration


def claims_where_processes_differ() -> float:
    return share_of(Verdict.FASTER, 60, lambda seed: Machine(seed=seed, noise=0.02, process_effect=0.04))


def claims_of_one_thread_over_two() -> float:
    """Wrong winners: one thread is 1.3 times slower than stock's two, and needs no second core."""
    return share_of(
        Verdict.FASTER,
        20,
        lambda seed: Machine(
            seed=seed,
            latency_ns={FAST: 1.3 * MS},
            noise=0.03,
            process_effect=0.01,
            influences=(spinning_idlers,),
        ),
    )


# Warm-up, apart from the measurement


SLOW_FIRST_RUNS = (2.5, 1.9, 1.5, 1.25, 1.1)  # factors after SIGCONT, for two threads; one thread has nobody to wake


def block_error() -> float:
    """|ln| of two equal sessions' block values after a stop, where one has threads to wake."""
    values = []
    for factors in (SLOW_FIRST_RUNS, (1.0,)):
        clock = FakeClock()
        session = FakeSession(clock, [round(5 * MS * factor) for factor in factors] + [5 * MS])
        plan = measure.plan_block(5 * MS, COST)
        block = measure_block(session, [{}], plan=plan, clock=clock)
        values.append(math.log(sorted(block.latency_ns)[len(block.latency_ns) // 2]))
    return abs(values[0] - values[1])


def unnoticed_drift() -> float:
    """The largest |ln| by which a warm-up's latency is off without a word, over sessions that speed up slowly."""
    worst = 0.0
    for seed, runs in enumerate((40, 80, 120)):
        generator, clock = random.Random(seed), FakeClock()
        factors = (1.0 + 0.6 * math.exp(-run / runs) + generator.gauss(0.0, 0.005) for run in range(6000))
        found = warm_up(
            FakeSession(clock, [round(MS * factor) for factor in factors]),
            [{}],
            plan=WarmUpPlan(),
            cost=COST,
            clock=clock,
        )
        worst = max(worst, abs(math.log(found.latency_ns / MS)) if found.is_steady else 0.0)
    return worst


# Paired rounds


def misses_where_the_machine_drifts() -> float:
    return 1.0 - share_of(
        Verdict.FASTER,
        40,
        lambda seed: Machine(
            seed=seed,
            latency_ns={FAST: 0.9 * MS},
            shape=Noise.DRIFT,
            drift=0.03,
            noise=0.02,
            process_effect=0.01,
        ),
    )


def misses_beside_a_co_runner() -> float:
    return 1.0 - share_of(
        Verdict.FASTER,
        40,
        lambda seed: Machine(
            seed=seed,
            latency_ns={FAST: 0.95 * MS},
            noise=0.02,
            process_effect=0.005,
            influences=(CoRunner(slow_down=2.0, shortest_ms=50.0, longest_ms=300.0),),
        ),
    )


def claims_where_the_first_block_is_cold() -> float:
    return share_of(
        Verdict.FASTER,
        30,
        lambda seed: Machine(seed=seed, noise=0.01, process_effect=0.003, influences=(cold_after_idle,)),
    )


# Disturbed rounds are thrown away blindly


def every_eleventh() -> Callable[[Sequence[int]], Callable[[], str | None]]:
    numbers = iter(range(10_000))
    return lambda pids: lambda: "steal" if next(numbers) % 11 == 2 else None


def discards_that_latencies_decide() -> float:
    """The share of worlds with other latencies whose discards differ, although the disturbance from outside is one."""

    def discards(machine: Machine) -> list[int]:
        return [one.discarded for one in confirmed(machine, watch=every_eleventh(), most=4).epochs]

    quiet = discards(Machine())
    loud = [discards(Machine(seed=seed, latency_ns={FAST: 0.8 * MS}, noise=0.1)) for seed in range(10)]
    return sum(found[:4] != quiet for found in loud) / len(loud)


# Choosing and claiming are kept apart


def flattery() -> float:
    """By how much the printed speed-up of the best of twelve equals exceeds 1, on average."""
    contenders = {config.key: config for config in identical(12)}
    printed = []
    for seed in range(30):
        machine, chose = Machine(seed=seed, noise=0.03, process_effect=0.01), list[Epoch]()
        rig, generator = make_rig(machine), random.Random(seed)
        chosen = confirm(
            rig, contenders, STOCK, generator=generator, rounds=ROUNDS, fits=always, most=4, keep=chose.append
        )
        machine.remembered.extend(chose)
        best = max(chosen.comparisons, key=lambda key: chosen.comparisons[key].speedup.value)
        found = confirm(rig, {best: contenders[best]}, STOCK, generator=generator, rounds=ROUNDS, fits=always, most=4)
        printed.append(found.comparisons[best].speedup.value)
    return sum(printed) / len(printed) - 1.0


def best_lost_in_the_race() -> float:
    """The share of races that lose the best to chance within one heat.

    Rounds stray by far more than the luck that is allowed for, so that only the evidence itself protects the best.
    """
    lost, races = 0, 100
    for seed in range(races):
        machine = Machine(seed=seed, latency_ns={FAST: 0.997 * MS}, noise=3.0)
        rivals = {config.key: config for config in identical(8)}
        found = race(
            make_rig(machine), rivals, STOCK, generator=random.Random(seed), goes_on=always, finalists=len(rivals)
        )
        lost += FAST.key not in found.survivors
    return lost / races


def best_lost_to_luck() -> float:
    """The share of races that lose the best of eight, by 3 %, where rounds stray by 1 % and processes differ by 2 %."""
    lost, rivals = 0, {config.key: config for config in identical(8)}
    for seed in range(40):
        machine = Machine(seed=seed, noise=0.01, process_effect=0.02, latency_ns={FAST: 0.97 * MS})
        found = race(make_rig(machine), rivals, STOCK, generator=random.Random(seed), goes_on=always, finalists=3)
        lost += FAST.key not in found.survivors
    return lost / 40


def picks_of_a_slow_machine() -> float:
    """The share of races won by one thread, which is slower than two on the quiet machine.

    In every second heat a core runs at 1/1.6 of its speed: that slows whoever runs on both of them, stock among them.
    """
    two = TrialConfig(options=SessionOptions(intra_threads=2))
    wrong, rivals = 0, {"one": FAST, "two": two}
    for seed in range(20):
        machine = Machine(
            seed=seed,
            latency_ns={FAST: 0.85 * MS, two: 0.7 * MS, STOCK: MS},
            noise=0.01,
            process_effect=0.005,
            influences=(slow_in_every_second_heat,),
        )
        found = race(
            make_rig(machine), rivals, STOCK, generator=random.Random(seed), goes_on=always, quiet=math.log(MS)
        )
        wrong += found.survivors[0] != "two"
    return wrong / 20


def slow_in_every_second_heat(machine: Machine, worker: FakeWorker) -> float:
    """Heats are told by how many stock sessions were started so far."""
    heats = sum(one.name.startswith("baseline#") for one in machine.workers)
    return math.log(1.6) if heats % 2 and is_two_threaded(worker) else 0.0


# Looks


def verdicts_on_a_restless_configuration() -> float:
    """Stock and its clone agree from process to process; the contender, no faster or slower, differs by 13 %.

    That is what an INT8 LSTM did over four epochs. Where the clone is as restless, the margin alone would do.
    """
    generator, wrong, worlds = np.random.default_rng(3), 0, 400
    for _ in range(worlds):
        epochs, clone = generator.normal(0.0, 0.13, 19), generator.normal(0.0, 0.003, 19)
        for look in claims.LOOKS:
            verdict = claims.decide_all({"fast": epochs[:look]}, clone[:look])["fast"].verdict
            if verdict is not Verdict.INCONCLUSIVE:
                wrong += verdict in (Verdict.FASTER, Verdict.SLOWER)
                break
    return wrong / worlds


# The margin


def stock_alone_is_slow(machine: Machine, worker: FakeWorker) -> float:
    """Something slows the one role of stock by 3 % today: memory far from its core, a slot that is always cold."""
    return math.log(1.03) if worker.name.startswith("baseline#") else 0.0


def claims_where_stock_is_unlucky() -> float:
    return share_of(
        Verdict.FASTER,
        30,
        lambda seed: Machine(seed=seed, noise=0.02, process_effect=0.003, influences=(stock_alone_is_slow,)),
    )


def claims_of_next_to_nothing() -> float:
    """0.4 % is less than anybody can rely on from one day to the next, however well it is measured."""
    return share_of(
        Verdict.FASTER,
        20,
        lambda seed: Machine(seed=seed, latency_ns={FAST: 0.996 * MS}, noise=0.002, process_effect=0.0005),
    )


# Never worse


def worse_than_stock() -> float:
    return share_of(
        Verdict.FASTER,
        40,
        lambda seed: Machine(seed=seed, latency_ns={FAST: 1.015 * MS}, noise=0.03, process_effect=0.03),
    )


# What it prints


def epochs_with_slow_processes(generator: np.random.Generator, count: int) -> FloatArray:
    """1 % from epoch to epoch; one in 14 has a process that runs at two thirds of its speed throughout."""
    slow = np.where(generator.random(count) < 1 / 14, math.log(1.5), 0.0)
    return np.asarray(generator.normal(0.0, 0.01, count) + slow)


def calm_epochs(generator: np.random.Generator, count: int) -> FloatArray:
    return np.asarray(generator.normal(0.0, 0.015, count))


def second_measurements_missed(epochs: Callable[[np.random.Generator, int], FloatArray], count: int) -> float:
    """The share of winners that are 6 % faster whose second measurement lies outside of the interval printed first."""
    generator, missed, proven = np.random.default_rng(5), 0, 0
    for _ in range(600):
        found = decide(epochs(generator, count) - 0.06, epochs(generator, count))
        if found.verdict is Verdict.FASTER:
            proven += 1
            again = decide(epochs(generator, count) - 0.06, epochs(generator, count)).log_centre
            missed += not found.remeasure_low <= again <= found.remeasure_high
    return missed / proven
