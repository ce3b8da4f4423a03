"""Constant subgraphs into initialisers, and what nothing uses out of the graph."""

# ruff: noqa: SIM905 -- operator names read better in lines than one a line

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from infer_opt.transforms.faults import library_faults
from infer_opt.transforms.model_files import all_nodes, opset, subgraphs, tensor_bytes

Constant = NDArray[np.generic]

# Weights made by ConstantOfShape are folded too: the quantiser wants initialisers. 1 GiB holds those of VGG-19.
FOLD_LIMIT_BYTES = 2**30

# Cheap, deterministic, and evaluated alike everywhere. Not here, on purpose: random operators, control flow, and
# DequantizeLinear, whose folding would undo a quantisation.
FOLDABLE = frozenset(
    "Abs Add And Cast Ceil Concat Constant ConstantOfShape Div Equal Exp Expand Flatten Floor Gather Greater Identity "
    "Less Log Max Min Mul Neg Not Or Pow Range Reciprocal ReduceMax ReduceMin ReduceProd ReduceSum Reshape Shape Size "
    "Slice Split Sqrt Squeeze Sub Tile Transpose Unsqueeze Where".split()
)


def fold_constants(model: ModelProto, *, limit_bytes: int = FOLD_LIMIT_BYTES) -> int:
    """Replace nodes whose inputs are all known by initialisers, in place; gives the number of nodes replaced.

    At most `limit_bytes` are added. Shapes that inference has made static count as known.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    overridable = {value.name for value in graph.input}  # an initialiser that is an input too is only a default
    known: dict[str, TensorProto] = {name: tensor for name, tensor in constants.items() if name not in overridable}
    shapes, outputs = _static_shapes(graph), {value.name for value in graph.output}
    renamed: dict[str, str] = {}
    folded: list[int] = []
    for index, node in enumerate(graph.node):
        rename_inputs(node, renamed)
        if node.op_type not in FOLDABLE or node.domain not in ("", "ai.onnx") or outputs & set(node.output):
            continue
        if node.op_type == "Identity" and node.input[0] in known:
            renamed[node.output[0]] = node.input[0]
            folded.append(index)
            continue
        tensors = _evaluate(node, known, shapes, version=opset(model), limit_bytes=limit_bytes)
        if tensors is None:
            continue
        limit_bytes -= sum(tensor_bytes(tensor) for tensor in tensors)
        for tensor in tensors:
            graph.initializer.append(tensor)
            known[tensor.name] = graph.initializer[-1]
        folded.append(index)
    for index in reversed(folded):
        del graph.node[index]
    return len(folded)


def drop_dead(model: ModelProto) -> int:
    """Remove nodes and initialisers that no output depends on, in place; gives how many were removed."""
    graph = model.graph
    needed, dead = {value.name for value in graph.output}, []
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if not needed & set(node.output):
            dead.append(index)
            continue
        needed.update(node.input)
        for subgraph in subgraphs(node):
            needed.update(_names_used(subgraph))
    for index in dead:
        del graph.node[index]
    unused = [index for index, tensor in enumerate(graph.initializer) if tensor.name not in needed]
    for index in reversed(unused):
        del graph.initializer[index]
    made = {name for node in graph.node for name in node.output}
    for index in reversed([i for i, value in enumerate(graph.value_info) if value.name not in made]):
        del graph.value_info[index]
    return len(dead) + len(unused)


def _evaluate(
    node: NodeProto,
    known: Mapping[str, TensorProto],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    version: int,
    limit_bytes: int,
) -> list[TensorProto] | None:
    """The node's outputs as tensors of the same names, or None where they cannot be known or would be too large."""
    if node.op_type == "Constant":
        tensor = _constant(node)
        return None if tensor is None or tensor_bytes(tensor) > limit_bytes else [tensor]
    if node.op_type in ("Shape", "Size") and node.input[0] in shapes:
        return [_shape_constant(node, shapes[node.input[0]])]
    inputs = [name for name in node.input if name]
    if not all(name in known for name in inputs):
        return None
    arrays = {name: numpy_helper.to_array(known[name]) for name in inputs}
    if _predicted_bytes(node, [arrays[name] for name in inputs]) > limit_bytes:
        return None
    results = _run(node, arrays, version)
    if results is None:
        return None
    return [
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in zip(node.output, results, strict=True)
        if name
    ]


def _run(node: NodeProto, arrays: Mapping[str, Constant], version: int) -> list[Constant] | None:
    """One node, evaluated by onnx's reference implementation; None where that has a gap."""
    from onnx.reference import ReferenceEvaluator

    graph = helper.make_graph(
        [node],
        "constant",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in arrays.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in node.output],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    try:
        results: list[Any] = list(ReferenceEvaluator(model).run(None, dict(arrays)))
    except library_faults():
        return None
    return results if all(isinstance(value, np.ndarray | np.generic) for value in results) else None


def _constant(node: NodeProto) -> TensorProto | None:
    """The tensor of a Constant node; None for a sparse one."""
    attribute = node.attribute[0]
    name = node.output[0]
    if attribute.name == "value":
        tensor = TensorProto()
        tensor.CopyFrom(attribute.t)
        tensor.name = name
        return tensor
    value = helper.get_attribute_value(attribute)
    if attribute.name in ("value_float", "value_floats"):
        return numpy_helper.from_array(np.asarray(value, dtype=np.float32), name)
    if attribute.name in ("value_int", "value_ints"):
        return numpy_helper.from_array(np.asarray(value, dtype=np.int64), name)
    return None


def _shape_constant(node: NodeProto, shape: tuple[int, ...]) -> TensorProto:
    """What Shape (a slice of it, since opset 15) or Size gives for a tensor of this shape."""
    if node.op_type == "Size":
        return numpy_helper.from_array(np.asarray(int(np.prod(shape)), dtype=np.int64), node.output[0])
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    part = shape[bounds.get("start", 0) : bounds.get("end", len(shape))]
    return numpy_helper.from_array(np.asarray(part, dtype=np.int64), node.output[0])


def _predicted_bytes(node: NodeProto, inputs: list[Constant]) -> int:
    """An upper bound of the output's size, before a small file turns into a large array."""
    if node.op_type == "ConstantOfShape":
        return _product(inputs[0].tolist()) * 8
    if node.op_type == "Expand":
        return _product(inputs[1].tolist()) * inputs[0].nbytes
    if node.op_type == "Tile":
        return inputs[0].nbytes * _product(inputs[1].tolist())
    if node.op_type == "Range":
        start, limit, delta = (float(value) for value in inputs)
        return int(max(0.0, (limit - start) / delta)) * 8 if delta else 0
    if node.op_type == "Gather":
        return inputs[0].nbytes * max(1, inputs[1].size)
    try:
        return _product(np.broadcast_shapes(*(array.shape for array in inputs))) * 8
    except ValueError:  # not an element-wise operator
        return sum(array.nbytes for array in inputs)


def _product(sizes: Iterable[int]) -> int:
    total = 1
    for size in sizes:
        total *= max(1, int(size))
    return total


def _static_shapes(graph: GraphProto) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape, where every dimension is a number."""
    shapes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            if all(dim.HasField("dim_value") for dim in dims):
                shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def rename_inputs(node: NodeProto, renamed: Mapping[str, str]) -> None:
    """Make the node, and whatever its subgraphs take from outside, use the new names."""
    if not renamed:
        return
    for index, name in enumerate(node.input):
        if name in renamed:
            node.input[index] = renamed[name]
    for subgraph in subgraphs(node):
        for inner in subgraph.node:
            rename_inputs(inner, renamed)
        for value in subgraph.output:
            value.name = renamed.get(value.name, value.name)


def _names_used(graph: GraphProto) -> set[str]:
    """Every name that a subgraph reads, its own included."""
    names = {name for node in all_nodes(graph) for name in node.input}
    names.update(value.name for value in graph.output)
    for node in all_nodes(graph):
        for subgraph in subgraphs(node):
            names.update(value.name for value in subgraph.output)
    return names
