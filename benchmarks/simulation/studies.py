"""What infer-opt's verdicts and intervals are worth on simulated noise: rows 1, 4 and 5 of the contract's tests."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks.simulation.noise import Array, Noise, blocks, runs
from benchmarks.simulation.ours import Costs, confirmed, differs_at_any_epoch, epochs
from benchmarks.simulation.rates import Rate

from infer_opt.benchmarking import MOST_PROCESSES, PRECISION, SOLO_ROUNDS
from infer_opt.results import Verdict
from infer_opt.stats.confirm import LOOKS, decide
from infer_opt.stats.intervals import PROCESSES_FOR_A_CLAIM, hodges_lehmann, median_interval
from infer_opt.stats.tails import quantile

ROUNDS = Costs().rounds_within(3600.0)  # of an epoch of three small models when time is no object
SECONDS = {0.10: 15.0, 0.05: 30.0, 0.03: 60.0}  # gain -> within which it should be found
TAIL_PROCESSES = 9
SCALE_NS = 2_000_000
TRUTH_RUNS = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseVerdicts:
    """How often identical configurations were told apart, anywhere in a whole sequence of looks.

    `margin` is the rule as it is; `no_margin` counts an interval at any look that leaves zero out; `every_epoch` is
    what the looks replace: an ordinary 95 % interval after every epoch.
    """

    margin: Rate
    no_margin: Rate
    every_epoch: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Where a confirmation ended: with this verdict after so many epochs."""

    verdict: Verdict
    epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """How often a true gain was found within a time, and how often the wrong one was called faster."""

    found: Rate
    wrong: Rate


def false_verdicts(noise: Noise, rng: np.random.Generator, *, repeats: int, rounds: int = ROUNDS) -> FalseVerdicts:
    """Row 1: pairs of one and the same configuration, up to the last look."""
    drawn = epochs(noise, rng, repeats=repeats, rounds=rounds)
    margin = no_margin = every = 0
    for values, clone in zip(drawn.contenders[:, 0], drawn.clone, strict=True):
        looks = [decide(values[:look], clone[:look]) for look in LOOKS]
        settled = next((one.verdict for one in looks if one.verdict is not Verdict.INCONCLUSIVE), Verdict.INCONCLUSIVE)
        margin += settled in (Verdict.FASTER, Verdict.SLOWER)
        no_margin += any(one.low > 0.0 or one.high < 0.0 for one in looks)
        every += differs_at_any_epoch(values)
    return FalseVerdicts(
        margin=Rate(hits=margin, trials=repeats),
        no_margin=Rate(hits=no_margin, trials=repeats),
        every_epoch=Rate(hits=every, trials=repeats),
    )


def paths(
    noise: Noise, rng: np.random.Generator, *, repeats: int, gain: float, rounds: int = ROUNDS, most: int = LOOKS[-1]
) -> list[Path]:
    """Confirmations of a configuration whose time is 1 / (1 + gain) of stock's."""
    drawn = epochs(noise, rng, repeats=repeats, rounds=rounds, count=most)
    values = drawn.contenders[:, 0] - np.log1p(gain)
    ends = (confirmed(one, clone, most=most) for one, clone in zip(values, drawn.clone, strict=True))
    return [Path(verdict=end.verdict, epochs=end.decision.epochs) for end in ends]


def power(
    noise: Noise, rng: np.random.Generator, *, repeats: int, gain: float, seconds: float, costs: Costs | None = None
) -> Power:
    """Row 4: how often a gain is found within a time, rounds and epochs as a confirmation of that length plans them."""
    costs = Costs() if costs is None else costs
    rounds = costs.rounds_within(seconds)
    most = min(LOOKS[-1], costs.epochs_within(seconds, rounds))
    return power_of(paths(noise, rng, repeats=repeats, gain=gain, rounds=rounds, most=most), most=most)


def power_of(ended: Sequence[Path], *, most: int) -> Power:
    """The power of confirmations that had `most` epochs, from some that had as many or more."""
    counts = Counter(path.verdict for path in ended if path.epochs <= most)
    return Power(
        found=Rate(hits=counts[Verdict.FASTER], trials=len(ended)),
        wrong=Rate(hits=counts[Verdict.SLOWER], trials=len(ended)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioCoverage:
    """How often the interval for the truth held it, and the re-measure interval a second measurement."""

    truth: Rate
    again: Rate
    mean_again: Rate


def ratio_coverage(
    noise: Noise, rng: np.random.Generator, *, repeats: int, gain: float, most: int = LOOKS[-1], stops: bool = True
) -> RatioCoverage:
    """Row 5: the printed ratio, when the tool stops itself at a look or at a fixed number of epochs (`stops` False).

    `mean_again` is the naive rule: mean +- t s / sqrt(E) taken for where a second measurement falls.
    """
    first, second = (epochs(noise, rng, repeats=repeats, rounds=ROUNDS, count=most) for _ in range(2))
    truth = again = naive = 0
    shift = np.log1p(gain)
    for values, clone, others in zip(first.contenders[:, 0], first.clone, second.contenders[:, 0], strict=True):
        found = confirmed(values - shift, clone, most=most).decision if stops else decide(values - shift, clone)
        repeat = hodges_lehmann(others[: found.epochs] - shift)
        truth += found.low <= -shift <= found.high
        again += found.remeasure_low <= repeat <= found.remeasure_high
        logs = median_interval(values[: found.epochs])  # a mean and its Student t interval, as a ratio
        naive += logs.low <= np.exp(repeat + shift) <= logs.high
    return RatioCoverage(**_rates(repeats, truth=truth, again=again, mean_again=naive))


def tail_coverage(
    noise: Noise, rng: np.random.Generator, qs: Sequence[float], *, repeats: int
) -> dict[float, tuple[Rate, Rate]]:
    """Row 5: how often the printed band of each percentile held the truth; and that of all runs taken as independent.

    Nine processes of 23 rounds of five runs. The truth is the percentile over all processes and times.
    """
    truths = _truths(noise, rng, qs)
    hits = {q: [0, 0, 0] for q in qs}
    for _ in range(repeats):
        logs = runs(noise, _solo_times(1, TAIL_PROCESSES, ROUNDS), rng)[0]
        latency = np.maximum(1, np.round(SCALE_NS * np.exp(logs))).astype(np.int64)
        shuffled = _shuffled(latency, rng).tolist()
        for q in qs:
            found, naive = quantile(latency.tolist(), q), quantile(shuffled, q)
            if found.low_ns is None or found.high_ns is None or naive.low_ns is None or naive.high_ns is None:
                continue  # not printed
            hits[q][0] += found.low_ns <= truths[q] <= found.high_ns
            hits[q][1] += naive.low_ns <= truths[q] <= naive.high_ns
            hits[q][2] += 1
    return {q: (Rate(hits=a, trials=max(n, 1)), Rate(hits=b, trials=max(n, 1))) for q, (a, b, n) in hits.items()}


def median_when_stopping(noise: Noise, rng: np.random.Generator, *, repeats: int) -> Rate:
    """Row 5: how often the median of `bench MODEL` holds the truth when it stops once it seems known to 1 %.

    A process at a time, from five to twelve, 20 rounds each.
    """
    hits = 0
    drawn = blocks(noise, _solo_times(repeats, MOST_PROCESSES, SOLO_ROUNDS), rng)
    truth = float(np.median(blocks(noise, np.zeros((TRUTH_RUNS // 5, 1, 1)), rng)))
    for medians in np.median(drawn, axis=-1):
        for count in range(PROCESSES_FOR_A_CLAIM, MOST_PROCESSES + 1):
            found = median_interval(medians[:count])
            if (found.high - found.low) / 2.0 / found.value <= PRECISION:
                break
        hits += bool(found.low <= np.exp(truth) <= found.high)
    return Rate(hits=hits, trials=repeats)


def _solo_times(repeats: int, processes: int, rounds: int) -> Array:
    """When the blocks of one configuration are timed, process after process."""
    costs = Costs(processes=1)
    begin_s = np.arange(processes)[:, None] * costs.epoch_s(rounds) + costs.setup_s
    return np.broadcast_to(begin_s + np.arange(rounds) * costs.round_s, (repeats, processes, rounds))


def _shuffled(latency: "np.ndarray[Any, Any]", rng: np.random.Generator) -> "np.ndarray[Any, Any]":
    """The same runs in an order that hides from the estimator what neighbours and processes have in common."""
    return rng.permutation(latency.reshape(-1)).reshape(latency.shape)


def _truths(noise: Noise, rng: np.random.Generator, qs: Sequence[float]) -> dict[float, float]:
    at_s = np.zeros((TRUTH_RUNS // 5, 1, 1))  # every block in a world of its own: worlds are alike at all times
    return {q: SCALE_NS * float(np.exp(np.quantile(runs(noise, at_s, rng), q))) for q in qs}


def _rates(trials: int, **hits: int) -> dict[str, Rate]:
    return {name: Rate(hits=int(count), trials=trials) for name, count in hits.items()}
