"""A part of the screen: draws lines, and has the terminal repaint only those that changed."""

from collections.abc import Callable

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from infer_opt.terminal.inks import Line, Room, fitted
from infer_opt.terminal.palette import STYLES

Draw = Callable[[Room], list[Line]]


class Panel(Widget):
    """Lines from a function of the room that there is."""

    DEFAULT_CSS = "Panel { position: absolute; width: 1; height: 1; }"

    def __init__(self, draw: Draw, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self._draw = draw
        self._lines: list[Line] = []
        self._strips: list[Strip | None] = []
        self._drawn_width = 0

    def redraw(self) -> None:
        """Draw anew; what is as before is left alone. Where the panel has no place, nothing is done."""
        width, height = self.size
        if not self.display or width < 1 or height < 1:
            return
        lines = self._draw(Room(width=width, height=height, has_focus=self.has_focus))[:height]
        if len(lines) != len(self._lines) or width != self._drawn_width:
            self._lines, self._drawn_width = lines, width
            self._strips = [None] * len(lines)
            self.refresh()
            return
        changed = [number for number, line in enumerate(lines) if line != self._lines[number]]
        if changed:
            self._lines = lines
            for number in changed:
                self._strips[number] = None
            self.refresh(*_regions(changed, width))

    def render_line(self, y: int) -> Strip:
        """One line, for Textual."""
        width = self.size.width
        if y >= len(self._lines) or width < 1:
            return Strip.blank(width)
        strip = self._strips[y]
        if strip is None or strip.cell_length != width:
            line = fitted(self._lines[y], width)
            strip = Strip([Segment(text, STYLES[ink]) for text, ink in line if text], width)
            self._strips[y] = strip
        return strip

    def on_resize(self) -> None:
        """Another size is another drawing."""
        self.redraw()

    def on_focus(self) -> None:
        """Frames show what has the keys."""
        self.redraw()

    def on_blur(self) -> None:
        """Frames show what has the keys."""
        self.redraw()


def _regions(numbers: list[int], width: int) -> list[Region]:
    """Lines that follow each other as one region."""
    regions: list[Region] = []
    for number in numbers:
        if regions and regions[-1].bottom == number:
            last = regions[-1]
            regions[-1] = Region(0, last.y, width, last.height + 1)
        else:
            regions.append(Region(0, number, width, 1))
    return regions
