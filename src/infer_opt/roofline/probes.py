"""Small models whose work is known: matrix products in one precision, and chains of the smallest or of large nodes.

They are opened with the runtime's own optimisation switched off, so that what was built is what runs, and they give
back a handful of values, so that the way out counts for nothing. On a device, what they start from is there already.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from infer_opt.config import Provider, SessionOptions
from infer_opt.protocols import Runtime
from infer_opt.recipes import GraphLevel
from infer_opt.roofline.blocks import Run

TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
OPSET, IR_VERSION = 17, 8
SEED = 20_261_127
DRAWN = 1 << 20
INT8 = "int8"
REQUANTISED, ACCUMULATED = "QLinearMatMul", "MatMulInteger"
# Operations of a chain: so many that its ends, and starting it, count for nothing beside them, and yet so few on a CPU
# that now and then no neighbour comes in between.
CPU_WORK, DEVICE_WORK = 1e9, 2e13
FEWEST_LINKS, MOST_LINKS = 1, 48
CHANNELS, SIDE, KERNEL = 64, 56, 3  # of the convolution: what ResNet-50 begins with


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Square matrices of `size`, multiplied `links` times in one call."""

    precision: str
    size: int
    links: int
    operator: str = "MatMul"
    on_device: bool = False

    @property
    def operations(self) -> float:
        """Of one call; a multiply-add is two."""
        return 2.0 * self.size**3 * self.links


def product_of(precision: str, size: int, *, operator: str = "MatMul", on_device: bool = False) -> Product:
    """As many links as make the call long enough."""
    links = round((DEVICE_WORK if on_device else CPU_WORK) / (2.0 * size**3))
    links = min(MOST_LINKS, max(FEWEST_LINKS, links))
    return Product(precision=precision, size=size, links=links, operator=operator, on_device=on_device)


def product_model(product: Product) -> bytes:
    """The model; its input is `x` (what is multiplied), on a device `rows` (which rows of it are taken)."""
    return _products_in_int8(product) if product.precision == INT8 else _products_in_float(product)


def product_feeds(product: Product) -> dict[str, Any]:
    """What the model is fed with, seeded."""
    if product.on_device:
        return {"rows": np.arange(product.size, dtype=np.int64)}
    return {"x": _first(product)}


def chain_model(operator: str, links: int, elements: int, *, on_device: bool = False) -> bytes:
    """`links` nodes of one operator, each on what the one before gave: `elements` float32 values."""
    nodes, start = [], "x"
    if on_device:
        nodes, start = [helper.make_node("Expand", ["one", "count"], ["start"])], "start"
    names = [start, *(f"y{number}" for number in range(1, links + 1))]
    nodes += [helper.make_node(operator, [names[at]], [names[at + 1]]) for at in range(links)]
    nodes.append(helper.make_node("Slice", [names[-1], "zero", "two"], ["y"]))
    constants = {"zero": np.array([0]), "two": np.array([2])}
    if on_device:
        constants["count"] = np.array([elements])
        inputs = [helper.make_tensor_value_info("one", TensorProto.FLOAT, [1])]
    else:
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [elements])]
    return _model(nodes, inputs, TensorProto.FLOAT, constants)


def chain_feeds(elements: int, *, on_device: bool = False) -> dict[str, Any]:
    """What a chain is fed with."""
    return {"one": np.ones(1, np.float32)} if on_device else {"x": np.ones(elements, np.float32)}


def convolution_model(links: int) -> bytes:
    """Convolutions of 3x3 without padding, each over what the one before gave: their kernels are the best of some."""
    generator = np.random.default_rng(SEED)
    inner = CHANNELS * KERNEL * KERNEL
    weights = generator.standard_normal((CHANNELS, CHANNELS, KERNEL, KERNEL), dtype=np.float32) / np.float32(inner**0.5)
    names = ["x", *(f"y{number}" for number in range(1, links + 1))]
    nodes = [helper.make_node("Conv", [before, "w"], [after]) for before, after in itertools.pairwise(names)]
    nodes.append(helper.make_node("GlobalMaxPool", [names[-1]], ["y"]))  # in their layout too
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, SIDE, SIDE])]
    return _model(nodes, inputs, TensorProto.FLOAT, {"w": weights})


def convolution_feeds() -> dict[str, Any]:
    """What it is fed with, seeded."""
    generator = np.random.default_rng(SEED + 1)
    return {"x": generator.standard_normal((1, CHANNELS, SIDE, SIDE), dtype=np.float32)}


def convolution_operations(links: int) -> float:
    """Of one call; each convolution takes two off either side of the picture."""
    sides = (SIDE - (KERNEL - 1) * number for number in range(1, links + 1))
    return float(sum(2 * (CHANNELS * KERNEL * side) ** 2 for side in sides))


@contextlib.contextmanager
def opened(
    runtime: Runtime, model: bytes, feeds: Mapping[str, Any], *, folder: Path, provider: Provider, threads: int,
    level: GraphLevel = GraphLevel.NONE,
) -> Iterator[Run]:  # fmt: skip
    """A call of the model in a session of its own.

    Raises:
        UnavailableError: the provider is missing.
        ModelError: it has no kernel for this.
    """
    path = folder / "probe.onnx"
    path.write_bytes(model)
    options = SessionOptions(provider=provider, intra_threads=threads, graph_level=level)
    session = runtime.open(path, options)
    try:
        yield lambda: session.run(feeds)
    finally:
        session.close()


def _products_in_float(product: Product) -> bytes:
    """x @ w @ w ... in the given precision; w keeps the length of vectors, so that no values run away or vanish."""
    kind = TYPES[product.precision]
    weights = _normal(SEED, (product.size, product.size)) / np.float32(np.sqrt(product.size))
    nodes, inputs, constants = _start(product)
    nodes.append(helper.make_node("Cast", ["x"], ["y0"], to=kind))
    for number in range(product.links):
        nodes.append(helper.make_node("MatMul", [f"y{number}", "w"], [f"y{number + 1}"]))
    nodes.append(helper.make_node("Slice", [f"y{product.links}", "zero", "two"], ["corner"]))
    nodes.append(helper.make_node("Cast", ["corner"], ["y"], to=TensorProto.FLOAT))
    weights = weights.astype(helper.tensor_dtype_to_np_dtype(kind))
    constants |= {"w": weights, "zero": np.array([0, 0]), "two": np.array([2, 2])}
    return _model(nodes, inputs, TensorProto.FLOAT, constants)


def _products_in_int8(product: Product) -> bytes:
    """Unsigned times signed 8 bits (on a device signed times signed): one after the other, or side by side."""
    generator = np.random.default_rng(SEED)
    weights = generator.integers(-64, 64, (product.size, product.size), dtype=np.int8)
    nodes, inputs, constants = _start(product)
    constants |= {"w": weights, "zero": np.array([0, 0]), "two": np.array([2, 2])}
    if product.operator == REQUANTISED:
        constants |= {
            "scale": np.array(1.0, np.float32), "point": np.array(128, np.uint8), "weight_point": np.array(0, np.int8),
            "result_scale": np.array(64.0 * np.sqrt(product.size), np.float32),
        }  # fmt: skip
        names = ["x", *(f"y{number}" for number in range(1, product.links + 1))]
        rest = ["scale", "point", "w", "scale", "weight_point", "result_scale", "point"]
        for before, after in itertools.pairwise(names):
            nodes.append(helper.make_node("QLinearMatMul", [before, *rest], [after]))
        nodes.append(helper.make_node("Slice", [names[-1], "zero", "two"], ["corner"]))
    else:
        # The sums are 32 bits wide and fit no further product: each starts from the same matrix.
        for number in range(product.links):
            nodes.append(helper.make_node("MatMulInteger", ["x", "w"], [f"sums{number}"]))
            nodes.append(helper.make_node("Slice", [f"sums{number}", "zero", "two"], [f"corner{number}"]))
        corners = [f"corner{number}" for number in range(product.links)]
        nodes.append(helper.make_node("Concat", corners, ["corner"], axis=0))
    nodes.append(helper.make_node("Cast", ["corner"], ["y"], to=TensorProto.FLOAT))
    return _model(nodes, inputs, TensorProto.FLOAT, constants)


def _start(product: Product) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """The input as it is; on a device, rows of a constant, so that only their numbers travel there."""
    first = _first(product)
    if not product.on_device:
        kind = helper.np_dtype_to_tensor_dtype(first.dtype)
        return [], [helper.make_tensor_value_info("x", kind, list(first.shape))], {}
    rows = helper.make_tensor_value_info("rows", TensorProto.INT64, [product.size])
    return [helper.make_node("Gather", ["there", "rows"], ["x"])], [rows], {"there": first}


def _first(product: Product) -> Any:
    shape = (product.size, product.size)
    if product.precision != INT8:
        return _normal(SEED + 1, shape)
    generator = np.random.default_rng(SEED + 1)
    if product.on_device:
        return generator.integers(-128, 128, shape, dtype=np.int8)
    return generator.integers(0, 256, shape, dtype=np.uint8)


def _normal(seed: int, shape: tuple[int, ...]) -> Any:
    """Numbers that repeat after a million: drawing more of them would take longer than multiplying them."""
    return np.resize(np.random.default_rng(seed).standard_normal(DRAWN, dtype=np.float32), shape)


def _model(nodes: list[Any], inputs: list[Any], kind: int, constants: Mapping[str, Any]) -> bytes:
    outputs = [helper.make_tensor_value_info("y", kind, None)]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "probe", inputs, outputs, initializer=tensors)
    opsets = [helper.make_opsetid("", OPSET)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    return model
