import random
from collections.abc import Iterable

import pytest

from infer_opt.anomalies.growing import GROWING, HOT_CELSIUS, Growing
from infer_opt.anomalies.trends import LOST, GrowthWatch, Points
from infer_opt.readings.catalogue import CATALOGUE, split
from infer_opt.readings.findings import Finding, FindingKind, Severity

GB, MB = 1e9, 1e6
BY_KEY = {growing.key: growing for growing in GROWING}
RSS = BY_KEY["process.rss_bytes"]
DISK = BY_KEY["filesystem[*].free_bytes"]


def wander(count: int, *, by: float = 2 * MB, seed: int = 1) -> list[float]:
    generator = random.Random(seed)
    return [by * generator.gauss(0.0, 1.0) for _ in range(count)]


def climbing(rate: float, seconds: int, *, start: float = 2 * GB, seed: int = 1) -> list[float]:
    return [start + rate * at + stray for at, stray in enumerate(wander(seconds, seed=seed))]


def watched(
    values: Iterable[float | None], *, bound: float | None = 12 * GB, watch: GrowthWatch | None = None, start: int = 0
) -> list[Finding]:
    watch = watch or GrowthWatch("process.rss_bytes", RSS)
    return [found for at, value in enumerate(values, start) for found in watch.see(float(at), value, bound)]


def test_a_leak_is_found_with_its_forecast_long_before_memory_is_gone() -> None:
    found = watched([*climbing(0.0, 600), *climbing(5 * MB, 1000)])

    assert len(found) == 1
    leak = found[0]
    assert (leak.kind, leak.name, leak.key) == (FindingKind.TREND, "memory-leak", "process.rss_bytes")
    assert (leak.at_s - 600) * 5 * MB < 0.3 * 10 * GB
    assert leak.since_s <= leak.at_s
    forecast = leak.forecast
    assert forecast is not None
    true_s = 600 + 10 * GB / (5 * MB) - leak.at_s
    assert forecast.bound == 12 * GB
    assert forecast.low_s <= forecast.in_s
    assert forecast.in_s == pytest.approx(true_s, rel=0.35)
    assert leak.confidence > 0.8
    assert "process.rss_bytes grows by " in leak.what
    assert "memory is full in about " in leak.what


def test_a_fast_leak_is_found_before_half_is_gone_and_is_critical() -> None:
    (leak,) = watched([*climbing(0.0, 60), *climbing(250 * MB, 38)])

    assert (leak.at_s - 60) * 250 * MB < 5 * GB
    assert leak.severity is Severity.CRITICAL


def test_a_slow_leak_is_found_in_the_first_sixth() -> None:
    rate = 10 * GB / (12 * 3600)

    (leak,) = watched(climbing(rate, 4 * 3600))

    assert leak.at_s * rate < 10 * GB / 6
    assert leak.severity is Severity.WARNING


def test_the_interval_of_a_forecast_mostly_holds_what_comes() -> None:
    held = 0
    for seed in range(40):
        leak = watched([*climbing(0.0, 300, seed=seed), *climbing(4 * MB, 2000, seed=100 + seed)])[0]
        forecast = leak.forecast
        assert forecast is not None
        true_s = 300 + 10 * GB / (4 * MB) - leak.at_s
        held += forecast.low_s * 0.9 <= true_s <= (forecast.high_s or 1e9) * 1.1

    assert held >= 30


def test_steady_memory_is_no_leak() -> None:
    assert watched(climbing(0.0, 6 * 3600)) == []


def test_a_model_that_loads_and_stops_is_not_followed_for_long() -> None:
    small = watched([*climbing(0.0, 60), *climbing(200 * MB, 10), *climbing(0.0, 600, start=4 * GB)])
    large = watched([*climbing(0.0, 60), *climbing(300 * MB, 20), *climbing(0.0, 600, start=8 * GB)])

    assert small == []
    assert [one.is_over for one in large] == [False, True]
    assert "it stopped" in large[1].what


def test_a_cache_that_fills_and_slows_down_is_no_leak() -> None:
    filling = [2 * GB + 1.5 * GB * (1.0 - 0.995**at) + stray for at, stray in enumerate(wander(7200))]

    assert watched(filling) == []


def test_memory_that_is_collected_now_and_then_is_a_leak_once_at_most() -> None:
    saw = [2 * GB + 1.5 * GB * (at % 900) / 900 + stray for at, stray in enumerate(wander(6 * 3600))]

    found = watched(saw)

    assert sum(not one.is_over for one in found) <= 1


def test_memory_that_was_given_back_is_over() -> None:
    found = watched([*climbing(0.0, 300), *climbing(30 * MB, 250), *climbing(0.0, 60)])

    assert [one.is_over for one in found] == [False, True]
    assert "given back" in found[1].what
    assert found[1].forecast is None


def test_a_leak_above_the_highest_before_is_found_again() -> None:
    once = [*climbing(0.0, 300), *climbing(30 * MB, 100), *climbing(0.0, 300)]
    again = climbing(30 * MB, 300)

    found = watched([*once, *again])

    begun = [one for one in found if not one.is_over]
    assert len(begun) == 2
    assert begun[1].at_s > len(once) + 100


def test_a_disk_fills_downwards() -> None:
    watch = GrowthWatch("filesystem[/].free_bytes", DISK)
    free = [80 * GB - 50 * MB * at for at in range(400)]

    (found,) = watched(free, bound=0.0, watch=watch)

    assert found.name == "disk-filling"
    assert "filesystem[/].free_bytes falls by 50 MB/s" in found.what
    assert "it is full in about " in found.what
    assert found.forecast is not None
    assert found.forecast.bound == 0.0
    assert found.forecast.in_s == pytest.approx((80 * GB - 50 * MB * found.at_s) / (50 * MB), rel=0.01)


def test_without_a_bound_nothing_leads_anywhere() -> None:
    assert watched(climbing(50 * MB, 300), bound=None) == []


def test_missing_values_are_no_trend_and_end_one_after_a_minute() -> None:
    gap: list[float | None] = [None] * LOST

    found = watched([*climbing(0.0, 60), *climbing(250 * MB, 20), *gap])

    assert [one.is_over for one in found] == [False, True]
    assert "replaced or away" in found[1].what


def test_another_process_begins_anew() -> None:
    watch = GrowthWatch("process.rss_bytes", RSS)
    watched(climbing(0.0, 300), watch=watch)

    assert watch.restart(300.0) == ()
    assert watched(climbing(0.0, 300, start=6 * GB), watch=watch, start=300) == []


def test_points_are_medians_of_blocks_and_few() -> None:
    points = Points(15.0)
    for at in range(3000):
        points.add(float(at), float(at % 15))

    assert len(points.values) == 40
    assert set(points.values) == {7.0}
    assert list(points.times_s)[-1] == 2992.0


@pytest.mark.parametrize("growing", GROWING, ids=lambda growing: growing.key)
def test_what_may_run_full_is_in_the_catalogue_and_says_why(growing: Growing) -> None:
    for key in (growing.key, *growing.needs, *growing.may_have):
        family, _, name = split(key)
        assert (family, name) in CATALOGUE
    assert growing.causes


@pytest.mark.parametrize(
    ("key", "arguments", "bound"),
    [
        ("process.rss_bytes", (2 * GB, 8 * GB, None, None), 10 * GB),
        ("process.rss_bytes", (2 * GB, 8 * GB, 4 * GB, 3 * GB), 3 * GB),
        ("memory.used_bytes", (2 * GB, 16 * GB), 16 * GB),
        ("gpu[*].memory_used_bytes", (20 * GB, 59 * GB), 79 * GB),
        ("cgroup.memory_bytes", (1 * GB, 4 * GB), 4 * GB),
        ("filesystem[*].free_bytes", (5 * GB,), 0.0),
        ("gpu[*].temperature_celsius", (70.0,), HOT_CELSIUS),
        ("gpu[*].temperature_celsius", (50.0,), None),
        ("gpu[*].temperature_celsius", (90.0,), None),
    ],
)
def test_bounds_are_what_is_still_left(key: str, arguments: tuple[float, ...], bound: float | None) -> None:
    assert BY_KEY[key].bound(*arguments) == bound
