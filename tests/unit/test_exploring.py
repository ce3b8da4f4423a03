from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fakes import World, make_rig
from infer_opt import exploring
from infer_opt.config import Provider
from infer_opt.errors import ModelError
from infer_opt.exploring import LEAST_S, OFFERED, explore, offered, refuted
from infer_opt.recipes import Calibration, Quantisation, Recipe
from infer_opt.results import Frontier, PrecisionPoint
from infer_opt.search.space import candidates, explorable
from infer_opt.search.surroundings import Surroundings

SURROUNDINGS = Surroundings(
    providers=(Provider.CPU,),
    usable_cores=2.0,
    physical_cores=2,
    has_vnni=True,
    can_calibrate=True,
    dynamic_operators=frozenset({"MatMul"}),
    static_operators=frozenset({"MatMul"}),
    fusable=("bert",),
)
DYNAMIC = Recipe(fuse="bert", quantise=Quantisation(per_channel=True))
STATIC = Recipe(quantise=Quantisation(calibration=Calibration.PERCENTILE, per_channel=True))


def point(*floats: str, saved_ns: float = 1.0, passed: bool = True) -> PrecisionPoint:
    return PrecisionPoint(layers=9 - len(floats), floats=floats, saved_ns=saved_ns, score=0.995, passed=passed)


def frontier(recipe: Recipe = DYNAMIC, *points: PrecisionPoint) -> Frontier:
    return Frontier(recipe=recipe, call_ns=1e6, layers=(), points=points)


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Recipe], Frontier]], list[dict[str, Any]]]:
    """Puts a function in the place of the exploring process; gives the list of what it was asked."""

    def place(answer: Callable[[Recipe], Frontier]) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def run_task(target: str, model: object, recipe: Recipe, **settings: Any) -> Frontier:
            assert target == "infer_opt.precision:explore"
            asked.append({"recipe": recipe, **settings})
            return answer(recipe)

        monkeypatch.setattr(exploring, "run_task", run_task)
        return asked

    return place


def test_the_likeliest_way_of_each_kind_is_explorable() -> None:
    assert explorable(SURROUNDINGS) == (DYNAMIC, STATIC)


def test_nothing_is_explorable_on_a_gpu_alone() -> None:
    on_gpu = Surroundings(
        providers=(Provider.CUDA,), usable_cores=2.0, physical_cores=2, dynamic_operators=frozenset({"MatMul"})
    )

    assert explorable(on_gpu) == ()


def test_nothing_is_explorable_with_operators_of_somebody_else() -> None:
    assert explorable(replace(SURROUNDINGS, custom_ops=("ops.so",))) == ()


def test_the_next_way_has_what_the_likeliest_leaves_and_each_is_kept_at_once(task: Any) -> None:
    asked = task(frontier)
    kept: list[Frontier] = []

    found = explore(make_rig(World()), SURROUNDINGS, seconds=30.0, keep=kept.append)

    first, second = (one["seconds"] for one in asked)
    assert 29.0 < second <= first <= 30.0
    assert list(found) == kept == [frontier(DYNAMIC), frontier(STATIC)]


def test_what_an_earlier_call_found_is_not_looked_for_again(task: Any) -> None:
    asked = task(frontier)

    found = explore(make_rig(World()), SURROUNDINGS, seconds=30.0, known=[frontier(DYNAMIC)])

    assert [one["recipe"] for one in asked] == [STATIC]
    assert [one.recipe for one in found] == [DYNAMIC, STATIC]


def test_a_way_that_fails_does_not_stop_the_other(task: Any) -> None:
    def answer(recipe: Recipe) -> Frontier:
        if recipe == DYNAMIC:
            raise ModelError("the quantiser refuses it")
        return frontier(recipe)

    task(answer)

    assert [one.recipe for one in explore(make_rig(World()), SURROUNDINGS, seconds=30.0)] == [STATIC]


def test_too_little_time_is_not_spent_at_all(task: Any) -> None:
    asked = task(frontier)

    assert explore(make_rig(World()), SURROUNDINGS, seconds=LEAST_S - 0.1) == ()
    assert asked == []


def test_offered_are_the_first_that_passed_and_are_not_all_int8() -> None:
    points = [point(), point("a", passed=False), *(point(*"abcde"[:count]) for count in range(1, 6))]

    recipes = offered([frontier(DYNAMIC, *points)])

    assert [recipe.quantise and recipe.quantise.floats for recipe in recipes] == [("a",), ("a", "b"), ("a", "b", "c")]
    assert len(recipes) == OFFERED
    assert all(recipe.fuse == "bert" for recipe in recipes)


def test_a_way_that_fails_as_a_whole_is_refuted_unless_by_a_hair() -> None:
    def whole(score: float) -> PrecisionPoint:
        return PrecisionPoint(layers=3, floats=(), saved_ns=5.0, score=score, passed=score >= 0.99)

    found = refuted([frontier(DYNAMIC, whole(0.95)), frontier(STATIC, whole(0.9899), point("a"))], tolerance=0.99)

    assert found == (DYNAMIC,)
    assert refuted([frontier(DYNAMIC, whole(0.995))], tolerance=0.99) == ()


def test_what_was_refuted_is_not_tried_and_its_kin_come_last() -> None:
    mixed = offered([frontier(DYNAMIC, point("a"))])
    space = candidates(replace(SURROUNDINGS, mixed=mixed, refuted=(DYNAMIC,)))

    recipes = list(dict.fromkeys(config.recipe for config in space))
    kinds = [recipe.quantise.is_static for recipe in recipes if recipe.quantise and not recipe.quantise.floats]

    assert DYNAMIC not in recipes
    assert DYNAMIC in {config.recipe for config in candidates(SURROUNDINGS)}
    assert recipes.index(mixed[0]) < 3
    assert kinds == sorted(kinds, reverse=True)  # static ones, then dynamic ones


def test_what_is_offered_is_in_the_space_and_crossed_with_the_options() -> None:
    mixed = offered([frontier(DYNAMIC, point("a"))])

    space = candidates(replace(SURROUNDINGS, mixed=mixed))

    assert sum(config.recipe == mixed[0] for config in space) > 5
    assert [config.recipe for config in space[:4]].count(mixed[0]) >= 1
