"""What INT8 can take over or leave in float as one: a layer with weights, and what goes with it."""

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from infer_opt.transforms.prospects import DYNAMIC_OPERATORS, STATIC_OPERATORS

PRODUCTS = STATIC_OPERATORS | DYNAMIC_OPERATORS  # of two activations, these stay in float
MOST_LAYERS = 48  # beyond it neighbours are taken together: each costs a model of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Nodes that are quantised together or not at all. `reads` are the tensors that come in to its weights' nodes."""

    name: str
    nodes: tuple[str, ...]
    reads: tuple[str, ...]


def find_layers(model: ModelProto, types: Collection[str], *, most: int = MOST_LAYERS) -> tuple[Layer, ...]:
    """The layers of a prepared model, in the order of its graph, at most `most`.

    A layer begins with nodes of `types` that have a weight. Those that read the same tensor are one, such as query, key
    and value: it is quantised once for all of them. What else of `types` follows, without weights, belongs to the layer
    that it follows: between two integer layers it would only cost conversions.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    owners: dict[str, str] = {}  # tensor -> the tensor that its layer reads
    members: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        has_weight = any(name in weights for name in node.input[1:])
        owner = next((owners[name] for name in node.input if name in owners), None)
        if node.op_type in types and has_weight:
            owner = node.input[0]
        elif node.op_type not in types or node.op_type in PRODUCTS:
            owner = None
        if owner is None:
            continue
        members.setdefault(owner, []).append(node)
        owners |= dict.fromkeys(node.output, owner)
    return _merged([_layer((read,), nodes) for read, nodes in members.items()], most)


def _layer(reads: tuple[str, ...], nodes: Sequence[NodeProto]) -> Layer:
    names = tuple(node.name for node in nodes)
    return Layer(name=title(names), nodes=names, reads=reads)


def title(names: Sequence[str]) -> str:
    """What several nodes are called together: the path that they share, and how many they are."""
    if len(names) == 1:
        return names[0]
    parts = zip(*(name.split("/") for name in names), strict=False)
    shared = [found[0] for found in itertools.takewhile(lambda found: len(set(found)) == 1, parts)]
    return f"{'/'.join(shared) or names[0]} ({len(names)} nodes)"


def _merged(layers: Sequence[Layer], most: int) -> tuple[Layer, ...]:
    size = -(-len(layers) // most) or 1
    chunks = [layers[begin : begin + size] for begin in range(0, len(layers), size)]
    seen = Counter[str]()
    merged = []
    for chunk in chunks:
        nodes = tuple(name for layer in chunk for name in layer.nodes)
        name = title(nodes)
        seen[name] += 1
        merged.append(
            Layer(
                name=name if seen[name] == 1 else f"{name}, {seen[name]}",
                nodes=nodes,
                reads=tuple(tensor for layer in chunk for tensor in layer.reads),
            )
        )
    return tuple(merged)
