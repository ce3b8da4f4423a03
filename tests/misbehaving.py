"""What a worker may be asked to do and should survive, or not. Called in workers, by path."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from infer_opt.errors import DeviceMemoryError

MB = 1_000_000
Run = Callable[[dict[str, Any]], Any]


class OddError(Exception):
    """Derived from nothing that anybody would think of catching."""


def fill_memory() -> int:
    """Takes 20 MB more every 20 ms, up to 1 GB; gives how much it got."""
    kept: list[bytes] = []
    while len(kept) < 50:
        kept.append(b"x" * 20 * MB)
        time.sleep(0.02)
    return len(kept) * 20 * MB


def run_out_of_memory() -> None:
    """As an allocation that the system refuses."""
    raise MemoryError


def fail_oddly() -> None:
    """Fails with an error that no protocol knows."""
    raise OddError("half past\nnever")


def leave() -> None:
    """Ends the process politely."""
    sys.exit(7)


def spin() -> None:
    """Leaves a thread behind that computes and never rests."""

    def turn() -> None:
        while True:
            pass

    threading.Thread(target=turn, daemon=True).start()


def chatter() -> str:
    """Prints more than any pipe holds."""
    for stream in (sys.stdout, sys.stderr):
        for _ in range(100):
            stream.write("x" * 10_000 + "\n")
    return "done"


def divide_by_zero(run: Run) -> float:
    """A metric that fails."""
    return 1 / 0


def feed_nonsense(run: Run) -> float:
    """A metric that calls the session wrongly."""
    return float(run({"nonsense": 1.0})["scores"])


def give_up(run: Run) -> float:
    """A metric that fails in a way of its own."""
    raise OddError("no labels")


def give_nan(run: Run) -> float:
    """A metric of nothing."""
    return float("nan")


def score(run: Run) -> float:
    """A metric that works, and talks while it does."""
    print("scoring")
    return 0.75


not_a_function = 0.75


def fill_device() -> None:
    """Fail as a session does whose GPU is full."""
    raise DeviceMemoryError("ONNX Runtime failed to run the model: the device has too little memory", hint="less")
