import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping

import pytest

from infer_opt.anomalies.shifts import SeriesWatch
from infer_opt.anomalies.watcher import Watcher
from infer_opt.readings.findings import Finding, FindingKind
from infer_opt.readings.samples import ProcessReading, Sample

GB, MB = 1e9, 1e6
Reading = Callable[[float], float | None]


def readings(at_s: float, **changed: Reading) -> dict[str, float | None]:
    """An ordinary machine at that second; `changed` gives other values: `cpu__busy` is cpu.busy."""
    generator = random.Random(round(at_s * 1000))
    values: dict[str, float | None] = {
        "cpu.busy": 0.30 + 0.02 * generator.gauss(0.0, 1.0),
        "cpu.steal": 0.0,
        "cpu.runnable": 2.0 if generator.random() < 0.5 else 9.0,
        "cpu[0].busy": generator.random(),
        "memory.total_bytes": 16 * GB,
        "memory.available_bytes": 10 * GB,
        "memory.used_bytes": 6 * GB,
        "memory.oom_kills": 4.0,
        "process.rss_bytes": 2 * GB + MB * generator.gauss(0.0, 1.0),
        "process.cpu_cores": 1.0 + 0.03 * generator.gauss(0.0, 1.0),
        "gpu[0].utilisation": 0.90 + 0.02 * generator.gauss(0.0, 1.0),
        "gpu[0].throttled_by_heat": 0.0,
        "gpu[0].temperature_celsius": 60.0,
    }
    return values | {key.replace("__", "."): made(at_s) for key, made in changed.items()}


def after(second: float, then: float | None, ordinary: str) -> Reading:
    """As ever until that second, and `then` after it, with the same noise."""
    return lambda at_s: then if at_s >= second else readings(at_s)[ordinary]


def samples(
    seconds: float,
    *,
    rate: float = 1.0,
    start_s: float = 0.0,
    made: Callable[[float], Mapping[str, float | None]] = readings,
    pid: int = 70,
) -> list[Sample]:
    process = ProcessReading(pid=pid, name="serve", is_chosen=True)
    return [
        Sample(
            number=number,
            at_s=1e9 + start_s + number / rate,
            clock_s=start_s + number / rate,
            values=made(start_s + number / rate),
            processes=(process, ProcessReading(pid=1, name="init")),
        )
        for number in range(round(seconds * rate))
    ]


def tokens(_: float) -> dict[str, float | None]:
    return {"tokens": 100.0}


def watched(watcher: Watcher, taken: Iterable[Sample]) -> list[Finding]:
    return [found for sample in taken for found in watcher.see(sample)]


def test_an_ordinary_machine_shows_nothing() -> None:
    watcher = Watcher()

    assert watched(watcher, samples(1200)) == []
    assert watcher.open() == ()


def test_rules_shifts_and_trends_come_together_each_once() -> None:
    def made(at_s: float) -> dict[str, float | None]:
        return readings(
            at_s,
            **{
                "gpu[0]__throttled_by_heat": after(700.0, 1.0, "gpu[0].throttled_by_heat"),
                "gpu[0]__utilisation": after(700.0, 0.5, "gpu[0].utilisation"),
                "process__rss_bytes": lambda at_s: 2 * GB + 40 * MB * max(0.0, at_s - 700.0),
            },
        )

    watcher = Watcher()
    found = watched(watcher, samples(900, made=made))

    assert {(one.kind, one.name, one.key) for one in found} == {
        (FindingKind.RULE, "gpu-throttled-by-heat", "gpu[0].throttled_by_heat"),
        (FindingKind.SHIFT, "level-shift", "gpu[0].utilisation"),
        (FindingKind.TREND, "memory-leak", "process.rss_bytes"),
    }
    assert len(found) == 3
    assert watcher.open() == tuple(found)


def test_what_is_instantaneous_or_of_one_cpu_is_not_watched_for_shifts() -> None:
    def made(at_s: float) -> dict[str, float | None]:
        shifted = {
            "cpu__runnable": after(600.0, 40.0, "cpu.runnable"),
            "cpu[0]__busy": after(600.0, 1.0, "cpu[0].busy"),
        }
        return readings(at_s, **shifted)

    assert watched(Watcher(), samples(800, made=made)) == []


@pytest.mark.parametrize("rate", [0.2, 1.0, 2.0, 20.0])
def test_the_same_shift_is_found_at_any_rate(rate: float) -> None:
    seconds = 700.0 / min(rate, 1.0)

    def made(at_s: float) -> dict[str, float | None]:
        return readings(at_s, **{"gpu[0]__utilisation": after(seconds, 0.6, "gpu[0].utilisation")})

    found = watched(Watcher(), samples(seconds + 40.0 / min(rate, 1.0), rate=rate, made=made))

    assert [one.key for one in found] == ["gpu[0].utilisation"]
    assert found[0].since_s - 1e9 == pytest.approx(seconds, abs=3.0 / min(rate, 1.0))


def test_at_twenty_samples_a_second_it_decides_once_a_second() -> None:
    watch = SeriesWatch("tokens")
    watcher = Watcher(series=[watch])

    watched(watcher, samples(100, rate=20.0, made=tokens))

    assert 98 <= len(watch._rolling) <= 102


def test_a_timer_that_strays_loses_no_second() -> None:
    watch = SeriesWatch("tokens")
    generator = random.Random(1)
    taken = [
        Sample(number=at, at_s=1e9 + at + late, clock_s=at + late, values={"tokens": 1.0})
        for at in range(100)
        for late in [generator.uniform(-0.1, 0.1)]
    ]

    watched(Watcher(series=[watch]), taken)

    assert len(watch._rolling) == 100


def test_a_series_of_ones_own_is_watched_beside_the_catalogue() -> None:
    generator = random.Random(1)

    def made(at_s: float) -> dict[str, float | None]:
        level = 100.0 if at_s < 600 else 90.0
        return {"throughput": level * (1.0 + 0.03 * generator.gauss(0.0, 1.0))}

    (found,) = watched(Watcher(series=[SeriesWatch("throughput")]), samples(660, made=made))

    assert (found.key, found.name) == ("throughput", "level-shift")


def test_readings_that_are_not_available_are_no_anomaly() -> None:
    def made(at_s: float) -> dict[str, float | None]:
        return {key: None if 300 <= at_s < 900 else value for key, value in readings(at_s).items()}

    assert watched(Watcher(), samples(1500, made=made)) == []


def test_a_device_that_is_lost_is_no_anomaly_and_ends_what_was_open() -> None:
    def made(at_s: float) -> dict[str, float | None]:
        hot = readings(at_s, **{"gpu[0]__throttled_by_heat": lambda _: 1.0 if at_s >= 500 else 0.0})
        return {key: value for key, value in hot.items() if at_s < 600 or not key.startswith("gpu")}

    watcher = Watcher()
    found = watched(watcher, samples(1500, made=made))

    assert [(one.name, one.is_over) for one in found] == [
        ("gpu-throttled-by-heat", False),
        ("gpu-throttled-by-heat", True),
    ]
    assert watcher.open() == ()


def test_a_device_that_is_gone_for_long_is_let_go() -> None:
    def made(at_s: float) -> dict[str, float | None]:
        return {key: value for key, value in readings(at_s).items() if at_s < 100 or not key.startswith("gpu")}

    watcher = Watcher()
    watched(watcher, samples(2000, made=made))

    assert "gpu[0].utilisation" not in watcher._shifts
    assert "cpu.busy" in watcher._shifts


def test_a_machine_that_was_suspended_begins_anew() -> None:
    def made(at_s: float) -> dict[str, float | None]:
        return readings(at_s, cpu__busy=after(600.0, 0.9, "cpu.busy"))

    # The monotonic clock stood still; the time of day went on by an hour.
    before, later = samples(600), samples(600, start_s=600.0, made=made)
    slept = [Sample(number=one.number, at_s=one.at_s + 3600.0, clock_s=one.clock_s, values=one.values) for one in later]

    assert watched(Watcher(), [*before, *slept]) == []


def test_a_gap_of_seconds_changes_nothing() -> None:
    taken = [one for one in samples(900) if not 600 <= one.clock_s < 620]

    assert watched(Watcher(), taken) == []


def test_another_process_is_compared_with_itself() -> None:
    def made(at_s: float) -> dict[str, float | None]:
        return readings(at_s, process__cpu_cores=lambda _: 3.0, process__rss_bytes=lambda _: 7 * GB)

    taken = [*samples(600), *samples(600, start_s=600.0, made=made, pid=71)]
    own = SeriesWatch("throughput")
    same = [*samples(600), *samples(600, start_s=600.0, made=made)]

    assert watched(Watcher(series=[own]), taken) == []
    assert [one.key for one in watched(Watcher(), same) if not one.is_over] == ["process.cpu_cores"]


def test_children_that_come_and_go_are_the_same_process() -> None:
    root = ProcessReading(pid=70, name="serve", is_chosen=True)
    taken = [
        Sample(
            number=one.number,
            at_s=one.at_s,
            clock_s=one.clock_s,
            values={**one.values, **({"process.cpu_cores": 3.0} if one.number >= 600 else {})},
            processes=(root, ProcessReading(pid=1000 + one.number, name="tar", parent_pid=70, is_chosen=True)),
        )
        for one in samples(660)
    ]

    assert [one.key for one in watched(Watcher(), taken)] == ["process.cpu_cores"]


def test_a_count_is_not_smoothed_away_between_decisions() -> None:
    def made(at_s: float) -> dict[str, float | None]:
        return readings(at_s, memory__oom_kills=lambda _: 5.0 if at_s >= 100.9 else 4.0)

    found = watched(Watcher(), samples(120, rate=20.0, made=made))

    assert [one.name for one in found] == ["oom-kill"]


def test_a_clock_that_goes_back_does_not_stop_it() -> None:
    watch = SeriesWatch("tokens")

    watched(Watcher(series=[watch]), [*samples(50, start_s=1e6, made=tokens), *samples(50, made=tokens)])

    assert len(watch._rolling) <= 50
    assert len(watch._rolling) >= 45


def test_what_is_held_does_not_grow_with_the_session() -> None:
    watcher = Watcher()
    watched(watcher, samples(800))
    held = len(watcher._shifts["cpu.busy"]._rolling)

    watched(watcher, samples(1500, start_s=800.0))

    assert len(watcher._shifts["cpu.busy"]._rolling) == held
    assert len(watcher._waiting) <= 1


def test_no_library_of_arrays_is_loaded() -> None:
    code = (
        "import sys, infer_opt.anomalies.watcher;"
        "print([name for name in ('numpy', 'scipy', 'psutil', 'rich') if name in sys.modules])"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"
