import pytest

from infer_opt.alerts.course import Course, Turn, Verdict

HOLDS, BETWEEN, CLEAR, UNKNOWN = Verdict.HOLDS, Verdict.BETWEEN, Verdict.CLEAR, Verdict.UNKNOWN


def turns(course: Course, *verdicts: Verdict, every_s: float = 10.0, first_s: float = 0.0) -> list[Turn | None]:
    """What happens at each of these verdicts, one every ten seconds."""
    return [course.step(verdict, first_s + every_s * index) for index, verdict in enumerate(verdicts)]


def course(for_s: float = 30.0, clear_for_s: float = 20.0) -> Course:
    return Course(for_s=for_s, clear_for_s=clear_for_s)


def test_it_fires_once_the_condition_has_held_for_so_long_and_only_once() -> None:
    assert turns(course(), *[HOLDS] * 6) == [None, None, None, Turn.FIRED, None, None]


def test_without_a_duration_it_fires_at_once() -> None:
    assert turns(course(for_s=0.0), HOLDS) == [Turn.FIRED]


@pytest.mark.parametrize("pause", [CLEAR, BETWEEN])
def test_a_condition_that_stops_to_hold_begins_anew(pause: Verdict) -> None:
    found = turns(course(), HOLDS, HOLDS, HOLDS, pause, HOLDS, HOLDS, HOLDS, HOLDS)

    assert found == [*[None] * 7, Turn.FIRED]


def test_it_is_resolved_once_it_has_been_well_for_so_long() -> None:
    one = course(for_s=0.0)

    assert turns(one, HOLDS, CLEAR, CLEAR, CLEAR) == [Turn.FIRED, None, None, Turn.RESOLVED]
    assert one.is_idle


@pytest.mark.parametrize("relapse", [HOLDS, BETWEEN])
def test_a_relapse_before_that_begins_the_wait_anew(relapse: Verdict) -> None:
    found = turns(course(for_s=0.0), HOLDS, CLEAR, CLEAR, relapse, CLEAR, CLEAR, CLEAR)

    assert found == [Turn.FIRED, None, None, None, None, None, Turn.RESOLVED]


def test_between_the_bounds_a_firing_alert_goes_on() -> None:
    assert turns(course(for_s=0.0), HOLDS, *[BETWEEN] * 20) == [Turn.FIRED, *[None] * 20]


def test_a_gap_neither_fires_nor_counts() -> None:
    # Held for 10 s before the gap; 20 s more are wanted after it.
    found = turns(course(clear_for_s=60.0), HOLDS, HOLDS, UNKNOWN, UNKNOWN, UNKNOWN, HOLDS, HOLDS)

    assert found == [*[None] * 6, Turn.FIRED]


def test_a_gap_does_not_resolve_before_it_has_lasted() -> None:
    found = turns(course(for_s=0.0, clear_for_s=20.0), HOLDS, UNKNOWN, UNKNOWN, HOLDS, UNKNOWN, UNKNOWN, UNKNOWN)

    assert found == [Turn.FIRED, None, None, None, None, None, Turn.LOST]


def test_a_single_missing_sample_never_resolves() -> None:
    one = course(for_s=0.0, clear_for_s=0.0)

    assert turns(one, HOLDS, UNKNOWN, HOLDS) == [Turn.FIRED, None, None]
    assert turns(one, UNKNOWN, UNKNOWN, first_s=30.0) == [None, Turn.LOST]


def test_a_gap_while_it_is_well_does_not_count_as_being_well() -> None:
    found = turns(course(for_s=0.0, clear_for_s=30.0), HOLDS, CLEAR, CLEAR, UNKNOWN, UNKNOWN, CLEAR, CLEAR)

    # Well for 20 s before the gap, and 10 s after it.
    assert found == [Turn.FIRED, None, None, None, None, None, Turn.RESOLVED]


def test_what_was_about_to_fire_is_forgotten_after_a_long_gap() -> None:
    one = course(clear_for_s=20.0)

    assert turns(one, HOLDS, HOLDS, HOLDS, UNKNOWN, UNKNOWN, UNKNOWN) == [None] * 6
    assert one.is_idle
    assert turns(one, HOLDS, HOLDS, HOLDS, HOLDS, first_s=60.0) == [None, None, None, Turn.FIRED]


def test_it_can_fire_again() -> None:
    found = turns(course(for_s=0.0, clear_for_s=0.0), HOLDS, CLEAR, HOLDS, CLEAR)

    assert found == [Turn.FIRED, Turn.RESOLVED, Turn.FIRED, Turn.RESOLVED]
