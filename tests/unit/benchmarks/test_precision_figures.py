"""The figures of precision by layer, from results that are made up."""

from pathlib import Path
from typing import Any

import pytest
from benchmarks import calls, precision
from benchmarks.precision import draw, fastest, parse, rows, targets_of, uniform

from fakes import make_result
from infer_opt.config import Provider, TrialConfig
from infer_opt.recipes import Calibration, Quantisation, Recipe
from infer_opt.results import FailureKind, TrialFailure
from infer_opt.search.surroundings import Surroundings

MIXED = TrialConfig(recipe=Recipe(quantise=Quantisation(per_channel=True, floats=("head",))))
WHOLE = TrialConfig(recipe=Recipe(quantise=Quantisation(per_channel=True)))


def confirmed(*, is_mixed: bool, value: float, low: float, verdict: str = "faster") -> dict[str, Any]:
    return {
        "is_mixed": is_mixed,
        "label": "partly" if is_mixed else "all of it",
        "verdict": verdict,
        "speedup": {"value": value, "low": low, "high": 2 * value - low, "confidence": 0.99},
    }


def results(*found: dict[str, Any]) -> dict[str, Any]:
    point = {"layers": 1, "floats": ["head"], "saved_ns": 2e6, "score": 0.995, "passed": True}
    layers = [{"name": "body"}, {"name": "head"}]
    frontier = {"label": "int8-dynamic", "call_ns": 1e7, "layers": layers, "points": [point]}
    trial = {"label": "partly", "is_mixed": True, "score": 0.995, "speedup_in_screen": 1.3, "reason": None}
    failed = {"label": "all of it", "is_mixed": False, "score": 0.8, "speedup_in_screen": None, "reason": "wrong"}
    return {"frontiers": [frontier], "trials": [trial, failed], "confirmed": list(found)}


@pytest.mark.parametrize(
    ("found", "measured"),
    [
        ([confirmed(is_mixed=True, value=1.3, low=1.2)], 1.2),
        (
            [confirmed(is_mixed=True, value=1.3, low=1.2), confirmed(is_mixed=False, value=1.1, low=1.0)],
            1.2 / 1.1,
        ),
        ([confirmed(is_mixed=True, value=1.1, low=0.99, verdict="inconclusive")], None),
        ([], None),
    ],
)
def test_the_low_end_of_the_gain_counts_over_the_best_that_agrees_as_well(
    found: list[dict[str, Any]], measured: float | None
) -> None:
    (target,) = targets_of(results(*found), 0.99)

    assert target.measured == (None if measured is None else pytest.approx(measured))
    assert target.is_met is (None if measured is None else measured >= 1.0)


def test_uniform_configurations_quantise_everything_with_stocks_settings() -> None:
    found = uniform(
        Surroundings(
            providers=(Provider.CPU,),
            usable_cores=2.0,
            physical_cores=2,
            can_calibrate=True,
            dynamic_operators=frozenset({"MatMul"}),
            static_operators=frozenset({"MatMul"}),
            mixed=(MIXED.recipe,),
        )
    )

    assert found
    assert all(config.recipe.quantise is not None and not config.recipe.quantise.floats for config in found)
    assert all(config.options.label == "stock settings" for config in found)
    assert {config.recipe.quantise.calibration for config in found if config.recipe.quantise} > {Calibration.MINMAX}


def test_the_fastest_is_among_those_that_ran() -> None:
    failure = TrialFailure(config=WHOLE, kind=FailureKind.PARITY, reason="wrong")
    slow, fast = make_result(TrialConfig(batch=2), -0.1), make_result(MIXED, -0.2)

    assert fastest([slow, fast, failure], [MIXED, TrialConfig(batch=2)]) == [fast]
    assert fastest([slow, fast, failure], [WHOLE]) == []


def test_what_was_left_out_is_shown_with_its_reason() -> None:
    partly, whole = rows(results(confirmed(is_mixed=True, value=1.3, low=1.2)))

    assert partly == ["partly", 0.995, 1.3, "1.300 [1.200, 1.400]", ""]
    assert whole == ["all of it", 0.8, None, "", "wrong"]


def test_the_frontier_is_drawn_with_its_limit(tmp_path: Path) -> None:
    draw(results(), tmp_path / "frontier.svg", 0.99)

    picture = (tmp_path / "frontier.svg").read_text()
    assert "above this line: agrees to 0.99" in picture
    assert "1 of 2 layers: 0.995" in picture


def test_the_command_measures_what_it_is_told_to_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, float]] = []

    def measure(model: calls.Model, options: Any) -> dict[str, Any]:
        asked.append((model.name, options.explore_s))
        return results(confirmed(is_mixed=True, value=1.3, low=1.2))

    monkeypatch.setattr(precision, "measure", measure)
    result = tmp_path / "precision.json"

    code = precision.main(
        ["--model", "digits_cnn", "--explore", "20s", "--result", str(result), "--picture", str(tmp_path / "p.svg")]
    )

    assert (code, asked) == (0, [("digits_cnn", 20.0)])
    assert result.exists()
    assert (tmp_path / "p.svg").exists()
    assert parse([]).parity == 0.99
