import math
import random
from collections.abc import Sequence

import pytest

from infer_opt.errors import ConfigError, EvidenceError
from infer_opt.stats.charts import (
    CUSUM_LIMIT,
    CUSUM_MOST,
    Baseline,
    Charts,
    RollingBaseline,
    Step,
    baseline,
    cusum_run_length,
    discounted,
    middle,
    step_limit,
    step_run_length,
    step_strength,
)

STANDARD = Baseline(centre=0.0, spread=1.0, correlation=0.0, noise=1.0, count=600)


def normal(count: int, *, correlation: float = 0.0, seed: int = 1) -> list[float]:
    generator = random.Random(seed)
    values, value = [], 0.0
    for _ in range(count):
        value = correlation * value + math.sqrt(1.0 - correlation**2) * generator.gauss(0.0, 1.0)
        values.append(value)
    return values


def alarms(values: Sequence[float], ordinary: Baseline = STANDARD) -> int:
    """How often a CUSUM alarms that starts anew after each alarm."""
    charts, count = Charts(ordinary), 0
    for value in values:
        charts.step(value)
        if max(charts.up, charts.down) >= CUSUM_LIMIT:
            count += 1
            charts.restart()
    return count


# Baselines


def test_a_baseline_is_median_and_spread_in_standard_deviations() -> None:
    found = baseline([100.0 + 4.0 * value for value in normal(5000)])

    assert found.centre == pytest.approx(100.0, abs=0.2)
    assert found.spread == pytest.approx(4.0, rel=0.05)
    assert found.noise == pytest.approx(4.0, rel=0.05)
    assert found.correlation < 0.05
    assert found.count == 5000


@pytest.mark.parametrize("correlation", [0.3, 0.7, 0.9])
def test_correlation_is_found_and_what_is_left_of_the_noise(correlation: float) -> None:
    found = baseline(normal(20_000, correlation=correlation))

    assert found.correlation == pytest.approx(correlation, abs=0.03)
    assert found.noise == pytest.approx(math.sqrt(1.0 - correlation**2), rel=0.06)


def test_outliers_move_a_baseline_little() -> None:
    values = normal(600)
    spoiled = [value if number % 20 else 1000.0 for number, value in enumerate(values)]

    clean, found = baseline(values), baseline(spoiled)

    assert found.centre == pytest.approx(clean.centre, abs=0.1)
    assert found.spread == pytest.approx(clean.spread, rel=0.15)


def test_values_that_are_mostly_equal_still_have_a_spread() -> None:
    clock = [1410.0] * 90 + [1395.0] * 10

    found = baseline(clock)

    assert found.centre == 1410.0
    assert found.spread == pytest.approx(1.2533 * 1.5)


def test_a_constant_has_no_spread_but_the_least_that_is_asked_for() -> None:
    assert baseline([5.0] * 10).spread == 0.0
    assert baseline([5.0] * 10).noise == 0.0
    assert baseline([5.0] * 10, least_spread=0.25).spread == 0.25
    assert baseline([5.0] * 10, least_spread=0.25).noise == pytest.approx(0.25)


def test_negative_correlation_counts_as_none() -> None:
    assert baseline([1.0, -1.0] * 50).correlation == 0.0


@pytest.mark.parametrize("values", [[], [1.0, 2.0], [1.0, math.nan, 2.0], [1.0, math.inf, 2.0]])
def test_two_values_or_a_missing_one_are_no_baseline(values: list[float]) -> None:
    with pytest.raises(EvidenceError):
        baseline(values)


def test_the_newest_values_are_not_in_their_own_baseline() -> None:
    rolling = RollingBaseline(window=100, guard=20)
    for value in [1.0, 2.0, 3.0] * 40 + [50.0] * 20:
        rolling.add(value)

    assert rolling.fit().centre == 2.0
    assert rolling.fit(is_guarded=False).count == 120
    assert rolling.last(2) == [50.0, 50.0]


def test_a_rolling_baseline_holds_no_more_than_window_and_guard() -> None:
    rolling = RollingBaseline(window=100, guard=20)
    for number in range(10_000):
        rolling.add(float(number))

    assert len(rolling) == 120
    assert rolling.fit().centre == pytest.approx(9929.5)


def test_a_rolling_baseline_can_begin_again_with_its_own_newest_values() -> None:
    rolling = RollingBaseline(window=100, guard=20)
    for number in range(50):
        rolling.add(float(number))

    rolling.restart(rolling.last(5))

    assert rolling.last(100) == [45.0, 46.0, 47.0, 48.0, 49.0]


def test_the_middle_of_an_even_number_lies_between_two() -> None:
    assert middle([1.0, 3.0]) == 2.0
    assert middle([1.0, 3.0, 9.0]) == 3.0


# Charts


def test_a_cusum_has_the_run_length_of_the_formula() -> None:
    values = normal(300_000)

    assert len(values) / alarms(values) == pytest.approx(cusum_run_length(), rel=0.1)


def test_the_formula_gives_the_published_run_lengths() -> None:
    # Montgomery, Statistical quality control, table 9.3: 168 for limit 4, 465 for limit 5.
    assert cusum_run_length(4.0) == pytest.approx(168.0, rel=0.02)
    assert cusum_run_length(5.0) == pytest.approx(465.0, rel=0.02)


def test_whitening_keeps_the_run_length_where_neighbours_resemble_each_other() -> None:
    values = normal(200_000, correlation=0.7)
    fitted = baseline(values)
    blind = Baseline(centre=0.0, spread=1.0, correlation=0.0, noise=1.0, count=600)

    assert len(values) / alarms(values, fitted) > 0.6 * cusum_run_length()
    assert len(values) / alarms(values, blind) < 0.2 * cusum_run_length()


def test_charts_say_which_way_and_since_when() -> None:
    charts = Charts(STANDARD)
    for value in [*normal(200, seed=3), *(value - 2.0 for value in normal(12, seed=4))]:
        charts.step(value)

    assert charts.sign == -1
    assert 10 <= charts.steps <= 15


def test_steady_values_make_neither_chart_speak() -> None:
    charts = Charts(STANDARD)
    signs = []
    for number in range(1000):
        charts.step(0.4 * (-1.0) ** number)
        signs.append(charts.sign)

    assert set(signs) == {0}


def test_a_single_spike_is_no_shift() -> None:
    charts = Charts(STANDARD)
    for value in [*normal(100, seed=5), 1000.0]:
        charts.step(value)

    assert charts.sign == 0


def test_a_long_burst_is_forgotten_as_fast_as_a_short_one() -> None:
    charts = Charts(STANDARD)
    for value in [10.0] * 1000:
        charts.step(value)

    assert charts.up == CUSUM_MOST
    for value in [0.0] * 30:
        charts.step(value)
    assert charts.up_steps == 0


def test_a_series_without_any_spread_takes_every_change_for_a_large_one() -> None:
    charts = Charts(Baseline(centre=5.0, spread=0.0, correlation=0.0, noise=0.0, count=60))

    assert charts.step(5.0) == 0.0
    assert charts.step(5.1) == 4.0
    assert charts.step(4.9) == -4.0


def test_another_baseline_leaves_sums_alone() -> None:
    charts = Charts(Baseline(centre=0.0, spread=1.0, correlation=0.5, noise=1.0, count=600))
    charts.step(3.0)
    up = charts.up

    charts.rebase(Baseline(centre=1.0, spread=1.0, correlation=0.5, noise=1.0, count=600))

    assert charts.up == up
    assert charts.step(3.0) == pytest.approx(2.0 - 0.5 * 2.0)  # the value before is seen from the new centre too


def test_after_a_restart_nothing_is_known_of_what_came_before() -> None:
    charts = Charts(STANDARD)
    for _ in range(20):
        charts.step(3.0)

    charts.restart()

    assert (charts.up, charts.down, charts.ewma, charts.sign, charts.steps) == (0.0, 0.0, 0.0, 0, 0)


# The strength of a step


def test_a_step_is_dated_and_its_strength_is_in_standard_errors() -> None:
    innovations = [0.0] * 30 + [2.0] * 25

    found = step_strength(innovations, 0.0, least=10, most=50)

    assert found.z == pytest.approx(2.0 * 5.0)
    assert found.steps == 25


def test_a_step_down_is_negative() -> None:
    assert step_strength([0.0] * 20 + [-1.0] * 16, 0.0, least=10, most=30).z == pytest.approx(-4.0)


def test_a_step_of_a_correlated_series_shows_as_a_pulse_and_a_remainder() -> None:
    correlation, size = 0.7, 3.0
    innovations = [0.0] * 20 + [size] + [size * (1.0 - correlation)] * 19

    found = step_strength(innovations, correlation, least=10, most=40)

    assert found.steps == 20
    assert found.z == pytest.approx(size * math.sqrt(1.0 + 19 * (1.0 - correlation) ** 2))


def test_windows_outside_of_the_bounds_are_not_looked_at() -> None:
    innovations = [0.0] * 30 + [5.0] * 5

    assert step_strength(innovations, 0.0, least=10, most=20).steps == 10


def test_a_step_older_than_the_series_cannot_be_seen() -> None:
    with pytest.raises(EvidenceError):
        step_strength([1.0] * 9, 0.0, least=10, most=20)


def test_a_baseline_of_few_values_makes_a_step_weaker() -> None:
    few = Baseline(centre=0.0, spread=1.0, correlation=0.0, noise=1.0, count=20)

    assert discounted(Step(z=6.0, steps=20), few).z == pytest.approx(6.0 / math.sqrt(2.0))
    assert discounted(Step(z=6.0, steps=20), STANDARD).z > 5.8


def test_the_run_length_of_steps_is_that_of_a_simulation() -> None:
    least, most, limit = 18, 40, 3.7
    innovations, count, last = normal(150_000, seed=7), 0, -most
    for at in range(most, len(innovations)):
        found = step_strength(innovations[at - most : at], 0.0, least=least, most=most)
        if abs(found.z) > limit and at - last > most:
            count, last = count + 1, at

    assert len(innovations) / count == pytest.approx(step_run_length(limit, least=least, most=most), rel=0.5)


def test_the_limit_for_a_run_length_gives_that_run_length() -> None:
    limit = step_limit(86_400.0, least=18, most=40)

    assert step_run_length(limit, least=18, most=40) == pytest.approx(86_400.0, rel=1e-6)
    assert 4.2 < limit < 4.6


@pytest.mark.parametrize(("limit", "least", "most"), [(0.0, 10, 20), (4.0, 20, 20), (4.0, 0, 20)])
def test_a_run_length_needs_a_limit_and_windows(limit: float, least: int, most: int) -> None:
    with pytest.raises(ConfigError):
        step_run_length(limit, least=least, most=most)


def test_a_run_length_of_nothing_has_no_limit() -> None:
    with pytest.raises(ConfigError):
        step_limit(1.0, least=10, most=20)


@pytest.mark.parametrize(("limit", "slack"), [(0.0, 0.5), (5.0, 0.0)])
def test_a_cusum_without_limit_or_slack_has_no_run_length(limit: float, slack: float) -> None:
    with pytest.raises(ConfigError):
        cusum_run_length(limit, slack=slack)
