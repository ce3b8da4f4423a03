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
PAGE, LINE = 4096, 64
CALL_BYTES = 256 * MIB  # moved in one call by each thread: 2 to 25 ms, so that to start and to end it is nothing
NEAREST = 2  # the first cache that is measured
FILLED = 0.5  # of a cache is worked on: the rest is for whatever else runs there
BEYOND = 4.0  # times the cache before it is what lies in the next level for sure
SMALLEST_BYTES, LARGEST_BYTES = 256 * MIB, 512 * MIB  # of the set that lies in memory
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
    for memory is four times the last cache, but at most 512 MiB and a quarter of what is available: beside a larger
    cache, what is measured there is partly that cache, and floors are lower than they could be.
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
    wanted = max(SMALLEST_BYTES, round(BEYOND * within))
    beyond = min(wanted, max(largest, MIB))
    return (*found, Level(name=MEMORY, capacity_bytes=None, set_bytes=beyond))


def candidates(level: Level, *, threads: int) -> list[Candidate]:
    """Ways to move the level's set: little else than reading, writing what was computed of it, and copying."""
    each = max(PAGE, level.set_bytes // threads // PAGE * PAGE)
    repeats = max(1, CALL_BYTES // each)
    sets = Sets(each, is_lasting=level.capacity_bytes is None)
    return [
        Candidate(
            name=f"{name}, {threads} threads",
            amount=float(each * repeats * threads),
            start=partial(together, partial(_part, sets, make, repeats), threads),
        )
        for name, make in WAYS.items()
    ]


class Sets:
    """The memory that each thread works on, by the thread's number: each has touched its own first.

    Within a cache it is taken anew each time, for how its pages lie there makes a difference. Large sets last, since
    some virtual machines take seconds to come up with so many pages.
    """

    def __init__(self, size: int, *, is_lasting: bool) -> None:
        self.size = size
        self._is_lasting = is_lasting
        self._kept: dict[int, Any] = {}

    def of(self, number: int) -> Any:
        """`size` bytes that begin with a page, all of them 1, so that no value is out of the ordinary."""
        found = self._kept.get(number)
        if found is None:
            raw = np.empty(self.size + PAGE, np.uint8)
            begin = -raw.ctypes.data % PAGE
            found = raw[begin : begin + self.size]
        if self._is_lasting:
            self._kept[number] = found
        found.fill(1)
        return found


def rows(memory: Any, repeats: int, *dtypes: type) -> list[Any]:
    """The memory as so many equally long vectors, each of them repeated: all rows of a view are the same memory.

    Each begins with a line of the cache: a vector register that is filled from two lines takes two readings.
    """
    length = (memory.size // LINE - len(dtypes)) * LINE // sum(np.dtype(dtype).itemsize for dtype in dtypes)
    views, begin = [], 0
    for dtype in dtypes:
        size = length * np.dtype(dtype).itemsize
        row = memory[begin : begin + size].view(dtype)
        views.append(as_strided(row, (repeats, length), (0, row.itemsize), writeable=True))
        begin += -(-size // LINE) * LINE
    return views


def _comparing(memory: Any, repeats: int) -> Run:
    """Two numbers of eight bytes are read for each byte that is written."""
    first, second, result = rows(memory, repeats, np.float64, np.float64, np.bool_)
    return lambda: np.less(first, second, out=result)


def _searching(memory: Any, repeats: int) -> Run:
    """The largest of each row: nothing is written."""
    (many,) = rows(memory, repeats, np.int32)
    results = np.empty(repeats, np.int32)
    return lambda: np.maximum.reduce(many, axis=1, out=results)


def _negating(memory: Any, repeats: int) -> Run:
    source, target = rows(memory, repeats, np.float32, np.float32)
    return lambda: np.negative(source, out=target)


def _copying(memory: Any, repeats: int) -> Run:
    source, target = rows(memory, repeats, np.float32, np.float32)
    return lambda: np.copyto(target, source)


WAYS: dict[str, Callable[[Any, int], Run]] = {
    "compare": _comparing,
    "maximum": _searching,
    "negate": _negating,
    "copy": _copying,
}


def _part(sets: Sets, make: Callable[[Any, int], Run], repeats: int, number: int) -> Run:
    return make(sets.of(number), repeats)


@contextlib.contextmanager
def together(make: Callable[[int], Run], threads: int) -> Iterator[Run]:
    """All threads at once; each makes its own part, by its number. A run ends when the last of them is done."""
    if threads == 1:
        yield make(0)
        return
    own = threading.local()

    def prepare(barrier: threading.Barrier, number: int) -> None:
        own.run = make(number)
        barrier.wait()  # so that no thread of the pool takes two turns

    def turn(barrier: threading.Barrier, _: int) -> None:
        barrier.wait()
        own.run()

    with ThreadPoolExecutor(threads) as pool:

        def everybody(task: Callable[[threading.Barrier, int], None]) -> None:
            barrier = threading.Barrier(threads)
            list(pool.map(task, [barrier] * threads, range(threads)))

        everybody(prepare)
        yield lambda: everybody(turn)
