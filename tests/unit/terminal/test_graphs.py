import math

import pytest

from infer_opt.terminal.graphs import area, block, graph, meter, meter_line, nice_top, sparkline
from infer_opt.terminal.inks import Ink, cells, plain


def test_a_graph_is_filled_from_the_right_two_values_to_a_cell() -> None:
    assert area([0.25, 0.5, 0.75, 1.0], width=3, height=1) == [" ⣠⣾"]


def test_a_higher_graph_has_its_peak_in_the_upper_row() -> None:
    assert area([0.5, 0.5, 1.0, 1.0], width=2, height=2) == [" ⣿", "⣿⣿"]


def test_zero_is_a_line_at_the_bottom_and_not_known_is_blank() -> None:
    assert area([math.nan, math.nan, 0.0, 0.0], width=2, height=1) == [" ⣀"]
    assert sparkline([math.nan, 0.0, 1.0], width=3) == " ▁█"


def test_values_above_the_top_fill_the_graph_and_no_more() -> None:
    assert area([9.0, 9.0], width=1, height=2) == ["⣿", "⣿"]


def test_only_the_newest_values_that_fit_are_drawn() -> None:
    assert area([1.0] * 50 + [0.0, 0.0], width=1, height=1) == ["⣀"]
    assert sparkline([1.0, 0.0, 0.0], width=2, top=1.0) == "▁▁"


@pytest.mark.parametrize(("width", "height"), [(0, 3), (3, 0), (-2, 1)])
def test_without_room_there_is_no_graph(width: int, height: int) -> None:
    assert area([1.0], width=width, height=height) == []


@pytest.mark.parametrize("width", [1, 7, 40])
@pytest.mark.parametrize("count", [0, 1, 2, 13, 500])
def test_a_graph_has_exactly_its_room(width: int, count: int) -> None:
    rows = area([0.5] * count, width=width, height=3)

    assert [len(row) for row in rows] == [width] * 3
    assert len(sparkline([0.5] * count, width=width)) == width


def test_a_graph_is_calm_at_the_bottom_and_red_at_the_top() -> None:
    inks = [line[0][1] for line in graph([1.0] * 4, width=2, height=6)]

    assert (inks[0], inks[-1]) == (Ink.LEVEL_4, Ink.LEVEL_1)
    assert {line[0][1] for line in graph([1.0], width=2, height=4, ink=Ink.MEMORY)} == {Ink.MEMORY}


@pytest.mark.parametrize(
    ("share", "bar"),
    [
        (0.0, ("", "──────────")),
        (0.001, ("╸", "─────────")),
        (0.5, ("━━━━━", "─────")),
        (0.56, ("━━━━━╸", "────")),
        (1.0, ("━━━━━━━━━━", "")),
        (1.7, ("━━━━━━━━━━", "")),
        (None, ("", "┄┄┄┄┄┄┄┄┄┄")),
    ],
)
def test_a_meter_shows_its_share_to_half_a_cell(share: float | None, bar: tuple[str, str]) -> None:
    assert meter(share, 10) == bar


def test_a_meter_line_gives_its_bar_what_label_and_value_leave() -> None:
    assert plain(meter_line("used", 0.5, "12.3 GiB", width=24)) == "used ━━━━━───── 12.3 GiB"
    assert plain(meter_line("used", 0.5, "12.3 GiB", width=14)) == "used  12.3 GiB"


def test_a_meter_line_is_as_wide_as_it_is_told() -> None:
    assert [cells(meter_line("used", 0.3, "12.3 GiB", width=width)) for width in range(13, 60)] == list(range(13, 60))


def test_a_character_tells_a_share_and_whether_it_is_known() -> None:
    assert [block(share) for share in (None, 0.0, 0.5, 1.0, 3.0)] == ["·", "▁", "▄", "▇", "▇"]


@pytest.mark.parametrize(("most", "top"), [(0.0, 1.0), (1.0, 1.0), (1.2, 2.0), (3.0, 5.0), (5.1, 10.0), (2e6, 2e6)])
def test_a_scale_is_a_round_number_above_everything(most: float, top: float) -> None:
    assert nice_top([math.nan, most]) == pytest.approx(top)
