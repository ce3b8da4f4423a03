import random
from collections.abc import Iterable, Sequence

import pytest
from benchmarks.anomaly_series import DAY, NOISES, made

from infer_opt.anomalies.shifts import ADOPTED, LOST, WARM_UP, SeriesWatch, Watched, _by
from infer_opt.readings.catalogue import Unit
from infer_opt.readings.findings import Finding, FindingKind, Severity


def noisy(level: float, count: int, *, share: float = 0.03, seed: int = 1) -> list[float]:
    generator = random.Random(seed)
    return [level * (1.0 + share * generator.gauss(0.0, 1.0)) for _ in range(count)]


def watched(values: Iterable[float | None], watch: SeriesWatch | None = None, *, start: int = 0) -> list[Finding]:
    watch = watch or SeriesWatch("throughput")
    return [found for at, value in enumerate(values, start) for found in watch.see(float(at), value)]


def begun(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.is_over]


def test_a_drop_of_ten_per_cent_is_found_within_thirty_values_and_dated() -> None:
    found = watched([*noisy(100.0, 900), *noisy(90.0, 60, seed=2)])

    assert len(found) == 1
    assert 900 < found[0].at_s <= 930
    assert found[0].since_s == pytest.approx(900.0, abs=3.0)


def test_a_finding_says_what_since_when_how_sure_and_why() -> None:
    watch = SeriesWatch("gpu[0].utilisation", Watched(least=0.05, on_fall=Severity.WARNING, fall_causes=("slow feed",)))

    (found,) = watched([*noisy(0.9, 900), *noisy(0.6, 30, seed=2)], watch)

    assert (found.kind, found.name, found.key) == (FindingKind.SHIFT, "level-shift", "gpu[0].utilisation")
    assert found.what.startswith("gpu[0].utilisation fell from 9")
    assert " % to " in found.what
    assert found.what.endswith(" seconds ago")
    assert found.severity is Severity.WARNING
    assert found.causes == ("slow feed",)
    assert 0.95 < found.confidence <= 0.99
    assert watch.open == found


def test_a_weak_shift_is_less_sure_than_a_strong_one() -> None:
    weak = begun(watched([*noisy(100.0, 900, share=0.11), *noisy(90.0, 60, share=0.11, seed=2)]))
    strong = begun(watched([*noisy(100.0, 900, share=0.08), *noisy(50.0, 60, share=0.08, seed=2)]))

    assert 0.5 <= weak[0].confidence < strong[0].confidence


def test_each_finding_begins_once_and_ends_once_when_the_level_is_back() -> None:
    watch = SeriesWatch("throughput")

    found = watched([*noisy(100.0, 900), *noisy(80.0, 120, seed=2), *noisy(100.0, 300, seed=3)], watch)

    assert [one.is_over for one in found] == [False, True]
    assert "is back at" in found[1].what
    assert found[1].since_s == found[0].since_s
    assert 1020 < found[1].at_s <= 1035
    assert watch.open is None


def test_a_level_that_stays_is_the_ordinary_one_after_ten_minutes() -> None:
    found = watched([*noisy(100.0, 900), *noisy(80.0, ADOPTED + 600, seed=2)])

    assert [one.is_over for one in found] == [False, True]
    assert found[1].at_s == found[0].at_s + ADOPTED
    assert "ordinary level now" in found[1].what


def test_a_shift_during_a_shift_ends_the_first() -> None:
    found = watched([*noisy(100.0, 900), *noisy(80.0, 300, seed=2), *noisy(50.0, 120, seed=3)])

    assert [one.is_over for one in found] == [False, True, False]
    assert "another level" in found[1].what


def test_less_than_what_matters_is_no_finding_however_certain() -> None:
    assert watched([*noisy(100.0, 900, share=0.001), *noisy(96.0, 300, share=0.001, seed=2)]) == []


def test_what_matters_is_set_for_each_reading() -> None:
    busy = [*noisy(0.02, 900), *noisy(0.05, 100, seed=2)]

    assert watched(busy, SeriesWatch("cpu.busy", Watched(least=0.05))) == []
    assert len(begun(watched(busy, SeriesWatch("cpu.busy", Watched(least=0.02))))) == 1


def test_a_burst_of_ten_seconds_is_no_level() -> None:
    assert watched([*noisy(100.0, 900), *noisy(500.0, 10, seed=2), *noisy(100.0, 300, seed=3)]) == []


def test_a_load_that_comes_and_goes_is_no_news_the_second_day_nor_the_tenth_time() -> None:
    spells = [
        value for number in range(20) for value in (*noisy(10.0, 120, seed=number), *noisy(80.0, 60, seed=number))
    ]

    found = begun(watched(spells))

    assert len(found) <= 2
    assert all(one.at_s < 900 for one in found)


def test_a_level_between_two_known_ones_is_still_news() -> None:
    spells = [
        value for number in range(20) for value in (*noisy(10.0, 120, seed=number), *noisy(80.0, 60, seed=number))
    ]
    steady = noisy(80.0, 900, seed=50)

    found = begun(watched([*spells, *steady, *noisy(60.0, 90, seed=51)]))

    assert found[-1].at_s > len(spells) + len(steady)


def test_the_first_minute_is_warm_up() -> None:
    assert watched([*noisy(100.0, WARM_UP // 2), *noisy(50.0, WARM_UP // 2, seed=2)]) == []


def test_a_minute_and_a_half_are_enough_to_see_half_of_the_machine_being_used() -> None:
    watch = SeriesWatch("cpu.busy", Watched(least=0.05))

    found = watched([*noisy(0.05, 90, share=0.3), *noisy(0.55, 40, seed=2)], watch)

    assert len(found) == 1


def test_missing_values_are_no_anomaly() -> None:
    values: list[float | None] = [*noisy(100.0, 900)]
    values[300:330] = [None] * 30

    assert watched([*values, *noisy(100.0, 300, seed=2)]) == []


def test_not_a_number_is_missing() -> None:
    assert watched([*noisy(100.0, 300), float("nan"), float("inf"), *noisy(100.0, 300, seed=2)]) == []


def test_after_a_minute_without_values_a_series_begins_anew() -> None:
    gap: list[float | None] = [None] * LOST
    watch = SeriesWatch("throughput")

    assert watched([*noisy(100.0, 900), *gap, *noisy(50.0, 300, seed=2)], watch) == []
    assert len(begun(watched([*noisy(25.0, 60, seed=3)], watch, start=2000))) == 1


def test_what_is_open_when_values_end_is_over_a_minute_later() -> None:
    gap: list[float | None] = [None] * 200

    found = watched([*noisy(100.0, 900), *noisy(50.0, 60, seed=2), *gap])

    assert [one.is_over for one in found] == [False, True]
    assert "replaced or away" in found[1].what
    assert found[1].at_s == 960 + LOST - 1


def test_another_source_is_compared_with_itself() -> None:
    watch = SeriesWatch("process.cpu_cores")
    watched(noisy(2.0, 900), watch)

    assert watch.restart(900.0) == ()
    assert watched(noisy(1.0, 600, seed=2), watch, start=900) == []


def test_a_pause_does_not_forget_what_is_ordinary() -> None:
    watch = SeriesWatch("throughput")
    watched(noisy(100.0, 900), watch)

    watch.pause()

    assert len(watched(noisy(80.0, 60, seed=2), watch, start=920)) == 1


def test_a_constant_that_changes_is_found() -> None:
    assert len(begun(watched([*[7.0] * 300, *[9.0] * 60]))) == 1


def test_zero_that_becomes_something_has_no_share() -> None:
    (found,) = watched([*[0.0] * 300, *[5e6] * 30], SeriesWatch("disk.read_bytes_per_second", Watched(least=1e6)))

    assert "from 0 B/s to 5 MB/s, " in found.what


def test_a_unit_of_ones_own_is_said() -> None:
    watch = SeriesWatch("tokens", unit=Unit.PER_SECOND)

    (found,) = watched([*noisy(2000.0, 900), *noisy(1500.0, 30, seed=2)], watch)

    assert "/s to 1," in found.what


def test_samples_ten_seconds_apart_are_dated_by_their_times() -> None:
    watch = SeriesWatch("throughput")
    values = [*noisy(100.0, 900), *noisy(70.0, 40, seed=2)]

    (found,) = [one for at, value in enumerate(values) for one in watch.see(10.0 * at, value)]

    assert found.since_s == pytest.approx(9000.0, abs=30.0)


# A true rate of one false alert a day and series would fail these in 1 of 100 draws, five a day in 99 of 100.
DAYS, MOST = 3, 7


@pytest.mark.parametrize("name", NOISES)
def test_false_alerts_are_one_a_day_and_series_at_most(name: str) -> None:
    watch = SeriesWatch(name, NOISES[name].watched)

    assert len(begun(watched(made(name, 11, DAYS * DAY), watch))) <= MOST


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(0.86, " (by 14%)"), (2.27, " (by 127%)"), (31_143.0, " (to 31,000 times as much)"), (-2.0, "")],
)
def test_a_change_is_said_as_a_percentage_until_it_is_many_times_as_much(ratio: float, said: str) -> None:
    assert _by(ratio) == said
