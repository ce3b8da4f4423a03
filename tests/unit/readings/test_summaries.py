import math
import random

import pytest

from infer_opt.readings.samples import Sample
from infer_opt.readings.summaries import MOST_POINTS, Tallies, Tally


def tally_of(values: list[float | None]) -> Tally:
    tally = Tally("cpu.busy")
    for second, value in enumerate(values):
        tally.add(float(second), value)
    return tally


def test_mean_lowest_highest_and_last_are_those_of_all_samples() -> None:
    generator = random.Random(1)
    values = [generator.random() for _ in range(5000)]

    course = tally_of(list(values)).course()

    assert course is not None
    assert course.samples == 5000
    assert course.mean == pytest.approx(sum(values) / 5000)
    assert (course.low, course.high, course.last) == (min(values), max(values), values[-1])


@pytest.mark.parametrize("samples", [1, 7, MOST_POINTS - 1, MOST_POINTS, MOST_POINTS + 1, 86_400])
def test_the_history_stays_bounded_and_covers_the_whole_session(samples: int) -> None:
    course = tally_of([float(second) for second in range(samples)]).course()

    assert course is not None
    assert 1 <= len(course.points) <= MOST_POINTS
    assert course.points[0][2] == 0.0
    assert course.points[-1][3] == samples - 1.0
    times = [at_s for at_s, _, _, _ in course.points]
    assert times == sorted(times)


def test_a_peak_of_one_sample_survives_in_a_day() -> None:
    course = tally_of([1.0 if second == 40_000 else 0.0 for second in range(86_400)]).course()

    assert course is not None
    assert max(high for _, _, _, high in course.points) == 1.0


def test_what_is_not_available_is_counted_and_is_not_zero() -> None:
    course = tally_of([None, 4.0, None, 6.0, math.nan]).course()

    assert course is not None
    assert (course.samples, course.missing, course.mean, course.low) == (2, 3, 5.0, 4.0)


def test_a_reading_that_was_never_available_has_no_course() -> None:
    tallies = Tallies()
    tallies.add(Sample(number=0, at_s=0.0, clock_s=0.0, values={"cpu.steal": None, "cpu.busy": 0.5}))

    assert list(tallies.courses()) == ["cpu.busy"]


def test_a_reading_may_begin_late() -> None:
    tallies = Tallies()
    tallies.add(Sample(number=0, at_s=0.0, clock_s=0.0, values={"cpu.busy": 0.5}))
    tallies.add(Sample(number=1, at_s=1.0, clock_s=1.0, values={"cpu.busy": 0.5, "gpu[0].power_watts": 90.0}))

    assert tallies.courses()["gpu[0].power_watts"].samples == 1
