from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import zoo
from infer_opt.config import Provider
from infer_opt.errors import ModelError, UnavailableError
from infer_opt.recipes import GraphLevel
from infer_opt.transforms.model_files import load, operators
from infer_opt.transforms.offline import save_optimised


@pytest.mark.parametrize("level", [GraphLevel.BASIC, GraphLevel.EXTENDED, GraphLevel.ALL])
def test_the_optimised_graph_is_saved_and_gives_the_same_numbers(
    level: GraphLevel, convolutions: Path, tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    save_optimised(convolutions, tmp_path / "saved.onnx", level=level)

    assert operators(load(tmp_path / "saved.onnx"))["BatchNormalization"] == 0
    feeds = {"x": random.standard_normal((2, 3, 12, 12)).astype(np.float32)}
    np.testing.assert_allclose(
        run(tmp_path / "saved.onnx", feeds)[0], run(convolutions, feeds)[0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("level", [GraphLevel.NONE, GraphLevel.BASIC])
def test_a_level_that_changes_nothing_is_said(level: GraphLevel, perceptron: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="chang"):
        save_optimised(perceptron, tmp_path / "saved.onnx", level=level)


def test_the_result_does_not_point_to_the_sources_weights(
    convolutions: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    source = tmp_path / "source" / "model.onnx"
    source.parent.mkdir()
    model = load(convolutions)
    zoo.save_external(model, source)

    save_optimised(source, tmp_path / "saved.onnx", level=GraphLevel.EXTENDED)
    for path in source.parent.iterdir():
        path.unlink()

    run(tmp_path / "saved.onnx", {"x": np.zeros((1, 3, 12, 12), dtype=np.float32)})


def test_a_missing_provider_is_never_replaced_by_another(
    convolutions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])

    with pytest.raises(UnavailableError, match="cuda"):
        save_optimised(convolutions, tmp_path / "saved.onnx", level=GraphLevel.ALL, provider=Provider.CUDA)


def test_a_model_the_runtime_cannot_open_is_one_sentence(tmp_path: Path) -> None:
    model = zoo.mlp()
    model.graph.node[0].op_type = "NoSuchOperator"

    with pytest.raises(ModelError, match=r"optimising at level basic failed: .*NoSuchOperator") as caught:
        save_optimised(zoo.save(model, tmp_path / "given.onnx"), tmp_path / "saved.onnx", level=GraphLevel.BASIC)
    assert "\n" not in caught.value.what
