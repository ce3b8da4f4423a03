"""Percentiles that own up to how little is known about them."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from infer_opt.errors import ConfigError, EvidenceError
from infer_opt.results import Quantile
from infer_opt.stats.intervals import FloatArray, student_t
from infer_opt.stats.rounds import merge_factor

TAIL = 0.025  # on either side of the 95 % band
NORMAL_REACH = 1.96

Runs = Sequence[int]


def quantile(processes: Sequence[Sequence[Runs]], q: float) -> Quantile:
    """The latency at `q` with its 95 % band, from process -> round -> run latencies in ns.

    Order statistics with the binomial (Clopper-Pearson) band, at the effective number of runs n / deff. A value is only
    given where the band exists: p90 needs 36 effective runs, p95 72, p99 368, p99.9 3688. The median is always given,
    its band from six. `missing_runs` is about how many more runs would do.

    Raises:
        ConfigError: `q` is not strictly between 0 and 1.
        EvidenceError: no runs, or one that took no time or less.

    Source: Clopper & Pearson 1934; Korn & Graubard 1998 (effective sample size); MLPerf LoadGen (early stopping on
    percentiles).
    """
    if not 0.0 < q < 1.0:
        raise ConfigError(f"a quantile lies between 0 and 1, got {q}")
    rounds = [_rounds(process) for process in processes if any(len(runs) for runs in process)]
    if not rounds:
        raise EvidenceError(f"no runs to take the quantile {q} of")
    ordered = np.sort(np.concatenate([runs for process in rounds for runs in process]))
    if not ordered[0] > 0.0:
        raise EvidenceError(f"a run took {ordered[0]:.0f} ns: the clock is coarser than the run")
    # The order statistic itself, or the mean of the two that q falls between: the usual median.
    value = float(np.quantile(ordered, q, method="averaged_inverted_cdf"))
    effect = design_effect(rounds, value)
    effective = math.floor(ordered.size / effect)
    needed = effective_runs_needed(q)
    if effective < needed:
        missing = max(1, math.ceil(needed * effect) - ordered.size)
        return Quantile(q=q, value_ns=value if q == 0.5 else None, missing_runs=missing)
    lower, upper = band_ranks(effective, q)
    # Ranks among the effective runs, widened to the runs there are.
    low = ordered[math.floor((lower - 1) * ordered.size / effective)]
    high = ordered[math.ceil(upper * ordered.size / effective) - 1]
    return Quantile(q=q, value_ns=value, low_ns=float(low), high_ns=float(high))


def effective_runs_needed(q: float) -> int:
    """The fewest independent runs with one beyond the quantile on either side, 97.5 times in 100: 368 for p99."""
    return math.ceil(math.log(TAIL) / math.log(max(q, 1.0 - q)))


def design_effect(processes: Sequence[Sequence[FloatArray]], threshold_ns: float) -> float:
    """How many runs count as one for the share above `threshold_ns`; 1 or more.

    The variance of that share as rounds and processes show it, over the binomial one of independent runs. Correlated
    neighbouring rounds are merged first. What processes add beyond their rounds is scaled by (t_{.975,E-1} / 1.96)^2,
    for a few processes know their own spread badly. One process shows nothing of that, so its effect is a lower bound.
    A process of one round is cut into groups of neighbouring runs.

    Source: Kish 1965, "Survey sampling" (design effect of cluster samples).
    """
    # Runs equal to the threshold are on either side of it: where a coarse clock ties many, both readings matter.
    return max(
        1.0,
        _effect([[runs > threshold_ns for runs in process] for process in processes]),
        _effect([[runs >= threshold_ns for runs in process] for process in processes]),
    )


def _effect(exceeding: Sequence[Sequence[NDArray[np.bool_]]]) -> float:
    sizes = [_cluster_sizes(process) for process in exceeding]
    counts = [_sums(np.concatenate(process), size) for process, size in zip(exceeding, sizes, strict=True)]
    total = int(sum(size.sum() for size in sizes))
    share = float(sum(count.sum() for count in counts)) / total
    if share in (0.0, 1.0):
        return 1.0
    # Exceedances of each round beyond the overall share; over everything they sum to zero.
    excess = [count - share * size for count, size in zip(counts, sizes, strict=True)]
    between_rounds = sum(_spread(process) for process in _merged(excess)) / total**2
    independent = share * (1.0 - share) / total
    return (between_rounds + _process_term(excess, total, between_rounds)) / independent


def _process_term(excess: Sequence[FloatArray], total: int, between_rounds: float) -> float:
    count = len(excess)
    if count == 1:
        return 0.0
    between = sum(float(process.sum()) ** 2 for process in excess) * count / (count - 1) / total**2
    return max(0.0, between - between_rounds) * (student_t(1.0 - TAIL, count - 1) / NORMAL_REACH) ** 2


def _merged(excess: Sequence[FloatArray]) -> list[FloatArray]:
    """Neighbouring rounds summed, as many as their lag-1 correlation within processes asks for."""
    centred = [process - process.mean() for process in excess]
    scatter = sum(float(process @ process) for process in centred)
    products = sum(float(process[1:] @ process[:-1]) for process in centred)
    factor = merge_factor(products / scatter) if scatter > 0.0 else 1
    return [
        np.array([group.sum() for group in np.array_split(process, max(1, process.size // factor))])
        for process in excess
    ]


def _spread(excess: FloatArray) -> float:
    """The variance of a process's sum, as the scatter of its rounds shows it."""
    if excess.size == 1:  # nothing to compare with: its distance from the overall share is all there is
        return float(excess[0]) ** 2
    return float(excess.var(ddof=1)) * excess.size


def _sums(exceeding: NDArray[np.bool_], sizes: NDArray[np.intp]) -> FloatArray:
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    return np.add.reduceat(exceeding.astype(np.float64), starts)


def _cluster_sizes(process: Sequence[NDArray[np.bool_]]) -> NDArray[np.intp]:
    """How many runs each round holds, in order; for a single round, each of about sqrt(n) groups of its neighbours."""
    if len(process) > 1:
        return np.array([runs.size for runs in process], dtype=np.intp)
    size = process[0].size
    return np.array([len(group) for group in np.array_split(np.arange(size), math.isqrt(size))], dtype=np.intp)


def _rounds(process: Sequence[Runs]) -> list[FloatArray]:
    return [np.asarray(runs, dtype=np.float64) for runs in process if len(runs)]


def band_ranks(effective: int, q: float) -> tuple[int, int]:
    """The largest rank l with P(Bin(n, q) < l) <= 2.5 %, and the smallest u with P(Bin(n, q) >= u) <= 2.5 %."""
    from scipy.special import bdtr

    below = np.asarray(bdtr(np.arange(effective), effective, q))  # P(Bin <= k), k = 0 .. n-1
    lower = int(np.searchsorted(below, TAIL, side="right"))
    upper = int(np.searchsorted(below, 1.0 - TAIL, side="left")) + 1
    return lower, upper
