"""Row 9: what slow first runs leave in the measurement, or that it was flagged."""

import numpy as np
import pytest
from benchmarks.simulation.workings import MOST_BIAS, SHAPES, WarmedUp, mean_of, warmed_up

REACH = 3.3  # standard errors: a mean strays further once in 1,000
# Beginnings that the warm-up can outlast. benchmarks/results/simulation.json says what longer ones leave.
LENGTHS_S = (0.05, 0.4)


@pytest.fixture(scope="module", params=SHAPES)
def found(request: pytest.FixtureRequest) -> list[WarmedUp]:
    return warmed_up(request.param, np.random.default_rng(501), repeats=80, lengths_s=LENGTHS_S)


def test_slow_first_runs_leave_no_bias(found: list[WarmedUp]) -> None:
    mean = mean_of([one.bias for one in found if not one.is_flagged])

    assert mean.count > 40
    assert abs(mean.value) <= MOST_BIAS + REACH * mean.error


def test_ten_warm_up_runs_would_leave_a_bias(found: list[WarmedUp]) -> None:
    mean = mean_of([one.bias_without for one in found])

    assert mean.value > MOST_BIAS


def test_runs_that_are_steady_from_the_start_are_not_flagged() -> None:
    found = warmed_up("step", np.random.default_rng(502), repeats=20, lengths_s=(1e-9, 2e-9))

    assert not any(one.is_flagged for one in found)
    assert [one.bias for one in found] == [0.0] * 20
