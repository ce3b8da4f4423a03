from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, load_model

import zoo
from infer_opt.errors import ModelError
from infer_opt.transforms import normalise as subject
from infer_opt.transforms.model_files import opset


@pytest.mark.parametrize("builder", [zoo.ir_3, zoo.opset_7, zoo.local_function])
def test_a_normalised_model_computes_the_same_numbers(
    builder: Callable[..., Any], tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    source, target = zoo.save(builder(), tmp_path / "given.onnx"), tmp_path / "normal.onnx"
    feeds = {"x": random.standard_normal((3, 4)).astype(np.float32)}

    subject.normalise(source, target)

    np.testing.assert_array_equal(run(target, feeds)[0], run(source, feeds)[0])


def test_weights_from_constant_of_shape_become_initialisers_and_leave_the_inputs(tmp_path: Path) -> None:
    subject.normalise(zoo.save(zoo.ir_3(), tmp_path / "given.onnx"), tmp_path / "normal.onnx")

    model = load_model(tmp_path / "normal.onnx")
    assert [value.name for value in model.graph.input] == ["x"]
    assert "ConstantOfShape" not in {node.op_type for node in model.graph.node}
    assert (opset(model), model.ir_version) == (17, 8)
    weights = {tensor.name for tensor in model.graph.initializer}
    product = next(node for node in model.graph.node if node.op_type in ("MatMul", "Gemm"))
    assert product.input[1] in weights


def test_a_model_in_normal_form_is_not_offered_twice(perceptron: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing to change"):
        subject.normalise(perceptron, tmp_path / "normal.onnx")
    assert not (tmp_path / "normal.onnx").exists()


def test_the_opset_stays_where_the_converter_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: Any, version: int) -> Any:
        raise RuntimeError(f"no adapter to {version}")

    monkeypatch.setattr("infer_opt.transforms.normalise.version_converter.convert_version", refuse)

    model, changes = subject.normalised(zoo.opset_7())

    assert opset(model) == 7
    assert not any("opset" in change for change in changes)


def test_large_weights_survive_the_change_of_opset() -> None:
    weights = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    model = zoo.build(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [zoo.floats("x", "batch", 64)],
        [zoo.floats("y", "batch", 64)],
        initialisers=[zoo.constant("w", weights)],
        opset=9,
        ir_version=3,
    )

    normal, _ = subject.normalised(model)

    assert opset(normal) == 17
    assert normal.graph.initializer[0].raw_data == weights.tobytes()


def test_every_node_gets_a_name_of_its_own() -> None:
    model, _ = subject.normalised(zoo.mlp())

    names = [node.name for node in model.graph.node]
    assert all(names) and len(set(names)) == len(names)


def test_what_no_output_needs_is_removed() -> None:
    model = zoo.build(
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Mul", ["x", "unused"], ["nowhere"])],
        [zoo.floats("x", 2)],
        [zoo.floats("y", 2)],
        initialisers=[zoo.constant("unused", [1.0, 2.0])],
    )

    normal, changes = subject.normalised(model)

    assert [node.op_type for node in normal.graph.node] == ["Relu"]
    assert not normal.graph.initializer
    assert changes == ("2 unused parts removed",)


def test_control_flow_keeps_what_its_branches_read(
    tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    branches = [
        helper.make_graph(
            [helper.make_node(operator, ["x", "weight"], [f"{operator}_out"])],
            operator,
            [],
            [helper.make_tensor_value_info(f"{operator}_out", TensorProto.FLOAT, None)],
        )
        for operator in ("Add", "Mul")
    ]
    model = zoo.build(
        [
            helper.make_node("Constant", [], ["given"], value=zoo.constant("value", [3.0, 4.0])),
            helper.make_node("Identity", ["given"], ["weight"]),
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Greater", ["sum", "zero"], ["positive"]),
            helper.make_node("If", ["positive"], ["y"], then_branch=branches[0], else_branch=branches[1]),
        ],
        [zoo.floats("x", 2)],
        [zoo.floats("y", 2)],
        initialisers=[zoo.constant("zero", 0.0)],
    )
    source = zoo.save(model, tmp_path / "given.onnx")

    subject.normalise(source, tmp_path / "normal.onnx")

    assert len(load_model(tmp_path / "normal.onnx").graph.node) == 3
    for sign in (1, -1):
        feeds = {"x": np.array([sign, sign], dtype=np.float32)}
        np.testing.assert_array_equal(run(tmp_path / "normal.onnx", feeds)[0], run(source, feeds)[0])
