"""Small networks, each built to be slow for one reason, and beside it one that does the same without that reason."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
GENERATOR_SEED = 0
Array = np.ndarray[Any, np.dtype[Any]]


class Builder:
    """Nodes and weights of a graph under way; each call gives the name of what the node writes."""

    def __init__(self, *, opset: int = OPSET) -> None:
        self._opset = opset
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._random = np.random.default_rng(GENERATOR_SEED)

    def input(self, name: str, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def weight(self, *shape: int, scale: float = 0.02) -> str:
        return self.constant(self._random.standard_normal(shape, dtype=np.float32) * np.float32(scale))

    def constant(self, values: Any, dtype: Any = None) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def node(self, operator: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        # Names that say nothing: a rule that goes by them would find nothing here.
        name = f"n{len(self._nodes)}"
        written = [f"{name}_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), written, name=name, domain=domain, **attributes))
        return written[0]

    def model(self, *outputs: str, shapes: Sequence[Sequence[int | str]] = ()) -> onnx.ModelProto:
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[number] if shapes else None)
            for number, name in enumerate(outputs)
        ]
        graph = helper.make_graph(self._nodes, "ailing", self._inputs, values, self._weights)
        domains = {node.domain for node in self._nodes if node.domain}
        opsets = [helper.make_opsetid("", self._opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def healthy() -> onnx.ModelProto:
    """Two products of 128 rows with 512 by 512 weights, and an activation: the arithmetic is what takes the time."""
    build = Builder()
    hidden = build.node("MatMul", build.input("x", ("N", 512)), build.weight(512, 512))
    return build.model(build.node("MatMul", build.node("Relu", hidden), build.weight(512, 512)))


def tiny_nodes(count: int = 60) -> onnx.ModelProto:
    """A chain of nodes on four numbers, of a kind that is not fused."""
    build = Builder()
    here = build.input("x", (1, 4))
    for number in range(count):
        here = build.node(("Sin", "Tanh", "Abs")[number % 3], here)
    return build.model(here)


def heavy_weights(*, rows: int | str = "N", width: int = 1792, layers: int = 2) -> onnx.ModelProto:
    """Products with 13 MB of weights each."""
    build = Builder()
    here = build.input("x", (rows, width))
    for _ in range(layers):
        here = build.node("MatMul", here, build.weight(width, width))
    return build.model(here)


def attention(*, fused: bool = False, length: int = 128, heads: int = 8, width: int = 256) -> onnx.ModelProto:
    """Self-attention of one layer: spelled out with transposes, scale and mask, or as one operator."""
    build = Builder()
    x, size = build.input("x", (1, length, width)), width // heads
    query, key, value = (build.node("MatMul", x, build.weight(width, width)) for _ in range(3))
    if fused:
        return build.model(build.node("MultiHeadAttention", query, key, value, domain="com.microsoft", num_heads=heads))
    shape, back = build.constant([1, length, heads, size], np.int64), build.constant([1, length, width], np.int64)
    split = [build.node("Reshape", one, shape) for one in (query, key, value)]
    query, value = (build.node("Transpose", one, perm=[0, 2, 1, 3]) for one in (split[0], split[2]))
    key = build.node("Transpose", split[1], perm=[0, 2, 3, 1])
    scores = build.node("Div", build.node("MatMul", query, key), build.constant(size**0.5, np.float32))
    mask = build.input("mask", (1, 1, length, length))
    softmax = build.node("Softmax", build.node("Add", scores, mask), axis=-1)
    mixed = build.node("Transpose", build.node("MatMul", softmax, value), perm=[0, 2, 1, 3])
    return build.model(build.node("Reshape", mixed, back))


def layer_norm(*, fused: bool = False, rows: int = 256, width: int = 512) -> onnx.ModelProto:
    """A product and its normalisation, whose mean is taken over the first axis so that the runtime leaves it alone."""
    build = Builder()
    here = build.node("MatMul", build.input("x", (rows, width)), build.weight(width, width))
    if fused:
        scale, bias = build.constant(np.ones(width), np.float32), build.constant(np.zeros(width), np.float32)
        return build.model(build.node("LayerNormalization", here, scale, bias, axis=-1))
    centred = build.node("Sub", here, build.node("ReduceMean", here, axes=[0]))
    squared = build.node("Pow", centred, build.constant(2.0, np.float32))
    variance = build.node("Add", build.node("ReduceMean", squared, axes=[0]), build.constant(1e-5, np.float32))
    here = build.node("Div", centred, build.node("Sqrt", variance))
    here = build.node("Mul", here, build.weight(width))
    return build.model(build.node("Add", here, build.weight(width)))


def gelu(*, fused: bool = False, rows: int = 256, width: int = 512) -> onnx.ModelProto:
    """A product and a GELU by tanh, in an order of factors that the runtime does not know; or as one operator."""
    build = Builder(opset=20 if fused else OPSET)
    here = build.node("MatMul", build.input("x", (rows, width)), build.weight(width, width))
    if fused:
        return build.model(build.node("Gelu", here, approximate="tanh"))
    cubed = build.node(
        "Mul", build.node("Mul", here, here), build.node("Mul", here, build.constant(0.044715, np.float32))
    )
    inner = build.node("Mul", build.node("Add", here, cubed), build.constant(0.7978845608, np.float32))
    plus_one = build.node("Add", build.node("Tanh", inner), build.constant(1.0, np.float32))
    return build.model(build.node("Mul", build.node("Mul", here, build.constant(0.5, np.float32)), plus_one))


def quantised(operator: str = "Sin", *, rows: int = 512, width: int = 1024) -> onnx.ModelProto:
    """Conversions to 8 bits around an operator that has no kernel for them, or (`MatMul`) that has."""
    build = Builder()
    scale, zero = build.constant(0.02, np.float32), build.constant(0, np.int8)

    def converted(name: str) -> str:
        return build.node("DequantizeLinear", build.node("QuantizeLinear", name, scale, zero), scale, zero)

    here = converted(build.input("x", (rows, width)))
    if operator == "MatMul":
        weight = build.constant(np.random.default_rng(0).integers(-90, 90, (width, width)), np.int8)
        here = build.node("MatMul", here, build.node("DequantizeLinear", weight, scale, zero))
    else:
        for _ in range(3):
            here = converted(build.node(operator, here))
    return build.model(converted(here))


def sizes_worked_out(*, fixed: bool = False, width: int = 64, layers: int = 10) -> onnx.ModelProto:
    """Reshapes to a size that is worked out from the input's, in every call anew; or to a known one."""
    build = Builder()
    here = build.input("x", ("N", "S", width) if not fixed else (1, 16, width))
    for _ in range(layers):
        shape = build.node("Shape", here)
        first, second = (
            build.node(
                "Unsqueeze", build.node("Gather", shape, build.constant(at, np.int64)), build.constant([0], np.int64)
            )
            for at in (0, 1)
        )
        product = build.node("Mul", first, second)
        flat = build.node("Reshape", here, build.node("Concat", product, build.constant([width], np.int64), axis=0))
        flat = build.node("Sigmoid", flat)
        here = build.node(
            "Reshape", flat, build.node("Concat", first, second, build.constant([width], np.int64), axis=0)
        )
    return build.model(here)


def transposed(*, turns: bool = True, rows: int = 384, width: int = 512) -> onnx.ModelProto:
    """Softmax, with transposes in between that reshapes keep the runtime from moving; or without them."""
    build = Builder()
    here = build.input("x", (rows, width))
    for _ in range(6):
        here = build.node("Softmax", here, axis=-1)
        if turns:
            shape = build.constant([rows, width], np.int64)
            here = build.node("Reshape", build.node("Transpose", here, perm=[1, 0]), shape)
    return build.model(here)


def subnormal(*, value: float = 1e-39, size: int = 200_000, layers: int = 3) -> onnx.ModelProto:
    """Products with numbers next to zero; with `value` 1.0 the same without them."""
    build = Builder()
    here = build.input("x", (1, size))
    for _ in range(layers):
        here = build.node("Mul", here, build.constant(np.full(size, value), np.float32))
        here = build.node("Add", here, build.constant(np.full(size, value), np.float32))
    return build.model(here)


def integers(*, rows: int = 64, width: int = 512) -> onnx.ModelProto:
    """A product in 8 bits, with ranges found in each call."""
    build = Builder()
    name = "x"
    build.input(name, (rows, width))
    quantised_x = build.node("DynamicQuantizeLinear", name, outputs=3)
    stem = quantised_x.removesuffix("_0")
    weight = build.constant(np.random.default_rng(0).integers(-60, 60, (width, width)), np.int8)
    product = build.node("MatMulInteger", quantised_x, weight, f"{stem}_2")
    return build.model(build.node("Cast", product, to=TensorProto.FLOAT))
