"""One block of several sessions: what counts of the calls of all threads, and that a failure ends all of them."""

import threading
import time
from typing import Any

import pytest

from infer_opt.errors import EvidenceError, ModelError
from infer_opt.instances import Instances
from infer_opt.measure import Plan
from infer_opt.protocols import Array, Feeds
from infer_opt.workers.loads import measure_load, window

PLAN = Plan(lead_in_runs=2, timed_runs=3)
FEEDS = tuple({"x": index} for index in range(4))


def back_to_back(*durations: int, begin: int = 0) -> list[tuple[int, int]]:
    spans = []
    for duration in durations:
        spans.append((begin, begin + duration))
        begin += duration
    return spans


def test_two_threads_do_twice_the_calls_in_the_same_time() -> None:
    alone = window([back_to_back(10, 10, 10, 10)], calls=3)
    both = window([back_to_back(10, 10, 10, 10), back_to_back(10, 10, 10, 10)], calls=3)

    assert (alone.spacing_ns, both.spacing_ns) == (10, 5)
    assert both.latency_ns == (10, 10, 10, 10, 10, 10)


def test_calls_that_only_partly_lie_in_the_window_count_in_part() -> None:
    # A slow one of 30 and a fast one of 10: 3 + 9 calls in 90 ns, however they are shifted.
    for shift in (0, 3, 7):
        found = window([back_to_back(30, 30, 30, 30), back_to_back(*[10] * 12, begin=shift)], calls=3)
        assert found.spacing_ns == pytest.approx(90 / 12, abs=0.51)


def test_threads_that_begin_late_or_end_early_do_not_count_as_idle() -> None:
    early = back_to_back(10, 10, 10, 10, 10, 10, begin=0)
    late = back_to_back(10, 10, 10, 10, begin=15)

    found = window([early, late], calls=3)

    assert found.spacing_ns == 5  # from 15 to 45
    assert found.latency_ns == (10,) * 6  # those that began before it opened are left out


def test_a_slow_moment_of_one_thread_is_in_the_spacing_and_in_the_latencies() -> None:
    found = window([back_to_back(10, 40, 10, 10), back_to_back(*[10] * 7)], calls=3)

    assert 40 in found.latency_ns
    assert found.spacing_ns == round(60 / 9)


def test_the_clocks_cost_is_taken_off_each_call_and_not_off_the_spacing() -> None:
    found = window([back_to_back(10, 10)], calls=2, clock_ns=3)

    assert (found.latency_ns, found.spacing_ns) == ((7, 7), 10)


def test_a_call_of_no_time_is_an_error_of_the_clock() -> None:
    with pytest.raises(EvidenceError, match="a run took 0 ns"):
        window([back_to_back(10, 0, 10)], calls=2)


class Counting:
    """Counts, and remembers in which threads it was called with what; fails on demand."""

    inputs = outputs = ()
    placement = None

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.threads: set[int] = set()
        self.fed: list[Any] = []
        self._fails_at = fails_at

    def run(self, feeds: Feeds) -> dict[str, Array]:
        self.threads.add(threading.get_ident())
        self.fed.append(feeds["x"])
        if len(self.fed) == self._fails_at:
            raise ModelError("the third call fails")
        time.sleep(0.0005)  # gives way to the other thread, as a runtime does that lets go of the interpreter
        return {}

    def close(self) -> None:
        """Nothing to give back."""


def several(*sessions: Counting) -> Instances:
    waiting = list(sessions)
    return Instances(lambda: waiting.pop(0), count=len(sessions))


def test_each_session_is_called_by_one_thread_of_its_own_as_often_as_planned_at_least() -> None:
    one, two = Counting(), Counting()

    block = measure_load(several(one, two), FEEDS, plan=PLAN)

    assert [len(each.threads) for each in (one, two)] == [1, 1]
    assert one.threads != two.threads
    assert min(len(one.fed), len(two.fed)) >= PLAN.lead_in_runs + PLAN.timed_runs
    assert len(block.latency_ns) >= PLAN.timed_runs
    assert block.spacing_ns is not None


def test_every_round_of_the_same_start_is_fed_alike() -> None:
    one, two = Counting(), Counting()

    measure_load(several(one, two), FEEDS, plan=PLAN, start=1)

    assert one.fed[PLAN.lead_in_runs :][:3] == [1, 2, 3]
    assert two.fed[PLAN.lead_in_runs :][:3] == [0, 1, 2]


@pytest.mark.parametrize("fails_at", [1, 2, 3, 5])
def test_a_session_that_fails_ends_the_block_with_its_own_error(fails_at: int) -> None:
    before = threading.active_count()

    with pytest.raises(ModelError, match="the third call fails"):
        measure_load(several(Counting(), Counting(fails_at=fails_at)), FEEDS, plan=PLAN)

    assert threading.active_count() == before
