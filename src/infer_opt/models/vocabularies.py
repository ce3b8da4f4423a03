"""How many rows the tables have that integer inputs index: an id beyond them would be an error, not a slow run."""

from collections.abc import Mapping, Sequence

import onnx

from infer_opt.facts import TensorSpec

# These hand indices on unchanged.
_SAME_VALUES = frozenset({
    "Cast", "Concat", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
# A table may be stored narrower than it is used.
_SAME_ROWS = frozenset({"Cast", "DequantizeLinear", "Identity"})
# Of com.microsoft: operator -> (position of the indices, position of the table)
_FUSED_LOOKUPS = {"EmbedLayerNormalization": ((0, 2), (1, 4)), "GatherBlockQuantized": ((1, 0),)}


def find_vocabularies(graph: onnx.GraphProto, inputs: Sequence[TensorSpec]) -> tuple[tuple[str, int], ...]:
    """Integer input -> rows of the smallest table that it indexes, in the order of the inputs."""
    origins = {spec.name: frozenset({spec.name}) for spec in inputs if spec.dtype.startswith(("int", "uint"))}
    tables = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    rows: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == "Constant":
            tables[node.output[0]] = next((tuple(attr.t.dims) for attr in node.attribute if attr.name == "value"), ())
        elif node.op_type in _SAME_ROWS and node.input and node.input[0] in tables:
            tables[node.output[0]] = tables[node.input[0]]
        elif node.op_type in _SAME_VALUES:
            sources = node.input if node.op_type == "Concat" else node.input[:1]
            found = frozenset().union(*(origins.get(name, frozenset()) for name in sources))
            origins |= {name: found for name in node.output if found}
        for indices, size in _lookups(node, tables):
            for origin in origins.get(indices, ()):
                rows[origin] = min(size, rows.get(origin, size))
    return tuple((spec.name, rows[spec.name]) for spec in inputs if spec.name in rows)


def _lookups(node: onnx.NodeProto, tables: Mapping[str, tuple[int, ...]]) -> list[tuple[str, int]]:
    """(name of the indices, rows of the table) for each lookup that the node makes in a known table."""
    if node.op_type == "Gather":
        places: tuple[tuple[int, int], ...] = ((1, 0),)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    else:
        places, axis = _FUSED_LOOKUPS.get(node.op_type, ()), 0
    return [
        (node.input[indices], tables[node.input[table]][axis])
        for indices, table in places
        if table < len(node.input) and len(tables.get(node.input[table], ())) > axis
    ]
