import pytest

from fakes import make_result
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.recipes import Quantisation, Recipe
from infer_opt.results import FailureKind, Trial, TrialFailure
from infer_opt.search.screen import Exhaustive, best, predicted, promising
from infer_opt.search.strategies import Problem

CONFIGS = tuple(TrialConfig(options=SessionOptions(intra_threads=count)) for count in range(1, 6))
ONE, TWO, THREE, FOUR, FIVE = CONFIGS
# Another recipe and other threads: two steps away from all of the above, one from its own kin.
QUANTISED = Recipe(quantise=Quantisation())
FAR = TrialConfig(recipe=QUANTISED, options=SessionOptions(arena=False))


def exhaustive(candidates: tuple[TrialConfig, ...], *, most: int) -> Exhaustive:
    return Exhaustive(Problem(candidates=candidates, stock=TrialConfig(), most=most))


def failure(config: TrialConfig) -> TrialFailure:
    return TrialFailure(config=config, kind=FailureKind.PARITY, reason="wrong answers")


def test_the_first_wave_is_the_first_candidates_in_order() -> None:
    assert exhaustive(CONFIGS, most=3).next([]) == (ONE, TWO, THREE)


def test_what_was_tried_is_not_tried_again_failed_or_not() -> None:
    strategy = exhaustive(CONFIGS, most=3)

    assert strategy.next([make_result(ONE), failure(THREE)]) == (TWO,)


def test_after_the_first_wave_come_the_untried_neighbours_of_the_best_two() -> None:
    near_two = TrialConfig(recipe=QUANTISED, options=TWO.options)
    near_three = TrialConfig(recipe=QUANTISED, options=THREE.options)
    strategy = exhaustive((ONE, TWO, THREE, near_three, FAR, near_two), most=3)
    done: list[Trial] = [make_result(ONE, 0.3), make_result(TWO, -0.3), make_result(THREE, -0.1)]

    # Those of the best first; ONE has a neighbour in no candidate left, FAR is nobody's.
    assert strategy.next(done) == (near_two, near_three)


def test_new_leaders_bring_their_neighbours_with_them() -> None:
    leader = TrialConfig(recipe=QUANTISED, options=TWO.options)
    kin = TrialConfig(recipe=QUANTISED, options=FIVE.options)
    strategy = exhaustive((ONE, TWO, FIVE, leader, kin), most=3)
    done: list[Trial] = [make_result(ONE, -0.3), make_result(TWO, -0.2), make_result(FIVE, -0.05)]

    assert strategy.next(done) == (leader,)
    assert strategy.next([*done, make_result(leader, -0.5)]) == (kin,)


def test_neighbours_come_in_the_order_of_what_their_parts_did_alone() -> None:
    alone = TrialConfig(recipe=QUANTISED)
    both = [TrialConfig(recipe=QUANTISED, options=config.options) for config in (ONE, TWO, THREE)]
    strategy = exhaustive((ONE, TWO, THREE, alone, *both), most=4)
    done: list[Trial] = [
        make_result(alone, -0.5),
        make_result(ONE, 0.1),
        make_result(TWO, -0.2),
        make_result(THREE, 0.7),
    ]

    # The third would take e^0.2 of stock's time: it is not worth a trial.
    assert strategy.next(done) == (both[1], both[0])
    assert predicted(both[1], done) == pytest.approx(-0.7)


def test_a_recipe_that_gives_wrong_answers_is_not_tried_with_other_options() -> None:
    alone = TrialConfig(recipe=QUANTISED)
    both = TrialConfig(recipe=QUANTISED, options=TWO.options)

    assert exhaustive((alone, TWO, both), most=2).next([failure(alone), make_result(TWO, -0.2)]) == ()
    assert exhaustive((alone, TWO, both), most=2).next([make_result(alone), make_result(TWO, -0.2)]) == (both,)


def test_what_parts_did_at_another_batch_size_predicts_nothing() -> None:
    batched = TrialConfig(options=ONE.options, batch=8)

    assert predicted(batched, [make_result(ONE, -0.4)]) == 0.0


def test_the_search_is_over_when_nothing_near_the_best_is_untried() -> None:
    strategy = exhaustive((ONE, TWO, FAR), most=2)

    assert strategy.next([make_result(ONE), make_result(TWO)]) == ()


def test_the_search_is_over_when_nothing_ran() -> None:
    assert exhaustive((ONE, TWO, THREE), most=2).next([failure(ONE), failure(TWO)]) == ()


def test_nothing_to_try_is_no_error() -> None:
    assert exhaustive((), most=5).next([]) == ()


def test_the_best_are_those_that_ran_the_fastest_first() -> None:
    done: list[Trial] = [make_result(ONE, 0.1), failure(TWO), make_result(THREE, -0.2)]

    assert [trial.config for trial in best(done)] == [THREE, ONE]


def test_promising_are_those_whose_interval_reaches_below_stock() -> None:
    done: list[Trial] = [
        make_result(ONE, 0.05, log_ratio_error=0.03),  # may be 0.9 % faster
        make_result(TWO, 0.05, log_ratio_error=0.02),  # is not
        make_result(THREE, -0.3, log_ratio_error=0.5),
        failure(FOUR),
    ]

    assert [trial.config for trial in promising(done, most=9)] == [THREE, ONE]
    assert [trial.config for trial in promising(done, most=1)] == [THREE]


def test_who_looked_fast_beside_a_slow_stock_does_not_crowd_out_the_others() -> None:
    done: list[Trial] = [
        make_result(ONE, -0.30, baseline_ns=1e6),
        make_result(TWO, -0.40, baseline_ns=1.6e6),  # between -0.40 and +0.07
        make_result(THREE, -0.20, baseline_ns=1e6),
    ]

    assert [trial.config for trial in promising(done, most=2)] == [ONE, THREE]
    assert promising(done, most=9)[-1].log_ratio == -0.40  # as it was measured
