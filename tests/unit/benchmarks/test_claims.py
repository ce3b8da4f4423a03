"""Claims against what was found again."""

import json
import math
from typing import Any

import pytest
from benchmarks.calls import Finished
from benchmarks.claims import Checked, Claim, Repeat, claim_of, repeat_of, targets_of

CLAIM = Claim(verdict="faster", reason="r", winner="w", estimate=2.0, remeasure_low=1.8, remeasure_high=2.2)


def finished(document: dict[str, Any] | None, exit_code: int = 0) -> Finished:
    output = "" if document is None else json.dumps(document)
    return Finished(arguments=("bench",), exit_code=exit_code, wall_s=1.0, output=output, error="Error: no time left")


def benched(estimate: float) -> dict[str, Any]:
    speedup = {"estimate": estimate, "low": estimate - 0.1, "high": estimate + 0.1}
    return {"speedup": speedup, "comparison": {"epochs": [-0.7] * 4}, "verdict": "faster", "claim_holds": True}


def checked(inside: int, of: int) -> Checked:
    repeats = [Repeat(estimate=2.0, is_inside=number < inside) for number in range(of)]
    return Checked(model="m", claim=CLAIM, repeats=tuple(repeats))


@pytest.mark.parametrize(("estimate", "is_inside"), [(1.8, True), (2.2, True), (1.79, False), (2.21, False)])
def test_inside_means_inside_the_printed_interval_and_not_what_the_program_says(
    estimate: float, is_inside: bool
) -> None:
    assert repeat_of(finished(benched(estimate)), CLAIM).is_inside is is_inside


def test_a_measurement_without_an_answer_is_not_inside() -> None:
    repeat = repeat_of(finished(None, exit_code=5), CLAIM)

    assert repeat.estimate is None
    assert not repeat.is_inside
    assert repeat.error == "Error: no time left"


def test_an_interval_without_an_upper_end_holds_all_above() -> None:
    claim = Claim(verdict="faster", reason="r", winner="w", estimate=2.0, remeasure_low=1.8, remeasure_high=None)

    assert repeat_of(finished(benched(9.0)), claim).is_inside
    assert not repeat_of(finished(benched(1.7)), claim).is_inside


@pytest.mark.parametrize(("inside", "of", "is_met"), [(9, 10, True), (8, 10, False), (2, 2, True), (1, 2, False)])
def test_nine_of_ten_must_be_inside(inside: int, of: int, is_met: bool) -> None:
    target = checked(inside, of).target

    assert target is not None
    assert target.is_met is is_met


def test_without_a_claim_there_is_nothing_to_check() -> None:
    document = {
        "verdict": "no-faster",
        "reason": "stock is as fast",
        "winner": {"label": "stock"},
        "speedup": None,
        "comparison": None,
    }
    one = Checked(model="m", claim=claim_of(finished(document)))

    assert one.claim is not None and not one.claim.is_one
    assert targets_of([one]) == []


def test_a_tuning_that_failed_is_no_kept_promise() -> None:
    (target,) = targets_of([Checked(model="m", claim=None, error="Error: crashed")])

    assert target.is_met is None


def test_optimism_is_above_zero_when_the_print_was_too_good() -> None:
    repeats = tuple(repeat_of(finished(benched(value)), CLAIM) for value in (1.9, 1.9))

    assert Checked(model="m", claim=CLAIM, repeats=repeats).optimism == pytest.approx(math.log(2.0 / 1.9))


def test_a_call_that_printed_no_document_says_what_it_printed() -> None:
    with pytest.raises(ValueError, match="no time left"):
        _ = finished(None).document
