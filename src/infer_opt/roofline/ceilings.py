"""What this machine can do at the most, measured: operations a second, bytes a second by level, and a launch.

A ceiling is the most that was seen of anything that does this kind of work: matrices of several sizes and a
convolution, with all threads and with one, by the runtime and by numpy's BLAS. A node that is faster than its ceiling
allows shows that the ceiling was measured too low. `stats/sustained.py` says why it is a high quantile and no mean.
"""

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from infer_opt.config import Provider
from infer_opt.errors import UnavailableError
from infer_opt.facts import CacheLevel
from infer_opt.profiles.roofline import Bandwidth, Ceilings
from infer_opt.protocols import Runtime
from infer_opt.recipes import GraphLevel
from infer_opt.results import Estimate
from infer_opt.roofline import device, traffic
from infer_opt.roofline.blocks import Best, Candidate, Clock, Effort, Run, best, rates
from infer_opt.roofline.keeping import Setting
from infer_opt.roofline.probes import (
    ACCUMULATED,
    INT8,
    REQUANTISED,
    SEED,
    Product,
    chain_feeds,
    chain_model,
    convolution_feeds,
    convolution_model,
    convolution_operations,
    opened,
    product_feeds,
    product_model,
    product_of,
)
from infer_opt.stats.sustained import sustained

SUPPOSED_CACHE = 1 << 20  # where no second-level cache is known
FILLS = (0.5, 2.0, 8.0)  # three float32 matrices over the second-level cache: within it, and well beyond
STEP = 32  # sizes are multiples of it, so that no kernel has remainders to see to
CONVOLUTIONS = 4  # in a chain: to bring its input into their layout counts for little then
HALVES = ("float16", "bfloat16")
FASTER = 1.3  # than float32 is what a 16-bit product must be to be one
NEARLY = 0.8  # as fast as float32 at a first look, and it is worth a second one
LINKS = 400  # nodes of the shorter chain; the longer one has twice as many
LAUNCH_S = 0.4
NS = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What is measured, and with what: caches as the kernel describes them, memory that may be taken, and a clock."""

    runtime: Runtime
    setting: Setting
    caches: Sequence[CacheLevel]
    available_bytes: int | None
    clock: Clock
    effort: Effort = field(default_factory=Effort)

    @property
    def provider(self) -> Provider:
        """Where the runtime is to run."""
        return Provider(self.setting.provider)

    @property
    def is_device(self) -> bool:
        """Whether something else than this computer's own cores computes."""
        return self.provider is not Provider.CPU


def measure(bench: Bench, *, now_ms: int) -> Ceilings:
    """All ceilings of the bench's setting. `now_ms` is since 1970.

    Raises:
        UnavailableError: the runtime cannot multiply matrices there at all.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        products = tuple(_products(bench, folder))
        if not products:
            raise UnavailableError(
                f"{bench.setting.runtime} multiplies no matrices on {bench.provider}",
                hint="infer-opt doctor says which provider works, and why another does not",
            )
        bandwidths = (
            device.bandwidths(partial(_chain_run, bench, folder, on_device=True), clock=bench.clock)
            if bench.is_device
            else _bandwidths(bench)
        )
        return Ceilings(
            fingerprint=bench.setting.machine,
            provider=bench.setting.provider,
            threads=bench.setting.threads,
            operations_per_s=products,
            bandwidths=bandwidths,
            launch=_launch(bench, folder, on_device=bench.is_device),
            measured_ms=now_ms,
        )


def _products(bench: Bench, folder: Path) -> Iterator[tuple[str, Estimate]]:
    """Precision and operations a second, of those that run there.

    A 16-bit product that is no faster than one in float32 was computed in float32, between casts: the runtime has no
    kernel for it, and the ceiling of such nodes is that of float32.
    """
    whole = fastest(bench, float32_candidates(bench, folder))
    if whole is not None:
        yield "float32", whole.rate
    for precision in HALVES:
        least = 0.0 if whole is None else NEARLY * whole.rate.value
        half = fastest(bench, _with_runtime(bench, folder, precision), least=least)
        if half is not None and (whole is None or half.rate.value > FASTER * whole.rate.value):
            yield precision, half.rate
    eighth = fastest(bench, int8_candidates(bench, folder))
    if eighth is not None:
        yield INT8, eighth.rate


def float32_candidates(bench: Bench, folder: Path) -> list[Candidate]:
    """Products by the runtime; on a CPU by numpy's BLAS too, and a convolution."""
    found = _with_runtime(bench, folder, "float32")
    return found if bench.is_device else [*found, *_with_blas(bench), _convolved(bench, folder)]


def int8_candidates(bench: Bench, folder: Path) -> list[Candidate]:
    """Products of which the sums are kept, and on a CPU those that are made 8 bits again."""
    operators = (ACCUMULATED,) if bench.is_device else (REQUANTISED, ACCUMULATED)
    return [one for operator in operators for one in _with_runtime(bench, folder, INT8, operator=operator)]


def fastest(bench: Bench, candidates: Sequence[Candidate], *, least: float = 0.0) -> Best | None:
    """The most that any of them keeps up; None where none runs, or reaches `least` at a first look."""
    effort = bench.effort
    if bench.is_device:  # whose models are large, and whose sessions resemble each other more
        effort = dataclasses.replace(effort, finalists=1, openings=min(2, effort.openings))
    return best(candidates, clock=bench.clock, effort=effort, least=least)


def _with_runtime(bench: Bench, folder: Path, precision: str, *, operator: str = "MatMul") -> list[Candidate]:
    """Every size with all threads, and one of them with a single thread, which may be faster on shared cores."""
    found = []
    for threads, size in _shapes(bench):
        product = product_of(precision, size, operator=operator, on_device=bench.is_device)
        found.append(
            Candidate(
                name=f"{bench.setting.runtime} {operator} {precision} {size}, {threads} threads",
                amount=product.operations,
                start=partial(_product_run, bench, folder, product, threads),
            )
        )
    return found


def _with_blas(bench: Bench) -> list[Candidate]:
    return [
        Candidate(
            name=f"numpy float32 {size}, {threads} threads",
            amount=2.0 * size**3,
            start=partial(_blas_run, size, threads),
        )
        for threads, size in _shapes(bench)
    ]


def _convolved(bench: Bench, folder: Path) -> Candidate:
    """With the layout that the runtime chooses for it, which is why its optimisation is on.

    On a CPU alone: devices have algorithms for convolutions that need fewer operations than are counted.
    """
    threads = max(1, bench.setting.threads)
    return Candidate(
        name=f"{bench.setting.runtime} Conv float32, {threads} threads",
        amount=convolution_operations(CONVOLUTIONS),
        start=partial(_convolution_run, bench, folder, threads),
    )


def _shapes(bench: Bench) -> list[tuple[int, int]]:
    """(threads, size of square matrices)."""
    if bench.is_device:
        return [(0, size) for size in device.SIZES]
    cache = next((one.capacity_bytes for one in bench.caches if one.level == traffic.NEAREST), SUPPOSED_CACHE)
    sizes = [max(1, round(math.sqrt(fill * cache / 12) / STEP)) * STEP for fill in FILLS]
    threads = max(1, bench.setting.threads)
    return [(threads, size) for size in sizes] + [(1, sizes[1])] * (threads > 1)


@contextlib.contextmanager
def _product_run(bench: Bench, folder: Path, product: Product, threads: int) -> Iterator[Run]:
    model, feeds = product_model(product), product_feeds(product)
    with opened(bench.runtime, model, feeds, folder=folder, provider=bench.provider, threads=threads) as run:
        yield run


@contextlib.contextmanager
def _convolution_run(bench: Bench, folder: Path, threads: int) -> Iterator[Run]:
    model, feeds = convolution_model(CONVOLUTIONS), convolution_feeds()
    with opened(
        bench.runtime, model, feeds, folder=folder, provider=bench.provider, threads=threads, level=GraphLevel.ALL
    ) as run:
        yield run


@contextlib.contextmanager
def _blas_run(size: int, threads: int) -> Iterator[Run]:
    generator = np.random.default_rng(SEED)
    first, second = (generator.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    result = np.empty((size, size), np.float32)
    with threadpool_limits(threads, user_api="blas"):
        yield lambda: np.matmul(first, second, out=result)


def _bandwidths(bench: Bench) -> tuple[Bandwidth, ...]:
    """A level's ceiling is the most that was seen in it or in any level behind it: data of those pass through it."""
    threads = max(1, bench.setting.threads)
    found: list[Bandwidth] = []
    for level in reversed(traffic.levels(bench.caches, threads=threads, available_bytes=bench.available_bytes)):
        seen = moved_most(bench, level)
        if seen is None:
            continue
        behind = found[-1].bytes_per_s if found else seen.rate
        rate = max(seen.rate, behind, key=lambda one: one.value)
        found.append(Bandwidth(level=level.name, capacity_bytes=level.capacity_bytes, bytes_per_s=rate))
    return tuple(reversed(found))


def moved_most(bench: Bench, level: traffic.Level) -> Best | None:
    """How many bytes a second a CPU's threads move within a level."""
    # Memory of this size takes long to get.
    effort = dataclasses.replace(bench.effort, finalists=1, enough_s=2 * bench.effort.enough_s)
    candidates = traffic.candidates(level, threads=max(1, bench.setting.threads))
    return best(candidates, clock=bench.clock, effort=effort)


def _launch(bench: Bench, folder: Path, *, on_device: bool) -> Estimate:
    """What each further node of a chain adds, in ns: the smallest nodes there are, on a single value."""
    seen: dict[int, list[float]] = {LINKS: [], 2 * LINKS: []}
    for _ in range(bench.effort.openings):
        for links, found in seen.items():
            with _chain_run(bench, folder, links, 2, on_device=on_device) as run:
                seconds = LAUNCH_S / 2 / bench.effort.openings
                found += rates(run, 1.0, seconds=seconds, clock=bench.clock)
    short, long = sustained(seen[LINKS]), sustained(seen[2 * LINKS])
    low = (NS / long.high - NS / short.low) / LINKS
    value = (NS / long.value - NS / short.value) / LINKS
    if value <= 0.0:  # the shorter chain was disturbed throughout: all of the longer one's time is shared out
        value = NS / long.value / (2 * LINKS)
    high = NS / long.low / (2 * LINKS)
    return Estimate(value=value, low=min(max(low, 0.0), value), high=max(high, value))


@contextlib.contextmanager
def _chain_run(bench: Bench, folder: Path, links: int, elements: int, *, on_device: bool) -> Iterator[Run]:
    model = chain_model("Neg", links, elements, on_device=on_device)
    feeds = chain_feeds(elements, on_device=on_device)
    threads = bench.setting.threads
    with opened(bench.runtime, model, feeds, folder=folder, provider=bench.provider, threads=threads) as run:
        yield run
