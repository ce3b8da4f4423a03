"""The screen as a whole, driven by a pilot: keys and the mouse."""

import asyncio

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from fake_source import FakeSource, alert, leak
from infer_opt.errors import InferOptError
from infer_opt.terminal.app import MonitorApp
from infer_opt.terminal.arranging import View
from infer_opt.terminal.dialogs import Question, Sheet
from infer_opt.terminal.processes import Column
from screen_driving import Tale, play, sampled, text


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
        await pilot.press("2")
        await pilot.pause()
        assert "22:13:25" in text(app)
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


def test_a_shorter_interval_counts_from_the_last_sample_on() -> None:
    source = FakeSource(interval_s=60.0)

    async def story(app: MonitorApp, pilot: Pilot[InferOptError]) -> None:
        assert isinstance(app, Tale)
        app.time.now_s += 25.0
        await pilot.press("minus")  # 30 s
        assert source.taken == 1
        app.time.now_s += 6.0
        await pilot.press("minus", "plus")  # 30 s again, of which 31 have passed
        while source.taken < 2:
            await asyncio.sleep(0)

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
