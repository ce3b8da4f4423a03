import math
from statistics import NormalDist

import numpy as np
import pytest

from infer_opt.errors import ConfigError, EvidenceError
from infer_opt.stats.tails import design_effect, effective_runs_needed, quantile


def evenly(total: int, *, rounds: int = 4, processes: int = 1) -> list[list[list[int]]]:
    """1 .. total ns, dealt like cards: every round and process holds the same mix, so runs count in full."""
    cells = rounds * processes
    return [
        [list(range(1 + process * rounds + index, total + 1, cells)) for index in range(rounds)]
        for process in range(processes)
    ]


@pytest.mark.parametrize(("q", "runs"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688), (0.01, 368)])
def test_the_runs_that_a_percentile_needs(q: float, runs: int) -> None:
    assert effective_runs_needed(q) == runs


def test_p99_appears_at_368_independent_runs() -> None:
    before, after = quantile(evenly(367), 0.99), quantile(evenly(368), 0.99)

    assert (before.value_ns, before.low_ns, before.high_ns, before.missing_runs) == (None, None, None, 1)
    assert (after.value_ns, after.high_ns, after.missing_runs) == (365.0, 368.0, 0)


def test_p999_appears_at_3688_independent_runs() -> None:
    before, after = quantile(evenly(3687), 0.999), quantile(evenly(3688), 0.999)

    assert (before.value_ns, before.missing_runs) == (None, 1)
    assert after.high_ns == 3688.0


def test_a_missing_p99_says_how_many_more_runs_it_needs() -> None:
    assert quantile(evenly(200, rounds=2), 0.99).missing_runs == 168


def test_the_median_of_a_hundred_has_the_textbook_band() -> None:
    median = quantile(evenly(100), 0.5)

    assert (median.value_ns, median.low_ns, median.high_ns) == (50.5, 40.0, 61.0)


def test_the_median_of_few_runs_has_a_value_and_as_wide_a_band_as_there_is() -> None:
    six = quantile(evenly(6, rounds=2), 0.5)

    assert (six.value_ns, six.low_ns, six.high_ns) == (3.5, 1.0, 6.0)


def test_the_median_of_five_runs_has_no_band() -> None:
    five = quantile([[[10, 20, 30, 40, 50]]], 0.5)

    assert (five.value_ns, five.low_ns, five.high_ns) == (30.0, None, None)
    assert five.missing_runs >= 1


def test_one_run_is_a_median_and_nothing_else() -> None:
    assert quantile([[[7]]], 0.5).value_ns == 7.0
    assert quantile([[[7]]], 0.9).value_ns is None


def test_the_design_effect_of_rounds_that_agree_within_is_their_size() -> None:
    rounds = [np.full(10, 1.0 + index % 2) for index in range(10)]

    assert design_effect([rounds], 1.5) == pytest.approx(10 * 10 / 9)


def test_the_design_effect_of_processes_is_scaled_for_how_few_they_are() -> None:
    # 60 % and 40 % of runs exceed, the same in every round: all variance is between the two processes.
    fast = [np.array([1.0] * 6 + [2.0] * 4)] * 10
    slow = [np.array([1.0] * 4 + [2.0] * 6)] * 10

    assert design_effect([fast, slow], 1.5) == pytest.approx(8.0 * (12.7062 / 1.96) ** 2, rel=1e-4)
    assert design_effect([fast, slow] * 2, 1.5) == pytest.approx(16 / 3 * (3.18245 / 1.96) ** 2, rel=1e-4)


def test_rounds_that_follow_each_other_are_merged() -> None:
    # The same rounds as above in two halves: 20 neighbours say as much as two or three.
    sudden = [np.full(10, 1.0 + (index >= 10)) for index in range(20)]
    alternating = [np.full(10, 1.0 + index % 2) for index in range(20)]

    assert design_effect([sudden], 1.5) > 5 * design_effect([alternating], 1.5)


def test_the_design_effect_is_never_below_one() -> None:
    balanced = [np.array([1.0, 2.0])] * 50

    assert design_effect([balanced], 1.5) == 1.0
    assert design_effect([balanced], 9.0) == 1.0


def test_one_round_of_one_process_still_shows_its_own_correlation() -> None:
    halves = [np.array([1.0] * 200 + [2.0] * 200)]
    mixed = [np.array([1.0, 2.0] * 200)]

    assert design_effect([halves], 1.5) > 10
    assert design_effect([mixed], 1.5) == 1.0


def test_correlated_runs_delay_the_p99() -> None:
    # 400 runs, but the slow ones came in one round of one process.
    processes = [[[100 + index % 7 for index in range(10)] for _ in range(20)] for _ in range(2)]
    processes[0][3] = [500] * 10

    late = quantile(processes, 0.99)

    assert late.value_ns is None
    assert late.missing_runs > 400


def test_rounds_and_processes_may_differ_in_size() -> None:
    ragged = [[[5, 6], [7]], [[6]], [[], [5, 7, 6, 5]], []]

    assert quantile(ragged, 0.5).value_ns == 6.0


def test_equal_runs_have_every_percentile_that_their_number_allows() -> None:
    same = quantile([[[50] * 10 for _ in range(40)]], 0.99)

    assert (same.value_ns, same.low_ns, same.high_ns) == (50.0, 50.0, 50.0)


@pytest.mark.parametrize("q", [0.0, 1.0, 99.0])
def test_a_quantile_is_a_share(q: float) -> None:
    with pytest.raises(ConfigError):
        quantile([[[1]]], q)


@pytest.mark.parametrize("processes", [[], [[]], [[[]]], [[[100, 0]]], [[[100, -1]]]])
def test_no_runs_or_impossible_ones_are_errors(processes: list[list[list[int]]]) -> None:
    with pytest.raises(EvidenceError):
        quantile(processes, 0.5)


def misses(
    *, processes: int, rounds: int, runs: int, correlation: float, process_effect: float, q: float
) -> tuple[float, float]:
    """The shares of 250 measurements whose printed band misses the truth, and that print one."""
    rng = np.random.default_rng(11)
    truth = 1e6 * math.exp(math.hypot(0.05, process_effect) * NormalDist().inv_cdf(q))
    missed = printed = 0
    for _ in range(250):
        shocks = rng.normal(size=(processes, rounds * runs))
        logs = np.empty_like(shocks)
        logs[:, 0] = shocks[:, 0]
        for index in range(1, logs.shape[1]):
            logs[:, index] = correlation * logs[:, index - 1] + math.sqrt(1 - correlation**2) * shocks[:, index]
        logs = 0.05 * logs + process_effect * rng.normal(size=(processes, 1))
        latency_ns = np.exp(logs.reshape(processes, rounds, runs)) * 1e6
        found = quantile(latency_ns.astype(np.int64).tolist(), q)
        if found.low_ns is not None and found.high_ns is not None:
            printed += 1
            missed += not found.low_ns <= truth <= found.high_ns
    return missed / 250, printed / 250


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_bands_cover_although_runs_follow_each_other_and_processes_differ(q: float) -> None:
    missed, printed = misses(processes=5, rounds=25, runs=8, correlation=0.5, process_effect=0.01, q=q)

    assert missed <= 0.07
    assert printed >= 0.6


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_bands_cover_in_one_process_whose_rounds_follow_each_other(q: float) -> None:
    missed, printed = misses(processes=1, rounds=60, runs=8, correlation=0.8, process_effect=0.0, q=q)

    assert missed <= 0.08
    assert printed >= 0.9


def test_a_large_process_effect_makes_the_tail_unknown_rather_than_wrong() -> None:
    missed, printed = misses(processes=5, rounds=25, runs=8, correlation=0.0, process_effect=0.05, q=0.99)

    assert printed <= 0.35
    assert missed <= 0.10
