from infer_opt.reports.pareto import Point, front


def test_a_point_that_is_beaten_everywhere_is_off_the_front() -> None:
    assert front([(1.0, 2.0), (2.0, 1.0), (3.0, 3.0)]) == (True, True, False)


def test_being_as_good_in_one_and_worse_in_another_is_being_beaten() -> None:
    assert front([(1.0, 2.0), (1.0, 3.0)]) == (True, False)


def test_equal_points_do_not_beat_each_other() -> None:
    assert front([(1.0, 2.0), (1.0, 2.0)]) == (True, True)


def test_what_is_not_known_beats_nothing() -> None:
    assert front([(1.0, None), (2.0, 5.0)]) == (True, True)


def test_what_is_not_known_saves_nothing_either() -> None:
    assert front([(1.0, None), (2.0, None)]) == (True, False)
    assert front([(1.0, 5.0), (2.0, None)]) == (True, False)


def test_an_unknown_value_alone_is_no_defeat() -> None:
    assert front([(1.0, 5.0), (1.0, None)]) == (True, True)


def test_no_points_no_front() -> None:
    points: list[Point] = []
    assert front(points) == ()
