import pytest

from infer_opt.budget import Budget


class Seconds:
    """A monotonic clock in seconds that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


def test_time_is_counted_from_the_beginning_of_the_call(clock: Seconds) -> None:
    budget = Budget(total_s=60.0, clock=clock)
    clock.now += 25

    assert (budget.elapsed_s, budget.left_s) == (25.0, 35.0)


def test_a_call_that_began_earlier_has_less_left(clock: Seconds) -> None:
    assert Budget(total_s=60.0, clock=clock, began_s=90.0).left_s == 50.0


def test_nothing_is_left_after_the_end_and_never_less_than_nothing(clock: Seconds) -> None:
    budget = Budget(total_s=60.0, clock=clock)
    clock.now += 61

    assert budget.left_s == 0.0
    assert not budget.fits(0.1)


def test_work_fits_when_what_comes_after_it_still_does(clock: Seconds) -> None:
    budget = Budget(total_s=60.0, clock=clock)

    assert budget.fits(40.0, reserve_s=20.0)
    assert not budget.fits(40.1, reserve_s=20.0)


def test_an_interrupt_leaves_nothing_of_the_time(clock: Seconds) -> None:
    budget = Budget(total_s=60.0, clock=clock)
    budget.interrupt()

    assert budget.was_interrupted
    assert budget.left_s == 0.0
    assert not budget.fits(0.0)
    assert budget.elapsed_s == 0.0
