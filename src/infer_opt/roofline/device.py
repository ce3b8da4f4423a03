"""How many bytes a second a device reads and writes, by chains of nodes over more and more data.

Which part of its memory is a cache the device does not say, so that it is found: where sets stop being faster than the
largest one.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from infer_opt.profiles.roofline import Bandwidth
from infer_opt.results import Estimate
from infer_opt.roofline.blocks import Clock, Run, rates
from infer_opt.stats.sustained import sustained

SIZES = (2048, 4096, 6144)  # of square matrices
MIB = 1 << 20
SETS_BYTES = (8 * MIB, 16 * MIB, 32 * MIB, 64 * MIB, 128 * MIB, 512 * MIB)  # read and written by one node
LINKS = 48
SECONDS = 0.2
CLEARLY = 1.3  # times the largest set's rate is what a cache must give
CACHE, MEMORY = "L2", "memory"

Chain = Callable[[int, int], AbstractContextManager[Run]]


def bandwidths(chain: Chain, *, clock: Clock) -> tuple[Bandwidth, ...]:
    """The device's cache, where sets of some size are faster, and its memory. `chain` opens (links, elements)."""
    seen: list[tuple[int, Estimate]] = []
    for size in SETS_BYTES:
        elements = size // 8  # float32, read and written
        with chain(LINKS, elements) as run:
            seen.append((size, sustained(rates(run, float(LINKS * size), seconds=SECONDS, clock=clock))))
    memory = seen[-1][1]
    faster = [(size, rate) for size, rate in seen[:-1] if rate.value > CLEARLY * memory.value]
    found = [Bandwidth(level=MEMORY, capacity_bytes=None, bytes_per_s=memory)]
    if faster:
        capacity = max(size for size, _ in faster)
        fastest = max((rate for _, rate in faster), key=lambda rate: rate.value)
        found.insert(0, Bandwidth(level=CACHE, capacity_bytes=capacity, bytes_per_s=fastest))
    return tuple(found)
