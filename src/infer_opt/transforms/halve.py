"""Half precision where it is safe: FP16 weights and products, FP32 islands, and float32 inputs and outputs."""

# ruff: noqa: SIM905 -- operator names read better in lines than one a line

from collections import Counter
from pathlib import Path

from onnx import ModelProto, TensorProto

from infer_opt.errors import ModelError
from infer_opt.transforms.faults import step
from infer_opt.transforms.folding import FOLD_LIMIT_BYTES
from infer_opt.transforms.model_files import all_nodes, infer_shapes, load, name_nodes, save, subgraphs
from infer_opt.transforms.normalise import normalised

# Besides what onnxruntime keeps in FP32 because it must: operators that sum many terms, or whose values leave FP16's
# range (65504, and 6e-8 at the small end) in ordinary networks.
FP32_ISLANDS = frozenset(
    "Exp InstanceNormalization LayerNormalization Log LogSoftmax Pow ReduceL2 ReduceLogSumExp ReduceMean ReduceProd "
    "ReduceSum ReduceSumSquare SimplifiedLayerNormalization Softmax Softplus".split()
)


def halve(source: Path, target: Path) -> None:
    """Write the model at `source` in FP16 with FP32 islands; its inputs and outputs stay as they are.

    Raises:
        ModelError: nothing in it is float32, or it holds control flow, which the converter breaks.
        StorageError: `target` cannot be written.
    """
    with step("converting to fp16"):
        model = load(source)
        if any(True for node in model.graph.node for _ in subgraphs(node)):
            raise ModelError(f"{source.name} holds control flow, which cannot be converted to fp16")
        save(halved(model, source.name), target)


def halved(model: ModelProto, name: str = "the model") -> ModelProto:
    """The model in FP16. The model passed in is used up.

    Raises:
        ModelError: nothing in it is float32.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    before = _half_tensors(model)
    model, _ = normalised(model, limit_bytes=FOLD_LIMIT_BYTES)
    model = infer_shapes(model)
    name_nodes(model)
    converted: ModelProto = convert_float_to_float16(
        model,
        keep_io_types=True,
        disable_shape_infer=True,  # done above, without the 2 GB limit
        op_block_list=sorted(FP32_ISLANDS.union(DEFAULT_OP_BLOCK_LIST)),
    )
    if _half_tensors(converted) <= before:
        raise ModelError(f"{name} holds no float32 weights that could become fp16")
    sort_nodes(converted)
    return converted


def sort_nodes(model: ModelProto) -> None:
    """Put the nodes into the order that ONNX asks for; the converter appends its Casts at the end.

    Raises:
        ModelError: the graph has a cycle.
    """
    nodes = list(model.graph.node)
    made_by = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needs = [{made_by[name] for name in _reads(node) if name in made_by} for node in nodes]
    readers: dict[int, list[int]] = {}
    for index, sources in enumerate(needs):
        for source in sources:
            readers.setdefault(source, []).append(index)
    missing = Counter({index: len(sources) for index, sources in enumerate(needs)})
    ready, order = [index for index in range(len(nodes)) if not needs[index]], []
    while ready:
        index = ready.pop()
        order.append(nodes[index])
        for reader in readers.get(index, ()):
            missing[reader] -= 1
            if not missing[reader]:
                ready.append(reader)
    if len(order) != len(nodes):
        raise ModelError("the converted graph has a cycle")
    del model.graph.node[:]
    model.graph.node.extend(order)


def _reads(node) -> set[str]:  # type: ignore[no-untyped-def]
    names = set(node.input)
    for subgraph in subgraphs(node):
        for inner in all_nodes(subgraph):
            names.update(inner.input)
    return names


def _half_tensors(model: ModelProto) -> int:
    return sum(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
