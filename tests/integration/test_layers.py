"""Precision by layer through the command: a model of which INT8 spoils one layer is tuned with the others in INT8."""

from pathlib import Path

import numpy as np
import pytest

import infer_opt
import zoo
from driving import Home
from infer_opt.store.database import Store

SPOILT = "second/MatMul"


def inputs_of(home: Home, *, items: int = 40) -> Path:
    path = home.folder / "inputs.npz"
    np.savez(path, x=np.random.default_rng(5).normal(size=(items, 256)).astype(np.float32))
    return path


@pytest.mark.usefixtures("screen_only")
def test_the_models_between_float_and_int8_are_screened_and_what_stays_in_float_is_told(home: Home) -> None:
    model, inputs = home.model("spiky", zoo.spiky()), inputs_of(home)
    preset = home.preset(trials=4, precision="per-layer")

    ended = home.call("tune", model, "--inputs", inputs, "--preset", preset, "--format", "json")

    assert ended.code == 0, ended.err
    document = ended.document
    frontiers = document["precision"]
    assert frontiers
    for frontier in frontiers:
        errors = {layer["name"]: layer["error"] for layer in frontier["layers"]}
        assert max(errors, key=lambda name: errors[name] or 0.0) == SPOILT
        assert all(SPOILT in point["floats"] for point in frontier["points"] if point["passed"])
    mixed = [trial for trial in document["trials"] if "in float)" in trial["label"]]
    if any(point["passed"] and point["floats"] for frontier in frontiers for point in frontier["points"]):
        assert mixed
    assert all(trial["failure"] is None and trial["parity"]["score"] >= 0.99 for trial in mixed)


@pytest.mark.usefixtures("screen_only")
def test_a_bundle_partly_in_int8_gives_what_the_model_gives(home: Home) -> None:
    model, inputs = home.model("spiky", zoo.spiky()), inputs_of(home)
    ended = home.call(
        "tune", model, "--inputs", inputs, "--preset", home.preset(trials=4, precision="per-layer"), "--out", "bundle"
    )
    assert ended.code == 0, ended.err

    x = np.load(inputs)["x"][:4]
    with infer_opt.load(home.folder / "bundle") as session:
        found = session.run({"x": x})["y"]

    import onnxruntime

    wanted = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    assert np.vdot(found, wanted) / np.linalg.norm(found) / np.linalg.norm(wanted) > 0.99


@pytest.mark.usefixtures("screen_only")
def test_what_was_found_out_about_layers_is_in_the_store_for_a_resumed_tuning(home: Home) -> None:
    model, inputs = home.model("spiky", zoo.spiky()), inputs_of(home)
    preset = home.preset(trials=1, precision="per-layer")

    ended = home.call("tune", model, "--inputs", inputs, "--preset", preset, "--format", "json")

    assert ended.code == 0, ended.err
    with Store.open(home.variables["INFER_OPT_STORE"]) as store:
        (tuning,) = store.tunings()
        kept = store.records(tuning.id, "precision")
    assert [record.payload["layers"][1]["name"] for record in kept] == [SPOILT] * len(ended.document["precision"])
