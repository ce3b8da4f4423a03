import itertools
import math

import numpy as np
import pytest

from infer_opt.config import Objective
from infer_opt.errors import ConfigError, EvidenceError
from infer_opt.stats.intervals import FloatArray, hodges_lehmann_interval
from infer_opt.stats.rounds import (
    Outlier,
    achieved_half_width,
    block_value,
    is_look,
    is_precise,
    lag1,
    looks,
    merge_correlated,
    merge_factor,
    outlier_labels,
)


def ar1(rng: np.random.Generator, size: int, correlation: float) -> FloatArray:
    noise, values = rng.normal(size=size), np.empty(size)
    values[0] = noise[0]
    for i in range(1, size):
        values[i] = correlation * values[i - 1] + math.sqrt(1 - correlation**2) * noise[i]
    return values


def test_latency_takes_the_median_and_throughput_the_mean() -> None:
    assert block_value([1, 2, 9], Objective.LATENCY) == pytest.approx(math.log(2.0))
    assert block_value([1, 2, 9], Objective.THROUGHPUT) == pytest.approx(math.log(4.0))


@pytest.mark.parametrize("latency_ns", [[], [100, 0], [100, 200, -5]])
def test_a_run_that_took_no_time_is_an_error_and_not_a_zero(latency_ns: list[int]) -> None:
    with pytest.raises(EvidenceError):
        block_value(latency_ns, Objective.LATENCY)


def test_looks_grow_by_half() -> None:
    assert list(itertools.islice(looks(), 7)) == [10, 15, 23, 35, 53, 80, 120]
    assert [rounds for rounds in range(60) if is_look(rounds)] == [10, 15, 23, 35, 53]


def test_lag1_finds_the_correlation_of_neighbours() -> None:
    assert lag1([1.0, -1.0] * 50) == pytest.approx(-0.99)
    assert lag1(ar1(np.random.default_rng(1), 4000, 0.3)) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [3.0] * 20])
def test_correlation_that_cannot_be_told_is_zero(values: list[float]) -> None:
    assert lag1(values) == 0.0


@pytest.mark.parametrize(
    ("correlation", "factor"),
    [(-0.5, 1), (0.0, 1), (0.1, 1), (0.11, 2), (0.2, 2), (0.21, 4), (0.4, 4), (0.41, 8), (0.99, 8)],
)
def test_the_more_rounds_correlate_the_more_of_them_count_as_one(correlation: float, factor: int) -> None:
    assert merge_factor(correlation) == factor


def test_independent_rounds_stay_as_they_are() -> None:
    alternating = [1.0, 2.0] * 10

    assert merge_correlated(alternating).tolist() == alternating


def test_a_trend_leaves_few_rounds_and_drops_none() -> None:
    trend = np.arange(20.0)

    merged = merge_correlated(trend)

    assert merged.tolist() == [4.5, 14.5]


def test_merging_gives_correlated_rounds_most_of_their_coverage_back() -> None:
    rng = np.random.default_rng(2)
    series = [ar1(rng, 80, 0.5) for _ in range(400)]

    plain = [hodges_lehmann_interval(values) for values in series]
    merged = [hodges_lehmann_interval(merge_correlated(values)) for values in series]

    assert np.mean([interval.low <= 0.0 <= interval.high for interval in plain]) < 0.80
    assert np.mean([interval.low <= 0.0 <= interval.high for interval in merged]) > 0.90


def test_tight_rounds_are_precise_and_loose_ones_are_not() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(size=35)

    assert is_precise(0.02 * noise, 0.01)
    assert not is_precise(0.1 * noise, 0.01)
    assert not is_precise(0.02 * noise, 0.005)


def test_correlated_rounds_are_less_precise_than_they_look() -> None:
    # A drift: ten neighbours apart it is the same noise, but only a few of them are independent.
    drift = 0.02 * np.sort(np.random.default_rng(3).normal(size=35))

    assert not is_precise(drift, 0.01)


def test_five_rounds_are_never_precise() -> None:
    assert achieved_half_width([0.001, -0.001, 0.001, -0.001, 0.001]) == math.inf
    assert not is_precise([0.001, -0.001, 0.001, -0.001, 0.001], 1.0)


def test_precision_must_be_asked_for_in_positive_numbers() -> None:
    with pytest.raises(ConfigError):
        is_precise([0.0] * 10, 0.0)


def test_outliers_are_labelled_by_how_far_out_they_are() -> None:
    # -4 .. 4: quartiles at -2 and 2, MAD 2; the added value moves them a little.
    ordinary = [float(value) for value in range(-4, 5)]

    def label(value: float) -> Outlier | None:
        labels = outlier_labels([*ordinary * 20, value])
        assert labels[:-1] == (None,) * 180
        return labels[-1]

    assert label(7.9) is None
    assert label(-8.1) is Outlier.MILD
    assert label(13.9) is Outlier.MILD
    assert label(14.1) is Outlier.SEVERE
    assert label(29.5) is Outlier.SEVERE
    assert label(-29.7) is Outlier.EXTREME


def test_every_value_has_a_label_and_none_is_deleted() -> None:
    labels = outlier_labels([5.0, 5.0, 5.0, 5.0, 500.0])

    assert labels == (None, None, None, None, Outlier.EXTREME)
    assert outlier_labels([7.0] * 4) == (None,) * 4
