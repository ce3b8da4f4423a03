"""A configuration of another engine: tried beside the others, and a bundle that runs on it."""

import json
from pathlib import Path

import numpy as np
import pytest

import infer_opt
import zoo
from driving import Home
from infer_opt import bundle
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.facts import TensorSpec
from infer_opt.machine.cpu import isa

openvino = pytest.importorskip("openvino")

X = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
ELSEWHERE = TrialConfig(runtime="openvino", options=SessionOptions(intra_threads=1))


def test_another_engine_is_tried_and_told_by_its_name(home: Home, tmp_path: Path) -> None:
    model = zoo.save(zoo.mlp(width=64), tmp_path / "mlp.onnx")

    ended = home.call("tune", model, "--preset", home.preset(trials=12), "--format", "json", "--budget", "40s")

    document = json.loads(ended.out)
    tried = [trial for trial in document["trials"] if trial["config"]["runtime"] == "openvino"]
    assert tried
    assert all("openvino" in trial["label"] for trial in tried)
    assert any(trial["parity"] is not None and trial["parity"]["score"] > 0.9999 for trial in tried)


def test_a_bundle_of_another_engine_runs_and_says_what_it_needs(tmp_path: Path) -> None:
    source = zoo.save(zoo.mlp(), tmp_path / "model.onnx")
    bundle.write(
        tmp_path / "out",
        bundle.Contents(
            name="mlp",
            summary="1 thread on OpenVINO is 2x faster",
            config=ELSEWHERE,
            files=(source,),
            default=(),
            samples=None,
            runtime_version=openvino.__version__,
            isa=isa(),
            record={"verdict": "faster", "dims": {}},
            inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", 8)),),
            outputs=(TensorSpec(name="y", dtype="float32", shape=("batch", 4)),),
            picture="<svg/>",
        ),
    )

    with infer_opt.load(tmp_path / "out") as loaded:
        found = loaded.run({"x": X})
        assert loaded.notes == ()
    (name,) = found
    assert found[name].shape[0] == len(X)
    assert "pip install 'infer-opt[openvino]'" in (tmp_path / "out" / "README.md").read_text()
