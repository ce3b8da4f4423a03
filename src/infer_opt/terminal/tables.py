"""The widgets with lists: the table of processes, and findings and alerts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from infer_opt.readings.samples import ProcessReading
from infer_opt.terminal.findings import draw_findings
from infer_opt.terminal.inks import Ink, Line, Room, rule
from infer_opt.terminal.ledger import Entry
from infer_opt.terminal.lists import Window
from infer_opt.terminal.panels import Panel
from infer_opt.terminal.processes import Choice, Column, Row, column_at, columns_for, headings, row_line, rows_of
from infer_opt.terminal.seen import Seen
from infer_opt.terminal.texts import clean, fit

_WHEEL_LINES = 3
_MOVES: tuple[tuple[str, str], ...] = (
    ("up", "move(-1)"),
    ("down", "move(1)"),
    ("pageup", "page(-1)"),
    ("pagedown", "page(1)"),
    ("home", "edge(-1)"),
    ("end", "edge(1)"),
    ("enter", "open"),
)


class _OfPanel(Message):
    """Something happened in a list."""

    def __init__(self, panel: "ListPanel") -> None:
        super().__init__()
        self.panel = panel


class ListPanel(Panel, can_focus=True):
    """A panel whose lines are a list that one moves in."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding(key, action, show=False) for key, action in _MOVES]

    head = 0  # lines above the first of the list

    class Opened(_OfPanel):
        """The details of what is selected are asked for."""

    class Moved(_OfPanel):
        """Something else is selected."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(self._lines_in, id=id)
        self.window = Window()

    def _lines_in(self, room: Room) -> list[Line]:
        raise NotImplementedError

    def action_move(self, by: int) -> None:
        """Select another one."""
        self.window.move(by)
        self.moved()

    def action_page(self, by: int) -> None:
        """Go so many pages down."""
        self.action_move(by * max(1, self.window.height - 1))

    def action_edge(self, by: int) -> None:
        """Go to the first (-1) or the last."""
        self.action_move(by * self.window.count)

    def action_open(self) -> None:
        """Ask for the details of what is selected, or else of the first that is seen."""
        if self.window.selected is None:
            self.action_move(0)
        if self.window.selected is not None:
            self.post_message(self.Opened(self))

    def clear(self) -> bool:
        """Select nothing; whether something was."""
        had, self.window.selected = self.window.selected is not None, None
        self.moved()
        return had

    def moved(self) -> None:
        """Something else is selected: show it, and tell whoever shows more of it."""
        self.redraw()
        self.post_message(self.Moved(self))

    def on_mouse_scroll_down(self) -> None:
        """The wheel moves the window, not what is selected."""
        self.window.scroll(_WHEEL_LINES)
        self.redraw()

    def on_mouse_scroll_up(self) -> None:
        """The wheel moves the window, not what is selected."""
        self.window.scroll(-_WHEEL_LINES)
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        """A click selects, a second one opens."""
        if event.y >= self.head:
            self.window.select(self.window.first + event.y - self.head)
            self.moved()
            if event.chain == 2:
                self.action_open()


class ProcessTable(ListPanel):
    """Processes: sorted, filtered, as a tree. What is selected stays the same process as rows move."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "next_column(-1)", show=False),
        Binding("right", "next_column(1)", show=False),
    ]

    head = 2

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self.choice = Choice()
        self.rows: list[Row] = []
        self.selected_pid: int | None = None
        self._processes: Sequence[ProcessReading] = ()
        self._has_gpus = False
        self._widths: dict[Column, int] = {}

    @property
    def selected(self) -> ProcessReading | None:
        """The process that is selected."""
        return None if self.window.selected is None else self.rows[self.window.selected].process

    @property
    def shown_columns(self) -> tuple[Column, ...]:
        """The columns that there is room for."""
        return tuple(self._widths)

    def take(self, processes: Sequence[ProcessReading], *, has_gpus: bool) -> None:
        """Show the processes of another sample."""
        self._processes, self._has_gpus = processes, has_gpus
        self._order()

    def choose(self, choice: Choice) -> None:
        """Show the same processes otherwise."""
        self.choice = choice
        self._order()

    def sort(self, column: Column) -> None:
        """A heading was clicked: sort by its column, or turn the order round where it is sorted by already."""
        again = column is self.choice.sort
        self.choose(replace(self.choice, sort=column, is_reversed=again and not self.choice.is_reversed))

    def action_next_column(self, by: int) -> None:
        """Sort by the column to the left (-1) or right."""
        columns = list(self._widths) or list(Column)
        place = columns.index(self.choice.sort) if self.choice.sort in columns else 0
        self.choose(replace(self.choice, sort=columns[(place + by) % len(columns)], is_reversed=False))

    def moved(self) -> None:
        """Remember which process it is: rows move, it does not."""
        process = self.selected
        self.selected_pid = None if process is None else process.pid
        super().moved()

    def on_click(self, event: events.Click) -> None:
        """A click on a heading sorts by it."""
        if event.y == 1:
            column = column_at(event.x, self._widths)
            if column is not None:
                self.sort(column)

    def _order(self) -> None:
        self.rows = rows_of(self._processes, self.choice)
        self.window.count = len(self.rows)
        self.window.selected = next(
            (number for number, row in enumerate(self.rows) if row.process.pid == self.selected_pid), None
        )
        if self.window.selected is None:
            self.selected_pid = None
        self.redraw()

    def _lines_in(self, room: Room) -> list[Line]:
        window = self.window
        window.height = max(0, room.height - self.head)
        window.settle()
        thumb = window.thumb()
        width = room.width - (1 if thumb else 0)
        self._widths = columns_for(width, has_gpus=self._has_gpus, is_tree=self.choice.is_tree)
        lines = [self._title(room), headings(self._widths, self.choice)]
        for number, row in enumerate(self.rows[window.first : window.first + window.height]):
            line = row_line(row, self._widths, width=width, is_selected=window.first + number == window.selected)
            if thumb:
                line += (("┃", Ink.FOCUS) if number in thumb else ("│", Ink.BORDER),)
            lines.append(line)
        if not self.rows:
            lines.append(((" none", Ink.DIM),))
        return lines

    def _title(self, room: Room) -> Line:
        said = [f"{len(self.rows)} of {len(self._processes)}" if self._is_narrowed else f"{len(self._processes)}"]
        if self.choice.only_chosen:
            said.append("chosen only")
        if self.choice.pattern:
            said.append(f"filter {fit(clean(self.choice.pattern), min(len(self.choice.pattern), 24))}")
        if self.choice.is_tree:
            said.append("tree")
        right: Line = ((" · ".join(said), Ink.CHOSEN if self._is_narrowed else Ink.TEXT),)
        return rule(room.width, title="Processes", right=right, has_focus=room.has_focus)

    @property
    def _is_narrowed(self) -> bool:
        return bool(self.choice.pattern) or self.choice.only_chosen


class FindingsPanel(ListPanel):
    """Findings and alerts: what holds, then what is over."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self.entries: tuple[Entry, ...] = ()
        self._seen = Seen()
        self._selected: tuple[bool, str, str, float] | None = None

    @property
    def selected(self) -> Entry | None:
        """The entry that is selected."""
        return None if self.window.selected is None else self.entries[self.window.selected]

    def take(self, seen: Seen) -> None:
        """Show how things stand after another sample."""
        self._seen, self.entries = seen, seen.ledger.entries
        self.window.count = len(self.entries)
        self.window.selected = next(
            (number for number, entry in enumerate(self.entries) if _name(entry) == self._selected), None
        )
        self.redraw()

    def moved(self) -> None:
        """Remember which one it is."""
        entry = self.selected
        self._selected = None if entry is None else _name(entry)
        super().moved()

    def _lines_in(self, room: Room) -> list[Line]:
        self.head = 1 if room.height > 2 else 0
        self.window.height = max(0, room.height - 2 * self.head)
        self.window.settle()
        return draw_findings(
            self._seen, room, entries=self.entries, first=self.window.first, selected=self.window.selected
        )


def _name(entry: Entry) -> tuple[bool, str, str, float]:
    return entry.is_alert, entry.name, entry.key, entry.since_s
