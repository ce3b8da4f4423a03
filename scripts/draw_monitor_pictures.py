"""Draw the pictures of the monitor's screen in docs/pictures, from a real session of 75 seconds.

    python -m scripts.draw_monitor_pictures [--out docs/pictures]

It watches a program of its own: four busy processes, and from second 25 on one that writes as fast as the disk takes
it, so that there is something to find. Only these processes are shown.
"""

import argparse
import asyncio
import contextlib
import re
import sys
import tempfile
from pathlib import Path

from infer_opt.monitoring import Monitoring, MonitorRequest
from infer_opt.terminal.app import MonitorApp

PROGRAM = """
import multiprocessing, os, pathlib, sys, time

def busy(until):
    total = 0
    while time.monotonic() < until:
        total += sum(range(10_000))

def write(path, begin, until):
    block = os.urandom(8 << 20)
    time.sleep(max(0.0, begin - time.monotonic()))
    with pathlib.Path(path).open("wb") as file:
        while time.monotonic() < until:
            file.seek(0)
            for _ in range(8):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

if __name__ == "__main__":
    now = time.monotonic()
    until = now + 85.0
    work = [(busy, (until,))] * 4 + [(write, (sys.argv[1], now + 25.0, until))]
    processes = [multiprocessing.Process(target=function, args=arguments) for function, arguments in work]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
"""
SIZE = (140, 34)
SECONDS = 75.0
# key presses before each picture
VIEWS = {"monitor_overview": (), "monitor_processes": ("2", "t"), "monitor_findings": ("3",), "monitor_help": ("?",)}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    options = parser.parse_args(argv)
    out = options.out.resolve()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("serve.py").write_text(PROGRAM)
        command = "python3 serve.py scratch.bin"  # as somebody would type it
        asyncio.run(draw(MonitorApp(Monitoring(MonitorRequest(command=command))), out))
    return 0


async def draw(app: MonitorApp, out: Path) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await asyncio.sleep(SECONDS)
        for name, keys in VIEWS.items():
            await pilot.press(*keys)
            await pilot.pause(1.5)
            svg = app.export_screenshot(title="infer-opt monitor")
            # The page's own monospace font will do: this one would be fetched from elsewhere.
            (out / f"{name}.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))
            await pilot.press(*(("t",) if "t" in keys else ()))
        await pilot.press("escape", "q")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
