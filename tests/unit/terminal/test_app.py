"""The screen as a whole, driven by a pilot: keys, mouse, sizes, samples that come and end."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from textual.geometry import Size
from textual.pilot import Pilot
from textual.widgets import Input

from fake_source import FakeSource, alert, leak
from infer_opt.errors import InferOptError, StorageError, UnavailableError
from infer_opt.readings.samples import Observation
from infer_opt.terminal import app as screen
from infer_opt.terminal.app import MonitorApp
from infer_opt.terminal.arranging import View
from infer_opt.terminal.dialogs import Question, Sheet
from infer_opt.terminal.processes import Column

GOLDEN = Path(__file__).parents[2] / "golden" / "screens"
Story = Callable[[MonitorApp, Pilot[InferOptError]], Awaitable[None]]


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Clock:
    """Time that passes only when it is told to; one second with each sample."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Tale(MonitorApp):
    """The screen with a clock of its own."""

    def __init__(self, source: FakeSource) -> None:
        self.time = Clock()
        self.draws = 0
        super().__init__(source, clock=self.time)

    def draw(self) -> None:
        self.draws += 1
        super().draw()

    async def samples(self, count: int) -> None:
        for _ in range(count):
            self.time.now_s += 1.0
            await self.take()


def play(source: FakeSource, story: Story, *, size: tuple[int, int] = (100, 30)) -> Tale:
    """Run the screen, let a story happen on it, and end it."""
    app = Tale(source)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            while app.seen.sample is None:  # the first sample is taken by the screen itself
                await asyncio.sleep(0)
            await pilot.pause()
            await story(app, pilot)

    asyncio.run(run())
    return app


async def sampled(app: MonitorApp, pilot: Pilot[InferOptError], count: int = 1) -> None:
    assert isinstance(app, Tale)
    await app.samples(count)
    await pilot.pause()


def text(app: MonitorApp) -> str:
    """What the terminal shows."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


def line_of(app: MonitorApp, words: str) -> int:
    return next(number for number, line in enumerate(text(app).splitlines()) if words in line)


# What is drawn


SCREENS: dict[str, tuple[FakeSource, tuple[int, int], str]] = {
    "tiny": (FakeSource(cores=2), (60, 20), ""),
    "small": (FakeSource(cores=2, chosen=frozenset({1001})), (80, 24), ""),
    "gpu": (FakeSource(cores=8, gpus=1, title="h100, 8 cores, 128 GiB"), (140, 45), ""),
    "many": (FakeSource(cores=256, gpus=8, processes=60, title="dgx, 256 cores, 2.0 TiB"), (200, 60), ""),
    "processes": (FakeSource(cores=2, processes=30), (100, 30), "2"),
    "findings": (FakeSource(cores=2), (120, 34), "3"),
}


@pytest.mark.parametrize("name", SCREENS)
def test_the_screen_is_the_one_that_was_looked_at_and_kept(name: str) -> None:
    made, size, keys = SCREENS[name]
    source = FakeSource(
        cores=made.cores, gpus=made.gpus, processes=made.processes, chosen=made.chosen, title=made.title
    )
    path = GOLDEN / f"{name}.txt"

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        source.findings, source.alerts = [leak()], [alert()]
        await sampled(app, pilot, 40)
        await pilot.press(*keys)
        await pilot.pause()
        drawn = text(app) + "\n"
        if os.environ.get("REGENERATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(drawn, encoding="utf-8")
        assert drawn == path.read_text(encoding="utf-8")

    play(source, story, size=size)


def test_every_kept_screen_is_still_made() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(SCREENS)


def test_without_a_gpu_nothing_is_said_of_one() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 3)
        assert "GPU" not in text(app)

    play(FakeSource(), story)


def test_before_the_second_sample_shares_are_not_known_and_not_zero() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        assert "n/a" in text(app)
        await sampled(app, pilot, 1)
        assert "n/a" not in text(app).splitlines()[1]

    play(FakeSource(processes=0), story)


# Samples


def test_two_hundred_samples_with_devices_that_come_and_go_and_a_crowd_of_processes() -> None:
    source = FakeSource(cores=256, gpus=4, mig=1, processes=2000, chosen=frozenset({1, 1001}))
    source.gone.update(range(4))

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        for number in range(20):
            if number == 2:
                source.gone.discard(0)
            if number == 4:
                source.gone.clear()
            if number == 8:
                source.lost.add(1)
            if number == 12:
                source.gone.update({2, 3})
            if number == 14:
                source.lost.clear()
            if number % 3 == 0:
                source.findings.append(leak())
                source.alerts.append(alert())
                source.notices.append("a device came or went")
            await sampled(app, pilot, 10)
            await pilot.press(*"trcm2r31t"[number % 9])
            if number == 8:
                await pilot.press("1")
                assert "does not answer" in text(app)
        await pilot.press("1")
        await sampled(app, pilot, 1)
        assert "2000" in text(app)

    app = play(source, story, size=(160, 50))

    assert source.taken == 202
    assert app.return_code in (0, None)


def test_the_screen_ends_with_its_source() -> None:
    source = FakeSource(length=2)

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        assert isinstance(app, Tale)
        await app.samples(1)
        assert not app._exit
        await app.samples(1)
        assert app._exit

    app = play(source, story)

    assert (app.return_value, app.return_code) == (None, 0)


def test_what_a_source_raises_comes_out_of_the_screen() -> None:
    source = FakeSource()
    error = StorageError("the disk is full", hint="make room")

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        assert isinstance(app, Tale)
        source.error = error
        await app.samples(1)

    assert play(source, story).return_value is error


def test_without_a_terminal_there_is_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdin__", None)

    with pytest.raises(UnavailableError, match="needs a terminal"):
        screen.show(FakeSource())


def test_samples_that_come_quickly_are_all_kept_but_not_all_drawn() -> None:
    source = FakeSource()

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        assert isinstance(app, Tale)
        before = app.draws
        for _ in range(20):
            app.time.now_s += 0.05
            await app.take()
        assert len(app.seen.series("cpu.busy")) == 21
        assert 4 <= app.draws - before <= 6

    play(source, story)


def test_a_sample_repaints_only_the_lines_that_changed() -> None:
    source = FakeSource()

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 3)
        repainted: list[object] = []
        panel = app.panels["memory"]
        panel.refresh = lambda *regions, **_: repainted.append(regions)  # type: ignore[method-assign,assignment]
        app.draw()
        assert repainted == []
        observation = source.next()
        assert isinstance(observation, Observation)
        app.seen.add(observation)
        app.draw()
        (regions,) = repainted
        assert isinstance(regions, tuple)
        assert 0 < sum(region.height for region in regions) < panel.size.height

    play(source, story)


def test_samples_do_not_move_anything() -> None:
    source = FakeSource(gpus=1)

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 3)
        before = app.screen._layout_updates
        panels = {name: panel._layout_updates for name, panel in app.panels.items()}
        await sampled(app, pilot, 20)
        assert app.screen._layout_updates == before
        assert {name: panel._layout_updates for name, panel in app.panels.items()} == panels

    play(source, story)


# Keys


def test_q_and_control_c_quit() -> None:
    for key in ("q", "ctrl+c"):

        async def story(app: MonitorApp, pilot: Pilot[InferOptError], key: str = key) -> None:
            await pilot.press(key)
            assert not app.is_running or app._exit

        assert play(FakeSource(), story).return_code == 0


def test_numbers_switch_views() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        for key, view, present in (
            ("2", View.PROCESSES, "PID"),
            ("3", View.FINDINGS, "Details"),
            ("1", View.OVERVIEW, "Disks"),
        ):
            await pilot.press(key)
            await pilot.pause()
            assert app.view is view
            assert present in text(app)

    play(FakeSource(), story, size=(120, 40))


def test_space_freezes_what_is_shown_while_samples_are_kept() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 5)
        await pilot.press("space")
        await pilot.pause()
        frozen = text(app)
        assert "frozen" in frozen
        await sampled(app, pilot, 7)
        assert text(app) == frozen
        assert app.seen.sample is not None
        assert app.seen.sample.number == 12

        await pilot.press("m")  # what is frozen can still be looked at otherwise
        await pilot.pause()
        assert "MEMORY▼" in text(app)
        await pilot.press("space")
        await pilot.pause()
        assert "frozen" not in text(app)
        assert "22:13:32" in text(app)

    play(FakeSource(), story)


def test_plus_and_minus_change_the_interval_within_its_bounds() -> None:
    source = FakeSource(interval_s=1.0)

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        for key, expected in (("plus", 2.0), ("minus", 1.0), ("minus", 0.5)):
            await pilot.press(key)
            assert source.interval_s == expected
        for _ in range(12):
            app.action_pace(-1)
        assert source.interval_s == 0.05
        for _ in range(20):
            app.action_pace(1)
        assert source.interval_s == 60.0
        await pilot.pause()
        assert "every 60 s" in text(app).splitlines()[0]

    play(source, story)


def test_the_help_lists_all_keys_and_closes() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        await pilot.press("question_mark")
        await pilot.pause()
        assert "filter by text or regular expression" in text(app)
        await sampled(app, pilot, 2)
        await pilot.press("escape")
        await pilot.pause()
        assert len(app.screen_stack) == 1

    play(FakeSource(), story, size=(100, 40))


def test_help_that_does_not_fit_can_be_moved() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        assert "SIGTERM" not in text(app)
        await pilot.press("pagedown", "pagedown", "pagedown")
        await pilot.pause()
        assert "SIGTERM" in text(app)

    play(FakeSource(), story, size=(80, 24))


# The table


def first_pids(app: MonitorApp, count: int = 3) -> list[int]:
    return [row.process.pid for row in app.table.rows[:count]]


@pytest.mark.parametrize(
    ("key", "column"),
    [("c", Column.CPU), ("m", Column.MEMORY), ("p", Column.PID), ("i", Column.DISK), ("g", Column.GPU_MEMORY)],
)
def test_letters_sort_and_r_reverses(key: str, column: Column) -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 3)
        await pilot.press("right", key)
        assert app.table.choice.sort is column
        assert not app.table.choice.is_reversed
        before = first_pids(app, 99)
        await pilot.press("r")
        assert first_pids(app, 99) != before

    play(FakeSource(gpus=1), story, size=(120, 40))


def test_a_column_that_is_not_there_cannot_be_sorted_by() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        await pilot.press("g")
        await pilot.pause()
        assert app.table.choice.sort is Column.CPU
        assert "no column gpu memory" in text(app)

    play(FakeSource(), story)


def test_a_click_on_a_heading_sorts_and_a_second_one_reverses() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        across = text(app).splitlines()[app.table.region.y + 1].index("MEMORY")
        await pilot.click("#processes", offset=(across, 1))
        assert (app.table.choice.sort, app.table.choice.is_reversed) == (Column.MEMORY, False)
        await pilot.click("#processes", offset=(across, 1))
        assert app.table.choice.is_reversed

    play(FakeSource(), story)


def test_left_and_right_go_through_the_columns() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        sorted_by = []
        for key in ("right", "left", "left"):
            await pilot.press(key)
            sorted_by.append(app.table.choice.sort)
        assert sorted_by == [Column.MEMORY, Column.CPU, Column.NAME]

    play(FakeSource(), story)


def test_what_is_selected_stays_the_same_process_as_rows_move() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        await pilot.press("down", "down")
        assert app.table.selected is not None
        pid = app.table.selected.pid
        for _ in range(12):
            await sampled(app, pilot, 3)
            assert app.table.selected is not None
            assert app.table.selected.pid == pid
            window = app.table.window
            assert window.selected is not None
            assert window.first <= window.selected < window.first + window.height

    play(FakeSource(processes=200), story)


def test_nothing_is_selected_once_the_process_has_ended() -> None:
    source = FakeSource(processes=20)

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        await pilot.press("p", "home")
        assert app.table.selected is not None
        source.ended.add(0)
        await sampled(app, pilot, 1)
        assert app.table.selected is None
        await pilot.press("k")
        assert not isinstance(app.screen, Question)

    play(source, story)


def test_a_click_selects_a_row_and_the_wheel_moves_the_rest() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        await pilot.click("#processes", offset=(5, 4))
        assert app.table.window.selected == 2
        app.table.on_mouse_scroll_down()
        assert (app.table.window.first, app.table.window.selected) == (3, 2)
        await pilot.press("end")
        assert app.table.window.selected == 99
        await pilot.press("home", "pagedown")
        assert app.table.window.selected == app.table.window.height - 1

    play(FakeSource(processes=100), story)


def test_a_filter_is_applied_while_it_is_typed_and_escape_clears_it() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        await pilot.press("slash", *"ssh")
        await pilot.pause()
        assert {row.process.name for row in app.table.rows} == {"sshd"}
        assert "filter ssh" in text(app)
        assert app.query_one("#filter", Input).display
        assert text(app).splitlines()[-1].startswith("/ssh")

        await pilot.press("enter")
        await sampled(app, pilot, 2)
        assert {row.process.name for row in app.table.rows} == {"sshd"}
        assert app.focused is app.table
        await pilot.press("escape")
        await pilot.pause()
        assert len(app.table.rows) == 12
        assert not app.query_one("#filter", Input).display

        await pilot.press("slash", *"q[", "escape")  # letters of a filter are no keys, and half an expression is text
        await pilot.pause()
        assert app.is_running
        assert len(app.table.rows) == 12

    play(FakeSource(), story)


def test_t_makes_a_tree_and_f_leaves_the_chosen() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        await pilot.press("t")
        await pilot.pause()
        assert "├─" in text(app)
        await pilot.press("t", "f")
        await pilot.pause()
        assert first_pids(app, 99) == [1001]
        assert "1 of 12 · chosen only" in text(app)
        await pilot.press("f")
        assert len(app.table.rows) == 12

    play(FakeSource(chosen=frozenset({1001})), story)


def test_where_none_was_chosen_f_says_so() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        await pilot.press("f")
        await pilot.pause()
        assert "no process was chosen" in text(app)
        assert len(app.table.rows) == 12

    play(FakeSource(), story)


@pytest.mark.parametrize(("answer", "stopped"), [("y", [1001]), ("n", []), ("escape", []), ("enter", [])])
def test_a_process_is_stopped_after_a_yes_alone(answer: str, stopped: list[int]) -> None:
    source = FakeSource()

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        await pilot.press("p", "home", "down", "k")
        await pilot.pause()
        assert "Send SIGTERM to process 1001, python of alice?" in " ".join(text(app).split())
        await pilot.press(answer)
        await pilot.pause()
        assert source.stopped == stopped
        assert ("sent SIGTERM to 1001" in text(app)) == bool(stopped)

    play(source, story)


def test_without_a_selection_nothing_is_stopped() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        await pilot.press("k")
        await pilot.pause()
        assert "select a process first" in text(app)

    play(FakeSource(), story)


def test_enter_opens_a_process_that_is_kept_up_to_date_until_it_ends() -> None:
    source = FakeSource()

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 5)
        await pilot.press("p", "home", "down", "enter")
        await pilot.pause()
        assert isinstance(app.screen, Sheet)
        before = text(app)
        assert "Process 1001 · python" in before
        await sampled(app, pilot, 3)
        assert text(app) != before
        source.ended.add(1)
        await sampled(app, pilot, 1)
        assert "it has ended" in text(app)
        await pilot.press("enter")
        await pilot.pause()
        assert len(app.screen_stack) == 1

    play(source, story, size=(100, 34))


# Findings


def test_findings_appear_can_be_reached_and_open() -> None:
    source = FakeSource()

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        assert "Findings" not in text(app)
        source.findings, source.alerts = [leak()], [alert()]
        await sampled(app, pilot, 1)
        assert "memory grows by 12 MiB a minute" in text(app)
        assert "▲ 1 alert" in text(app).splitlines()[0]
        await pilot.press("tab", "down", "down", "enter")
        await pilot.pause()
        assert isinstance(app.screen, Sheet)
        assert "1. a cache without a bound" in text(app)
        await pilot.press("escape")

    play(source, story, size=(120, 40))


def test_the_view_of_findings_shows_the_causes_of_the_selected_one() -> None:
    source = FakeSource(findings=[leak()], alerts=[alert()])

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 2)
        await pilot.press("3")
        await pilot.pause()
        assert "Details · gpu-too-hot" in text(app)
        await pilot.press("down")
        await pilot.pause()
        assert "Details · memory-leak" in text(app)
        assert "forecast  reaches 24.0 GiB" in text(app)

    play(source, story, size=(100, 36))


def test_a_notice_stays_for_some_seconds_and_then_makes_way_for_the_keys() -> None:
    source = FakeSource(notices=["gpu 0 was lost"])

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 1)
        assert "gpu 0 was lost" in text(app).splitlines()[-1]
        await sampled(app, pilot, 10)
        assert "q quit" in text(app).splitlines()[-1]

    play(source, story)


def test_a_click_on_a_hint_does_what_its_key_does() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 1)
        across = text(app).splitlines()[-1].index("tree")
        await pilot.click("#footer", offset=(across, 0))
        await pilot.pause()
        assert app.table.choice.is_tree

    play(FakeSource(), story)


# Terminals


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 60), (30, 8), (10, 3), (1, 1), (300, 90)])
def test_the_screen_takes_any_size_and_every_change_of_it(size: tuple[int, int]) -> None:
    source = FakeSource(cores=64, gpus=8, findings=[leak()])

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 3)
        await pilot.resize_terminal(*size)
        await pilot.pause()
        await sampled(app, pilot, 3)
        assert app.size == Size(*size)
        lines = text(app).splitlines()
        assert len(lines) <= size[1]
        assert all(place.y + place.height <= size[1] for place in app.places)
        for key in ("question_mark", "escape", "2", "down", "enter", "escape", "k", "n", "3", "1"):
            await pilot.press(key)
        await pilot.resize_terminal(100, 30)
        await pilot.pause()
        assert "PID" in text(app)

    play(source, story)


def test_no_color_means_no_colour_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 3)
        styles = [segment.style for strip in app.screen._compositor.render_strips() for segment in strip]
        colours = {colour for style in styles if style is not None for colour in (style.color, style.bgcolor) if colour}
        assert {colour.name for colour in colours} <= {"default"}

    play(FakeSource(gpus=1), story, size=(140, 45))


def test_the_background_is_the_terminals_own() -> None:
    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        await sampled(app, pilot, 3)
        styles = [segment.style for strip in app.screen._compositor.render_strips() for segment in strip]
        grounds = {style.bgcolor.name for style in styles if style is not None and style.bgcolor is not None}
        assert grounds <= {"default"}

    play(FakeSource(), story)
