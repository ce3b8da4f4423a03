"""The screen of a monitor: takes samples at their times, keeps what was seen, and shows it until q or the end."""

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.widgets import Input

from infer_opt.errors import InferOptError, UnavailableError
from infer_opt.terminal.arranging import Place, View, arrange, device_name
from infer_opt.terminal.cores import draw_cpu
from infer_opt.terminal.details import ProcessSheet
from infer_opt.terminal.dialogs import Question, Sheet
from infer_opt.terminal.findings import draw_details, entry_lines
from infer_opt.terminal.flows import draw_disks, draw_flows, draw_network
from infer_opt.terminal.gpus import draw_device, draw_devices
from infer_opt.terminal.headings import NOTICE_S, Heading, footer, header
from infer_opt.terminal.inks import Line, Room
from infer_opt.terminal.inventory import Device, Inventory
from infer_opt.terminal.keys import bindings, help_lines, hint_at
from infer_opt.terminal.ledger import Entry
from infer_opt.terminal.memory import draw_loads, draw_memory
from infer_opt.terminal.panels import Panel
from infer_opt.terminal.processes import Column
from infer_opt.terminal.seen import Seen
from infer_opt.terminal.source import Source
from infer_opt.terminal.tables import FindingsPanel, ListPanel, ProcessTable
from infer_opt.terminal.texts import interval

INTERVALS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
DRAW_EVERY_S = 0.2  # at most: nobody reads faster, and drawing costs more than sampling
_MOST_FINDINGS = 5  # that make their list higher


def show(source: Source) -> None:
    """Run the screen until the user quits or the source is over.

    Raises:
        UnavailableError: there is no terminal to draw on.
        InferOptError: whatever the source raised.
    """
    if not sys.__stdin__ or not sys.__stdin__.isatty() or not sys.__stderr__ or not sys.__stderr__.isatty():
        raise UnavailableError(
            "the screen needs a terminal, and there is none", hint="run it in one, or write samples to a file"
        )
    app = MonitorApp(source)
    error = app.run()
    if error is not None:
        raise error
    if app.return_code:  # Textual has printed why
        sys.exit(app.return_code)


class MonitorApp(App[InferOptError]):
    """The screen. Panels draw what was seen; a sample changes nothing but their lines."""

    CSS = """
    Screen { overflow: hidden hidden; }
    #filter { position: absolute; display: none; width: 1; height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = list(bindings())
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    AUTO_FOCUS = "#processes"

    def __init__(self, source: Source, *, clock: Callable[[], float] = time.monotonic) -> None:
        # The terminal's own background and text colours: what its user can read, dark or light; and without colours
        # (NO_COLOR) there are then none at all.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.animation_level = "none"
        self.seen = Seen()
        self.view = View.OVERVIEW
        self.places: tuple[Place, ...] = ()
        self._source = source
        self._clock = clock
        self._frozen: Seen | None = None
        self._notice: tuple[str, float] | None = None
        self._drawn_s = -DRAW_EVERY_S
        self._arranged: object = None
        self._terminal = Size(0, 0)
        self._interval_changed = asyncio.Event()
        self.table = ProcessTable(id="processes")
        self.findings = FindingsPanel(id="findings")
        self.panels: dict[str, Panel] = {
            "header": Panel(self._header, id="header"),
            "cpu": Panel(lambda room: draw_cpu(self.shown, room), id="cpu"),
            "memory": Panel(lambda room: draw_memory(self.shown, room), id="memory"),
            "loads": Panel(lambda room: draw_loads(self.shown, room), id="loads"),
            "flows": Panel(lambda room: draw_flows(self.shown, room), id="flows"),
            "disks": Panel(lambda room: draw_disks(self.shown, room), id="disks"),
            "network": Panel(lambda room: draw_network(self.shown, room), id="network"),
            "gpus": Panel(lambda room: draw_devices(self.shown, room, names=source.gpu_names), id="gpus"),
            "findings": self.findings,
            "details": Panel(self._details, id="details"),
            "processes": self.table,
            "footer": Footer(self._footer, id="footer"),
        }

    @property
    def shown(self) -> Seen:
        """What is drawn: what was seen, or until when the screen was frozen."""
        return self._frozen or self.seen

    def compose(self) -> ComposeResult:
        """All panels; where they stand is decided later, and anew when it must be."""
        yield from self.panels.values()
        yield Input(id="filter", compact=True, select_on_focus=False)

    def on_mount(self) -> None:
        """Begin to sample."""
        self._filter.cursor_blink = False
        self._terminal = self.size
        self._arrange()
        self.run_worker(self._sample())

    def on_resize(self, event: events.Resize) -> None:
        """Another size is another arrangement. Textual itself takes the size over only after this."""
        self._terminal = event.size
        self._arrange()
        self.draw()

    # Sampling

    async def _sample(self) -> None:
        """A sample at its time, whatever drawing took; a changed interval counts from the last sample on."""
        due_s = self._clock()
        while await self.take():
            while (wait_s := due_s + self._source.interval_s - self._clock()) > 0:
                self._interval_changed.clear()
                try:
                    await asyncio.wait_for(self._interval_changed.wait(), wait_s)
                except TimeoutError:
                    break
            due_s = max(due_s + self._source.interval_s, self._clock() - self._source.interval_s)

    async def take(self) -> bool:
        """Take one sample and show it; False, and the screen ends, where there is none."""
        try:
            observation = await asyncio.to_thread(self._source.next)
        except InferOptError as error:
            self.exit(error)
            return False
        if observation is None:
            self.exit()
            return False
        self.seen.add(observation)
        if self._frozen is None and self._clock() - self._drawn_s >= 0.9 * DRAW_EVERY_S:
            self._drawn_s = self._clock()
            self.draw()
        return True

    # Drawing

    def draw(self) -> None:
        """Bring everything that has a place up to what is shown."""
        shown = self.shown
        self._arrange()
        self.table.take(shown.processes, has_gpus=bool(shown.inventory.gpus))
        self.findings.take(shown)
        for place in self.places:
            panel = self.panels[place.name]
            if panel is not self.table and panel is not self.findings:
                panel.redraw()
        for screen in self.screen_stack:
            if isinstance(screen, Sheet):
                screen.redraw()

    def _arrange(self) -> None:
        """Give every panel its place, if anything that decides on places has changed."""
        inventory = self.shown.inventory
        findings = min(len(self.shown.ledger.entries), _MOST_FINDINGS)
        width, height = self._terminal
        decides = (self._terminal, self.view, _counted(inventory), findings)
        if decides == self._arranged or width < 1 or height < 1:
            return
        self._arranged = decides
        self._meet(inventory)
        self.places = arrange(width, height, view=self.view, inventory=inventory, findings=findings)
        placed = {place.name: place for place in self.places}
        with self.batch_update():
            for name, panel in self.panels.items():
                _put(panel, placed.get(name))
            _put_filter(self._filter, width, height)

    def _meet(self, inventory: Inventory) -> None:
        """A panel for every device; that of one that is gone stays, without a place."""
        for device in inventory.gpus:
            name = device_name(device.instance)
            if name not in self.panels:
                panel = Panel(partial(self._device, device.instance), id=name)
                self.panels[name] = panel
                self.screen_stack[0].mount(panel, before="#filter")

    def _device(self, instance: str, room: Room) -> list[Line]:
        devices = {device.instance: device for device in self.shown.inventory.gpus}
        device = devices.get(instance, Device(instance=instance))
        return draw_device(self.shown, room, device=device, names=self._source.gpu_names)

    def _header(self, room: Room) -> list[Line]:
        heading = Heading(
            title=self._source.title,
            interval_s=self._source.interval_s,
            recording=self._source.recording,
            is_frozen=self._frozen is not None,
        )
        return [header(self.shown, room.width, heading)]

    def _footer(self, room: Room) -> list[Line]:
        return [footer(room.width, notice=self._current_notice(), is_filtering=self._filter.display)]

    def _details(self, room: Room) -> list[Line]:
        return draw_details(self.shown, room, entry=self.findings.selected)

    def _current_notice(self) -> str | None:
        """What the screen or the monitor has to say; for some seconds only."""
        if self._notice is not None and self._clock() - self._notice[1] < NOTICE_S:
            return self._notice[0]
        given, sample = self.seen.notice, self.seen.sample
        return given[0] if given is not None and sample is not None and sample.clock_s - given[1] < NOTICE_S else None

    def say(self, sentence: str) -> None:
        """Show a sentence at the bottom for some seconds."""
        self._notice = (sentence, self._clock())
        self.panels["footer"].redraw()

    # Keys

    def action_help(self) -> None:
        """All keys."""
        self.push_screen(Sheet(lambda room: help_lines(), title="Keys", width=84, is_high=False))

    def action_view(self, name: str) -> None:
        """Another view."""
        self.view = View(name)
        self._arrange()
        (self.findings if self.view is View.FINDINGS else self.table).focus()
        if self.view is View.FINDINGS and self.findings.selected is None:
            self.findings.action_move(0)
        self.draw()

    def action_freeze(self) -> None:
        """Keep what is shown, or go on with what has come since."""
        self._frozen = self.seen.copy() if self._frozen is None else None
        self.draw()

    def action_pace(self, step: int) -> None:
        """The next longer (1) or shorter (-1) interval."""
        now_s = self._source.interval_s
        other = [s for s in INTERVALS_S if (s > now_s * 1.001 if step > 0 else s < now_s * 0.999)]
        if other:
            self._source.interval_s = min(other) if step > 0 else max(other)
            self._interval_changed.set()
        self.say(f"a sample {interval(self._source.interval_s)}")
        self.panels["header"].redraw()

    def action_sort(self, column: str) -> None:
        """Sort processes."""
        if column in self.table.shown_columns:
            self.table.choose(replace(self.table.choice, sort=Column(column), is_reversed=False))
        else:
            self.say(f"there is no column {column} to sort by now")

    def action_reverse(self) -> None:
        """Turn their order round."""
        self.table.choose(replace(self.table.choice, is_reversed=not self.table.choice.is_reversed))

    def action_tree(self) -> None:
        """As a tree, or as a list."""
        self.table.choose(replace(self.table.choice, is_tree=not self.table.choice.is_tree))

    def action_only_chosen(self) -> None:
        """Only the chosen ones, or all."""
        if not self.table.choice.only_chosen and not any(process.is_chosen for process in self.shown.processes):
            self.say("no process was chosen when the monitor was started")
            return
        self.table.choose(replace(self.table.choice, only_chosen=not self.table.choice.only_chosen))

    def action_clear(self) -> None:
        """The filter, or what is selected."""
        if self._filter.display or self.table.choice.pattern:
            self._filter.value = ""
            self.table.choose(replace(self.table.choice, pattern=""))
            self._close_filter()
        elif not self.table.clear():
            self.findings.clear()

    def action_filter(self) -> None:
        """Ask for the text to filter by."""
        self._filter.display = True
        self._filter.value = self.table.choice.pattern
        self._filter.focus()
        self.panels["footer"].redraw()

    async def action_stop(self) -> None:
        """Ask whether the selected process is to be stopped, and do so."""
        process = self.table.selected
        if process is None:
            self.say("select a process first, with the arrows or a click")
            return

        async def answered(is_yes: bool | None) -> None:
            if is_yes:
                self.say(await asyncio.to_thread(self._source.stop, process.pid))

        of_user = f" of {process.user}" if process.user else ""
        text = f"Send SIGTERM to process {process.pid}, {process.name}{of_user}? {process.command or ''}"
        await self.push_screen(Question(text, title="Stop a process"), answered)

    def on_list_panel_opened(self, message: ListPanel.Opened) -> None:
        """Details of a process or of a finding."""
        process, entry = self.table.selected, self.findings.selected
        if message.panel is self.table and process is not None:
            course = ProcessSheet(process.pid)
            self.push_screen(
                Sheet(lambda room: course.draw(self.shown, room), title=f"Process {process.pid} · {process.name}")
            )
        elif message.panel is self.findings and entry is not None:
            self.push_screen(_findings_sheet(self, entry))

    def on_list_panel_moved(self, message: ListPanel.Moved) -> None:
        """Details of the finding that is selected now."""
        if message.panel is self.findings:
            self.panels["details"].redraw()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Filter while it is typed."""
        if self._filter.display:
            self.table.choose(replace(self.table.choice, pattern=message.value))

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Keep the filter."""
        self._close_filter()

    def _close_filter(self) -> None:
        self._filter.display = False
        self.table.focus()
        self.panels["footer"].redraw()

    @property
    def _filter(self) -> Input:
        return self.screen_stack[0].query_one("#filter", Input)


class Footer(Panel):
    """The hints at the bottom, which can be clicked."""

    async def on_click(self, event: events.Click) -> None:
        """Do what the key there does."""
        key = hint_at(event.x, self.size.width)
        if key is not None and key.action:
            await self.app.run_action(key.action)


def _findings_sheet(app: MonitorApp, entry: Entry) -> Sheet:
    def draw(room: Room) -> list[Line]:
        now = next((other for other in app.shown.ledger.entries if _is_same_entry(other, entry)), entry)
        return entry_lines(app.shown, now, room.width)

    return Sheet(draw, title=entry.name, width=90, is_high=False)


def _is_same_entry(one: Entry, other: Entry) -> bool:
    return (one.is_alert, one.name, one.key, one.since_s) == (other.is_alert, other.name, other.key, other.since_s)


def _counted(inventory: Inventory) -> tuple[object, ...]:
    """What of an inventory decides on places."""
    return (len(inventory.cores), len(inventory.disks), len(inventory.interfaces), inventory.gpus)


def _put(panel: Panel, place: Place | None) -> None:
    panel.display = place is not None
    if place is not None:
        panel.styles.width, panel.styles.height = place.width, place.height
        panel.styles.offset = (place.x, place.y)


def _put_filter(field: Input, width: int, height: int) -> None:
    """Over the last line, behind a slash."""
    field.styles.width, field.styles.offset = max(1, width - 2), (1, height - 1)
