"""`infer-opt bench`: alone, against another model, and bundles against their own claims."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import infer_opt.setting_up
import zoo
from driving import Ended, Home, Proven, shape_bound
from quiet import watch_nothing

CONFIG, MODEL = 2, 3


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine computes: no round is discarded."""
    monkeypatch.setattr(infer_opt.setting_up, "watch_machine", watch_nothing)


def measured(home: Home, *words: object) -> dict[str, Any]:
    """The document of a benchmark that worked, after which nothing is left behind."""
    ended = home.call("bench", *words, "--format", "json")
    assert (ended.code, ended.complaints) == (0, "")
    assert home.litter() == []
    return ended.document


def test_a_model_alone_is_measured_in_fresh_processes(home: Home) -> None:
    document = measured(home, home.model("mlp", zoo.mlp()), "--budget", "6s")

    assert document["verdict"] is None
    assert document["processes"] >= 1
    median = document["median_ns"]
    if document["processes"] == 1:  # a machine so slow that six seconds are one process: nothing is known of the next
        assert (median["low"], median["high"]) == (0.0, None)
    else:
        assert 0 < median["low"] <= median["value"] <= median["high"]
    assert document["trial"]["label"] == "stock"


def test_a_longer_chain_is_slower_though_the_outputs_have_nothing_in_common(home: Home) -> None:
    long, short = home.model("long", zoo.slow_chain(length=40)), home.model("short", zoo.slow_chain(length=4))

    document = measured(home, long, "--against", short, "--budget", "120s")

    assert document["verdict"] == "slower"
    assert document["speedup"]["low"] <= document["speedup"]["estimate"] <= document["speedup"]["high"] < 0.5
    assert (document["subject"], document["reference"]) == (str(long), str(short))
    assert document["parity"]["score"] < 0.5


def test_a_bundle_alone_is_held_to_its_claim(proven: Proven, home: Home) -> None:
    document = measured(home, proven.bundle, "--budget", "120s")

    claimed = proven.ended.document["speedup"]
    assert document["verdict"] == "faster"
    assert document["claim"].startswith(f"{claimed['estimate']:.3g}x faster than stock")
    assert document["reference"] == str(proven.model)
    # A factor of hundreds is not measured alike twice on every machine; what is said of it must be what was seen.
    inside = claimed["remeasure_low"] <= document["speedup"]["estimate"] <= claimed["remeasure_high"]
    assert document["claim_holds"] is True if inside else document["claim_holds"] in (None, False)


def refusal(ended: Ended, code: int) -> str:
    """The one sentence and its hint."""
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert len(ended.err.splitlines()) <= 2
    return ended.err


def test_a_bundle_whose_model_is_gone_asks_for_it(proven_bundle: Path, home: Home) -> None:
    path = proven_bundle / "bundle.json"
    manifest = json.loads(path.read_text())
    manifest["record"]["model"]["path"] = str(home.folder / "gone.onnx")
    path.write_text(json.dumps(manifest))

    said = refusal(home.call("bench", proven_bundle), CONFIG)

    assert f"is not at {home.folder / 'gone.onnx'}" in said
    assert "--against MODEL" in said


def test_a_bundle_whose_model_was_replaced_is_not_held_to_another_models_claim(proven_bundle: Path, home: Home) -> None:
    path = proven_bundle / "bundle.json"
    manifest = json.loads(path.read_text())
    manifest["record"]["model"]["path"] = str(home.model("bound", shape_bound(steps=5)))
    path.write_text(json.dumps(manifest))

    assert "was changed" in refusal(home.call("bench", proven_bundle), CONFIG)


@pytest.mark.usefixtures("screen_only")
def test_a_bundle_of_stock_has_no_claim_and_is_measured_alone(home: Home) -> None:
    model, out = home.model("mlp", zoo.mlp()), home.folder / "out"
    assert home.call("tune", model, "--budget", "1s", "--out", out).code == 0
    model.unlink()

    document = measured(home, out, "--budget", "5s")

    assert document["reference"] is None
    assert document["verdict"] is None
    assert document["claim_holds"] is None
    assert document["claim"] is None or "stock" in document["claim"]


def test_what_is_no_model_and_no_bundle_is_refused(home: Home) -> None:
    (home.folder / "folder").mkdir()

    assert "is a directory" in refusal(home.call("bench", "folder"), MODEL)
    assert "there is no model file" in refusal(home.call("bench", "gone.onnx"), MODEL)


def test_models_that_take_other_inputs_cannot_be_compared(home: Home) -> None:
    ended = home.call(
        "bench", home.model("mlp", zoo.mlp()), "--against", home.model("lstm", zoo.lstm_net()), "--budget", "5s"
    )

    assert "cannot be compared" in refusal(ended, MODEL)


def test_a_benchmark_makes_no_spreadsheet(home: Home) -> None:
    assert "'csv' is not one of" in refusal(home.call("bench", "gone.onnx", "--format", "csv"), CONFIG)


def test_a_damaged_bundle_is_refused(proven_bundle: Path, home: Home) -> None:
    shutil.copyfile(home.model("mlp", zoo.mlp()), proven_bundle / "model.onnx")

    assert "is not the file that was measured" in refusal(home.call("bench", proven_bundle), MODEL)
