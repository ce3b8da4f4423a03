import random
from collections.abc import Sequence

import pytest

from fakes import MS, FakeRig, World, make_readings, make_result, make_rig
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.errors import ModelError
from infer_opt.results import Parity, Trial, TrialFailure, TrialResult
from infer_opt.screening import costs_of, screen
from infer_opt.search.strategies import Problem, open_strategy
from infer_opt.trials import Stock
from infer_opt.workers.messages import Check, Measure
from infer_opt.workers.process import WorkerError

STOCK = TrialConfig()
SPACE = tuple(TrialConfig(options=SessionOptions(intra_threads=count)) for count in (1, 2, 3, 4))
FAST, SLOW, *_ = SPACE


def stock_of(rig: FakeRig) -> Stock:
    return Stock(
        entrant=rig.world.entrant(STOCK, "stock"),
        setup_s=0.5,
        round_s=0.02,
        result=make_result(STOCK, readings=make_readings(MS)),
        metric=None,
        self_parity=Parity(score=1.0, passed=True, outputs=(), samples=8),
        checked=8,
    )


def always(done: Sequence[Trial], waiting: Sequence[TrialConfig], cost_s: float) -> bool:
    return True


def world(**changes: object) -> World:
    return World(latency_ns={FAST: 0.5 * MS, SLOW: 2.0 * MS}, **changes)  # type: ignore[arg-type]


def exhaustive(space: tuple[TrialConfig, ...] = SPACE) -> Problem:
    return Problem(candidates=space, stock=STOCK, most=len(space))


def screened(rig: FakeRig, **changes: object) -> tuple[Trial, ...]:
    settings: dict[str, object] = {"generator": random.Random(0), "goes_on": always}
    strategy = open_strategy("exhaustive", exhaustive())
    return screen(rig, strategy, stock_of(rig), **(settings | changes))  # type: ignore[arg-type]


def test_everything_that_the_strategy_asks_for_is_measured_against_stock() -> None:
    trials = screened(make_rig(world()))

    assert [trial.config for trial in trials] == list(SPACE)
    ratios = [trial.log_ratio for trial in trials if isinstance(trial, TrialResult)]
    assert ratios[0] < -0.6 < 0.6 < ratios[1]


def test_each_trial_is_handed_over_before_the_next_begins() -> None:
    kept: list[Trial] = []
    seen: list[int] = []

    def goes_on(done: Sequence[Trial], waiting: Sequence[TrialConfig], cost_s: float) -> bool:
        seen.append(len(kept))
        return True

    trials = screened(make_rig(world()), goes_on=goes_on, keep=kept.append)

    assert tuple(kept) == trials
    assert seen == [0, 1, 2, 3]


def test_time_that_is_over_ends_the_screen_between_two_trials() -> None:
    trials = screened(make_rig(world()), goes_on=lambda done, waiting, cost_s: len(done) < 2)

    assert [trial.config for trial in trials] == [FAST, SLOW]


def test_the_first_trial_is_expected_to_cost_what_stock_took() -> None:
    rig = make_rig(world())
    asked: list[float] = []

    def goes_on(done: Sequence[Trial], waiting: Sequence[TrialConfig], cost_s: float) -> bool:
        asked.append(cost_s)
        return True

    screened(rig, goes_on=goes_on)
    costs = costs_of(stock_of(rig))

    assert asked[0] == pytest.approx(costs.open_s + costs.rounds_s)
    assert costs.open_s > 0.5
    assert asked[-1] < asked[0]  # fakes take no time


def test_trials_of_an_earlier_call_are_not_measured_again() -> None:
    rig = make_rig(world())
    earlier = make_result(FAST, -0.7)

    trials = screened(rig, done=[earlier])

    assert trials[0] is earlier
    assert [trial.config for trial in trials[1:]] == list(SPACE[1:])
    assert not any(worker.config == FAST for worker in rig.world.workers)


def test_a_failure_is_a_trial_and_the_screen_goes_on() -> None:
    crash = WorkerError("the worker crashed with SIGSEGV")
    trials = screened(make_rig(world(scripts={FAST: {Check: crash}})))

    assert isinstance(trials[0], TrialFailure)
    assert trials[0].reason == crash.what
    assert len(trials) == len(SPACE)


def test_the_death_of_stock_ends_the_screen_with_a_hint() -> None:
    rig = make_rig(world(scripts={STOCK: {Measure: WorkerError("the worker crashed with SIGKILL")}}))

    with pytest.raises(ModelError, match="the stock session died") as caught:
        screened(rig)

    assert caught.value.hint == "try again with --resume"


def test_nothing_to_ask_is_no_error() -> None:
    rig = make_rig(world())
    strategy = open_strategy("exhaustive", exhaustive(()))

    assert screen(rig, strategy, stock_of(rig), generator=random.Random(0), goes_on=always) == ()
