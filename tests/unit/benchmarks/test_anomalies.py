"""The machinery of `benchmarks.anomalies`, in miniature."""

import numpy as np
import pytest
from benchmarks.anomalies import (
    Alarms,
    best_possible,
    delays,
    false_alerts,
    false_growth,
    gone_when_found,
    growth_found,
    share_within,
    sixty,
)
from benchmarks.anomaly_series import NOISES, autoregressive, made, with_drop

from infer_opt.readings.catalogue import quantity_of


def test_rates_are_a_day_and_series_with_an_exact_interval() -> None:
    none = Alarms(days=4, series=6, first_day=0, total=0)
    some = Alarms(days=4, series=6, first_day=3, total=12)

    assert (none.a_day, some.a_day, some.first_day_rate) == (0.0, 0.5, 0.5)
    assert none.high == pytest.approx(3.689 / 24, rel=1e-3)  # Garwood: 3.69 expected ones may show none
    assert some.high == pytest.approx(20.96 / 24, rel=1e-3)


@pytest.mark.parametrize("name", NOISES)
def test_noise_is_the_same_for_the_same_seed(name: str) -> None:
    assert made(name, 1, 200) == made(name, 1, 200)
    assert len(made(name, 2, 200)) == 200


def test_neighbours_are_as_correlated_as_they_are_said_to_be() -> None:
    values = autoregressive(np.random.default_rng(1), 100_000, 0.7)

    assert np.corrcoef(values[1:], values[:-1])[0, 1] == pytest.approx(0.7, abs=0.02)
    assert values.std() == pytest.approx(1.0, abs=0.02)


def test_a_drop_is_where_it_is_said_to_be() -> None:
    values = with_drop(np.random.default_rng(1), spread=0.001, correlation=0.0, at=50, count=100, by=0.1)

    assert values[:50].mean() == pytest.approx(100.0, abs=0.1)
    assert values[50:].mean() == pytest.approx(90.0, abs=0.1)


def test_drops_in_little_noise_are_found_in_time() -> None:
    found = delays(spread=0.03, correlation=0.0, before=700, seeds=range(5))

    assert share_within(found) == 1.0


def test_what_was_found_late_or_never_does_not_count() -> None:
    assert share_within([20, 30, 31, None]) == 0.5


def test_who_knows_everything_finds_nearly_all_of_the_easy_drops() -> None:
    easy = best_possible(spread=0.03, correlation=0.0, seed=1, days=1, trials=200)
    hard = best_possible(spread=0.05, correlation=0.7, seed=1, days=1, trials=200)

    assert easy > 0.99
    assert hard < easy


def test_a_leak_is_found_and_steady_memory_is_not() -> None:
    gone = gone_when_found(2.0, seed=1, quiet_s=60)

    assert gone is not None
    assert gone < 0.5
    assert list(growth_found([2e9] * 300)) == []


def test_false_alerts_are_counted_over_days_and_series() -> None:
    found = false_alerts("mostly zero", seed=1, days=1, series=1)

    assert (found.days, found.series) == (1, 1)
    assert found.total <= 2


def test_growth_that_is_none_is_counted_too() -> None:
    assert false_growth("wandering", seed=1, days=1).total <= 3


def test_the_cost_is_that_of_sixty_readings_of_the_catalogue() -> None:
    keys = sixty()

    assert len(set(keys)) == 60
    assert all(quantity_of(key) for key in keys)
