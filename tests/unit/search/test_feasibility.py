import pytest

from fakes import make_result
from infer_opt.config import Calibration, Quantisation, Recipe, SessionOptions, TrialConfig
from infer_opt.results import FailureKind, TrialFailure
from infer_opt.search.feasibility import chances, hopeless

DYNAMIC = Recipe(quantise=Quantisation())
KIN = Recipe(quantise=Quantisation(per_channel=True))
STATIC = Recipe(quantise=Quantisation(calibration=Calibration.MINMAX))


def failure(recipe: Recipe, kind: FailureKind = FailureKind.PARITY) -> TrialFailure:
    return TrialFailure(config=TrialConfig(recipe=recipe), kind=kind, reason="wrong answers")


def test_a_recipe_that_failed_is_less_likely_to_run_and_its_kin_too() -> None:
    before = chances([DYNAMIC, KIN, STATIC], [])
    after = chances([DYNAMIC, KIN, STATIC], [failure(DYNAMIC)])

    assert before == {DYNAMIC: pytest.approx(0.9), KIN: pytest.approx(0.9), STATIC: pytest.approx(0.9)}
    assert after[DYNAMIC] < after[KIN] < after[STATIC] == pytest.approx(0.9)


def test_chances_are_beta_means_shrunk_to_the_kind() -> None:
    kind = (0 + 2 * 0.9) / (1 + 2)

    assert chances([DYNAMIC], [failure(DYNAMIC)])[DYNAMIC] == pytest.approx((0 + 2 * kind) / (1 + 2))


def test_a_recipe_that_ran_is_likelier_to_run_again() -> None:
    assert chances([DYNAMIC], [make_result(TrialConfig(recipe=DYNAMIC))])[DYNAMIC] > 0.9


@pytest.mark.parametrize("kind", [FailureKind.PARITY, FailureKind.BUILD])
def test_a_recipe_whose_artefact_failed_twice_is_given_up(kind: FailureKind) -> None:
    assert hopeless([failure(DYNAMIC, kind)]) == frozenset()
    assert hopeless([failure(DYNAMIC, kind)] * 2) == {DYNAMIC}


def test_a_recipe_that_ran_once_is_not_given_up() -> None:
    assert hopeless([failure(DYNAMIC), make_result(TrialConfig(recipe=DYNAMIC)), failure(DYNAMIC)]) == frozenset()


def test_failures_of_options_give_up_no_recipe() -> None:
    assert hopeless([failure(DYNAMIC, FailureKind.TIMEOUT)] * 3) == frozenset()


def test_the_model_as_given_is_never_given_up() -> None:
    wrong = [
        TrialFailure(
            config=TrialConfig(options=SessionOptions(intra_threads=count)), kind=FailureKind.PARITY, reason="no"
        )
        for count in (1, 2, 3)
    ]

    assert hopeless(wrong) == frozenset()
