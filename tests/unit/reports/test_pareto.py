from infer_opt.reports.pareto import Coordinate, Point, front


def exact(*values: float | None) -> Point:
    return tuple(None if value is None else (value, value) for value in values)


def about(value: float, half: float) -> Coordinate:
    return value - half, value + half


def test_a_point_that_is_beaten_everywhere_is_off_the_front() -> None:
    assert front([exact(1.0, 2.0), exact(2.0, 1.0), exact(3.0, 3.0)]) == (True, True, False)


def test_being_as_good_in_one_and_worse_in_another_is_being_beaten() -> None:
    assert front([exact(1.0, 2.0), exact(1.0, 3.0)]) == (True, False)


def test_equal_points_do_not_beat_each_other() -> None:
    assert front([exact(1.0, 2.0), exact(1.0, 2.0)]) == (True, True)


def test_values_whose_intervals_overlap_are_a_tie() -> None:
    noisy, close, far = (about(1.0, 0.3),), (about(1.2, 0.3),), (about(2.0, 0.3),)

    assert front([noisy, close]) == (True, True)
    assert front([noisy, close, far]) == (True, True, False)


def test_a_tie_in_one_does_not_save_what_is_clearly_worse_in_another() -> None:
    assert front([(about(1.0, 0.3), (5.0, 5.0)), (about(0.9, 0.3), (6.0, 6.0))]) == (True, False)


def test_what_is_not_known_beats_nothing() -> None:
    assert front([exact(1.0, None), exact(2.0, 5.0)]) == (True, True)


def test_what_is_not_known_saves_nothing_either() -> None:
    assert front([exact(1.0, None), exact(2.0, None)]) == (True, False)
    assert front([exact(1.0, 5.0), exact(2.0, None)]) == (True, False)


def test_an_unknown_value_alone_is_no_defeat() -> None:
    assert front([exact(1.0, 5.0), exact(1.0, None)]) == (True, True)


def test_no_points_no_front() -> None:
    points: list[Point] = []
    assert front(points) == ()
