"""The screen as a whole, driven by a pilot: what is drawn, samples that come and end, terminals of all sizes."""

import os
import sys
from pathlib import Path

import pytest
from textual.geometry import Size
from textual.pilot import Pilot

from fake_source import FakeSource, alert, leak
from infer_opt.errors import InferOptError, StorageError, UnavailableError
from infer_opt.readings.samples import Observation
from infer_opt.terminal import app as screen
from infer_opt.terminal.app import MonitorApp
from screen_driving import Tale, play, sampled, text

GOLDEN = Path(__file__).parents[2] / "golden" / "screens"


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
