"""Batch sizes are climbed to their knee, on curves made by hand."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from fakes import make_result
from infer_opt.config import Objective, Provider, SessionOptions, TrialConfig
from infer_opt.results import FailureKind, Trial, TrialFailure
from infer_opt.search.knee import Climbing, knee, lane, next_batch, open_search
from infer_opt.search.screen import Exhaustive
from infer_opt.search.space import candidates
from infer_opt.search.strategies import Problem
from infer_opt.search.surroundings import Surroundings, stock

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SPACE = Surroundings(
    providers=(Provider.CPU,),
    usable_cores=4.0,
    physical_cores=4,
    batches=BATCHES,
    objective=Objective.THROUGHPUT,
    dynamic_operators=frozenset({"MatMul"}),
)
Rate = Callable[[TrialConfig], float | None]  # items a second over stock's; None breaks a limit


def logs(curve: Mapping[int, float | None]) -> dict[int, float | None]:
    return {batch: None if rate is None else math.log(rate) for batch, rate in curve.items()}


# The rule


@pytest.mark.parametrize(
    ("curve", "wanted"),
    [
        ({1: 1.0, 2: 1.8, 4: 2.9, 8: 3.0, 16: 3.1}, 4),  # 8 gives 3 % more than 4
        ({1: 1.0, 2: 0.9, 4: 3.0}, 1),  # the climb ends at the first step that does not gain
        ({1: 1.0, 2: 2.0, 4: 4.0}, 4),
        ({1: 1.0}, 1),
        ({1: 1.0, 2: 2.0, 4: None}, 2),  # 4 breaks the limit
        ({1: None, 2: None}, None),
        ({1: None, 2: 1.0, 4: 1.3}, 4),
        ({1: 1.0, 8: 1.2}, 8),  # 20 % for three doublings is more than 5 % for each ...
        ({1: 1.0, 8: 1.1}, 1),  # ... and 10 % is not
    ],
)
def test_the_knee_is_where_twice_the_batch_gains_less_than_five_per_cent(
    curve: Mapping[int, float | None], wanted: int | None
) -> None:
    assert knee(logs(curve)) == wanted


@pytest.mark.parametrize(
    ("curve", "begin", "wanted"),
    [
        ({}, 1, 1),
        ({}, 8, 8),
        ({1: 1.0}, 1, 2),
        ({1: 1.0, 2: 1.9}, 1, 4),
        ({1: 1.0, 2: 1.9, 4: 1.92}, 1, None),  # the first batch beyond the knee is the last that is tried
        ({1: 1.0, 2: 1.9, 4: None}, 1, None),  # a larger batch only takes longer
        ({8: None}, 8, 4),  # too slow: smaller ones, until one keeps the limit
        ({8: None, 4: None}, 8, 2),
        ({8: None, 4: 2.0}, 8, 2),  # 4 does; is it the knee?
        ({8: None, 4: 2.0, 2: 1.5}, 8, None),
        ({8: 3.0, 16: 3.01}, 8, 4),  # the knee lies at 8 or below
        ({8: 3.0, 16: 3.01, 4: 2.99}, 8, 2),
        ({8: 3.0, 16: 3.01, 4: 2.99, 2: 2.0}, 8, None),
        (dict.fromkeys(BATCHES), 64, None),
        ({batch: float(batch) for batch in BATCHES}, 1, None),  # it gains to the end
    ],
)
def test_batches_grow_until_one_is_beyond_the_knee(
    curve: Mapping[int, float | None], begin: int, wanted: int | None
) -> None:
    assert next_batch(logs(curve), BATCHES, begin=begin) == wanted


# The search


def trial(config: TrialConfig, rate: Rate) -> Trial:
    found = rate(config)
    if found is None:
        return TrialFailure(config=config, kind=FailureKind.CONSTRAINT, reason="has a p99 of 30 ms, above 20 ms")
    return make_result(config, -math.log(found))


def problem(surroundings: Surroundings = SPACE, *, most: int = 10) -> Problem:
    return Problem(candidates=candidates(surroundings), stock=stock(surroundings), most=most, cores=4)


def searched(rate: Rate, given: Problem, name: str = "exhaustive", done: Sequence[Trial] = ()) -> list[Trial]:
    strategy, trials = open_search(name, given), list(done)
    while waiting := strategy.next(trials):
        trials.append(trial(waiting[0], rate))
        assert len(trials) < 200
    return trials


def saturating(config: TrialConfig) -> float:
    """Throughput that batches raise up to 8, several instances by a half, and one thread lowers by a third."""
    by_batch = config.batch / (1 + config.batch / 4)
    return by_batch * (1.5 if config.instances > 1 else 1.0) * (1 / 3 if config.options.intra_threads == 1 else 1.0)


def batches_of(trials: Sequence[Trial], one: TrialConfig) -> list[int]:
    return [found.config.batch for found in trials if lane(found.config) == one]


def test_stock_is_climbed_first_and_no_further_than_beyond_its_knee() -> None:
    rate: Mapping[int, float] = {1: 1.0, 2: 1.8, 4: 3.0, 8: 3.05}

    trials = searched(lambda config: rate.get(config.batch, 9.9), problem())

    assert [one.config for one in trials[:3]] == [TrialConfig(batch=batch) for batch in (2, 4, 8)]
    assert max(one.config.batch for one in trials) == 8


def test_everything_else_is_searched_at_the_best_batch_of_the_climb() -> None:
    trials = searched(saturating, problem())
    climbed = {TrialConfig(batch=batch) for batch in BATCHES}

    rest = [one.config for one in trials if one.config not in climbed and one.config.instances == 1]
    assert rest
    assert len({config.batch for config in rest}) <= 2  # the best, and one step of the best two lanes
    assert len(trials) < len(problem().candidates) / 4


def test_instances_are_tried_where_the_climb_of_stock_ended() -> None:
    trials = searched(saturating, problem())
    wide = {lane(one.config) for one in trials if one.config.instances > 1}

    assert {(one.instances, one.options.intra_threads) for one in wide} >= {(2, 2), (4, 1)}
    ends = knee({1: 0.0} | {one.config.batch: math.log(saturating(one.config)) for one in trials[:6]})
    first = next(one.config for one in trials if one.config.instances > 1)
    assert first.batch == ends


@pytest.mark.parametrize(("best", "tried"), [(32, [32, 16]), (8, [32, 16, 8, 4]), (2, [32, 16, 8, 4, 2])])
def test_ways_to_share_many_cores_are_tried_up_to_the_first_that_gives_less(best: int, tried: list[int]) -> None:
    large = replace(SPACE, usable_cores=32.0, physical_cores=32, dynamic_operators=frozenset())

    def rate(config: TrialConfig) -> float:
        return 2.0 - abs(math.log2(config.instances / best)) / 10 if config.instances > 1 else 1.0

    trials = searched(rate, problem(large, most=1))

    wide = [one.config.instances for one in trials if one.config.instances > 1]
    assert list(dict.fromkeys(wide)) == tried


def test_a_limit_on_latency_ends_the_climb_and_smaller_batches_are_tried_with_more_sessions() -> None:
    def limited(config: TrialConfig) -> float | None:
        slow = config.batch * (4 if config.instances > 1 else 1)  # fewer threads for a call
        return None if slow > 16 else saturating(config)

    trials = searched(limited, problem())

    assert batches_of(trials, TrialConfig()) == [2, 4, 8, 16, 32]
    pair = TrialConfig(options=SessionOptions(intra_threads=2), instances=2)
    assert batches_of(trials, pair)[:3] == [16, 8, 4]
    assert isinstance(next(one for one in trials if one.config == replace(pair, batch=8)), TrialFailure)


def test_the_best_two_are_climbed_on_in_the_end() -> None:
    def rate(config: TrialConfig) -> float:
        # INT8 goes on gaining where float does not.
        return config.batch if config.recipe.quantise else min(config.batch, 4) + config.batch / 100

    trials = searched(rate, problem(most=30))

    best = max(trials, key=lambda one: rate(one.config))
    assert best.config.recipe.quantise is not None
    assert best.config.batch == 64


@pytest.mark.parametrize("name", ["exhaustive", "gp", "random"])
def test_a_search_that_was_cut_off_goes_on_as_it_would_have(name: str) -> None:
    whole = searched(saturating, problem(), name)

    for cut in range(0, len(whole), 5):
        assert searched(saturating, problem(), name, whole[:cut]) == whole


@pytest.mark.parametrize("name", ["exhaustive", "gp", "random"])
def test_nothing_is_tried_twice_and_only_candidates_are(name: str) -> None:
    given = problem()
    tried = [one.config for one in searched(saturating, given, name)]

    assert len(set(tried)) == len(tried)
    assert set(tried) <= set(given.candidates)


def test_all_that_was_tried_may_race() -> None:
    given = problem()
    trials = searched(saturating, given)
    strategy = open_search("gp", given)

    hopeful = strategy.promising(trials, most=3)

    assert saturating(hopeful[0].config) == max(saturating(one.config) for one in trials)
    assert strategy.promising([], most=3) == ()


def test_batches_that_the_user_named_are_climbed_from_the_smallest() -> None:
    named = replace(SPACE, batches=(8, 1, 32))

    trials = searched(saturating, problem(named))

    assert [one.config for one in trials[:2]] == [TrialConfig(batch=1), TrialConfig(batch=32)]


def test_a_space_of_one_batch_is_searched_as_ever() -> None:
    assert isinstance(open_search("exhaustive", problem(replace(SPACE, batches=(4,)))), Exhaustive)
    assert isinstance(open_search("exhaustive", problem()), Climbing)


def test_a_model_that_takes_no_batch_at_all_is_searched_at_one_item() -> None:
    trials = searched(lambda config: None if config.batch > 1 else saturating(config), problem())

    assert [one.config.batch for one in itertools.takewhile(lambda one: isinstance(one, TrialFailure), trials)] == [2]
    assert {one.config.batch for one in trials[1:]} <= {1, 2}
