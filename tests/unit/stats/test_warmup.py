import numpy as np
import pytest

from infer_opt.errors import EvidenceError
from infer_opt.stats.intervals import FloatArray
from infer_opt.stats.warmup import has_steady_state, has_trend, lies_apart, mser5_truncation


def noise(size: int, *, seed: int = 1) -> FloatArray:
    return np.random.default_rng(seed).normal(0.0, 0.02, size=size)


def flicker(size: int) -> FloatArray:
    return np.asarray(0.02 * (-1.0) ** np.arange(size))


def test_a_step_is_cut_where_it_ends() -> None:
    times = flicker(200)
    times[:30] += 1.0

    assert mser5_truncation(times) == 30
    assert has_steady_state(times)


def test_cuts_fall_between_batches_of_five() -> None:
    times = flicker(200)
    times[:32] += 1.0

    assert mser5_truncation(times) == 35


def test_an_exponential_warm_up_leaves_less_than_half_a_percent() -> None:
    for seed in range(20):
        times = noise(200, seed=seed) + 0.8 * np.exp(-np.arange(200) / 10)
        bias = float(np.mean(0.8 * np.exp(-np.arange(mser5_truncation(times), 200) / 10)))
        assert bias <= 0.005 or not has_steady_state(times)


def test_a_ramp_without_end_is_not_steady() -> None:
    for size in (10, 40, 100, 200):
        assert not has_steady_state(noise(size) - np.arange(size) / size)


def test_a_step_in_the_second_half_is_not_steady() -> None:
    times = flicker(200)
    times[:110] += 1.0

    assert mser5_truncation(times) == 110
    assert not has_steady_state(times)


def test_a_late_burst_is_not_the_end_of_warm_up() -> None:
    # Only the last few runs are quiet: the end of a series looks steady by chance, and is never all that is kept.
    times = noise(200)
    times[:190] += np.random.default_rng(2).normal(0.0, 1.0, size=190)

    assert mser5_truncation(times) <= 120


def test_steady_runs_are_rarely_doubted() -> None:
    doubted = [not has_steady_state(noise(size, seed=seed)) for size in (40, 100) for seed in range(200)]

    assert sum(doubted) <= 0.10 * len(doubted)


def test_a_slow_drift_under_noise_is_not_steady() -> None:
    # It falls by 6 % over the window: MSER alone let half of such windows pass.
    passed = [has_steady_state(np.linspace(0.06, 0.0, 60) + noise(60, seed=seed) / 2) for seed in range(200)]

    assert sum(passed) <= 4


def test_windows_that_lie_apart_are_not_steady() -> None:
    # Neither shows it alone: half of the drift lies between the two.
    before, after = np.full(100, 0.01) + noise(100, seed=1), noise(200, seed=2)

    assert has_steady_state(after)
    assert not has_steady_state(after, before=before)
    assert has_steady_state(after, before=noise(100, seed=3))


def test_half_a_percent_is_no_drift_however_certain() -> None:
    assert not has_trend(np.linspace(0.004, 0.0, 100))
    assert has_trend(np.linspace(0.006, 0.0, 100))
    assert not lies_apart([0.004] * 50, [0.0] * 50)
    assert lies_apart([0.006] * 50, [0.0] * 50)


def test_two_runs_show_no_drift() -> None:
    assert not has_trend([1.0, 0.0])
    assert not lies_apart([1.0, 1.0], [0.0, 0.0, 0.0])


def test_few_runs_are_cut_one_by_one() -> None:
    times = np.log([90.0, 50.0, 2.0, 2.01, 2.0])

    assert mser5_truncation(times) == 2


def test_a_slow_first_run_of_a_few_is_warm_up() -> None:
    times = np.log([90.0, 2.0, 2.02, 2.0, 2.02, 2.0, 2.02, 2.0])

    assert mser5_truncation(times) == 1
    assert has_steady_state(times)


def test_short_series_take_smaller_batches() -> None:
    times = noise(45)
    times[:7] += 1.0

    assert mser5_truncation(times) == 7  # batches of two, after one run left over at the front


def test_five_runs_that_fall_all_the_way_are_not_steady() -> None:
    assert not has_steady_state([5.0, 4.0, 3.0, 2.0, 1.0])


@pytest.mark.parametrize("times", [[1.0], [1.0, 1.0], [1.0, 1.0, 1.0]])
def test_three_runs_cannot_show_a_steady_state(times: list[float]) -> None:
    assert mser5_truncation(times) == 0
    assert not has_steady_state(times)


def test_constant_runs_are_all_kept() -> None:
    assert mser5_truncation([0.5] * 47) == 0
    assert has_steady_state([0.5] * 47)


def test_no_runs_are_no_evidence() -> None:
    with pytest.raises(EvidenceError):
        mser5_truncation([])
