import math
import random

import pytest

from infer_opt.errors import ConfigError, EvidenceError
from infer_opt.stats.trends import Reach, Trend, beginning, time_to_reach, trend

TIMES = [float(second) for second in range(40)]


def noise(seed: int, *, correlation: float = 0.0) -> list[float]:
    generator = random.Random(seed)
    values, value = [], 0.0
    for _ in TIMES:
        value = correlation * value + math.sqrt(1.0 - correlation**2) * generator.gauss(0.0, 1.0)
        values.append(value)
    return values


def line(slope: float, low: float, high: float) -> Trend:
    return Trend(slope=slope, low=low, high=high, z=9.0, rising=1.0, points=40, effective_points=40.0)


def test_a_line_has_its_slope_and_no_doubt() -> None:
    found = trend(TIMES, [3.0 * at + 7.0 for at in TIMES])

    assert (found.slope, found.low, found.high) == pytest.approx((3.0, 3.0, 3.0))
    assert found.rising == 1.0
    assert found.z > 9.0


def test_a_fall_has_a_negative_slope_and_strength() -> None:
    found = trend(TIMES, [-2.0 * at for at in TIMES])

    assert found.slope == pytest.approx(-2.0)
    assert found.z < -9.0
    assert found.rising == 0.0


def test_times_need_not_be_equally_far_apart() -> None:
    times = [at * at for at in TIMES]

    assert trend(times, [5.0 * at for at in times]).slope == pytest.approx(5.0)


def test_a_quarter_of_wild_values_leaves_the_slope_alone() -> None:
    values = [1.0 * at + 0.1 * stray for at, stray in zip(TIMES, noise(1), strict=True)]
    values[5:40:4] = [1e6] * len(values[5:40:4])

    assert trend(TIMES, values).slope == pytest.approx(1.0, abs=1.0)
    assert sum(values) > 1e6


def test_the_interval_holds_the_slope_in_nine_of_ten() -> None:
    held = sum(
        (found := trend(TIMES, [0.1 * at + stray for at, stray in zip(TIMES, noise(seed), strict=True)])).low
        <= 0.1
        <= found.high
        for seed in range(300)
    )

    assert 0.86 * 300 <= held <= 0.98 * 300


def test_correlated_noise_widens_the_interval_so_that_it_still_holds() -> None:
    wide = sum(
        (found := trend(TIMES, noise(seed, correlation=0.7))).low <= 0.0 <= found.high for seed in range(200)
    )  # fmt: skip

    assert wide >= 0.85 * 200


def test_noise_alone_is_no_trend() -> None:
    for correlation in (0.0, 0.7, 0.9):
        strong = sum(abs(trend(TIMES, noise(seed, correlation=correlation)).z) > 4.0 for seed in range(300))
        assert strong <= 3, correlation


def test_a_walk_without_direction_is_rarely_a_trend() -> None:
    strong = 0
    for seed in range(300):
        generator, value, walk = random.Random(seed), 0.0, []
        for _ in TIMES:
            value += generator.gauss(0.0, 1.0)
            walk.append(value)
        strong += abs(trend(TIMES, walk).z) > 4.0

    assert strong <= 12


def test_values_that_are_all_equal_cannot_tell() -> None:
    found = trend(TIMES, [5.0] * len(TIMES))

    assert (found.slope, found.z, found.rising) == (0.0, 0.0, 0.5)


def test_four_points_with_noise_leave_every_slope_possible() -> None:
    found = trend([0.0, 1.0, 2.0, 3.0], [0.0, 2.0, 1.0, 3.0])

    assert found.low < 0.0 < found.high


@pytest.mark.parametrize(
    ("times", "values"),
    [([0.0, 1.0, 2.0], [1.0, 2.0, 3.0]), ([0.0, 1.0, 2.0, 3.0], [1.0] * 5), ([0.0, 1.0, 1.0, 2.0], [1.0] * 4)],
)
def test_a_trend_needs_four_points_in_order(times: list[float], values: list[float]) -> None:
    with pytest.raises(EvidenceError):
        trend(times, values)


def test_confidence_lies_between_nothing_and_certainty() -> None:
    with pytest.raises(ConfigError):
        trend(TIMES, TIMES, confidence=1.0)


@pytest.mark.parametrize("at", [0, 7, 25])
def test_growth_after_a_level_is_dated_to_where_it_began(at: int) -> None:
    generator = random.Random(at)
    times = [float(second) for second in range(40)]
    values = [100.0 + 5.0 * max(0.0, time_s - at) + generator.gauss(0.0, 1.0) for time_s in times]

    assert beginning(times, values) == pytest.approx(at, abs=1)


def test_growth_from_the_first_point_on_begins_there() -> None:
    assert beginning([0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0]) == 0


def test_a_beginning_needs_four_points() -> None:
    with pytest.raises(EvidenceError, match="4 points"):
        beginning([0.0, 1.0, 2.0], [1.0, 2.0, 3.0])


def test_a_bound_is_reached_when_the_slope_says_so() -> None:
    assert time_to_reach(line(2.0, 1.0, 4.0), 10.0, 30.0) == Reach(in_s=10.0, low_s=5.0, high_s=20.0)


def test_a_bound_below_is_reached_by_falling() -> None:
    assert time_to_reach(line(-2.0, -4.0, -1.0), 30.0, 10.0) == Reach(in_s=10.0, low_s=5.0, high_s=20.0)


def test_a_slope_that_may_be_flat_may_never_reach_it() -> None:
    assert time_to_reach(line(2.0, -1.0, 4.0), 10.0, 30.0) == Reach(in_s=10.0, low_s=5.0, high_s=None)


@pytest.mark.parametrize("slope", [0.0, -1.0])
def test_a_slope_that_leads_away_reaches_nothing(slope: float) -> None:
    assert time_to_reach(line(slope, slope, slope), 10.0, 30.0) is None


def test_who_is_there_has_arrived() -> None:
    assert time_to_reach(line(1.0, 1.0, 1.0), 10.0, 10.0) == Reach(in_s=0.0, low_s=0.0, high_s=0.0)
