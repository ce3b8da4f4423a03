import math
from typing import Any

import numpy as np
import pytest

from infer_opt.parity import compare, find_stale
from infer_opt.results import Parity

RANDOM = np.random.default_rng(3)
SCORES = [RANDOM.normal(size=(4, 10)).astype(np.float32) for _ in range(3)]


def single(reference: Any, answer: Any, *, tolerance: float = 0.99) -> Parity:
    return compare([{"y": reference}], [{"y": answer}], tolerance=tolerance)


def several(answers: list[Any], *, tolerance: float = 0.99) -> Parity:
    return compare([{"y": r} for r in SCORES], [{"y": a} for a in answers], tolerance=tolerance)


def floats(*values: float) -> Any:
    return np.array(values, np.float32)


# What passes


def test_equal_outputs_agree_entirely() -> None:
    parity = several(SCORES)

    assert parity.passed
    assert parity.reason is None
    assert parity.score == pytest.approx(1.0)
    assert parity.samples == 3
    (output,) = parity.outputs
    assert (output.relative_l2, output.largest_difference, output.top1) == (0.0, 0.0, 1.0)


def test_rounding_differences_pass() -> None:
    assert several([scores + np.float32(1e-5) for scores in SCORES], tolerance=0.9999).passed


@pytest.mark.parametrize(
    "values",
    [
        floats(),
        floats(0, 0, 0),
        np.array(["a", "b"], dtype=object),
        np.array([True, False]),
        np.array([[1, 2]], np.int64),
        floats(1, -math.inf, -math.inf),  # masks are honest outputs
        floats(1, math.nan),
        np.zeros((2, 0, 4), np.float32),
        floats(2.5),
        [{0: 0.25, 1: 0.75}, {0: 0.5, 1: 0.5}],  # a ZipMap
        [floats(1, 2), floats(3)],  # a sequence of tensors
    ],
    ids=str,
)
def test_any_kind_of_output_agrees_with_itself(values: Any) -> None:
    parity = single(values, values)

    assert parity.passed, parity.reason
    assert parity.score == pytest.approx(1.0)


def test_probabilities_in_maps_may_differ_by_rounding() -> None:
    assert single([{"a": 0.250001, "b": 0.75}], [{"b": 0.75, "a": 0.25}]).passed
    assert not single([{"a": 0.25, "b": 0.75}], [{"a": 0.35, "b": 0.65}]).passed


def test_half_precision_answers_are_compared_by_value() -> None:
    assert several([scores.astype(np.float16) for scores in SCORES], tolerance=0.999).passed


# What does not


def test_a_single_wrong_input_among_many_fails_the_trial() -> None:
    parity = several([SCORES[0], -SCORES[1], SCORES[2]])

    assert not parity.passed
    assert parity.score == pytest.approx(-1.0)
    assert parity.reason == "output y has cosine -1.0000 to stock, below 0.99"


def test_the_worst_output_decides_and_is_named() -> None:
    reference = {"good": SCORES[0], "bad": SCORES[1]}
    noise = RANDOM.normal(size=SCORES[1].shape)

    parity = compare([reference], [{"good": SCORES[0], "bad": SCORES[1] + noise}], tolerance=0.99)

    assert not parity.passed
    assert "output bad has cosine" in str(parity.reason)
    assert {output.name: output.cosine == pytest.approx(1.0) for output in parity.outputs} == {
        "good": True,
        "bad": False,
    }


@pytest.mark.parametrize(("tolerance", "passes"), [(0.90, True), (0.99, False)])
def test_the_tolerance_is_the_smallest_cosine_that_passes(tolerance: float, passes: bool) -> None:
    answers = [scores + 0.3 * RANDOM.normal(size=scores.shape) for scores in SCORES]

    assert several(answers, tolerance=tolerance).passed is passes


@pytest.mark.parametrize("factor", [0.5, 2.0, 1.4])
def test_a_wrong_scale_fails_although_its_cosine_is_one(factor: float) -> None:
    parity = several([scores * factor for scores in SCORES])

    assert parity.score == pytest.approx(1.0)
    assert not parity.passed
    assert "of its length away" in str(parity.reason)


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_fail_where_stock_has_numbers(strange: float) -> None:
    parity = single(floats(1, 2, 3), floats(1, strange, 3))

    assert (parity.passed, parity.score) == (False, 0.0)
    assert parity.reason == "output y: 1 of 3 values are NaN or infinite where stock's are not"


def test_a_mask_of_the_other_sign_fails() -> None:
    assert not single(floats(1, -math.inf), floats(1, math.inf)).passed


def test_a_model_that_gives_nothing_but_nan_proves_nothing() -> None:
    nothing = floats(math.nan, math.nan)

    parity = single(nothing, nothing)

    assert not parity.passed
    assert "stock itself gives nothing but NaN" in str(parity.reason)


@pytest.mark.parametrize(
    ("reference", "answer", "part"),
    [
        (floats(1, 2), floats(1, 2, 3), "shape [3] where stock gives [2]"),
        (floats(1, 2), np.array([1, 2]), "type int64 where stock gives float32"),
        ([{"a": 1.0}], floats(1.0), "another type than stock's"),
    ],
)
def test_outputs_of_another_form_fail(reference: Any, answer: Any, part: str) -> None:
    parity = single(reference, answer)

    assert (parity.passed, parity.score) == (False, 0.0)
    assert part in str(parity.reason)


def test_a_missing_output_fails() -> None:
    parity = compare([{"y": floats(1), "z": floats(2)}], [{"y": floats(1)}], tolerance=0.5)

    assert not parity.passed
    assert parity.reason == "output z: missing"


@pytest.mark.parametrize("tolerance", [0.0, 0.5])
def test_no_tolerance_forgives_nan(tolerance: float) -> None:
    assert not single(floats(1, 2), floats(1, math.nan), tolerance=tolerance).passed


def test_labels_are_compared_by_the_share_that_is_equal() -> None:
    parity = single(np.arange(100), np.where(np.arange(100) < 3, -1, np.arange(100)), tolerance=0.98)

    (output,) = parity.outputs
    assert (output.agreement, output.cosine) == (0.97, None)
    assert not parity.passed
    assert parity.reason == "output y has agreement 0.9700 to stock, below 0.98"


def test_one_number_is_compared_by_value_because_its_cosine_is_only_a_sign() -> None:
    assert single(floats(2.0), floats(2.001)).passed
    assert not single(floats(2.0), floats(3.0)).passed


def test_zeros_have_no_direction_but_only_zeros_agree_with_them() -> None:
    assert not single(floats(0, 0), floats(0.1, 0)).passed
    assert not single(floats(0.1, 0), floats(0, 0)).passed


# Classes


def test_top_1_is_the_share_of_equal_winners_over_all_inputs() -> None:
    answers = [scores.copy() for scores in SCORES]
    row = answers[0][0]
    winner = int(np.argmax(row))
    row[winner] = row.min() - 1

    (output,) = several(answers, tolerance=0.0).outputs

    assert output.top1 == pytest.approx(11 / 12)


@pytest.mark.parametrize("shape", [(4, 1), (4,), (2, 3, 10), (0, 10)])
def test_outputs_that_do_not_look_like_scores_have_no_top_1(shape: tuple[int, ...]) -> None:
    values = RANDOM.normal(size=shape).astype(np.float32)

    assert single(values, values).outputs[0].top1 is None


# Stale replays


def answers(*values: float) -> list[dict[str, Any]]:
    return [{"y": floats(value, 1.0)} for value in values]


def test_outputs_that_follow_their_inputs_are_not_stale() -> None:
    assert find_stale(answers(1, 2, 3), answers(1.01, 2.01, 3.01)) is None


def test_an_output_that_repeats_although_stocks_changes_is_stale() -> None:
    assert find_stale(answers(1, 2, 3), answers(1, 1, 3)) == (
        "output y stays the same when the inputs change: a stale replay"
    )


def test_a_replay_of_one_old_call_for_ever_is_stale() -> None:
    assert find_stale(answers(1, 2, 3), answers(7, 7, 7)) is not None


def test_an_output_that_repeats_because_stocks_does_is_not_stale() -> None:
    assert find_stale(answers(1, 1, 2), answers(1, 1, 2)) is None


def test_one_stale_output_of_two_is_found() -> None:
    reference = [{"a": floats(1), "b": floats(index)} for index in range(3)]
    stale = [{"a": floats(1), "b": floats(0)} for _ in range(3)]

    assert "output b" in str(find_stale(reference, stale))


def test_lists_can_be_stale_too() -> None:
    assert find_stale([{"y": [1]}, {"y": [2]}], [{"y": [1]}, {"y": [1]}]) is not None
    assert find_stale([], []) is None
