"""Limits on what a trial may take."""

import dataclasses

import pytest

from fakes import MB, MS, PASSED, World, make_readings, make_result, make_rig
from infer_opt.results import FailureKind, Trial, TrialFailure, TrialResult
from infer_opt.rig import Limits
from infer_opt.trials import quantiles_of, within_limits
from made_trials import TRIED, run


def limited(
    limits: Limits, *, p99_ns: float | None = None, peak: int | None = None, p90_ns: float | None = None
) -> Trial:
    readings = make_readings(1.0 * MS, p99_ns=p99_ns, peak_rss_bytes=peak)
    if p90_ns is not None:
        p90 = dataclasses.replace(readings.quantiles[0], q=0.9, value_ns=p90_ns)
        readings = dataclasses.replace(readings, quantiles=(*readings.quantiles, p90))
    return within_limits(make_rig(World(), limits=limits), make_result(TRIED, readings=readings))


def test_a_p99_above_the_limit_is_a_failed_constraint_with_its_readings() -> None:
    trial = limited(Limits(max_p99_ns=5.0 * MS), p99_ns=6.0 * MS)

    assert isinstance(trial, TrialFailure)
    assert (trial.kind, trial.reason) == (FailureKind.CONSTRAINT, "has a p99 of 6 ms, above 5 ms")
    assert trial.readings is not None
    assert trial.parity == PASSED


def test_a_p90_above_the_limit_of_p99_breaks_it_all_the_more() -> None:
    trial = limited(Limits(max_p99_ns=5.0 * MS), p90_ns=6.0 * MS)

    assert isinstance(trial, TrialFailure)
    assert trial.reason == "has a p90, and so a p99, of 6 ms, above 5 ms"


def test_a_median_above_the_limit_of_p99_breaks_it_whatever_the_evidence() -> None:
    trial = limited(Limits(max_p99_ns=0.9 * MS))

    assert isinstance(trial, TrialFailure)
    assert trial.reason == "has a p50, and so a p99, of 1 ms, above 0.9 ms"


@pytest.mark.parametrize(
    "trial",
    [
        limited(Limits(max_p99_ns=5.0 * MS), p99_ns=4.9 * MS),
        limited(Limits(max_p99_ns=5.0 * MS), p90_ns=4.0 * MS),
        limited(Limits(max_p99_ns=5.0 * MS)),  # no evidence breaks no limit
        limited(Limits(), p99_ns=1e12, peak=10**12),
        limited(Limits(max_memory_bytes=300 * MB), peak=300 * MB),
        limited(Limits(max_memory_bytes=1)),  # not available is not zero, and not too much
    ],
)
def test_what_keeps_the_limits_stays_a_result(trial: Trial) -> None:
    assert isinstance(trial, TrialResult)


def test_too_much_memory_is_a_failed_constraint() -> None:
    trial = limited(Limits(max_memory_bytes=100 * MB), peak=201 * MB)

    assert isinstance(trial, TrialFailure)
    assert trial.reason == "takes 201 MB at its peak, more than 100 MB"


def test_the_limits_are_part_of_a_trial() -> None:
    assert isinstance(run(World(), limits=Limits(max_memory_bytes=100 * MB)), TrialFailure)


def test_percentiles_are_given_in_order_and_only_with_evidence() -> None:
    few = quantiles_of([[[MS] * 10]])
    many = quantiles_of([[list(range(MS, MS + 100))] * 10])

    assert [one.q for one in few] == [0.5, 0.9, 0.95, 0.99]
    assert [one.value_ns is None for one in few] == [False, True, True, True]
    assert [one.value_ns is None for one in many] == [False, False, False, False]
