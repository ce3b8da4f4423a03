from collections.abc import Sequence

import pytest

from fakes import make_result
from infer_opt.config import Route, SessionOptions, TrialConfig
from infer_opt.recipes import Calibration, Quantisation, Recipe
from infer_opt.results import FailureKind, Trial, TrialFailure
from infer_opt.search.feasibility import GivenUp, chances, hopeless

DYNAMIC = Recipe(quantise=Quantisation())
KIN = Recipe(quantise=Quantisation(per_channel=True))
STATIC = Recipe(quantise=Quantisation(calibration=Calibration.MINMAX))


STOCK = TrialConfig()


def route(recipe: Recipe, runtime: str = "onnx") -> Route:
    return runtime, recipe


def failure(recipe: Recipe, kind: FailureKind = FailureKind.PARITY, runtime: str = "onnx") -> TrialFailure:
    return TrialFailure(config=TrialConfig(recipe=recipe, runtime=runtime), kind=kind, reason="wrong answers")


def likely(recipes: Sequence[Recipe], done: Sequence[Trial]) -> dict[Recipe, float]:
    found = chances([route(recipe) for recipe in recipes], done, stock=STOCK)
    return {recipe: chance for (_, recipe), chance in found.items()}


def test_a_recipe_that_failed_is_less_likely_to_run_and_its_kin_too() -> None:
    before = likely([DYNAMIC, KIN, STATIC], [])
    after = likely([DYNAMIC, KIN, STATIC], [failure(DYNAMIC)])

    assert before == {DYNAMIC: pytest.approx(0.9), KIN: pytest.approx(0.9), STATIC: pytest.approx(0.9)}
    assert after[DYNAMIC] < after[KIN] < after[STATIC] == pytest.approx(0.9)


def test_chances_are_beta_means_shrunk_to_the_kind() -> None:
    kind = (0 + 2 * 0.9) / (1 + 2)

    assert likely([DYNAMIC], [failure(DYNAMIC)])[DYNAMIC] == pytest.approx((0 + 2 * kind) / (1 + 2))


def test_a_recipe_that_ran_is_likelier_to_run_again() -> None:
    assert likely([DYNAMIC], [make_result(TrialConfig(recipe=DYNAMIC))])[DYNAMIC] > 0.9


def test_what_one_engine_cannot_do_says_nothing_of_another() -> None:
    there = route(STATIC, "openvino")
    done = [failure(STATIC), failure(STATIC)]

    found = chances([route(STATIC), there], done, stock=STOCK)

    assert found[route(STATIC)] < found[there] == pytest.approx(0.9)
    assert TrialConfig(recipe=STATIC, runtime="openvino") not in hopeless(done, stock=STOCK)


@pytest.mark.parametrize("kind", [FailureKind.PARITY, FailureKind.BUILD, FailureKind.OPEN])
def test_a_recipe_that_failed_for_good_twice_is_given_up(kind: FailureKind) -> None:
    once, twice = [failure(DYNAMIC, kind)], [failure(DYNAMIC, kind)] * 2

    assert TrialConfig(recipe=DYNAMIC) not in hopeless(once, stock=STOCK)
    assert TrialConfig(recipe=DYNAMIC, batch=4) in hopeless(twice, stock=STOCK)
    assert TrialConfig(recipe=KIN) not in hopeless(twice, stock=STOCK)


def test_a_recipe_that_ran_once_is_not_given_up() -> None:
    done: list[Trial] = [failure(DYNAMIC), make_result(TrialConfig(recipe=DYNAMIC)), failure(DYNAMIC)]

    assert hopeless(done, stock=STOCK) == GivenUp()


def test_failures_of_options_give_up_no_recipe() -> None:
    assert hopeless([failure(DYNAMIC, FailureKind.TIMEOUT)] * 3, stock=STOCK) == GivenUp()


def test_an_engine_that_refuses_the_model_is_given_up_with_all_its_recipes() -> None:
    refused = [failure(recipe, FailureKind.OPEN, "openvino") for recipe in (Recipe(), STATIC)]

    assert TrialConfig(recipe=DYNAMIC, runtime="openvino") not in hopeless(refused[:1], stock=STOCK)
    assert TrialConfig(recipe=DYNAMIC, runtime="openvino") in hopeless(refused, stock=STOCK)
    assert TrialConfig(recipe=DYNAMIC) not in hopeless(refused, stock=STOCK)


def test_the_model_as_given_is_never_given_up() -> None:
    wrong = [
        TrialFailure(
            config=TrialConfig(options=SessionOptions(intra_threads=count)), kind=FailureKind.PARITY, reason="no"
        )
        for count in (1, 2, 3)
    ]

    assert hopeless(wrong, stock=STOCK) == GivenUp()
