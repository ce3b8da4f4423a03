"""A neighbour that disturbs: `python -m benchmarks.live.neighbour PARENT SEED` burns one core half of the time.

100 ms of work and 100 ms of rest on average; each stretch is of random length, so that no rhythm of ours can hide in
the rests. It ends with its parent.
"""

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from infer_opt.workers.isolation import die_with

ROOT = Path(__file__).resolve().parents[2]
STRETCH_S = 0.1
GRACE_S = 5.0


def disturb(generator: random.Random) -> None:
    """Work and rest until killed."""
    while True:
        until = time.perf_counter() + stretch_s(generator)
        while time.perf_counter() < until:
            pass
        time.sleep(stretch_s(generator))


def stretch_s(generator: random.Random) -> float:
    """How long a stretch of work or rest lasts: 50 to 150 ms."""
    return STRETCH_S * generator.uniform(0.5, 1.5)


@contextlib.contextmanager
def neighbour(seed: int) -> Iterator[int]:
    """A live neighbour's process id; it is gone afterwards."""
    command = [sys.executable, "-m", "benchmarks.live.neighbour", str(os.getpid()), str(seed)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait(GRACE_S)


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    disturb(random.Random(int(sys.argv[2])))
