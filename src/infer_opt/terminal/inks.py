"""What is drawn: lines of pieces of text, each in an ink. The palette says what colour an ink has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from infer_opt.terminal.texts import fit, width_of


class Ink(StrEnum):
    """What a piece of text is, so that one place decides how that looks."""

    TEXT = "text"
    BOLD = "bold"
    DIM = "dim"
    BORDER = "border"
    FOCUS = "focus"
    TITLE = "title"
    LABEL = "label"
    KEY = "key"
    GOOD = "good"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"
    LEVEL_1 = "level-1"
    LEVEL_2 = "level-2"
    LEVEL_3 = "level-3"
    LEVEL_4 = "level-4"
    LEVEL_5 = "level-5"
    MEMORY = "memory"
    CACHE = "cache"
    READ = "read"
    WRITE = "write"
    CHOSEN = "chosen"
    SELECTED = "selected"
    HEADING = "heading"


Span = tuple[str, Ink]
Line = tuple[Span, ...]

LEVELS = ((0.35, Ink.LEVEL_1), (0.6, Ink.LEVEL_2), (0.8, Ink.LEVEL_3), (0.92, Ink.LEVEL_4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Where something is drawn: cells across and lines down, and whether it has the keys."""

    width: int
    height: int
    has_focus: bool = False

    def within(self) -> "Room":
        """What is left inside a box."""
        return Room(width=max(0, self.width - 4), height=max(0, self.height - 2), has_focus=self.has_focus)

    def bare(self) -> "Room":
        """What is left without a box, beside a blank at the left."""
        return Room(width=max(0, self.width - 1), height=self.height, has_focus=self.has_focus)


def level(share: float | None) -> Ink:
    """The ink of a share of what there is: from calm to full; dim where it is not known."""
    if share is None or share != share:
        return Ink.DIM
    return next((ink for bound, ink in LEVELS if share < bound), Ink.LEVEL_5)


def plain(line: Line) -> str:
    """The text of a line, without its inks."""
    return "".join(text for text, _ in line)


def cells(line: Line) -> int:
    """How many cells a line takes."""
    return sum(width_of(text) for text, _ in line)


def fitted(line: Line, width: int) -> Line:
    """The line in exactly `width` cells: filled up with blanks, or cut and ended by an ellipsis."""
    spans: list[Span] = []
    left = width
    for text, ink in line:
        taken = width_of(text)
        if taken > left:
            spans.append((fit(text, left), ink)) if left > 0 else _end(spans)
            return tuple(spans)
        spans.append((text, ink))
        left -= taken
    return (*spans, (" " * left, Ink.TEXT)) if left > 0 else tuple(spans)


def _end(spans: list[Span]) -> None:
    """Let the last piece say that something was cut off behind it."""
    while spans and not spans[-1][0]:
        spans.pop()
    if spans:
        text, ink = spans[-1]
        spans[-1] = (fit(text + " ", width_of(text)), ink)


def filled(lines: Sequence[Line], room: Room) -> list[Line]:
    """The lines as a block of the room's size."""
    block = [fitted(line, room.width) for line in lines[: room.height]]
    blank: Line = ((" " * room.width, Ink.TEXT),)
    return block + [blank] * (room.height - len(block))


def indented(lines: Iterable[Line]) -> list[Line]:
    """The lines behind a blank."""
    return [((" ", Ink.TEXT), *line) for line in lines]


def beside(blocks: Iterable[tuple[Sequence[Line], int]], *, height: int, gap: int = 2) -> list[Line]:
    """Blocks of lines, each with its width, side by side."""
    parts = [filled(lines, Room(width=width, height=height)) for lines, width in blocks if width > 0]
    between: Line = ((" " * gap, Ink.TEXT),)
    rows: list[Line] = []
    for number in range(height):
        row: Line = ()
        for index, part in enumerate(parts):
            row = row + between + part[number] if index else part[number]
        rows.append(row)
    return rows


def box(lines: Sequence[Line], room: Room, *, title: str, right: Line = ()) -> list[Line]:
    """The lines in a frame, with a title at the left of its upper edge and the most important values at its right.

    There are two cells of frame and blank on each side.
    """
    if room.width < 8 or room.height < 2:
        return filled(lines, room)
    border = Ink.FOCUS if room.has_focus else Ink.BORDER
    inner = filled(lines, room.within())
    edge: Span = ("│", border)
    body: list[Line] = [(edge, (" ", Ink.TEXT), *line, (" ", Ink.TEXT), edge) for line in inner]
    bottom: Line = (("╰" + "─" * (room.width - 2) + "╯", border),)
    return [_upper_edge(room.width, border, title, right), *body, bottom]


def rule(width: int, *, title: str, right: Line = (), has_focus: bool = False) -> Line:
    """A line across with a title and values in it, as the upper edge of a box."""
    border = Ink.FOCUS if has_focus else Ink.BORDER
    return _edge(("─", "─"), width, border, title, right)


def _upper_edge(width: int, border: Ink, title: str, right: Line) -> Line:
    return _edge(("╭", "╮"), width, border, title, right)


def _edge(corners: tuple[str, str], width: int, border: Ink, title: str, right: Line) -> Line:
    room = width - 4  # corners, and a dash beside each
    values: Line = (("─ ", border), *right, (" ", Ink.TEXT)) if right else ()
    if cells(values) > room - min(width_of(title) + 2, 12):
        values = ()
    named: Line = (
        ((" " + fit(title, min(width_of(title), room - cells(values) - 2)) + " ", Ink.TITLE),) if title else ()
    )
    dashes = "─" * max(0, room - cells(named) - cells(values))
    return ((corners[0] + "─", border), *named, (dashes, border), *values, ("─" + corners[1], border))
