import math

import pytest

from fakes import MS, make_result
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.results import FailureKind, Trial, TrialFailure, TrialResult
from infer_opt.search.quiet import in_quiet, stock_levels

CONFIGS = [TrialConfig(options=SessionOptions(intra_threads=count)) for count in range(1, 9)]
SLOWED = 0.4  # ln(time)


def trial(number: int, log_ratio: float, *, slow: float = 0.0) -> TrialResult:
    return make_result(CONFIGS[number], log_ratio, log_ratio_error=0.03, baseline_ns=MS * math.exp(slow))


QUIET: list[Trial] = [trial(number, -0.1) for number in range(5)]


def test_levels_are_those_of_trials_that_ran_and_know_theirs() -> None:
    failure = TrialFailure(config=CONFIGS[6], kind=FailureKind.PARITY, reason="wrong answers")

    assert stock_levels([trial(0, 0.0), failure, make_result(CONFIGS[1])]) == pytest.approx([math.log(MS)])


def test_on_a_quiet_machine_nothing_is_moved() -> None:
    assert in_quiet(QUIET) == tuple(QUIET)


def test_a_trial_beside_a_slow_stock_is_moved_by_half_of_it_and_doubted_by_as_much() -> None:
    found = in_quiet([*QUIET, trial(5, -0.5, slow=SLOWED)])[-1]

    assert isinstance(found, TrialResult)
    assert found.log_ratio == pytest.approx(-0.3)
    assert found.log_ratio_error == pytest.approx(math.hypot(0.03, 0.2))


def test_both_ends_of_what_may_be_true_lie_within_the_error() -> None:
    found = in_quiet([*QUIET, trial(5, -0.5, slow=SLOWED)])[-1]

    assert isinstance(found, TrialResult)
    for truth in (-0.5, -0.5 + SLOWED):  # it was slowed as much as stock, or not at all
        assert abs(found.log_ratio - truth) <= found.log_ratio_error


def test_failures_and_trials_of_older_releases_are_left_as_they_are() -> None:
    failure = TrialFailure(config=CONFIGS[6], kind=FailureKind.PARITY, reason="wrong answers")
    old = make_result(CONFIGS[7], -0.2)

    assert in_quiet([*QUIET, failure, old])[-2:] == (failure, old)
