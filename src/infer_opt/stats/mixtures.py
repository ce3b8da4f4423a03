"""A mixture of shapes: what a call takes on average, and percentiles over all calls, from runs of each shape."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from infer_opt.config import Objective
from infer_opt.errors import EvidenceError
from infer_opt.results import Block, Quantile, ShapeReadings
from infer_opt.stats.intervals import FloatArray
from infer_opt.stats.rounds import block_value
from infer_opt.stats.tails import band_ranks, design_effect, effective_runs_needed, quantile

ROUNDING = 1e-9  # shares are sums of floats: a quantile that falls on the edge of a run is that run


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Percentiles of all calls, those of each shape where there are several, and the typical call's time in ns.

    `call_ns` is the median; of several shapes their medians, weighted by the shapes' shares: the expected time a call.
    """

    quantiles: tuple[Quantile, ...]
    shapes: tuple[ShapeReadings, ...]
    call_ns: float


def mixture_value(block: Block, weights: Sequence[float], objective: Objective) -> float:
    """A block's one number: ln(sum of w_i t_i), with t_i the median (throughput: mean) of its runs of shape i, in ns.

    Raises:
        EvidenceError: it holds no run of some shape, or one that took no time.
    """
    parts = [_of_shape(block, index) for index in range(len(weights))]
    times = [math.exp(block_value(part, objective)) for part in parts]
    return math.log(sum(weight * time for weight, time in zip(weights, times, strict=True)))


def timings(
    processes: Sequence[Sequence[Block]], shapes: Sequence[ShapeReadings], *, levels: Sequence[float]
) -> Timings:
    """Percentiles at `levels` over process -> block; `shapes` say which there are (their quantiles are made anew).

    Raises:
        EvidenceError: there are no runs.
    """
    if not shapes:
        quantiles = tuple(quantile([[block.latency_ns for block in blocks] for blocks in processes], q) for q in levels)
        return Timings(quantiles=quantiles, shapes=(), call_ns=_median_ns(quantiles))
    weights = [one.shape.weight for one in shapes]
    parts = []
    for index, one in enumerate(shapes):
        runs = [[_of_shape(block, index) for block in blocks] for blocks in processes]
        parts.append(replace(one, quantiles=tuple(quantile(runs, q) for q in levels)))
    expected = sum(weight * _median_ns(part.quantiles) for weight, part in zip(weights, parts, strict=True))
    quantiles = tuple(mixture_quantile(processes, weights, q) for q in levels)
    return Timings(quantiles=quantiles, shapes=tuple(parts), call_ns=expected)


def mixture_quantile(processes: Sequence[Sequence[Block]], weights: Sequence[float], q: float) -> Quantile:
    """The time that at least a share `q` of all calls does not exceed, when a share `weights[i]` of them is of shape i.

    A run of shape i stands for w_i / n_i of the calls, with n_i runs of its shape. The band is that of `tails.quantile`
    at the effective number of runs 1 / sum of the squared shares (Kish), over the design effect of rounds and
    processes: runs of a rare shape that was run often tell less of the mixture.

    Raises:
        EvidenceError: there are no runs.

    Source: Kish 1965, "Survey sampling" (effective size of a weighted sample).
    """
    blocks = [block for process in processes for block in process if block.latency_ns]
    if not blocks:
        raise EvidenceError(f"no runs to take the quantile {q} of")
    runs = np.array([run for block in blocks for run in block.latency_ns], dtype=np.float64)
    shapes = np.array([shape for block in blocks for shape in block.shapes], dtype=np.intp)
    counts = np.bincount(shapes, minlength=len(weights))
    shares = np.asarray(weights, dtype=np.float64)[shapes] / counts[shapes]
    order = np.argsort(runs, kind="stable")
    ordered, reached = runs[order], np.cumsum(shares[order]) / shares.sum()
    value = _at(ordered, reached, q)
    effect = design_effect([[np.asarray(block.latency_ns, dtype=np.float64) for block in process if block.latency_ns]
                            for process in processes if any(block.latency_ns for block in process)], value)  # fmt: skip
    independent = float(shares.sum() ** 2 / (shares @ shares))
    effective, needed = math.floor(independent / effect), effective_runs_needed(q)
    if effective < needed:
        missing = max(1, math.ceil(needed * effect * runs.size / independent) - runs.size)
        return Quantile(q=q, value_ns=value if q == 0.5 else None, missing_runs=missing)
    lower, upper = band_ranks(effective, q)
    low, high = (_at(ordered, reached, rank / effective) for rank in (lower - 1, upper))
    return Quantile(q=q, value_ns=value, low_ns=low, high_ns=high)


def _of_shape(block: Block, index: int) -> tuple[int, ...]:
    return tuple(run for run, shape in zip(block.latency_ns, block.shapes, strict=True) if shape == index)


def _at(ordered: FloatArray, reached: FloatArray, share: float) -> float:
    return float(ordered[min(int(np.searchsorted(reached, share - ROUNDING)), ordered.size - 1)])


def _median_ns(quantiles: Sequence[Quantile]) -> float:
    found = next((one.value_ns for one in quantiles if one.q == 0.5), None)
    if found is None:
        raise EvidenceError("no run was timed")
    return found
