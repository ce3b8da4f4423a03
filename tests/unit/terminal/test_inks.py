import pytest

from infer_opt.terminal.inks import Ink, Line, Room, beside, box, cells, fitted, level, plain, rule
from infer_opt.terminal.palette import COLOURS, STYLES

GROUNDS = {
    "black": "#000000",
    "dark grey": "#1e1e1e",
    "solarized dark": "#002b36",
    "white": "#ffffff",
    "solarized light": "#fdf6e3",
}


def text(line: str) -> Line:
    return ((line, Ink.TEXT),)


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("ground", GROUNDS)
def test_every_colour_can_be_read_on_dark_and_on_light_terminals(ground: str) -> None:
    for ink, colour in COLOURS.items():
        light, dark = sorted((luminance(colour), luminance(GROUNDS[ground])), reverse=True)

        assert (light + 0.05) / (dark + 0.05) >= 3.0, ink


def test_every_ink_has_a_style_and_none_paints_the_background() -> None:
    assert set(STYLES) == set(Ink)
    assert {style.bgcolor for style in STYLES.values()} == {None}


def test_the_ink_of_a_share_goes_from_calm_to_full() -> None:
    assert [level(share) for share in (0.0, 0.5, 0.7, 0.9, 0.99)] == [
        Ink.LEVEL_1, Ink.LEVEL_2, Ink.LEVEL_3, Ink.LEVEL_4, Ink.LEVEL_5,
    ]  # fmt: skip
    assert (level(None), level(float("nan"))) == (Ink.DIM, Ink.DIM)


def test_a_line_is_fitted_to_the_cell() -> None:
    line: Line = (("ab", Ink.TEXT), ("日本", Ink.DIM), ("", Ink.TEXT), ("cdef", Ink.BOLD))

    assert [cells(fitted(line, width)) for width in range(14)] == list(range(14))


def test_a_line_that_is_cut_at_a_change_of_ink_says_so() -> None:
    assert plain(fitted((("abc", Ink.TEXT), ("def", Ink.DIM)), 3)) == "ab…"
    assert plain(fitted((("abc", Ink.TEXT), ("def", Ink.DIM)), 5)) == "abcd…"


def test_a_box_has_its_title_and_its_values_in_the_upper_edge() -> None:
    lines = box(
        [text("hello"), text("a line that is too long")], Room(width=24, height=4), title="CPU", right=text("37 %")
    )

    assert [plain(line) for line in lines] == [
        "╭─ CPU ───────── 37 % ─╮",
        "│ hello                │",
        "│ a line that is too … │",
        "╰──────────────────────╯",
    ]


def test_a_box_without_room_for_its_values_keeps_its_title() -> None:
    edge = plain(box([], Room(width=14, height=2), title="Memory", right=text("12.3 of 24.0 GiB"))[0])

    assert edge == "╭─ Memory ───╮"


@pytest.mark.parametrize("height", [1, 2, 5])
def test_a_box_has_exactly_its_room(height: int) -> None:
    for width in range(1, 40):
        lines = box([text("x" * 30)] * 9, Room(width=width, height=height), title="A title of it", right=text("12 %"))

        assert [cells(line) for line in lines] == [width] * height


def test_a_rule_is_a_line_with_a_title() -> None:
    assert plain(rule(24, title="Processes", right=text("312"))) == "── Processes ──── 312 ──"


def test_blocks_stand_side_by_side() -> None:
    lines = beside((((text("a"),), 3), ((text("bb"), text("c")), 2)), height=2, gap=1)

    assert [plain(line) for line in lines] == ["a   bb", "    c "]
