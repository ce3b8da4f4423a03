"""The models in models/ are what their manifest says they are, and do what they were trained for."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import evals

MODELS = Path(__file__).parents[2] / "models"
MANIFEST: dict[str, dict[str, Any]] = json.loads((MODELS / "manifest.json").read_text())
NAMES = sorted(MANIFEST)
SIZE_LIMIT = 2_000_000


def runner(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The model as `--eval` functions are handed it: on one thread, so that the tests stay quiet neighbours."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(MODELS / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(outputs, session.run(outputs, feeds), strict=True))


def held_out(name: str) -> tuple[str, Any, Any]:
    """Input name, samples and labels."""
    with np.load(MODELS / f"{name}.npz") as data:
        (feed,) = [key for key in data if key != "labels"]
        return feed, data[feed], data["labels"]


def metric(name: str) -> Callable[[Callable[[dict[str, Any]], Any]], float]:
    function = getattr(evals, MANIFEST[name]["metric"]["eval"].partition(":")[2])
    assert callable(function)
    return function  # type: ignore[no-any-return]


def test_the_manifest_describes_every_committed_model() -> None:
    assert sorted(path.stem for path in MODELS.glob("*.onnx")) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["model", "inputs"])
def test_files_are_the_ones_that_the_manifest_was_written_for(name: str, part: str) -> None:
    described = MANIFEST[name][part]
    content = (MODELS / described["file"]).read_bytes()

    assert hashlib.sha256(content).hexdigest() == described["sha256"]
    assert len(content) == described["bytes"]


def test_models_and_inputs_together_stay_under_two_megabytes() -> None:
    files = [MODELS / MANIFEST[name][part]["file"] for name in NAMES for part in ("model", "inputs")]

    assert sum(path.stat().st_size for path in files) < SIZE_LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_the_metric_on_held_out_data_is_the_published_one(name: str) -> None:
    _, _, labels = held_out(name)

    value = metric(name)(runner(name))

    # Another CPU's kernels may flip a sample that sits on a boundary; two of them would be news.
    assert value == pytest.approx(MANIFEST[name]["metric"]["value"], abs=1.5 / len(labels))


@pytest.mark.parametrize(("name", "floor"), [("digits_cnn", 0.97), ("policy_mlp", 0.97), ("sequence_lstm", 0.90)])
def test_models_are_good_enough_to_be_worth_tuning(name: str, floor: float) -> None:
    assert MANIFEST[name]["metric"]["value"] >= floor


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_always_gives_the_same_answer_scores_low(name: str) -> None:
    _, _, labels = held_out(name)
    constant = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    constant[:, 0] = 1

    assert metric(name)(lambda feeds: {"logits": constant}) < 0.6


@pytest.mark.parametrize("name", NAMES)
def test_graphs_are_valid_and_their_opset_is_the_published_one(name: str) -> None:
    model = onnx.load(MODELS / f"{name}.onnx")

    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import] == [MANIFEST[name]["opset"]]


@pytest.mark.parametrize("name", NAMES)
def test_named_dimensions_are_the_published_ones(name: str) -> None:
    graph = onnx.load(MODELS / f"{name}.onnx").graph
    named = {dim.dim_param for value in graph.input for dim in value.type.tensor_type.shape.dim if dim.dim_param}

    assert named == set(MANIFEST[name]["dims"])


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_gets_the_same_answer_alone_and_in_a_batch(name: str) -> None:
    feed, samples, _ = held_out(name)
    run = runner(name)

    together = run({feed: samples[:3]})["logits"]

    alone = np.concatenate([run({feed: samples[i : i + 1]})["logits"] for i in range(3)])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-4)


def test_the_lstm_takes_sequences_of_any_length() -> None:
    feed, samples, _ = held_out("sequence_lstm")

    assert runner("sequence_lstm")({feed: np.tile(samples[:2], (1, 3, 1))})["logits"].shape == (2, 10)
