import pytest

from infer_opt.terminal.lists import Window


def test_from_nothing_the_first_that_is_seen_is_selected() -> None:
    window = Window(count=50, height=10, first=7)
    window.move(1)

    assert window.selected == 7


def test_the_window_follows_what_is_selected() -> None:
    window = Window(count=50, height=10, selected=9)
    window.move(1)
    assert (window.selected, window.first) == (10, 1)

    window.move(-10)
    assert (window.selected, window.first) == (0, 0)


def test_moving_stops_at_the_ends() -> None:
    window = Window(count=5, height=10, selected=0)
    window.move(-3)
    assert window.selected == 0
    window.move(99)
    assert window.selected == 4


def test_the_wheel_moves_the_window_and_not_what_is_selected() -> None:
    window = Window(count=50, height=10, selected=0)
    window.scroll(3)
    window.settle()
    assert (window.selected, window.first) == (0, 3)

    window.scroll(999)
    assert window.first == 40
    window.move(1)
    assert (window.selected, window.first) == (1, 1)


def test_a_list_that_became_shorter_leaves_no_hole() -> None:
    window = Window(count=50, height=10, selected=49)
    window.settle()
    window.count = 12
    window.settle()

    assert (window.selected, window.first) == (11, 2)
    window.count = 0
    window.settle()
    assert (window.selected, window.first) == (None, 0)


def test_an_empty_list_can_be_moved_in() -> None:
    window = Window()
    window.move(1)
    window.select(0)
    window.scroll(3)

    assert window.selected is None


@pytest.mark.parametrize(("first", "thumb"), [(0, range(2)), (40, range(8, 10)), (20, range(4, 6))])
def test_the_mark_of_the_scroll_bar_goes_from_end_to_end(first: int, thumb: range) -> None:
    assert Window(count=50, height=10, first=first).thumb() == thumb


def test_without_more_to_see_there_is_no_scroll_bar() -> None:
    assert Window(count=10, height=10).thumb() is None
    assert Window(count=10, height=0).thumb() is None
