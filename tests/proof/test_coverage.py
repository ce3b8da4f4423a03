"""Row 5: printed intervals hold what they promise, also when the tool stops itself."""

import numpy as np
import pytest
from benchmarks.simulation.noise import Noise
from benchmarks.simulation.rates import Rate, is_at_least
from benchmarks.simulation.studies import RatioCoverage, median_when_stopping, ratio_coverage, tail_coverage

TARGET = 0.93
QS = (0.5, 0.9, 0.95)
STILL = [noise for noise in Noise if noise is not Noise.DRIFT]  # of a wave of a minute, ten seconds say nothing


@pytest.fixture(scope="module")
def stopped() -> dict[Noise, RatioCoverage]:
    rng = np.random.default_rng(301)
    return {noise: ratio_coverage(noise, rng, repeats=200, gain=0.05) for noise in Noise}


@pytest.fixture(scope="module")
def bands() -> dict[float, tuple[Rate, Rate]]:
    return tail_coverage(Noise.PROCESSES, np.random.default_rng(302), QS, repeats=100)


@pytest.mark.parametrize("noise", Noise)
def test_a_second_measurement_falls_into_the_printed_interval(
    stopped: dict[Noise, RatioCoverage], noise: Noise
) -> None:
    assert is_at_least(stopped[noise].again, TARGET)


@pytest.mark.parametrize("noise", Noise)
def test_the_true_ratio_lies_in_its_interval_when_the_tool_stops_itself(
    stopped: dict[Noise, RatioCoverage], noise: Noise
) -> None:
    assert is_at_least(stopped[noise].truth, TARGET)


def test_an_interval_for_the_truth_would_miss_second_measurements(stopped: dict[Noise, RatioCoverage]) -> None:
    naive = sum((one.mean_again for one in stopped.values()), Rate(hits=0, trials=0))

    assert not is_at_least(naive, TARGET)


@pytest.mark.parametrize("q", QS)
def test_bands_of_percentiles_hold_the_truth(bands: dict[float, tuple[Rate, Rate]], q: float) -> None:
    assert bands[q][0].trials > 50
    assert is_at_least(bands[q][0], TARGET)


def test_runs_taken_as_independent_would_give_bands_too_narrow(bands: dict[float, tuple[Rate, Rate]]) -> None:
    assert not is_at_least(bands[0.5][1], TARGET)


@pytest.mark.parametrize("noise", STILL)
def test_the_median_that_stops_itself_holds_the_truth(noise: Noise) -> None:
    assert is_at_least(median_when_stopping(noise, np.random.default_rng(303), repeats=300), TARGET)


def test_a_median_of_one_wave_does_not_hold_for_all_times() -> None:
    assert not is_at_least(median_when_stopping(Noise.DRIFT, np.random.default_rng(304), repeats=300), TARGET)
