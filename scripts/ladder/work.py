"""What a network has to do at the least, counted from its ONNX graph with shapes: operations, weights, inputs, outputs.

The floor that follows is that of perfect fusion: weights are read once, and no activation ever leaves the chip.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

FOLDED = frozenset({"Gather", "Unsqueeze", "Slice"})

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Of one call. A multiply-add is two `operations`, and only those of products count.

    `weights` are how many numbers must be read of them: of a table that is looked up, the rows that are.
    """

    operations: int
    weights: int
    input_bytes: int
    output_bytes: int


def work_of(given: onnx.ModelProto, dims: Mapping[str, int]) -> Work:
    """The work of one call of the model, with these sizes of its free dimensions."""
    model = _without_numbers(given)
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in dims:
                dim.dim_value = dims[dim.dim_param]
    _fold_shapes(model.graph)
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = _shapes(model.graph)
    return Work(
        operations=sum(_operations(node, shapes) for node in model.graph.node),
        weights=_weights(model.graph, shapes),
        input_bytes=sum(_bytes(value, shapes) for value in model.graph.input),
        output_bytes=sum(_bytes(value, shapes) for value in model.graph.output),
    )


def _without_numbers(given: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose float weights have shapes and no numbers: shape inference would carry gigabytes about."""
    model = onnx.ModelProto()
    model.CopyFrom(given)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.ClearField("raw_data")
    return model


def _fold_shapes(graph: onnx.GraphProto) -> None:
    """Compute what follows from the shapes of inputs alone: shape inference does not follow it through a Slice."""
    sizes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in graph.input}
    known = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.INT64}
    for node in list(graph.node):
        if node.op_type == "Shape" and node.input[0] in sizes:
            value = np.array(sizes[node.input[0]], np.int64)
        elif node.op_type in FOLDED and all(name in known for name in node.input):
            feeds = {name: numpy_helper.to_array(known[name]) for name in node.input}
            found: Any = ReferenceEvaluator(node).run(None, feeds)
            value = np.asarray(found[0])
        else:
            continue
        known[node.output[0]] = numpy_helper.from_array(value, node.output[0])
        graph.initializer.append(known[node.output[0]])
        graph.node.remove(node)


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    found = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.output, *graph.value_info)
    }
    return found | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def _operations(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Products are counted; all else is small beside them."""
    if node.op_type == "Conv":
        _, channels, *kernel = shapes[node.input[1]]  # of one group already
        return 2 * math.prod(shapes[node.output[0]]) * channels * math.prod(kernel)
    if node.op_type == "MatMul":
        return 2 * math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        transposed = next((helper.get_attribute_value(one) for one in node.attribute if one.name == "transA"), 0)
        return 2 * math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1]
    if node.op_type == "LSTM":
        steps, batch, inputs = shapes[node.input[0]]
        directions, gates, _ = shapes[node.input[1]]
        return 2 * steps * batch * directions * gates * (inputs + gates // 4)
    return 0


def _weights(graph: onnx.GraphProto, shapes: Shapes) -> int:
    """Numbers of all float tensors, but of tables that Gather looks up the rows that it reads."""
    tables = {node.input[0]: node for node in graph.node if node.op_type == "Gather"}
    total = 0
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        size = math.prod(tensor.dims)
        if tensor.name in tables:
            rows = math.prod(shapes.get(tables[tensor.name].input[1], ()) or (1,))
            size = min(size, rows * math.prod(tensor.dims[1:]))
        total += size
    return total


def _bytes(value: onnx.ValueInfoProto, shapes: Shapes) -> int:
    width = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).itemsize
    return math.prod(shapes[value.name]) * int(width)
