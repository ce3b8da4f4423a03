import gc
import math
from collections.abc import Callable
from typing import Any

import pytest

from fakes import MS, FakeClock, FakeSession
from infer_opt.errors import EvidenceError, ModelError
from infer_opt.measure import (
    AFTER_STOP_RUNS,
    ClockCost,
    Plan,
    WarmUp,
    WarmUpPlan,
    clock_cost,
    measure_block,
    plan_block,
    warm_up,
)
from infer_opt.results import Block

FEEDS = tuple({"x": index} for index in range(4))
EXACT = ClockCost(call_ns=0, resolution_ns=1)
US = 1000


def measured(durations_ns: list[int], *, plan: Plan, **settings: Any) -> Block:
    clock = FakeClock()
    return measure_block(FakeSession(clock, durations_ns), FEEDS, plan=plan, clock=clock, **settings)


# Blocks


def test_lead_in_runs_are_not_measured() -> None:
    block = measured([90 * MS, 50 * MS, 2 * MS, 3 * MS], plan=Plan(lead_in_runs=2, timed_runs=2))

    assert block.latency_ns == (2 * MS, 3 * MS)


def test_every_timed_run_is_kept_in_the_order_it_happened() -> None:
    times = [5 * MS, 1 * MS, 700 * MS, 1 * MS]  # the outlier stays

    assert measured(times, plan=Plan(lead_in_runs=0, timed_runs=4)).latency_ns == tuple(times)


@pytest.mark.parametrize("lead_in", [0, 1, 3, 7])
def test_blocks_of_one_round_are_timed_on_the_same_inputs_whatever_their_lead_in(lead_in: int) -> None:
    clock = FakeClock()
    session = FakeSession(clock, [MS])

    measure_block(session, FEEDS, plan=Plan(lead_in_runs=lead_in, timed_runs=3), start=6, clock=clock)

    assert [feed["x"] for feed in session.fed[lead_in:]] == [2, 3, 0]


def test_inputs_go_on_in_turn_through_groups_of_runs() -> None:
    clock = FakeClock()
    session = FakeSession(clock, [MS])

    measure_block(session, FEEDS, plan=Plan(lead_in_runs=0, timed_runs=3, runs_per_sample=2), start=1, clock=clock)

    assert [feed["x"] for feed in session.fed] == [1, 2, 3, 0, 1, 2]


def test_a_sample_of_several_runs_is_their_mean() -> None:
    block = measured([10, 20, 30, 50], plan=Plan(lead_in_runs=0, timed_runs=2, runs_per_sample=2))

    assert block.latency_ns == (15, 40)


def test_the_cost_of_the_clock_is_subtracted_once_a_sample() -> None:
    single = measured([1000] * 2, plan=Plan(lead_in_runs=0, timed_runs=2), clock_ns=40)
    grouped = measured([1000] * 4, plan=Plan(lead_in_runs=0, timed_runs=1, runs_per_sample=4), clock_ns=40)

    assert single.latency_ns == (960, 960)
    assert grouped.latency_ns == (990,)


@pytest.mark.parametrize("duration_ns", [0, 40, -5])
def test_a_run_of_no_time_or_less_is_an_error_and_not_a_zero(duration_ns: int) -> None:
    with pytest.raises(EvidenceError, match=f"a run took {duration_ns - 40} ns"):
        measured([1000, duration_ns], plan=Plan(lead_in_runs=0, timed_runs=2), clock_ns=40)


def test_the_garbage_collector_rests_inside_a_block_and_works_after_it() -> None:
    seen = []
    clock = FakeClock()
    session = FakeSession(clock, [MS], during=lambda: seen.append(gc.isenabled()))

    measure_block(session, FEEDS, plan=Plan(lead_in_runs=1, timed_runs=2), clock=clock)

    assert seen == [False, False, False]
    assert gc.isenabled()


def test_the_garbage_collector_works_again_after_a_run_that_failed() -> None:
    def fail() -> None:
        raise ModelError("no")

    clock = FakeClock()
    with pytest.raises(ModelError):
        measure_block(
            FakeSession(clock, [MS], during=fail), FEEDS, plan=Plan(lead_in_runs=1, timed_runs=1), clock=clock
        )

    assert gc.isenabled()


# Plans


def test_a_block_lasts_ten_milliseconds_after_a_lead_in_of_two() -> None:
    plan = plan_block(0.5 * MS, EXACT, after_stop=False)

    assert plan == Plan(lead_in_runs=4, timed_runs=20)


def test_a_block_has_three_runs_at_least_and_five_to_lead_in_after_a_stop() -> None:
    assert plan_block(20 * MS, EXACT, after_stop=False) == Plan(lead_in_runs=3, timed_runs=3)
    assert plan_block(20 * MS, EXACT) == Plan(lead_in_runs=AFTER_STOP_RUNS, timed_runs=3)


def test_a_slow_run_is_a_block_of_its_own() -> None:
    assert plan_block(31 * MS, EXACT) == Plan(lead_in_runs=1, timed_runs=1)


@pytest.mark.parametrize(
    ("latency_ns", "cost", "per_sample"),
    [
        (20 * US, ClockCost(call_ns=100, resolution_ns=1), 1),  # 200 calls of the clock fit into a run
        (19_999, ClockCost(call_ns=100, resolution_ns=1), 2),
        (100 * US, ClockCost(call_ns=1, resolution_ns=100), 1),  # 1000 steps of the clock do
        (10 * US, ClockCost(call_ns=1, resolution_ns=100), 10),
    ],
)
def test_very_fast_runs_share_a_sample(latency_ns: float, cost: ClockCost, per_sample: int) -> None:
    assert plan_block(latency_ns, cost).runs_per_sample == per_sample


@pytest.mark.parametrize("latency_ns", [0.0, 1.0, 50.0, 3e3, 7.7e4, 1e6, 2.9e7, 5e9])
def test_any_speed_gives_a_block_that_is_neither_empty_nor_endless(latency_ns: float) -> None:
    plan = plan_block(latency_ns, ClockCost(call_ns=60, resolution_ns=40))

    runs = plan.timed_runs * plan.runs_per_sample
    assert min(plan.lead_in_runs, plan.timed_runs, plan.runs_per_sample) >= 1
    assert runs * latency_ns <= max(11 * MS, 3 * latency_ns)


def test_the_clock_is_measured_by_reading_it() -> None:
    assert clock_cost(FakeClock(reading_ns=35)) == ClockCost(call_ns=35, resolution_ns=35)
    coarse = clock_cost(FakeClock(reading_ns=30, resolution_ns=100))
    assert coarse == ClockCost(call_ns=0, resolution_ns=100)


# Warm-up


def warmed(time_of_run: Callable[[int], float], plan: WarmUpPlan | None = None) -> WarmUp:
    clock = FakeClock()
    times = [round(time_of_run(run)) for run in range(5000)]
    return warm_up(FakeSession(clock, times), FEEDS, plan=plan or WarmUpPlan(), cost=EXACT, clock=clock)


def wobble(run: int) -> float:
    """A few per cent, without a trend."""
    return 1.0 + 0.02 * math.sin(run * 2.4) + 0.01 * math.sin(run * 1.1 + 1.0)


def test_a_session_that_is_steady_from_the_start_warms_up_once() -> None:
    result = warmed(lambda run: 2 * MS * wobble(run))

    assert result.is_steady
    assert result.latency_ns == pytest.approx(2 * MS, rel=0.02)
    assert 200 * MS <= result.runs * result.latency_ns < 700 * MS  # 0.2 s, then 20 blocks of 10 ms


def test_slow_first_runs_do_not_count_into_the_latency() -> None:
    result = warmed(lambda run: (20 if run < 30 else 2) * MS * wobble(run))

    assert result.is_steady
    assert result.latency_ns == pytest.approx(2 * MS, rel=0.02)


@pytest.mark.parametrize("seconds", [0.9, 3, 20])
def test_a_very_slow_session_warms_up_for_a_dozen_runs_and_not_for_a_hundred(seconds: float) -> None:
    result = warmed(lambda run: seconds * 1e9 * wobble(run))

    assert 12 <= result.runs <= 15
    assert result.latency_ns == pytest.approx(seconds * 1e9, rel=0.03)


def test_a_slow_session_that_drifts_gets_its_hundred_runs() -> None:
    result = warmed(lambda run: 50 * MS * 1.01**run)

    assert not result.is_steady
    assert 100 <= result.runs <= 125


def test_run_times_that_never_stop_drifting_are_flagged() -> None:
    plan = WarmUpPlan(cap_ns=1000 * MS)

    result = warmed(lambda run: 2 * MS * 1.003**run * wobble(run), plan)

    assert not result.is_steady
    assert not result.was_dropped


def test_the_warm_up_of_a_drifting_session_ends_at_its_cap() -> None:
    plan = WarmUpPlan(cap_ns=1000 * MS)
    clock = FakeClock()
    times = [round(2 * MS * 1.003**run) for run in range(5000)]

    result = warm_up(FakeSession(clock, times), FEEDS, plan=plan, cost=EXACT, clock=clock)

    assert result.runs >= 100
    assert 1000 * MS <= clock.now_ns < 2000 * MS


def test_a_step_inside_the_warm_up_is_waited_for() -> None:
    # A frequency boost ends after 140 runs, in the middle of the first 20 blocks.
    result = warmed(lambda run: (2 if run < 140 else 3) * MS * wobble(run))

    assert result.is_steady
    assert result.latency_ns == pytest.approx(3 * MS, rel=0.03)


def test_what_is_hopelessly_slow_is_dropped_after_three_runs() -> None:
    result = warmed(lambda run: 10.0 * MS, WarmUpPlan(drop_above_ns=9.0 * MS))

    assert result.was_dropped
    assert not result.is_steady
    assert (result.runs, result.latency_ns) == (3, 10 * MS)


@pytest.mark.parametrize("times_ms", [[50, 50, 8], [8, 50, 50], [9, 9, 9]])
def test_one_fast_run_of_three_is_hope_enough(times_ms: list[int]) -> None:
    times = [*times_ms, 8]

    result = warmed(lambda run: times[min(run, 3)] * MS * wobble(run), WarmUpPlan(drop_above_ns=9.5 * MS))

    assert not result.was_dropped


def test_a_fast_session_is_timed_in_groups_while_it_warms_up_too() -> None:
    # One run is a step or two of this clock: timed one by one, the median would be a whole step.
    clock = FakeClock(resolution_ns=1000)

    result = warm_up(
        FakeSession(clock, [1400]),
        FEEDS,
        plan=WarmUpPlan(least_ns=10 * MS),
        cost=ClockCost(call_ns=0, resolution_ns=1000),
        clock=clock,
    )

    assert result.latency_ns == pytest.approx(1400, rel=0.01)
    assert clock.now_ns >= 150 * MS  # 20 blocks of 10 ms, less what is left over of each
