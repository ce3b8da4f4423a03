"""What a recipe changed in a graph: the operators that came and went, and the names of the nodes that differ."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, numpy_helper

from infer_opt.results import Changes
from infer_opt.transforms.model_files import all_nodes, opset

MOST_NAMES = 100
_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)  # whose nodes are looked at one by one


def compare(before: ModelProto, after: ModelProto) -> Changes:
    """What differs between two graphs. Constants count as weights, however they are stored, and not as nodes.

    Two nodes are the same one if they have the same name, or the same type and the same first output: naming what had
    no name changes nothing.
    """
    old, new = _nodes(before), _nodes(after)
    partners = _partners(old, new)
    known, now = _constants(before), _constants(after)
    changed = [
        _name(new[index]) for index, partner in partners.items() if not _same_node(old[partner], new[index], known, now)
    ]
    kept = set(partners.values())
    added = [_name(node) for index, node in enumerate(new) if index not in partners]
    removed = [_name(node) for index, node in enumerate(old) if index not in kept]
    types, types_now = Counter(node.op_type for node in old), Counter(node.op_type for node in new)
    return Changes(
        operators_added=_by_count(types_now - types),
        operators_removed=_by_count(types - types_now),
        added=len(added),
        removed=len(removed),
        changed=len(changed),
        nodes_added=tuple(added[:MOST_NAMES]),
        nodes_removed=tuple(removed[:MOST_NAMES]),
        nodes_changed=tuple(changed[:MOST_NAMES]),
        besides=tuple(_besides(before, after)),
    )


def _nodes(model: ModelProto) -> list[NodeProto]:
    return [node for node in all_nodes(model.graph) if node.op_type != "Constant"]


def _name(node: NodeProto) -> str:
    return node.name or next((name for name in node.output if name), node.op_type)


def _partners(old: Sequence[NodeProto], new: Sequence[NodeProto]) -> dict[int, int]:
    """The position of a node in `new` -> that of the same node in `old`."""
    by_name = {node.name: index for index, node in enumerate(old) if node.name}
    by_output = {(node.op_type, node.output[0]): index for index, node in enumerate(old) if node.output}
    partners: dict[int, int] = {}
    taken: set[int] = set()
    for index, node in enumerate(new):
        output = (node.op_type, node.output[0] if node.output else "")
        for candidate in (by_name.get(node.name), by_output.get(output)):
            if candidate is not None and candidate not in taken:
                partners[index] = candidate
                taken.add(candidate)
                break
    return partners


def _constants(model: ModelProto) -> dict[str, TensorProto]:
    """Tensor name -> its values, of the main graph."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            found[node.output[0]] = node.attribute[0].t
    return found


def _same_node(
    old: NodeProto, new: NodeProto, known: Mapping[str, TensorProto], now: Mapping[str, TensorProto]
) -> bool:
    if (old.op_type, _attributes(old)) != (new.op_type, _attributes(new)) or len(old.input) != len(new.input):
        return False
    return all(
        was == name if name not in now or was not in known else _same_values(known[was], now[name])
        for was, name in zip(old.input, new.input, strict=True)
    )


def _attributes(node: NodeProto) -> dict[str, bytes]:
    return {
        attribute.name: attribute.SerializeToString(deterministic=True)
        for attribute in node.attribute
        if attribute.type not in _GRAPHS
    }


def _same_values(old: TensorProto, new: TensorProto) -> bool:
    if (old.data_type, list(old.dims)) != (new.data_type, list(new.dims)):
        return False
    if old.HasField("raw_data") and new.HasField("raw_data"):
        return old.raw_data == new.raw_data
    return np.array_equal(numpy_helper.to_array(old), numpy_helper.to_array(new))


def _by_count(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _besides(before: ModelProto, after: ModelProto) -> Iterable[str]:
    if _inputs(before) != _inputs(after):
        yield "inputs"
    if opset(before) != opset(after):
        yield "opset"


def _inputs(model: ModelProto) -> list[tuple[str, bytes]]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [
        (value.name, value.type.SerializeToString(deterministic=True))
        for value in model.graph.input
        if value.name not in weights
    ]
