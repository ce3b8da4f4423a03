import math

import pytest

from infer_opt.reports.quantities import (
    agreement,
    duration,
    elapsed,
    memory,
    number,
    percent,
    ratio,
    ratio_and_interval,
    size,
    time_unit,
)
from infer_opt.results import Estimate


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0712345, "0.0712"),
        (26.44, "26.4"),
        (9.996, "10.0"),
        (1234.0, "1,230"),
        (-2.5, "-2.50"),
        (0.0, "0"),
        (None, "n/a"),
        (math.nan, "n/a"),
        (math.inf, "inf"),
    ],
)
def test_numbers_have_three_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value_ns", "shown"),
    [
        (850, "850 ns"),
        (71_234, "71.2 µs"),
        (999_700, "1.00 ms"),
        (999_400, "999 µs"),
        (26_400_000, "26.4 ms"),
        (1.8e9, "1.80 s"),
        (0, "0 ns"),
        (None, "n/a"),
    ],
)
def test_times_carry_the_unit_that_fits(value_ns: float | None, shown: str) -> None:
    assert duration(value_ns) == shown


def test_memory_of_a_machine_is_binary_as_it_is_sold() -> None:
    assert [memory(25_276_502_016), memory(80 << 30), memory(512 << 20), memory(None)] == [
        "23.5 GiB", "80.0 GiB", "512 MiB", "n/a",
    ]  # fmt: skip


def test_sizes_are_decimal_and_unknown_is_not_zero() -> None:
    assert [size(512), size(23_100_000), size(1_200_000_000), size(None)] == ["512 B", "23.1 MB", "1.20 GB", "n/a"]


def test_a_column_has_the_unit_of_its_middle() -> None:
    assert time_unit([20_000.0, 71_000.0, None, 90e6]) == ("µs", 1e3)
    assert time_unit([None]) == ("ms", 1e6)


def test_wall_time_is_read_at_a_glance() -> None:
    assert [elapsed(8.24), elapsed(61.2), elapsed(180), elapsed(185)] == ["8.2 s", "61 s", "3 min", "3 min 5 s"]


def test_speed_ups_near_one_show_which_side_they_are_on() -> None:
    assert ratio_and_interval(Estimate(value=1.003, low=0.998, high=1.008)) == ("1.003x", "0.998 to 1.008")
    assert ratio_and_interval(Estimate(value=2.314, low=2.1, high=2.52)) == ("2.31x", "2.10 to 2.52")


def test_ratios() -> None:
    assert [ratio(2.312), ratio(12.34), ratio(0.0512), ratio(None)] == ["2.31x", "12.3x", "0.0512x", "n/a"]


def test_shares() -> None:
    assert [percent(0.008), percent(0.12), percent(0.0996), percent(None)] == ["0.8 %", "12 %", "10 %", "n/a"]


@pytest.mark.parametrize(
    ("score", "shown"),
    [(0.999999, "0.99999"), (0.9899999, "0.98999"), (0.99999994, "1.00000"), (1.0, "1.00000"), (None, "n/a")],
)
def test_parity_is_never_rounded_up_over_a_threshold(score: float | None, shown: str) -> None:
    assert agreement(score) == shown
