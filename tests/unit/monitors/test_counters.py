import pytest

from infer_opt.monitors.counters import Rates, difference, scaled, share, total


def test_the_first_call_has_no_rates() -> None:
    assert Rates().of({"a": 5.0}, 1.0) == {"a": None}


def test_a_rate_is_the_gain_over_the_time_that_passed() -> None:
    rates = Rates()
    rates.of({"a": 5.0, "b": 0.0}, 1.0)

    assert rates.of({"a": 9.0, "b": 0.0}, 3.0) == {"a": 2.0, "b": 0.0}


def test_a_counter_that_went_backwards_began_anew_and_counts_from_there() -> None:
    rates = Rates()
    rates.of({"a": 500.0}, 1.0)

    assert rates.of({"a": 5.0}, 2.0) == {"a": None}
    assert rates.of({"a": 8.0}, 3.0) == {"a": 3.0}


def test_a_counter_that_was_away_has_no_rate_when_it_comes_back() -> None:
    rates = Rates()
    rates.of({"a": 5.0, "b": 1.0}, 1.0)

    assert rates.of({"a": None}, 2.0) == {"a": None}
    assert rates.of({"a": 9.0, "b": 2.0}, 3.0) == {"a": None, "b": None}


def test_no_time_has_no_rate() -> None:
    rates = Rates()
    rates.of({"a": 5.0}, 1.0)

    assert rates.of({"a": 9.0}, 1.0) == {"a": None}


def test_not_available_is_not_zero_in_sums_and_differences() -> None:
    assert total([None, None]) is None
    assert total([]) is None
    assert total([None, 2.0, 0.0]) == 2.0
    assert difference(5.0, None) is None
    assert difference(5.0, 2.0) == 3.0
    assert scaled(None, 2.0) is None
    assert scaled(2.0, 2.0) == 4.0


@pytest.mark.parametrize(("rate", "expected"), [(None, None), (0.25, 0.25), (1.0004, 1.0)])
def test_a_share_is_at_most_all(rate: float | None, expected: float | None) -> None:
    assert share(rate) == expected
