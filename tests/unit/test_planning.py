from dataclasses import replace

import pytest

from fakes import MODEL, MS, PASSED, World, make_readings, make_result, make_rig
from infer_opt import planning
from infer_opt.config import Objective, SessionOptions, TrialConfig
from infer_opt.machine.cores import HardwareThread
from infer_opt.planning import LANES, max_wait_s, plan_of, points
from infer_opt.plans import Plan
from infer_opt.recipes import Quantisation, Recipe
from infer_opt.results import FailureKind, Trial, TrialFailure, TrialResult
from infer_opt.rig import Limits

STOCK = TrialConfig()
PAIR = TrialConfig(options=SessionOptions(intra_threads=1), instances=2)
BASELINE = make_result(STOCK)
WINNER = make_result(replace(PAIR, batch=4), -1.2)
TRIALS: tuple[Trial, ...] = (
    make_result(replace(STOCK, batch=4), -0.9),
    make_result(replace(STOCK, batch=2), -0.6),
    make_result(replace(STOCK, batch=8), -0.92),
    WINNER,
    TrialFailure(
        config=replace(PAIR, batch=8),
        kind=FailureKind.CONSTRAINT,
        reason="has a p99 of 30 ms, above 20 ms",
        parity=PASSED,
        readings=make_readings(9.0 * MS, p99_ns=30.0 * MS),
    ),
    TrialFailure(config=TrialConfig(recipe=Recipe(quantise=Quantisation())), kind=FailureKind.PARITY, reason="wrong"),
    make_result(TrialConfig(recipe=Recipe(normalise=True), batch=4), -0.8),
)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = tuple(HardwareThread(node=0, core=number, number=number) for number in range(2))
    monkeypatch.setattr(planning, "hardware_threads", lambda: threads)


def planned(winner: TrialResult = WINNER, **changes: object) -> Plan | None:
    rig = make_rig(World(), **({"objective": Objective.THROUGHPUT} | changes))
    return plan_of(rig, BASELINE, winner, TRIALS)


def test_a_plan_says_how_many_sessions_on_which_cores_and_how_far_to_batch() -> None:
    plan = planned()

    assert plan is not None
    assert (plan.instances, plan.threads, plan.cores) == (2, 1, ((0,), (1,)))
    assert (plan.batch, plan.max_batch) == (4, 4)
    assert plan.max_wait_s == pytest.approx(0.5 * MS * 2.718281828**-1.2 / 1e9, abs=1e-6)


def test_latency_has_no_plan() -> None:
    assert planned(objective=Objective.LATENCY) is None


def test_where_nothing_is_proven_the_plan_leaves_batching_as_it_is() -> None:
    plan = planned(BASELINE)

    assert plan is not None
    assert (plan.instances, plan.cores, plan.max_batch, plan.max_wait_s) == (1, (), None, None)


def test_a_model_that_takes_one_batch_alone_is_told_no_other() -> None:
    plan = planned(facts=replace(MODEL, batch_dim=None))

    assert plan is not None
    assert (plan.instances, plan.max_batch) == (2, None)


@pytest.mark.parametrize(
    ("limit_ms", "p99_ms", "wanted_ms"),
    [
        (None, 12.0, 5.0),  # half of a call
        (20.0, 12.0, 5.0),
        (14.0, 12.0, 2.0),  # what the limit leaves
        (12.0, 12.0, 0.0),
        (11.0, 12.0, 0.0),
        (12.0, None, 2.0),  # without evidence for p99, by the median
    ],
)
def test_nobody_waits_longer_than_the_limit_leaves(
    limit_ms: float | None, p99_ms: float | None, wanted_ms: float
) -> None:
    readings = make_readings(10.0 * MS, p99_ns=None if p99_ms is None else p99_ms * MS)
    limits = Limits(max_p99_ns=None if limit_ms is None else limit_ms * MS)

    assert max_wait_s(make_result(PAIR, readings=readings), limits) == pytest.approx(wanted_ms / 1e3)


def test_the_curve_goes_batch_by_batch_stock_first_and_then_the_winner() -> None:
    found = points(BASELINE, WINNER, TRIALS)

    assert [(one.name, one.batch) for one in found] == [
        ("stock", 1), ("stock", 2), ("stock", 4), ("stock", 8),
        ("1 thread · 2 instances", 4), ("1 thread · 2 instances", 8),
    ]  # fmt: skip
    assert [one.is_knee for one in found] == [False, False, True, False, True, False]
    assert [one.is_stock for one in found] == [True, *[False] * 5]
    assert [one.is_chosen for one in found] == [*[False] * 4, True, False]
    assert [one.limit for one in found][-1] == "has a p99 of 30 ms, above 20 ms"


def test_throughput_is_stocks_own_times_the_paired_ratio() -> None:
    found = points(BASELINE, WINNER, TRIALS)

    assert found[0].items_per_s == pytest.approx(1000.0)  # 1 ms each
    assert found[4].items_per_s == pytest.approx(1000.0 * 2.718281828**1.2)
    assert found[4].speedup == pytest.approx(2.718281828**1.2)
    assert found[5].speedup is None
    assert found[5].items_per_s == pytest.approx(1000.0 / 9)  # what was read of it, over what was read of stock


def test_a_configuration_of_which_one_batch_was_tried_shows_no_trade() -> None:
    assert {one.name for one in points(BASELINE, WINNER, TRIALS)} == {"stock", "1 thread · 2 instances"}


def test_not_every_configuration_is_told() -> None:
    many = [
        make_result(TrialConfig(options=SessionOptions(intra_threads=threads), batch=batch), -threads / 10)
        for threads in range(1, 20)
        for batch in (1, 2)
    ]

    assert len({one.name for one in points(BASELINE, WINNER, (*TRIALS, *many))}) == LANES
