"""Additive effects on data whose effects are known."""

import math
import random
from itertools import product

import pytest

from infer_opt.errors import EvidenceError
from infer_opt.stats.effects import Effects, main_effects

STOCK = {"threads": "stock", "precision": "float", "arena": "yes"}


def settings(threads: str = "stock", precision: str = "float", arena: str = "yes") -> dict[str, str]:
    return {"threads": threads, "precision": precision, "arena": arena}


def crossed(noise: float, *, seed: int = 1) -> tuple[list[dict[str, str]], list[float]]:
    """One thread costs 0.3, INT8 saves 0.6, an arena is worth nothing; every combination once."""
    generator = random.Random(seed)
    found = [settings(*one) for one in product(("stock", "1"), ("float", "int8"), ("yes", "no"))]
    values = [
        0.3 * (one["threads"] == "1") - 0.6 * (one["precision"] == "int8") + generator.gauss(0, noise) for one in found
    ]
    return found, values


def by_level(found: Effects) -> dict[str, tuple[float, float, float]]:
    return {
        " + ".join(f"{knob}={level}" for knob, level in one.levels): (
            one.estimate.value,
            one.estimate.low,
            one.estimate.high,
        )
        for one in found.effects
        if one.estimate is not None
    }


def test_effects_that_add_up_are_found_again() -> None:
    found = main_effects(*crossed(0.0), STOCK)

    effects = by_level(found)
    assert effects["threads=1"][0] == pytest.approx(0.3)
    assert effects["precision=int8"][0] == pytest.approx(-0.6)
    assert effects["arena=no"][0] == pytest.approx(0.0)
    assert found.explained == pytest.approx(1.0)
    assert [one.trials for one in found.effects] == [4, 4, 4]


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    inside = 0
    for seed in range(400):
        _, low, high = by_level(main_effects(*crossed(0.05, seed=seed), STOCK))["precision=int8"]
        inside += low <= -0.6 <= high

    assert 0.91 <= inside / 400 <= 0.985


def test_what_is_worth_nothing_is_not_told_apart_from_nothing() -> None:
    _, low, high = by_level(main_effects(*crossed(0.05), STOCK))["arena=no"]

    assert low < 0 < high


def test_a_level_that_was_tried_beside_a_good_one_alone_gets_no_credit_for_it() -> None:
    """The plain mean over trials without an arena is -0.6 here; none of it is the arena's."""
    found = [settings(), settings(precision="int8"), settings(precision="int8", arena="no"), settings(threads="1"),
             settings(threads="1", precision="int8")]  # fmt: skip
    values = [0.0, -0.6, -0.6, 0.3, -0.3]

    assert by_level(main_effects(found, values, STOCK))["arena=no"][0] == pytest.approx(0.0)


def test_levels_that_always_came_together_have_one_effect_between_them() -> None:
    found = [settings(), settings("1", "int8"), settings(arena="no"), settings("1", "int8", "no")]

    effects = by_level(main_effects(found, [0.0, -0.4, 0.1, -0.3], STOCK))

    assert effects["threads=1 + precision=int8"][0] == pytest.approx(-0.4)
    assert effects["arena=no"][0] == pytest.approx(0.1)


def test_what_cannot_be_told_is_said_to_be_so() -> None:
    """Three levels of which each pair came once: the third is what the others leave."""
    found = [settings(), settings(precision="a"), settings(precision="b"), settings(precision="c")]
    found += [{**one, "threads": "1"} for one in found[1:]]
    found = [one for one in found if one["precision"] != "float" or one["threads"] == "stock"]
    whole = main_effects([*found[:1], *found[4:]], [0.0, 1.0, 2.0, 3.0], STOCK)

    assert {one.levels[0][0]: one.estimate for one in whole.effects if one.estimate is None} == {
        "precision": None,
        "threads": None,
    }


def test_as_many_effects_as_values_have_no_interval() -> None:
    found = main_effects([settings(), settings(threads="1")], [0.0, 0.3], STOCK)

    assert found.noise is None and found.explained is None
    assert math.isinf(by_level(found)["threads=1"][2])


def test_no_value_is_too_little_evidence() -> None:
    with pytest.raises(EvidenceError):
        main_effects([], [], STOCK)
