from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import zoo
from infer_opt.errors import ModelError
from infer_opt.recipes import Calibration, Quantisation, WeightType
from infer_opt.transforms.fusions import fuse
from infer_opt.transforms.model_files import load, operators
from infer_opt.transforms.quantise import quantise

DYNAMIC = Quantisation()
STATIC = Quantisation(calibration=Calibration.MINMAX, per_channel=True)


def cosine(left: Any, right: Any) -> float:
    return float(np.vdot(left, right) / np.linalg.norm(left) / np.linalg.norm(right))


@pytest.fixture
def check(run: Callable[..., Any], random: np.random.Generator, tmp_path: Path) -> Callable[..., Any]:
    """Quantises, runs both, demands a cosine, and gives the operators of the result."""

    def quantised(source: Path, how: Quantisation, shape: tuple[int, ...], *, at_least: float = 0.99) -> Any:
        feeds = [{"x": random.standard_normal(shape).astype(np.float32)} for _ in range(4)]
        target = tmp_path / "quantised.onnx"
        quantise(source, target, how=how, feeds=lambda: feeds)
        assert cosine(run(target, feeds[0])[0], run(source, feeds[0])[0]) > at_least
        return operators(load(target))

    return quantised


def test_an_lstm_is_quantised_dynamically(recurrent: Path, check: Callable[..., Any]) -> None:
    assert check(recurrent, DYNAMIC, (9, 2, 5))["DynamicQuantizeLSTM"] == 1


@pytest.mark.parametrize("weight_type", WeightType)
def test_gemms_are_quantised_dynamically(perceptron: Path, check: Callable[..., Any], weight_type: WeightType) -> None:
    how = Quantisation(per_channel=True, reduce_range=True, weight_type=weight_type)

    assert check(perceptron, how, (2, 16))["MatMulInteger"] == 2


def test_convolutions_are_not_quantised_dynamically(convolutions: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no operator that int8-dynamic would make faster"):
        quantise(convolutions, tmp_path / "made.onnx", how=Quantisation())


@pytest.mark.parametrize("calibration", Calibration)
def test_convolutions_are_quantised_statically_without_leaving_int8(
    convolutions: Path, check: Callable[..., Any], calibration: Calibration
) -> None:
    found = check(convolutions, Quantisation(calibration=calibration, per_channel=True), (2, 3, 12, 12))

    assert found["QuantizeLinear"] >= 4
    # Both would be float islands between integer kernels.
    assert found["BatchNormalization"] == found["Sum"] == 0
    assert found["Add"] == 1


def test_attention_is_quantised_statically_in_its_weights_only(attention: Path, check: Callable[..., Any]) -> None:
    found = check(attention, STATIC, (2, 6, 32))

    # One for each tensor that weights meet (queries, keys and values share theirs): none around Softmax, GELU, layer
    # normalisation, nor at the products of two activations.
    assert found["QuantizeLinear"] == 3


def test_a_fused_model_can_be_quantised_too(attention: Path, check: Callable[..., Any], tmp_path: Path) -> None:
    fuse(attention, tmp_path / "fused.onnx", model_type="bert")

    assert check(tmp_path / "fused.onnx", DYNAMIC, (2, 6, 32))["QAttention"] == 1
    assert check(tmp_path / "fused.onnx", STATIC, (2, 6, 32))["QuantizeLinear"] > 0


@pytest.mark.parametrize("how", [DYNAMIC, STATIC], ids=["dynamic", "static"])
@pytest.mark.parametrize("builder", [zoo.ir_3, zoo.opset_7])
def test_old_models_are_normalised_first(
    builder: Callable[..., Any], how: Quantisation, check: Callable[..., Any], tmp_path: Path
) -> None:
    # onnxruntime's own quantiser says "Expected ... to be an initializer" of the first.
    check(zoo.save(builder(), tmp_path / "given.onnx"), how, (3, 4))


def test_what_is_quantised_already_is_refused(perceptron: Path, tmp_path: Path) -> None:
    quantise(perceptron, tmp_path / "once.onnx", how=DYNAMIC)

    with pytest.raises(ModelError, match="quantised already"):
        quantise(tmp_path / "once.onnx", tmp_path / "twice.onnx", how=DYNAMIC)


def test_nothing_to_quantise_is_said(tmp_path: Path) -> None:
    source = zoo.save(zoo.integer_net(), tmp_path / "given.onnx")

    with pytest.raises(ModelError, match="holds no operator"):
        quantise(source, tmp_path / "quantised.onnx", how=DYNAMIC)


def test_static_quantisation_without_inputs_is_said(perceptron: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs calibration inputs"):
        quantise(perceptron, tmp_path / "quantised.onnx", how=STATIC)


def test_a_mask_is_not_given_a_scale_that_swallows_the_scores(
    write: Callable[..., Path], random: np.random.Generator, check: Callable[..., Any]
) -> None:
    weights = {
        "w": zoo_array(random, 8, 3, 3, 3),
        "v": zoo_array(random, 8, 8, 1, 1),
        "mask": np.where(np.tri(12) > 0, 0, -3.4e38).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c", "v"], ["d"]),
        helper.make_node("Add", ["d", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["y"]),
    ]

    check(write(nodes, {"x": ["batch", 3, 12, 12]}, ["y"], weights), STATIC, (1, 3, 12, 12))


def zoo_array(random: np.random.Generator, *shape: int) -> Any:
    return (random.standard_normal(shape) * 0.2).astype(np.float32)


def test_the_library_prints_nothing(
    convolutions: Path, check: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    check(convolutions, STATIC, (1, 3, 12, 12))

    assert capfd.readouterr() == ("", "")


def test_what_float_nodes_read_is_not_rounded_for_those_in_int8(
    write: Callable[..., Path], random: np.random.Generator, check: Callable[..., Any], tmp_path: Path
) -> None:
    # A residual path: LayerNormalization's output is multiplied in INT8, and added again in float.
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale"], ["n"]),
        helper.make_node("MatMul", ["n", "w"], ["m"]),
        helper.make_node("Add", ["m", "n"], ["y"]),
    ]
    weights = {"scale": np.ones(16, np.float32), "w": zoo_array(random, 16, 16)}

    check(write(nodes, {"x": ["batch", 3, 16]}, ["y"], weights), STATIC, (4, 3, 16))

    graph = load(tmp_path / "quantised.onnx").graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    readers = {node.op_type: [makers.get(name, "weight") for name in node.input] for node in graph.node}
    assert readers["Add"] == ["MatMul", "LayerNormalization"]
    assert readers["MatMul"] == ["DequantizeLinear", "DequantizeLinear"]


def test_what_a_convolution_gives_is_rounded_for_everybody_as_its_kernel_rounds(
    write: Callable[..., Path], random: np.random.Generator, check: Callable[..., Any], tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c", "v"], ["d"]),
        helper.make_node("Softmax", ["c"], ["s"]),
    ]
    weights = {"w": zoo_array(random, 8, 3, 3, 3), "v": zoo_array(random, 8, 8, 1, 1)}

    check(write(nodes, {"x": ["batch", 3, 12, 12]}, ["d", "s"], weights), STATIC, (1, 3, 12, 12))

    graph = load(tmp_path / "quantised.onnx").graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    (softmax,) = (node for node in graph.node if node.op_type == "Softmax")
    assert makers[softmax.input[0]] == "DequantizeLinear"
