import gc
from collections.abc import Mapping
from typing import Any

import pytest

from fakes import MS, FakeClock
from infer_opt.errors import EvidenceError
from infer_opt.measure import ClockCost, WarmUpPlan
from infer_opt.workers.mixtures import (
    MixturePlan,
    first_calls,
    measure_mixture,
    plan_mixture,
    warm_up_mixture,
)

EXACT = ClockCost(call_ns=0, resolution_ns=1)
SHAPES = 3
FEEDS = tuple({"x": (index % SHAPES, index // SHAPES)} for index in range(4 * SHAPES))  # (shape, which of its inputs)


class Mixed:
    """A session that takes the time of a shape; the first call of each shape ten times that."""

    def __init__(self, clock: FakeClock, times_ns: tuple[int, ...], *, slow_first: bool = False) -> None:
        self.clock, self.times_ns, self.slow_first = clock, times_ns, slow_first
        self.fed: list[tuple[int, int]] = []
        self.is_collecting: list[bool] = []

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        shape = feeds["x"][0]
        is_new = all(seen != shape for seen, _ in self.fed)
        self.clock.now_ns += self.times_ns[shape] * (10 if is_new and self.slow_first else 1)
        self.fed.append(feeds["x"])
        self.is_collecting.append(gc.isenabled())
        return {}


def mixed(*times_ms: float, **settings: Any) -> tuple[Mixed, FakeClock]:
    clock = FakeClock()
    return Mixed(clock, tuple(round(time * MS) for time in times_ms), **settings), clock


def plan_of(lead_in: int = 0, timed: int = 2, per_sample: tuple[int, ...] = (1, 1, 1)) -> MixturePlan:
    return MixturePlan(lead_in_passes=lead_in, timed_passes=timed, runs_per_sample=per_sample)


# Blocks


def test_every_pass_visits_every_shape_once_and_each_run_keeps_its_shape() -> None:
    session, clock = mixed(1, 2, 5)

    block = measure_mixture(session, FEEDS, plan=plan_of(timed=4), start=7, clock=clock)

    assert [sorted(block.shapes[place : place + 3]) for place in range(0, 12, 3)] == [[0, 1, 2]] * 4
    assert [shape for shape, _ in session.fed] == list(block.shapes)
    assert block.latency_ns == tuple((1, 2, 5)[shape] * MS for shape in block.shapes)


@pytest.mark.parametrize("lead_in", [0, 1, 4])
def test_pairs_see_the_same_shapes_orders_and_inputs_however_fast_they_are(lead_in: int) -> None:
    slow, slow_clock = mixed(9, 20, 50)
    fast, fast_clock = mixed(1, 2, 5)

    measure_mixture(slow, FEEDS, plan=plan_of(timed=2), start=5, clock=slow_clock)
    measure_mixture(fast, FEEDS, plan=plan_of(lead_in=lead_in, timed=6), start=5, clock=fast_clock)

    assert fast.fed[3 * lead_in :][: len(slow.fed)] == slow.fed


def test_the_order_changes_from_pass_to_pass_and_round_to_round() -> None:
    session, clock = mixed(1, 1, 1)
    orders = set()
    for start in range(30):
        block = measure_mixture(session, FEEDS, plan=plan_of(timed=3), start=start, clock=clock)
        orders |= {block.shapes[place : place + 3] for place in (0, 3, 6)}

    assert len(orders) == 6, "all orders of three"


def test_the_inputs_of_each_shape_take_turns() -> None:
    session, clock = mixed(1, 1, 1)

    measure_mixture(session, FEEDS, plan=plan_of(timed=4), start=2, clock=clock)

    assert [which for shape, which in session.fed if shape == 1] == [2, 3, 0, 1]


def test_runs_of_a_fast_shape_share_a_sample_and_the_clock_is_paid_once() -> None:
    session, clock = mixed(1, 2, 5)

    block = measure_mixture(session, FEEDS, plan=plan_of(timed=1, per_sample=(4, 2, 1)), clock=clock, clock_ns=400)

    assert dict(zip(block.shapes, block.latency_ns, strict=True)) == {0: MS - 100, 1: 2 * MS - 200, 2: 5 * MS - 400}
    assert len(session.fed) == 7


def test_the_garbage_collector_rests_in_a_block_of_many_shapes_too() -> None:
    session, clock = mixed(1, 2, 5)

    measure_mixture(session, FEEDS, plan=plan_of(lead_in=1), clock=clock)

    assert not any(session.is_collecting)
    assert gc.isenabled()


def test_a_run_that_takes_no_time_is_an_error() -> None:
    session, clock = mixed(1, 0, 5)

    with pytest.raises(EvidenceError, match="a run took 0 ns"):
        measure_mixture(session, FEEDS, plan=plan_of(), clock=clock)


def test_a_block_of_fast_shapes_lasts_about_ten_milliseconds() -> None:
    plan = plan_mixture((0.2 * MS, 0.3 * MS, 0.5 * MS), EXACT, after_stop=False)

    assert plan == MixturePlan(lead_in_passes=2, timed_passes=10, runs_per_sample=(1, 1, 1))


def test_each_shape_is_run_three_times_at_least_unless_a_run_is_slow_on_average() -> None:
    assert plan_mixture((3 * MS, 16 * MS, 52 * MS), EXACT) == plan_of(lead_in=2, timed=3)
    assert plan_mixture((3 * MS, 40 * MS, 80 * MS), EXACT) == plan_of(lead_in=1, timed=1)


def test_only_the_shapes_that_are_too_fast_for_the_clock_share_samples() -> None:
    coarse = ClockCost(call_ns=100, resolution_ns=1)  # 20 µs a sample

    assert plan_mixture((5_000, 30_000), coarse).runs_per_sample == (4, 1)


# First calls and warm-up


def test_the_first_call_in_each_further_shape_is_timed_in_a_settled_process() -> None:
    session, clock = mixed(1, 2, 5, slow_first=True)
    session.run(FEEDS[0])

    assert first_calls(session, FEEDS, SHAPES, clock=clock) == (20 * MS, 50 * MS)
    assert [shape for shape, _ in session.fed] == [0, 0, 0, 0, 1, 2]


def test_a_warm_up_over_several_shapes_gives_their_mean_and_what_each_takes() -> None:
    session, clock = mixed(1, 2, 6)

    warmed, by_shape = warm_up_mixture(session, FEEDS, SHAPES, plan=WarmUpPlan(), cost=EXACT, clock=clock)

    assert warmed.is_steady, "that shapes differ is no drift"
    assert warmed.latency_ns == pytest.approx(3 * MS)
    assert by_shape == (MS, 2 * MS, 6 * MS)


def test_what_is_hopelessly_slow_is_dropped_by_its_mean_over_shapes() -> None:
    session, clock = mixed(10, 20, 60)
    plan = WarmUpPlan(drop_above_ns=20 * MS)

    warmed, _ = warm_up_mixture(session, FEEDS, SHAPES, plan=plan, cost=EXACT, clock=clock)

    assert warmed.was_dropped
    assert warmed.latency_ns == pytest.approx(30 * MS)
