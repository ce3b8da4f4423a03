"""The rules that others use, on the same noise: contiguous timing in one process, and a t-test until it says yes.

Each rule is given the same seconds as infer-opt. A rule that times A and then B does so in one process each, one after
the other, as these tools do: the machine moves on between them, and each process has its own luck. Given more time it
takes more runs. A winner is called when the time is lower by more than 1 %; these tools know no "cannot tell" but that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from benchmarks.simulation.noise import RUNS, Array, Noise, blocks, runs
from benchmarks.simulation.ours import Costs

LEAD = 0.01  # by how much the mean or median must be lower
RUN_S = 0.002
WARM_UP_RUNS, MEAN_RUNS = 10, 20
DO_BENCH_WARM_UP_S, DO_BENCH_S = 0.025, 0.1
WINDOWS, STABLE, MOST_WINDOWS = 3, 0.10, 10
LEAST_ROUNDS, P_VALUE = 3, 0.05
MOST_BLOCKS = 1500  # 15 s of one process: more runs there add nothing to what follows
CHUNK = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a rule says of B against A, whose truths are equal, one element a repeat.

    `centre` is the ln ratio that it prints, `reach` half of the 95 % interval that goes with it (mean +- 1.96 standard
    errors of single runs). A true gain only shifts both: `faster` and `slower` take it.
    """

    centre: Array
    reach: Array
    threshold: Array

    def faster(self, gain: float = 0.0) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Where B is called the winner when it truly is faster by `gain` (ln)."""
        return np.asarray(self.centre - gain < -self.threshold)

    def slower(self, gain: float = 0.0) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Where A is called the winner."""
        return np.asarray(self.centre - gain > self.threshold)


Rule = Callable[[Noise, np.random.Generator, int, float], Found]


def ten_and_twenty(noise: Noise, rng: np.random.Generator, repeats: int, seconds: float) -> Found:
    """10 warm-up runs and the mean of 20, A then B; with more time, the mean of more."""
    wanted = max(MEAN_RUNS, _runs_within(seconds) - WARM_UP_RUNS)
    return _one_after_the_other(noise, rng, repeats, (wanted, WARM_UP_RUNS * RUN_S), _mean)


def do_bench(noise: Noise, rng: np.random.Generator, repeats: int, seconds: float) -> Found:
    """25 ms of warm-up, then runs for 100 ms or the time there is; the median of each."""
    wanted = max(round(DO_BENCH_S / RUN_S), _runs_within(seconds - 2 * DO_BENCH_WARM_UP_S))
    return _one_after_the_other(noise, rng, repeats, (wanted, DO_BENCH_WARM_UP_S), _median)


def three_windows(noise: Noise, rng: np.random.Generator, repeats: int, seconds: float) -> Found:
    """Windows until three in a row have means within 10 % of each other; the mean of those. Ten at most.

    A window is a third of a configuration's share of the time, as these tools are told their window's length.
    """
    wanted = max(WINDOWS * RUNS, _runs_within(seconds))
    return _one_after_the_other(noise, rng, repeats, (wanted * MOST_WINDOWS // WINDOWS, 0.0), _stable)


def repeated_test(noise: Noise, rng: np.random.Generator, repeats: int, seconds: float) -> Found:
    """A paired t-test after every round of two processes that stay, from the third on; stops at the first p < 0.05.

    `faster` with a gain needs the whole path, so see `repeated_test_with`.
    """
    return repeated_test_with(noise, rng, repeats, seconds=seconds, gain=0.0)


def repeated_test_with(noise: Noise, rng: np.random.Generator, repeats: int, *, seconds: float, gain: float) -> Found:
    """`repeated_test` where B truly is faster by `gain` (ln). `centre` is moved back, as in the other rules."""
    from scipy.special import stdtrit

    costs = Costs(processes=2)
    count = min(MOST_BLOCKS, max(LEAST_ROUNDS, int((seconds - costs.setup_s) / costs.round_s)))
    at_s = costs.setup_s + np.arange(count) * costs.round_s + np.array([[0.0], [costs.block_s]])
    both = blocks(noise, np.broadcast_to(at_s, (repeats, 2, count)), rng)
    d = both[:, 1] - both[:, 0] - gain
    n = np.arange(1, count + 1)
    mean = d.cumsum(axis=1) / n
    variance = ((d**2).cumsum(axis=1) - n * mean**2) / np.maximum(n - 1, 1)
    error = np.sqrt(np.maximum(variance, 1e-300) / n)
    critical = np.where(n >= LEAST_ROUNDS, stdtrit(np.maximum(n - 1, 1), 1.0 - P_VALUE / 2.0), np.inf)
    crossed = np.abs(mean) > critical * error
    stop = np.where(crossed.any(axis=1), crossed.argmax(axis=1), count - 1)
    row = np.arange(repeats)
    found = crossed[row, stop]
    return Found(
        centre=mean[row, stop] + gain,
        reach=1.96 * error[row, stop],
        threshold=np.where(found, 0.0, np.inf),
    )


RULES: Mapping[str, Rule] = {
    "mean of 20 after 10 warm-ups": ten_and_twenty,
    "do_bench: median of a stretch": do_bench,
    "three windows within 10 %": three_windows,
    "t-test after every round": repeated_test,
}
T_TEST = "t-test after every round"


def with_gain(rule: str, noise: Noise, rng: np.random.Generator, *, repeats: int, seconds: float, gain: float) -> Found:
    """What a rule finds of a true gain (ln); only the t-test stops at another moment for it."""
    if rule == T_TEST:
        return repeated_test_with(noise, rng, repeats, seconds=seconds, gain=gain)
    return RULES[rule](noise, rng, repeats, seconds)


def best_of(rule: str, noise: Noise, rng: np.random.Generator, *, repeats: int, candidates: int = 64) -> Array:
    """How much faster (ln) the best of identical candidates looks than stock, by what `rule` prints of each.

    Each is measured against stock in its own turn, with the rule's shortest measurement.
    """
    found = RULES[rule](noise, rng, repeats * candidates, 2 * Costs().come_up_s)
    return np.asarray(-found.centre.reshape(repeats, candidates).min(axis=1))


def _runs_within(seconds: float) -> int:
    """Runs of each of two configurations, after both came up."""
    return int((seconds / 2 - Costs().come_up_s) / RUN_S)


Printed = Callable[[Array], tuple[Array, Array]]


def _one_after_the_other(
    noise: Noise, rng: np.random.Generator, repeats: int, plan: tuple[int, float], printed: Printed
) -> Found:
    """A's process, all its runs; then B's. `plan` is the number of runs and the seconds of warm-up before them."""
    wanted, warm_up_s = plan
    count = min(MOST_BLOCKS, -(-wanted // RUNS))
    stretch_s = max(wanted * RUN_S, count * RUNS * RUN_S)
    begin_s = Costs().come_up_s + warm_up_s
    at_s = begin_s + np.linspace(0.0, stretch_s, count) + np.array([[0.0], [begin_s + stretch_s]])
    centres, reaches = [], []
    for begin in range(0, repeats, CHUNK):
        size = min(CHUNK, repeats - begin)
        taken = runs(noise, np.broadcast_to(at_s, (size, 2, count)), rng).reshape(size, 2, -1)
        centre, error = printed(taken[:, :, : max(wanted, RUNS)])
        centres.append(centre[:, 1] - centre[:, 0])
        reaches.append(1.96 * np.hypot(error[:, 0], error[:, 1]))
    return Found(
        centre=np.concatenate(centres), reach=np.concatenate(reaches), threshold=np.full(repeats, -np.log1p(-LEAD))
    )


def _mean(logs: Array) -> tuple[Array, Array]:
    times = np.exp(logs)
    mean = times.mean(axis=-1)
    return np.log(mean), times.std(axis=-1, ddof=1) / mean / np.sqrt(times.shape[-1])


def _median(logs: Array) -> tuple[Array, Array]:
    return np.median(logs, axis=-1), _mean(logs)[1]


def _stable(logs: Array) -> tuple[Array, Array]:
    """The mean of the first three windows in a row that agree; of the last three where none do."""
    size = logs.shape[-1] // MOST_WINDOWS
    windows = np.exp(logs[..., : size * MOST_WINDOWS]).reshape(*logs.shape[:-1], MOST_WINDOWS, size)
    means = windows.mean(axis=-1)
    threes = np.lib.stride_tricks.sliding_window_view(means, WINDOWS, axis=-1)
    middle = threes.mean(axis=-1, keepdims=True)
    agree = (np.abs(threes / middle - 1.0) <= STABLE).all(axis=-1)
    first = np.where(agree.any(axis=-1), agree.argmax(axis=-1), threes.shape[-2] - 1)[..., None]
    mean = np.take_along_axis(middle[..., 0], first, axis=-1)[..., 0]
    spread = windows.std(axis=-1, ddof=1).mean(axis=-1)
    return np.log(mean), spread / mean / np.sqrt(WINDOWS * size)
