import math
from dataclasses import replace

import pytest

from fakes import make_result
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.recipes import Quantisation, Recipe
from infer_opt.results import FailureKind, Trial, TrialFailure
from infer_opt.search.belief import ANOTHER_DAY, MOST_ERROR, SLOW_ENOUGH, Space, believe, observations
from infer_opt.search.strategies import Costs, Problem

OPTIONS = tuple(SessionOptions(intra_threads=count, arena=arena) for count in (1, 2, 4) for arena in (True, False))
INT8 = Recipe(quantise=Quantisation())
CONFIGS = tuple(TrialConfig(recipe=recipe, options=options) for recipe in (Recipe(), INT8) for options in OPTIONS)


def space(*earlier: Trial, build_s: float = 2.0) -> Space:
    costs = Costs(build_s=build_s)
    return Space(Problem(candidates=CONFIGS, stock=TrialConfig(), most=12, cores=4, costs=costs, earlier=earlier))


def wrong(config: TrialConfig) -> TrialFailure:
    return TrialFailure(config=config, kind=FailureKind.PARITY, reason="wrong answers")


def test_stock_is_known_to_be_as_fast_as_itself() -> None:
    seen = observations(space(), [])

    assert seen.values.tolist() == [0.0]
    assert seen.variances.tolist() == [0.0]


def test_how_slow_a_slow_one_is_does_not_matter() -> None:
    seen = observations(space(), [make_result(CONFIGS[0], 2.3), make_result(CONFIGS[1], -2.3)])

    assert seen.values.tolist() == [0.0, SLOW_ENOUGH, -2.3]


@pytest.mark.parametrize("error", [math.inf, math.nan])
def test_an_error_that_nobody_knows_is_a_large_one(error: float) -> None:
    seen = observations(space(), [make_result(CONFIGS[0], 0.1, log_ratio_error=error)])

    assert seen.variances[1] == pytest.approx(MOST_ERROR**2)


def test_a_ratio_that_is_not_a_number_tells_nothing() -> None:
    broken = replace(make_result(CONFIGS[0]), log_ratio=math.nan)

    assert len(observations(space(broken), [broken]).values) == 1


def test_earlier_trials_count_for_less() -> None:
    earlier = make_result(CONFIGS[0], -0.2, log_ratio_error=0.04)

    seen = observations(space(earlier), [make_result(CONFIGS[1], -0.1, log_ratio_error=0.04)])

    assert seen.values.tolist() == [0.0, -0.1, -0.2]
    assert seen.variances[1:] == pytest.approx([0.04**2, 0.04**2 + ANOTHER_DAY**2])


def test_failed_trials_say_nothing_about_speed() -> None:
    assert len(observations(space(), [wrong(CONFIGS[0])]).values) == 1


def test_nothing_is_left_to_hope_for_when_all_was_tried() -> None:
    belief = believe(space(), [make_result(config, -0.1) for config in CONFIGS])

    assert belief.chance_left() == 0.0
    assert belief.batch(8) == ()


def test_the_best_is_stock_when_everything_is_slower() -> None:
    assert believe(space(), [make_result(config, 0.3) for config in CONFIGS]).best == 0.0


def test_a_chance_needs_something_that_runs() -> None:
    fast = [make_result(config, -0.5 - 0.1 * number) for number, config in enumerate(CONFIGS[:6])]
    hopeful = believe(space(), fast)
    doubtful = believe(space(wrong(CONFIGS[6]), wrong(CONFIGS[7]), wrong(CONFIGS[8])), fast)

    assert hopeful.chance_left() > 2 * doubtful.chance_left() > 0.0


def test_a_recipe_that_was_given_up_is_not_hoped_for() -> None:
    done = [make_result(config, -0.5) for config in CONFIGS[:5]] + [wrong(config) for config in CONFIGS[6:8]]

    assert believe(space(), done).batch(8) == (CONFIGS[5],)


def test_leaders_are_the_fastest_by_the_posterior_and_stock_is_none() -> None:
    done = [make_result(TrialConfig(), -0.9), make_result(CONFIGS[0], 0.2), make_result(CONFIGS[4], -0.4)]

    assert believe(space(), done).leaders() == (CONFIGS[4], CONFIGS[0])


def test_a_batch_has_as_many_as_were_asked_for_and_none_twice() -> None:
    batch = believe(space(), [make_result(CONFIGS[0], -0.1)]).batch(8)

    assert len(set(batch)) == 8
    assert CONFIGS[0] not in batch


def test_a_dear_artefact_must_promise_more() -> None:
    done = [make_result(CONFIGS[0], -0.1), make_result(CONFIGS[4], 0.1)]

    cheap = believe(space(build_s=0.0), done).batch(1)
    dear = believe(space(build_s=1e4), done).batch(1)

    # An INT8 model may do anything; other threads only so much.
    assert [config.recipe for config in cheap + dear] == [INT8, Recipe()]


def test_a_batch_does_not_ask_the_same_thing_four_times() -> None:
    """What the first of them will tell is known when the second is chosen."""
    done = [make_result(config, -0.1) for config in CONFIGS[:5]]

    first, second = believe(space(), done).batch(3)[:2]

    assert {first.recipe, second.recipe} != {Recipe()}
    assert first.options.intra_threads != second.options.intra_threads
