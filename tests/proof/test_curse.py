"""Row 7: what a tuning prints of its winner is what a second measurement finds."""

import numpy as np
import pytest
from benchmarks.simulation.noise import Noise
from benchmarks.simulation.ours import Tuned, tunings
from benchmarks.simulation.workings import curse_of, mean_of

POINTS = 0.3
REACH = 3.3  # standard errors: a mean strays further once in 1,000
NOISES = (Noise.GAUSSIAN, Noise.STUDENT, Noise.PROCESSES)


@pytest.fixture(scope="module", params=[0.005, 0.03])
def found(request: pytest.FixtureRequest) -> list[Tuned]:
    rng = np.random.default_rng(401)
    return [one for noise in NOISES for one in tunings(noise, rng, repeats=30, spread=request.param)]


def test_the_printed_winner_is_not_inflated(found: list[Tuned]) -> None:
    mean = curse_of(found).printed

    assert mean.count > 50
    assert abs(mean.value) <= POINTS + REACH * mean.error


def test_the_best_of_a_screen_is_inflated(found: list[Tuned]) -> None:
    mean = curse_of(found).screen

    assert mean.value > POINTS + REACH * mean.error


def test_identical_candidates_are_never_claimed_faster() -> None:
    rng = np.random.default_rng(402)

    assert not any(one.is_claimed for noise in NOISES for one in tunings(noise, rng, repeats=20, spread=0.0))


def test_a_mean_knows_its_error() -> None:
    mean = mean_of([1.0, 2.0, 3.0])

    assert (mean.value, mean.count) == (2.0, 3)
    assert mean.error == pytest.approx(3**-0.5)
    assert mean_of([]).count == 0
