"""What commands share: option types, the request that they add up to, and signals."""

import math
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from infer_opt.config import Distribution, Objective, Provider
from infer_opt.errors import ConfigError

Function = TypeVar("Function", bound=Callable[..., Any])

SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


ENDING = "\nEnding with what is proven so far; once more to end at once.\n"
LATENCIES = {"": 1e6, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}


def choice(values: type[StrEnum]) -> click.Choice[str]:
    """The enum's values; click.Choice over the enum itself would offer its member names."""
    return click.Choice([value.value for value in values])


_FEEDING = (
    click.option(
        "--inputs", type=click.Path(path_type=Path), metavar="FILE.npz|DIR",
        help="Real inputs: one array per input, the first axis samples. Without it, inputs are made up.",
    ),
    click.option(
        "--dim", "dims", multiple=True, metavar="NAME=SIZE[:SHARE],...",
        help="Size of a named dynamic dimension; several with their shares of the calls tune for a distribution, "
        "as in seq=16:0.5,128:0.5. Repeatable.",
    ),
    click.option(
        "--batch", default="", metavar="N[,N...]",
        help="Items a call; several for throughput, where tune finds the batch itself if none is named.",
    ),
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True,
        help="Seed of orders and made-up inputs.",
    ),
    click.option(
        "--custom-ops", multiple=True, metavar="LIBRARY", type=click.Path(resolve_path=True),
        help="A custom-operator library to load; it holds code, so none is loaded unless named.",
    ),
)  # fmt: skip
_OBJECTIVE = click.option(
    "--objective", type=choice(Objective), default=Objective.LATENCY.value, show_default=True,
    help="What to improve: time a call, items a second of sessions side by side, opening and first run, peak"
    " memory, joules an item.",
)  # fmt: skip


def feeding_options(function: Function) -> Function:
    """The options that say what a model is fed with."""
    return _with(_FEEDING, function)


def workload_options(function: Function) -> Function:
    """What a model is fed with, and what is to be improved."""
    *sizes, seed, custom_ops = _FEEDING
    return _with((*sizes, _OBJECTIVE, seed, custom_ops), function)


def _with(options: Sequence[Callable[[Function], Function]], function: Function) -> Function:
    for option in reversed(options):
        function = option(function)
    return function


provider_option = click.option(
    "--provider", default="cpu", show_default=True, metavar="cpu|cuda",
    help="Where a model runs; a bundle says so itself.",
)  # fmt: skip


def parse_dims(pairs: tuple[str, ...]) -> tuple[Mapping[str, int], Mapping[str, Distribution]]:
    """`("past=64", "seq=16:1,128:3")` as the sizes {past: 64} and the distributions {seq: ((16, 0.25), (128, 0.75))}.

    Shares are made to add up to 1; sizes without one have equal shares.

    Raises:
        ConfigError: not NAME=SIZE with whole numbers above 0, shares that are not numbers above 0, or anything twice.
    """
    dims, distributions = dict[str, int](), dict[str, Distribution]()
    for pair in pairs:
        name, equals, values = (part.strip() for part in pair.rpartition("="))
        parts = [part.strip() for part in values.split(",")]
        sizes = [part.partition(":")[0].strip() for part in parts]
        if not equals or not name or any(not size.isdecimal() or int(size) < 1 for size in sizes):
            raise ConfigError(f"--dim {pair} is not NAME=VALUE", hint="such as --dim seq=128, or seq=16:0.5,128:0.5")
        if name in dims or name in distributions:
            raise ConfigError(f"--dim {name} is given twice", hint=f"name all sizes at once: --dim {name}=16,128")
        found = dict(zip(map(int, sizes), _shares(pair, parts), strict=True))
        if len(found) < len(parts):
            raise ConfigError(f"--dim {pair} names a size twice", hint="add up its shares")
        if len(found) == 1:
            dims[name] = next(iter(found))
        else:
            distributions[name] = tuple(found.items())
    return dims, distributions


def _shares(pair: str, parts: list[str]) -> list[float]:
    given = [part.partition(":")[1:] for part in parts]
    if any(bool(colon) != bool(given[0][0]) for colon, _ in given):
        raise ConfigError(f"--dim {pair} gives a share to some sizes only", hint="give one to every size, or to none")
    try:
        weights = [float(share) if colon else 1.0 for colon, share in given]
    except ValueError as error:
        raise ConfigError(f"--dim {pair} has a share that is no number", hint="such as seq=16:0.5,128:0.5") from error
    total = sum(weights)
    if not all(0 < weight < math.inf for weight in weights) or not total < math.inf:
        raise ConfigError(f"--dim {pair} has a share that is not above 0", hint="leave out sizes that do not occur")
    return [weight / total for weight in weights]


def parse_batches(text: str) -> tuple[int, ...]:
    """`1,8` as numbers, each once, in the order given.

    Raises:
        ConfigError: not whole numbers above 0.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if any(not part.isdecimal() or int(part) < 1 for part in parts):
        raise ConfigError(f"--batch {text} is not a list of numbers above 0", hint="such as --batch 1,8")
    return tuple(dict.fromkeys(int(part) for part in parts))


def parse_providers(text: str) -> tuple[Provider, ...]:
    """`cpu,cuda` as providers; `auto` is none by name.

    Raises:
        ConfigError: an unknown provider.
    """
    if text == "auto":
        return ()
    try:
        return tuple(dict.fromkeys(Provider(part.strip().lower()) for part in text.split(",")))
    except ValueError as error:
        names = ", ".join(provider.value for provider in Provider)
        raise ConfigError(f"--provider {text} names an unknown provider", hint=f"auto, or some of {names}") from error


def parse_size(text: str) -> int:
    """`512M`, `2Gi`, `1.5G` or a number of bytes.

    Raises:
        ConfigError: anything else.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?i?)b?\s*", text.lower())
    if found is None or found[2] not in SIZES or float(found[1]) <= 0:
        raise ConfigError(f"{text!r} is not a size", hint="write it as 512M or 2Gi")
    return int(float(found[1]) * SIZES[found[2]])


def parse_latency(text: str) -> float:
    """`20ms`, `800us`, `0.5s` or a bare number of milliseconds, in ns.

    Raises:
        ConfigError: anything else, or not above 0.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(us|µs|ms|s|)\s*", text.lower())
    if found is None or float(found[1]) <= 0:
        raise ConfigError(f"{text!r} is not a latency", hint="write it as 20ms, 800us or 0.5s")
    return float(found[1]) * LATENCIES[found[2]]


@contextmanager
def interruptible(interrupt: Callable[[], None], *, saying: str = ENDING) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `interrupt` once, to end in order, and say so; a second one ends at once."""
    calls = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyboardInterrupt
        # Not through sys.stderr: a progress bar may be in the middle of writing to it, and it is not reentrant.
        os.write(2, saying.encode())
        interrupt()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
