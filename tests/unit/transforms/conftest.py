"""Small models of every kind that the transforms treat differently, and a plain way to run them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, save_model

Arrays = dict[str, NDArray[Any]]
HIDDEN, HEADS, TOKENS = 32, 4, 6


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def run() -> Callable[[Path, Arrays], list[NDArray[Any]]]:
    """Opens the model on the CPU, at stock settings, and calls it once."""
    import onnxruntime

    def call(path: Path, feeds: Arrays) -> list[NDArray[Any]]:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        outputs: list[NDArray[Any]] = session.run(None, feeds)
        return outputs

    return call


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Saves a graph given by its nodes, inputs, outputs and weights."""

    def save(
        nodes: Sequence[NodeProto],
        inputs: dict[str, Sequence[int | str | None]],
        outputs: Sequence[str],
        weights: Arrays,
        *,
        name: str = "model.onnx",
        opset: int = 17,
    ) -> Path:
        model = graph_model(nodes, inputs, outputs, weights, opset=opset)
        save_model(model, str(tmp_path / name))
        return tmp_path / name

    return save


def graph_model(
    nodes: Sequence[NodeProto],
    inputs: dict[str, Sequence[int | str | None]],
    outputs: Sequence[str],
    weights: Arrays,
    *,
    opset: int = 17,
) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def floats(random: np.random.Generator, *shape: int, scale: float = 1.0) -> NDArray[Any]:
    return (random.standard_normal(shape) * scale).astype(np.float32)


@pytest.fixture
def perceptron(write: Callable[..., Path], random: np.random.Generator) -> Path:
    """x: float32[batch, 16] -> y: float32[batch, 4], by two Gemms."""
    weights = {
        "w1": floats(random, 16, 64, scale=0.2),
        "b1": floats(random, 64),
        "w2": floats(random, 64, 4, scale=0.2),
        "b2": floats(random, 4),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
    ]
    return write(nodes, {"x": ["batch", 16]}, ["y"], weights, name="perceptron.onnx")


@pytest.fixture
def convolutions(write: Callable[..., Path], random: np.random.Generator) -> Path:
    """x: float32[batch, 3, 12, 12] -> y: float32[batch, 8]: Conv, BatchNormalization, a residual Sum and pooling."""
    weights = {
        "w1": floats(random, 8, 3, 3, 3, scale=0.3),
        "w2": floats(random, 8, 8, 3, 3, scale=0.2),
        **{name: np.abs(floats(random, 8)) + 0.5 for name in ("scale", "variance")},
        **{name: floats(random, 8) for name in ("bias", "mean")},
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "scale", "bias", "mean", "variance"], ["n1"]),
        helper.make_node("Relu", ["n1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Sum", ["c2", "r1"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    return write(nodes, {"x": ["batch", 3, 12, 12]}, ["y"], weights, name="convolutions.onnx")


@pytest.fixture
def recurrent(write: Callable[..., Path], random: np.random.Generator) -> Path:
    """x: float32[9, batch, 5] -> y: float32[9, 1, batch, 12], by an LSTM."""
    weights = {
        "w": floats(random, 1, 48, 5, scale=0.3),
        "r": floats(random, 1, 48, 12, scale=0.3),
        "b": floats(random, 1, 96, scale=0.1),
    }
    return write(
        [helper.make_node("LSTM", ["x", "w", "r", "b"], ["y"], hidden_size=12)], {"x": [9, "batch", 5]}, ["y"], weights
    )


@pytest.fixture
def attention(write: Callable[..., Path], random: np.random.Generator) -> Path:
    """x: float32[batch, tokens, 32] -> y of the same shape: an encoder block as PyTorch exports it at opset 14."""
    nodes, weights = attention_block(random)
    return write(nodes, {"x": ["batch", "tokens", HIDDEN]}, ["y"], weights, name="attention.onnx", opset=14)


def attention_block(random: np.random.Generator) -> tuple[list[NodeProto], Arrays]:
    size = HIDDEN // HEADS
    weights: Arrays = {
        "split": np.array([0, 0, HEADS, size], dtype=np.int64),
        "join": np.array([0, 0, HIDDEN], dtype=np.int64),
        "root": np.array(np.sqrt(size), dtype=np.float32),
        "one": np.array(1.0, dtype=np.float32),
        "two": np.array(2.0, dtype=np.float32),
        "half": np.array(0.5, dtype=np.float32),
        "sqrt2": np.array(np.sqrt(2.0), dtype=np.float32),
        "epsilon": np.array(1e-5, dtype=np.float32),
    }
    nodes: list[NodeProto] = layer_norm("x", "n0", weights, random)
    for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        weights |= {f"w_{part}": floats(random, HIDDEN, HIDDEN, scale=0.2), f"b_{part}": floats(random, HIDDEN)}
        nodes += [
            helper.make_node("MatMul", ["n0", f"w_{part}"], [f"{part}1"]),
            helper.make_node("Add", [f"b_{part}", f"{part}1"], [f"{part}2"]),
            helper.make_node("Reshape", [f"{part}2", "split"], [f"{part}3"]),
            helper.make_node("Transpose", [f"{part}3"], [part], perm=order),
        ]
    weights |= {"w_o": floats(random, HIDDEN, HIDDEN, scale=0.2), "b_o": floats(random, HIDDEN)}
    nodes += [
        helper.make_node("MatMul", ["q", "k"], ["products"]),
        helper.make_node("Div", ["products", "root"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "v"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["turned"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["turned", "join"], ["joined"]),
        helper.make_node("MatMul", ["joined", "w_o"], ["o1"]),
        helper.make_node("Add", ["b_o", "o1"], ["o2"]),
        helper.make_node("Add", ["o2", "n0"], ["residual"]),
        *layer_norm("residual", "n1", weights, random),
    ]
    weights |= {"w_f": floats(random, HIDDEN, HIDDEN, scale=0.2), "b_f": floats(random, HIDDEN)}
    nodes += [
        helper.make_node("MatMul", ["n1", "w_f"], ["f1"]),
        helper.make_node("Add", ["b_f", "f1"], ["f2"]),
        helper.make_node("Div", ["f2", "sqrt2"], ["g1"]),
        helper.make_node("Erf", ["g1"], ["g2"]),
        helper.make_node("Add", ["g2", "one"], ["g3"]),
        helper.make_node("Mul", ["f2", "g3"], ["g4"]),
        helper.make_node("Mul", ["g4", "half"], ["y"]),
    ]
    return nodes, weights


def layer_norm(source: str, target: str, weights: Arrays, random: np.random.Generator) -> list[NodeProto]:
    """As exported before opset 17: (x - mean) / sqrt(mean((x - mean)^2) + epsilon) * scale + bias."""
    weights |= {f"{target}_scale": np.abs(floats(random, HIDDEN)) + 0.5, f"{target}_bias": floats(random, HIDDEN)}
    names = [f"{target}_{index}" for index in range(7)]
    return [
        helper.make_node("ReduceMean", [source], [names[0]], axes=[-1]),
        helper.make_node("Sub", [source, names[0]], [names[1]]),
        helper.make_node("Pow", [names[1], "two"], [names[2]]),
        helper.make_node("ReduceMean", [names[2]], [names[3]], axes=[-1]),
        helper.make_node("Add", [names[3], "epsilon"], [names[4]]),
        helper.make_node("Sqrt", [names[4]], [names[5]]),
        helper.make_node("Div", [names[1], names[5]], [names[6]]),
        helper.make_node("Mul", [names[6], f"{target}_scale"], [f"{target}_scaled"]),
        helper.make_node("Add", [f"{target}_scaled", f"{target}_bias"], [target]),
    ]
