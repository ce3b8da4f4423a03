"""What opens above the screen: sheets to read, and a question."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from infer_opt.terminal.inks import Ink, Line, Room, box
from infer_opt.terminal.lists import Window
from infer_opt.terminal.panels import Draw, Panel
from infer_opt.terminal.texts import wrap

_WIDEST = 120
_NARROWEST = 8
_MARGIN = 2
_CSS = "align: center middle;"


class Sheet(ModalScreen[None]):
    """Lines in a frame, which may be more than fit: arrows move them. `is_high` takes all the height there is."""

    DEFAULT_CSS = f"Sheet {{ {_CSS} }} Sheet Panel {{ position: relative; }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark,h,f1", "close", show=False),
        Binding("ctrl+c", "app.quit", show=False, priority=True),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
    ]

    def __init__(self, draw: Draw, *, title: str, width: int = _WIDEST, is_high: bool = True) -> None:
        super().__init__()
        self._content = draw
        self._title = title
        self._width = width
        self._is_high = is_high
        self._window = Window(follows=False)
        self._panel = Panel(self._framed)

    def compose(self) -> ComposeResult:
        """One panel."""
        yield self._panel

    def on_mount(self) -> None:
        """Take its size from the terminal's."""
        self._measure()

    def on_resize(self) -> None:
        """Take its size from the terminal's."""
        self._measure()

    def redraw(self) -> None:
        """Draw anew: another sample is there."""
        self._panel.redraw()

    def action_close(self) -> None:
        """Close it."""
        self.dismiss(None)

    def action_scroll(self, by: int) -> None:
        """Move the lines."""
        self._window.scroll(by)
        self.redraw()

    def _measure(self) -> None:
        across, down = self.app.size
        width = max(_NARROWEST, min(self._width, across - 2 * _MARGIN))
        height = max(1, down - _MARGIN)
        if not self._is_high:
            inner = Room(width=width, height=height).within()
            height = min(height, len(self._content(inner)) + 2)
        self._panel.styles.width, self._panel.styles.height = width, height

    def _framed(self, room: Room) -> list[Line]:
        inner = room.within()
        lines = self._content(inner)
        window = self._window
        window.count, window.height = len(lines), inner.height
        window.settle()
        more: Line = (("↑ ↓ for more  ", Ink.DIM),) if len(lines) > inner.height else ()
        shown = lines[window.first : window.first + inner.height]
        focused = Room(width=room.width, height=room.height, has_focus=True)
        return box(shown, focused, title=self._title, right=(*more, ("esc", Ink.KEY), (" closes", Ink.DIM)))


class Question(ModalScreen[bool]):
    """Asks for a yes or a no; only y is a yes."""

    DEFAULT_CSS = f"Question {{ {_CSS} }} Question Panel {{ position: relative; }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", show=False),
        Binding("n,escape,q", "answer(False)", show=False),
        Binding("ctrl+c", "app.quit", show=False, priority=True),
    ]

    def __init__(self, text: str, *, title: str) -> None:
        super().__init__()
        self._text = text
        self._title = title
        self._panel = Panel(self._framed)

    def compose(self) -> ComposeResult:
        """One panel."""
        yield self._panel

    def on_mount(self) -> None:
        """As wide as the terminal allows, as high as the text is."""
        self.on_resize()

    def on_resize(self) -> None:
        """As wide as the terminal allows, as high as the text is."""
        width = max(_NARROWEST, min(64, self.app.size.width - 2 * _MARGIN))
        inner = Room(width=width, height=self.app.size.height).within()
        self._panel.styles.width = width
        self._panel.styles.height = min(len(self._lines(inner)) + 2, self.app.size.height)

    def action_answer(self, is_yes: bool) -> None:
        """Close it with the answer."""
        self.dismiss(is_yes)

    def _lines(self, inner: Room) -> list[Line]:
        asked: list[Line] = [((text, Ink.TEXT),) for text in wrap(self._text, inner.width)]
        return [*asked, (), (("y", Ink.KEY), (" yes, stop it   ", Ink.TEXT), ("n", Ink.KEY), (" no", Ink.TEXT))]

    def _framed(self, room: Room) -> list[Line]:
        focused = Room(width=room.width, height=room.height, has_focus=True)
        return box(self._lines(room.within()), focused, title=self._title)
