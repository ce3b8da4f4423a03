import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from golden.tunings import (
    ALONE,
    BENCHMARK,
    FASTER,
    FINDINGS,
    FIXED,
    GPU_MACHINE,
    MACHINE,
    NO_FASTER,
    STOCK,
    TOO_NOISY,
    WINNER,
    result,
)
from infer_opt.config import SessionOptions, Spin, TrialConfig
from infer_opt.errors import ConfigError
from infer_opt.recipes import Calibration, Quantisation, Recipe
from infer_opt.reports import Format, benchmark, findings
from infer_opt.reports.sentences import graph_changes
from infer_opt.reports.tuning import WIDTH, render
from infer_opt.results import (
    Caution,
    Changes,
    FailureKind,
    Note,
    OutputParity,
    Parity,
    Standing,
    TrialFailure,
    Tuning,
    Verdict,
)

DOCS = Path(__file__).parents[3] / "docs" / "json.md"


def crowded(count: int) -> Tuning:
    """A tuning of many long-named trials, some of them failed."""
    recipe = Recipe(
        normalise=True,
        fixed_shapes=True,
        quantise=Quantisation(calibration=Calibration.PERCENTILE, per_channel=True, reduce_range=True),
    )
    configs = [
        TrialConfig(recipe=recipe, options=SessionOptions(intra_threads=place, parallel=True, spin=Spin.RUNS), batch=64)
        for place in range(1, count + 1)
    ]
    standings = [
        Standing(trial=result(config, 30.0 + place, score=0.99, tail=True), fate="not confirmed", reason=f"why {place}")
        for place, config in enumerate(configs)
    ]
    failures = [
        Standing(
            trial=TrialFailure(config=replace(config, batch=2), kind=FailureKind.TIMEOUT, reason=""),
            fate="failed",
            reason=f"hung {'for a very long time ' * 8}{place}",
        )
        for place, config in enumerate(configs)
    ]
    return replace(FASTER, standings=(*FASTER.standings, *standings, *failures))


@pytest.mark.parametrize("tuning", [FASTER, NO_FASTER, TOO_NOISY, crowded(40)])
def test_the_table_fits_the_terminal(tuning: Tuning) -> None:
    assert max(len(line) for line in render(tuning).splitlines()) <= WIDTH


def test_a_crowded_table_keeps_the_winner_and_stock_in_sight_and_counts_the_rest() -> None:
    table = render(crowded(40))

    assert re.search(r"^stock \*? .*stock$", table, re.M)
    assert re.search(r"\d+ slower trials", table)
    assert "more reasons" in table
    assert len(table.splitlines()) < 120
    assert render(crowded(40), Format.MARKDOWN).count("hung for a very long time") == 40


def test_the_fallback_stands_on_the_first_line() -> None:
    assert render(FASTER).splitlines()[0].startswith("FALLBACK: cuda was asked for")
    assert "FALLBACK" in render(FASTER, Format.MARKDOWN).splitlines()[0]


def test_the_verdict_comes_first_in_plain_words() -> None:
    without_fallback = replace(FASTER, notes=())

    assert render(without_fallback).startswith("2.31x faster than stock [2.10 to 2.52]; measure again and expect 2.04")
    assert render(NO_FASTER).startswith("Nothing is proven faster than the stock settings: keep stock, because ")
    assert render(TOO_NOISY).startswith("Too noisy to tell: keep the stock settings, because 31 %")


def test_more_throughput_is_not_called_less_time() -> None:
    assert FASTER.comparison is not None
    throughput = replace(FASTER, objective=NO_FASTER.objective, notes=())

    assert render(throughput).startswith("2.31x the throughput of stock [")


def test_what_is_not_known_is_never_a_zero() -> None:
    table = render(TOO_NOISY)
    stock = next(line for line in table.splitlines() if line.startswith("stock "))

    assert "n/a" in stock
    assert not re.search(r"\s0\s", stock)
    assert "p90 needs about 30 more runs" in table


def test_the_winner_is_first_even_when_another_looked_faster_in_the_screen() -> None:
    lucky = result(TrialConfig(recipe=Recipe(fuse="bert")), 9.0, score=0.99)
    tuning = replace(FASTER, standings=(Standing(trial=lucky, fate="raced", reason="x"), *FASTER.standings))

    labels = [line["configuration"] for line in csv.DictReader(io.StringIO(render(tuning, Format.CSV)))]

    assert labels[:2] == [WINNER.config.label, lucky.config.label]


def test_messages_of_libraries_cannot_break_the_page() -> None:
    hostile = TrialFailure(config=FIXED.config, kind=FailureKind.ERROR, reason="a|b\n<b>\x1b[31mred\x07")
    tuning = replace(FASTER, standings=(Standing(trial=hostile, fate="failed", reason=hostile.reason),))

    assert "a|b <b> [31mred" in render(tuning)
    assert "a\\|b &lt;b> [31mred" in render(tuning, Format.MARKDOWN)


def test_every_trial_has_one_line_in_the_spreadsheet() -> None:
    lines = list(csv.DictReader(io.StringIO(render(FASTER, "csv"))))

    assert len(lines) == len(FASTER.standings)
    assert {line["key"] for line in lines} == {standing.trial.config.key for standing in FASTER.standings}
    crashed = next(line for line in lines if "segmentation" in line["reason"])
    assert crashed["p50_ns"] == ""


def test_the_lines_to_use_the_bundle_name_the_inputs() -> None:
    assert 'outputs = session.run({"input_ids": ..., "attention_mask": ...})' in render(FASTER)
    assert "infer_opt.load" not in render(TOO_NOISY)


def test_what_stays_in_float_is_told_with_the_reason() -> None:
    lines = render(FASTER).partition("Precision by layer\n")[2].partition("\n\n")[0]

    assert [line.strip().removeprefix("- ") for line in lines.split("\n")] == [
        "int8-dynamic per-channel 7-bit: 1 of 5 layers in INT8 agree to 0.99020; 2 agree only to 0.96100, which is too"
        " little",
        "in float body/output: would save 16 % of a call, and alone moves the outputs by 0.031",
        "in float head: no faster there in INT8",
        "in float pool: the runtime's profile does not say what it takes",
        "in float tail: there was no time to try it, or it cannot be quantised alone",
    ]


def test_a_model_that_int8_suits_nowhere_is_said_to_be_so() -> None:
    (frontier,) = FASTER.frontiers
    failing = tuple(point for point in frontier.points if not point.passed)

    text = render(replace(FASTER, frontiers=(replace(frontier, points=failing),)))

    assert "none of the 1 whole models tried with some of its 5 layers in INT8 agrees" in " ".join(text.split())
    assert "Precision by layer" not in render(replace(FASTER, frontiers=()))


def test_json_has_the_promised_keys() -> None:
    document = json.loads(render(FASTER, Format.JSON))

    assert list(document) == [
        "schema_version", "verdict", "reason", "objective", "speedup", "comparison", "baseline", "winner", "trials",
        "search", "diagnoses",
            "precision", "plan", "parity", "machine", "model", "cautions", "bundle", "elapsed_s", "budget_s",
        "settings",
    ]  # fmt: skip
    assert set(document["speedup"]) == {"estimate", "low", "high", "remeasure_low", "remeasure_high"}
    assert document["schema_version"] == 1
    assert document["baseline"]["key"] == STOCK.config.key
    assert document["winner"]["key"] == WINNER.config.key
    assert TrialConfig.from_dict(document["winner"]["config"]) == WINNER.config
    assert "blocks" not in document["winner"]


def test_json_says_null_where_nothing_was_compared() -> None:
    document = json.loads(render(TOO_NOISY, Format.JSON))

    assert document["speedup"] is None
    assert document["comparison"] is None
    assert document["bundle"] is None


def test_json_stays_json_when_a_number_is_not_finite() -> None:
    broken = Parity(
        score=0.0,
        passed=False,
        outputs=(OutputParity(name="y", cosine=float("nan"), relative_l2=float("inf"), largest_difference=None),),
        samples=1,
    )
    tuning = replace(TOO_NOISY, baseline=replace(STOCK, parity=broken), winner=replace(STOCK, parity=broken))

    output = json.loads(render(tuning, Format.JSON), parse_constant=pytest.fail)["parity"]["outputs"][0]

    assert output["cosine"] is None
    assert output["relative_l2"] is None


def test_every_field_of_the_json_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    documented = set(re.findall(r"`([a-z0-9_]+)`", text))
    free = {"settings", "versions", "operators", "vocabularies", "placement"}  # objects whose keys are data
    free |= {"operators_added", "operators_removed"}

    written = {
        key
        for report in (
            render(FASTER, Format.JSON),
            render(NO_FASTER, Format.JSON),
            benchmark.render(BENCHMARK, Format.JSON),
            findings.render(FINDINGS, GPU_MACHINE, Format.JSON),
        )
        for key in _keys(json.loads(report), free)
    }

    assert written - documented == set()


def test_a_format_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="papyrus"):
        render(FASTER, "papyrus")
    with pytest.raises(ConfigError, match="csv"):
        benchmark.render(ALONE, Format.CSV)
    with pytest.raises(ConfigError, match="markdown"):
        findings.render(FINDINGS, MACHINE, Format.MARKDOWN)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict.FASTER, "minilm-tuned is faster than minilm.onnx: 2.25x"),
        (Verdict.SLOWER, "minilm-tuned is slower than minilm.onnx"),
        (Verdict.EQUIVALENT, "is as fast as"),
        (Verdict.INCONCLUSIVE, "Inconclusive"),
        (Verdict.TOO_NOISY, "Too noisy to tell"),
    ],
)
def test_each_verdict_of_a_comparison_has_its_words(verdict: Verdict, words: str) -> None:
    assert BENCHMARK.comparison is not None
    told = replace(BENCHMARK, comparison=replace(BENCHMARK.comparison, verdict=verdict))

    assert words in benchmark.render(told)


def test_a_claim_that_does_not_hold_is_said_first() -> None:
    broken = replace(BENCHMARK, claim_holds=False)

    assert benchmark.render(broken).startswith("The bundle's claim does NOT hold here: 2.31x")


def test_a_benchmark_on_another_provider_says_so_first() -> None:
    fallen = replace(BENCHMARK, notes=(Note(caution=Caution.FALLBACK, text="cpu in place of cuda"),))

    assert benchmark.render(fallen).startswith("FALLBACK: cpu in place of cuda")


def test_the_worst_finding_comes_first() -> None:
    report = findings.render(FINDINGS, MACHINE)

    assert report.index("PROBLEM") < report.index("caution  steal") < report.index("ok       cores")
    assert "1 problem, 1 caution." in report
    assert "Nothing here would spoil" in findings.render(FINDINGS[:1], MACHINE)


def _keys(value: Any, free: set[str]) -> set[str]:
    if isinstance(value, dict):
        deeper = [_keys(inner, free) for key, inner in value.items() if key not in free]
        return set(value).union(*deeper)
    if isinstance(value, list):
        return set().union(*(_keys(inner, free) for inner in value))
    return set()


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Changes(), "nothing"),
        (Changes(removed=1, operators_removed=(("Identity", 1),)), "1 Identity removed"),
        (Changes(added=3, operators_added=(("Mul", 2),)), "2 Mul and 1 more node added"),
        (Changes(added=1, removed=1, changed=2), "1 node added; 1 node removed; 2 changed"),
        (Changes(besides=("inputs", "opset")), "other inputs and opset"),
    ],
)
def test_what_changed_in_the_graph_is_one_line(found: Changes, sentence: str) -> None:
    assert graph_changes(found) == sentence
