"""Which of several ways is the fastest that can be kept up, on a clock that only runs tell forward."""

import contextlib
from collections.abc import Iterator, Sequence

from fakes import FakeClock
from infer_opt.errors import ModelError
from infer_opt.roofline.blocks import Candidate, Effort, Run, best, rates

EFFORT = Effort(screen_s=0.02, settle_s=0.05, openings=3, finalists=2)


class Way:
    """Takes so long a run: one time for each opening, the last of them for ever."""

    def __init__(self, clock: FakeClock, times_ns: Sequence[int], *, name: str = "way", amount: float = 1000.0) -> None:
        self.clock, self.times_ns, self.opened = clock, times_ns, 0
        self.candidate = Candidate(name=name, amount=amount, start=self.start)

    @contextlib.contextmanager
    def start(self) -> Iterator[Run]:
        took = self.times_ns[min(self.opened, len(self.times_ns) - 1)]
        self.opened += 1

        def run() -> None:
            self.clock.now_ns += took

        yield run


def test_a_rate_is_the_amount_over_the_time_of_a_block() -> None:
    clock = FakeClock()

    def run() -> None:
        clock.now_ns += 10_000

    found = rates(run, 50.0, seconds=0.02, clock=clock)

    assert len(found) == 10  # of 200 runs each: 2 ms
    assert set(found) == {5e6}


def test_a_run_of_a_second_is_timed_three_times_and_no_more() -> None:
    clock = FakeClock()

    def run() -> None:
        clock.now_ns += 1_000_000_000

    assert rates(run, 2.0, seconds=0.02, clock=clock) == [2.0, 2.0, 2.0]


def test_the_fastest_way_is_found() -> None:
    clock = FakeClock()
    ways = [Way(clock, [time], name=f"{time}") for time in (40_000, 10_000, 20_000)]

    found = best([way.candidate for way in ways], clock=clock, effort=EFFORT)

    assert found is not None
    assert (found.name, round(found.rate.value)) == ("10000", 100_000_000)
    assert [way.opened for way in ways] == [1, 4, 4]  # the slowest is not looked at again


def test_the_best_opening_counts_and_the_interval_reaches_down_to_the_worst() -> None:
    clock = FakeClock()
    way = Way(clock, [20_000, 20_000, 10_000, 16_000])

    found = best([way.candidate], clock=clock, effort=EFFORT)

    assert found is not None
    assert (found.rate.low, found.rate.value) == (50_000_000, 100_000_000)


def test_what_the_runtime_has_no_kernel_for_is_left_out() -> None:
    clock = FakeClock()

    @contextlib.contextmanager
    def refuse() -> Iterator[Run]:
        raise ModelError("no kernel")
        yield lambda: None

    refused = Candidate(name="none", amount=1.0, start=refuse)
    way = Way(clock, [10_000])

    assert best([refused], clock=clock, effort=EFFORT) is None
    found = best([refused, way.candidate], clock=clock, effort=EFFORT)
    assert found is not None
    assert found.name == "way"


def test_what_is_too_slow_at_a_first_look_gets_no_second() -> None:
    clock = FakeClock()
    way = Way(clock, [10_000])

    assert best([way.candidate], clock=clock, effort=EFFORT, least=2e8) is None
    assert way.opened == 1


def test_a_slow_machine_is_done_in_seconds_too() -> None:
    clock = FakeClock()
    ways = [Way(clock, [1_000_000_000], name=f"{number}") for number in range(10)]

    found = best([way.candidate for way in ways], clock=clock, effort=EFFORT)

    assert found is not None
    assert clock.now_ns < 20e9
