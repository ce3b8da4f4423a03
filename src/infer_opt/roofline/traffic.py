"""How many bytes a second cores read and write, in each level of the memory below the first cache.

numpy does the reading and writing: its loops are vectorised, and leave Python's lock alone while they run, so that
several threads move data at once. One call goes over the same rows many times, by a view whose rows all lie in the same
place; what a call costs is then little beside what it moves, also within a cache.

The first level is left out. What fits in there is moved in less time than it takes to start a node, so that it never
decides a floor; and one row of it takes as long as turning to the next one, so that the figure would be wrong.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from infer_opt.facts import CacheLevel
from infer_opt.roofline.blocks import Candidate, Run

MIB = 1 << 20
CALL_BYTES = 256 * MIB  # moved in one call by each thread: 2 to 25 ms, so that to start and to end it is nothing
NEAREST = 2  # the first cache that is measured
FILLED = 0.5  # of a cache is worked on: the rest is for whatever else runs there
BEYOND = 4.0  # times the cache before it is what lies in the next level for sure
SMALLEST_BYTES, LARGEST_BYTES = 256 * MIB, 1 << 30  # of the set that lies in memory
SHARE_OF_MEMORY = 0.25  # that may be taken to measure it
MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level of the memory: `capacity_bytes` of all caches of it that the threads use, None for memory itself.

    `set_bytes` are worked on by all threads together.
    """

    name: str
    capacity_bytes: int | None
    set_bytes: int


def levels(caches: Sequence[CacheLevel], *, threads: int, available_bytes: int | None) -> tuple[Level, ...]:
    """What can be measured with so many threads, the nearest level first; memory alone where no caches are known.

    A set lies in a level when it is too large for the one before it and fills half of the level at the most. The set
    for memory is two to four times the last cache, but at most 1 GiB and a quarter of what is available.
    """
    found: list[Level] = []
    within = 0
    for cache in caches:
        capacity = cache.capacity_bytes * min(
            cache.count, -(-threads // cache.shared_by) if cache.shared_by > 1 else threads
        )
        wanted = min(round(FILLED * capacity), max(round(BEYOND * within), round(FILLED * capacity / BEYOND)))
        if cache.level >= NEAREST and wanted > within:
            found.append(Level(name=f"L{cache.level}", capacity_bytes=capacity, set_bytes=min(wanted, LARGEST_BYTES)))
        within = capacity
    largest = LARGEST_BYTES if available_bytes is None else min(LARGEST_BYTES, round(SHARE_OF_MEMORY * available_bytes))
    # Twice the last cache is beyond it too, where four times would take long to go over.
    wanted = max(SMALLEST_BYTES, min(round(BEYOND * within), max(2 * SMALLEST_BYTES, 2 * within)))
    beyond = min(wanted, max(largest, MIB))
    return (*found, Level(name=MEMORY, capacity_bytes=None, set_bytes=beyond))


def candidates(level: Level, *, threads: int) -> list[Candidate]:
    """Ways to move the level's set: reading alone, writing what was computed from what was read, and copying."""
    each = max(64, level.set_bytes // threads // 64 * 64)
    repeats = max(1, CALL_BYTES // each)
    moved = float(each * repeats * threads)
    return [
        Candidate(
            name=f"{name}, {threads} threads", amount=moved, start=partial(together, make, each, repeats, threads)
        )
        for name, make in WAYS.items()
    ]


def _reading(each: int, repeats: int, reduce: Callable[..., Any]) -> Run:
    many = rows(each // 8, repeats, np.int64)
    results = np.empty(repeats, np.int64)
    return lambda: reduce(many, axis=1, out=results)


def _negating(each: int, repeats: int) -> Run:
    source, target = (rows(each // 8, repeats, np.float32) for _ in range(2))
    return lambda: np.negative(source, out=target)


def _copying(each: int, repeats: int) -> Run:
    source, target = (rows(each // 8, repeats, np.float32) for _ in range(2))
    return lambda: np.copyto(target, source)


WAYS: dict[str, Callable[[int, int], Run]] = {
    "read (maximum)": lambda each, repeats: _reading(each, repeats, np.maximum.reduce),
    "read (or)": lambda each, repeats: _reading(each, repeats, np.bitwise_or.reduce),
    "read and write (negate)": _negating,
    "read and write (copy)": _copying,
}


def rows(length: int, repeats: int, dtype: type) -> Any:
    """So many rows that are all the same memory, which has been written to, so that its pages are there."""
    row: Any = np.ones(length, dtype)
    return as_strided(row, (repeats, length), (0, row.itemsize), writeable=True)


@contextlib.contextmanager
def together(make: Callable[[int, int], Run], each: int, repeats: int, threads: int) -> Iterator[Run]:
    """All threads at once, each on memory that it has touched first; a run ends when the last of them is done."""
    if threads == 1:
        yield make(each, repeats)
        return
    own = threading.local()

    def prepare(barrier: threading.Barrier) -> None:
        own.run = make(each, repeats)
        barrier.wait()  # so that no thread of the pool takes two turns

    def turn(barrier: threading.Barrier) -> None:
        barrier.wait()
        own.run()

    with ThreadPoolExecutor(threads) as pool:

        def everybody(task: Callable[[threading.Barrier], None]) -> None:
            barrier = threading.Barrier(threads)
            list(pool.map(task, [barrier] * threads))

        everybody(prepare)
        yield lambda: everybody(turn)
