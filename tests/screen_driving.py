"""Runs the screen of a monitor without a terminal and without waiting: a pilot presses keys while a story happens."""

import asyncio
from collections.abc import Awaitable, Callable

from textual.pilot import Pilot

from fake_source import FakeSource
from infer_opt.errors import InferOptError
from infer_opt.terminal.app import MonitorApp

Story = Callable[[MonitorApp, Pilot[InferOptError]], Awaitable[None]]


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
            while app.seen.sample is None and app._exception is None:  # the screen takes the first one itself
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
