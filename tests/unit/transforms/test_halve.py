from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, checker, load_model

import zoo
from infer_opt.errors import ModelError
from infer_opt.transforms.fusions import fuse
from infer_opt.transforms.halve import halve


@pytest.mark.parametrize("model", ["attention", "convolutions", "recurrent"])
def test_fp16_inside_float32_outside_and_close_to_the_original(
    model: str, request: pytest.FixtureRequest, tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    source: Path = request.getfixturevalue(model)
    shape = {"attention": (2, 6, 32), "convolutions": (2, 3, 12, 12), "recurrent": (9, 2, 5)}[model]
    feeds = {"x": random.standard_normal(shape).astype(np.float32)}

    halve(source, tmp_path / "half.onnx")

    checker.check_model(str(tmp_path / "half.onnx"))
    halved, expected = run(tmp_path / "half.onnx", feeds)[0], run(source, feeds)[0]
    assert halved.dtype == np.float32
    np.testing.assert_allclose(halved, expected, rtol=0.02, atol=0.02)
    weights = [tensor for tensor in load_model(tmp_path / "half.onnx").graph.initializer if len(tensor.dims) > 1]
    assert {tensor.data_type for tensor in weights} == {TensorProto.FLOAT16}


def test_softmax_and_means_stay_in_fp32(attention: Path, tmp_path: Path) -> None:
    halve(attention, tmp_path / "half.onnx")

    model = load_model(tmp_path / "half.onnx")
    made_by = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in ("Softmax", "Pow"):
            source = made_by[node.input[0]]
            assert source.op_type == "Cast"
            assert source.attribute[0].i == TensorProto.FLOAT


def test_a_fused_model_can_be_halved(
    attention: Path, tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    feeds = {"x": random.standard_normal((2, 6, 32)).astype(np.float32)}
    fuse(attention, tmp_path / "fused.onnx", model_type="bert")

    halve(tmp_path / "fused.onnx", tmp_path / "half.onnx")

    np.testing.assert_allclose(run(tmp_path / "half.onnx", feeds)[0], run(attention, feeds)[0], rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("builder", "reason"), [(zoo.half_precision, "no float32 weights"), (zoo.branching, "control flow")]
)
def test_what_cannot_be_halved_is_said(builder: Callable[..., Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=reason):
        halve(zoo.save(builder(), tmp_path / "given.onnx"), tmp_path / "half.onnx")
    assert not (tmp_path / "half.onnx").exists()
