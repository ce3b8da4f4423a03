"""Models on disk and in memory: external data, the 2 GB limit of protobuf, and the small questions all steps ask."""

# ruff: noqa: SIM905 -- operator names read better in lines than one a line

from collections import Counter
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, load_model, save_model
from onnx.external_data_helper import uses_external_data

from infer_opt.errors import ModelError, StorageError
from infer_opt.transforms.faults import library_faults, one_line

# Protobuf refuses messages of 2 GiB; the rest of the message needs room too.
LARGEST_FILE_BYTES = 2**31 - 2**27

# onnxruntime's own operators, and those that its transformer fusions make: its BertOnnxModel counts the first twelve.
CONTRIB_DOMAIN = "com.microsoft"
FUSED_OPERATORS = frozenset(
    "Attention BiasGelu EmbedLayerNormalization FastGelu Gelu GemmFastGelu LayerNormalization MultiHeadAttention "
    "RotaryEmbedding SimplifiedLayerNormalization SkipLayerNormalization SkipSimplifiedLayerNormalization "
    "BiasSplitGelu GroupNorm GroupQueryAttention QuickGelu SkipGroupNorm".split()
)

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
_SMALL_TENSOR_BYTES = 4096  # what shape inference and the version converter read: shapes, axes, scales


def load(path: Path) -> ModelProto:
    """The model with all its weights in memory, external ones included.

    Raises:
        ModelError: not an ONNX file, or external data that is missing or lies outside the model's folder.
    """
    faults: tuple[type[Exception], ...] = (OSError, *library_faults())
    try:
        return load_model(str(path))
    except faults as error:
        raise ModelError(
            f"{path} cannot be read as an ONNX model: {one_line(error)}", hint="external data must lie beside the model"
        ) from error


def has_external_data(path: Path) -> bool:
    """Whether weights of the model file at `path` lie in files of their own."""
    return any(
        uses_external_data(tensor) for tensor in load_model(str(path), load_external_data=False).graph.initializer
    )


def save(model: ModelProto, path: Path, *, largest_bytes: int = LARGEST_FILE_BYTES) -> None:
    """Write the model; weights go to `<name>.data` beside it where one file would grow too large.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    try:
        if not is_large(model, largest_bytes):
            save_model(model, str(path))
            return
        data = path.with_name(path.name + ".data")
        data.unlink(missing_ok=True)  # onnx appends to what is there
        save_model(model, str(path), save_as_external_data=True, location=data.name)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {one_line(error)}", hint="free some disk space, or name another folder"
        ) from error


def is_large(model: ModelProto, largest_bytes: int = LARGEST_FILE_BYTES) -> bool:
    """Whether the model must keep its weights outside of the protobuf message."""
    return sum(tensor_bytes(tensor) for tensor in model.graph.initializer) > largest_bytes


def tensor_bytes(tensor: TensorProto) -> int:
    """Bytes of a tensor's elements, told from its type and shape: reading `raw_data` would copy them."""
    if tensor.data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        return int(tensor.ByteSize())
    return int(prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def on_skeleton(model: ModelProto, function: Callable[[ModelProto], ModelProto]) -> ModelProto:
    """`function(model)`, called without the bytes of the large weights and given them back afterwards.

    onnx's own functions serialise the model, which is slow for hundreds of megabytes and impossible above 2 GB; shape
    inference and version conversion look at small tensors only.
    """
    stash: dict[str, bytes] = {}
    for tensor in model.graph.initializer:
        if tensor.HasField("raw_data") and tensor_bytes(tensor) > _SMALL_TENSOR_BYTES:
            stash[tensor.name] = tensor.raw_data
            tensor.ClearField("raw_data")
    try:
        result = function(model)
    finally:
        _give_back(model.graph, stash)
    if result is not model:
        _give_back(result.graph, stash)
    return result


def infer_shapes(model: ModelProto) -> ModelProto:
    """The model with the types and shapes of its intermediate tensors, as far as they can be told."""
    from onnx import shape_inference

    _declare_fused(model.graph)
    return on_skeleton(model, lambda skeleton: shape_inference.infer_shapes(skeleton, data_prop=True))


def _declare_fused(graph: GraphProto) -> None:
    """Declare the element type of what onnxruntime's fused operators give: onnx cannot infer it, nor what follows.

    All of them give back the type of their weights. LayerNormalization is among them, as onnxruntime has it in opsets
    older than onnx's own.
    """
    weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
    known = {value.name for value in (*graph.value_info, *graph.output)}
    for node in graph.node:
        if node.op_type not in FUSED_OPERATORS or node.output[0] in known:
            continue
        kinds = [weights[name] for name in node.input if weights.get(name) in _FLOATS]
        if kinds:
            graph.value_info.append(helper.make_tensor_value_info(node.output[0], kinds[0], None))


def opset(model: ModelProto) -> int:
    """The version of the standard operator set; 0 for a model that uses none of it."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def operators(model: ModelProto) -> Counter[str]:
    """Operator type -> how many nodes, subgraphs included."""
    return Counter(node.op_type for node in all_nodes(model.graph))


def all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Every node of the graph and, after each, those of its subgraphs."""
    for node in graph.node:
        yield node
        for subgraph in subgraphs(node):
            yield from all_nodes(subgraph)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The bodies of a Loop, If or Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def name_nodes(model: ModelProto) -> None:
    """Give every unnamed node a unique name: the quantiser and the converters pick nodes by name."""
    taken = {node.name for node in all_nodes(model.graph)}
    for index, node in enumerate(model.graph.node):
        if not node.name:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            taken.add(name)
            node.name = name


def _give_back(graph: GraphProto, stash: dict[str, bytes]) -> None:
    for tensor in graph.initializer:
        if tensor.name in stash:
            tensor.raw_data = stash[tensor.name]
