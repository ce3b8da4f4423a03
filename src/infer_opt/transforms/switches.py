"""One model in which every layer is in float or in INT8 as a switch says: any mixture is tried in one session.

Each node of a layer becomes an If: one branch is the node itself, the other what the quantiser made of it. Branches run
only when they are chosen. A whole model for each mixture would be quantised, written and opened every time, which takes
a hundred times as long as running it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from infer_opt.transforms.folding import rename_inputs
from infer_opt.transforms.layers import Layer

PRODUCTS = ("Gemm", "MatMul")
PREFIX = "infer_opt.in_int8/"  # of everything that is added, so that no name of the model is taken twice


def switch_of(layer: Layer) -> str:
    """The name of the input that puts the layer in INT8: a bool without dimensions."""
    return f"{PREFIX}{layer.name}"


def switchable(plain: ModelProto, whole: ModelProto, layers: Sequence[Layer]) -> ModelProto:
    """`plain` with an input for each layer that says whether it runs as in `whole`, where all of it is quantised.

    What the quantiser left out, or took away, stays as it is in `plain`, whatever its layer's switch says.
    """
    mixed = ModelProto()
    mixed.CopyFrom(plain)
    graph = mixed.graph
    types = _types(plain.graph)
    quantised = _Quantised(whole.graph, known=frozenset(types))
    switches = {node: switch_of(layer) for layer in layers for node in layer.nodes}
    nodes = [
        _switched(node, switches[node.name], quantised, types) if node.name in switches else node
        for node in plain.graph.node
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(quantised.weights())
    graph.input.extend(helper.make_tensor_value_info(switch_of(layer), TensorProto.BOOL, []) for layer in layers)
    _import(mixed, whole)
    return mixed


@dataclass
class _Quantised:
    """The quantised graph as a place to take pieces from. `known` are the tensors that the float graph has as well."""

    graph: GraphProto
    known: frozenset[str]

    def __post_init__(self) -> None:
        self._makers = {name: node for node in self.graph.node for name in node.output if name}
        self._weights = {tensor.name: tensor for tensor in self.graph.initializer}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._used: set[str] = set()

    def ends(self, node: NodeProto, outputs: Iterable[str]) -> dict[str, str] | None:
        """For each output of a float node the tensor that takes its place; None where one is gone.

        That is its value after rounding to INT8, where all read it so. Products of matrices are rounded by who reads
        them, if that is in INT8 (quantise._static_quantiser).
        """
        ends = {name: name if node.op_type in PRODUCTS else self._rounded(name) for name in outputs}
        return ends if all(end in self._makers for end in ends.values()) else None

    def _rounded(self, name: str) -> str:
        for quantiser in self._readers.get(name, ()):
            if quantiser.op_type == "QuantizeLinear":
                for back in self._readers.get(quantiser.output[0], ()):
                    if back.op_type == "DequantizeLinear":
                        return str(back.output[0])
        return name

    def piece(self, ends: Mapping[str, str]) -> list[NodeProto]:
        """The nodes between the tensors that the float graph has and `ends`, each after those that it reads."""
        own = {*ends, *ends.values()}  # made here, not taken from outside
        found: dict[int, NodeProto] = {}

        def visit(name: str) -> None:
            node = self._makers.get(name)
            if node is None or (name in self.known and name not in own) or id(node) in found:
                return
            for read in node.input:
                visit(read)
            found[id(node)] = node

        for end in ends.values():
            visit(end)
        return list(found.values())

    def renamed(self, name: str) -> str:
        """What a weight of the quantised graph is called beside those of the float graph."""
        self._used.add(name)
        return f"{PREFIX}{name}"

    def is_weight(self, name: str) -> bool:
        return name in self._weights

    def weights(self) -> Iterator[TensorProto]:
        """The weights that pieces read, under their new names."""
        for name in sorted(self._used):
            tensor = TensorProto()
            tensor.CopyFrom(self._weights[name])
            tensor.name = f"{PREFIX}{name}"
            yield tensor


def _switched(node: NodeProto, switch: str, quantised: _Quantised, types: Mapping[str, int]) -> NodeProto:
    """An If with `node` in one branch and its quantised piece in the other; the node itself where there is none."""
    outputs = [name for name in node.output if name]
    ends = quantised.ends(node, outputs)
    if ends is None:
        return node
    return helper.make_node(
        "If",
        [switch],
        outputs,
        name=f"{PREFIX}{node.name}",
        then_branch=_quantised_branch(node, ends, quantised, types),
        else_branch=_float_branch(node, outputs, types),
    )


def _float_branch(node: NodeProto, outputs: Sequence[str], types: Mapping[str, int]) -> GraphProto:
    own = {name: f"{PREFIX}{name}/float" for name in outputs}
    copy = _renamed(node, outputs=own, inputs={})
    return helper.make_graph([copy], f"{node.name}/float", [], _declared(own, types))


def _quantised_branch(
    node: NodeProto, ends: Mapping[str, str], quantised: _Quantised, types: Mapping[str, int]
) -> GraphProto:
    piece = quantised.piece(ends)
    made = {name: f"{PREFIX}{node.name}/{name}" for part in piece for name in part.output if name}
    copies = []
    for part in piece:
        weights = {name: quantised.renamed(name) for name in part.input if quantised.is_weight(name)}
        copies.append(_renamed(part, outputs=made, inputs=weights | made))
    return helper.make_graph(
        copies,
        f"{node.name}/int8",
        [],
        _declared({name: made[end] for name, end in ends.items()}, types),
    )


def _renamed(node: NodeProto, *, outputs: Mapping[str, str], inputs: Mapping[str, str]) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.name = f"{PREFIX}{node.name}" if node.name else ""
    rename_inputs(copy, dict(inputs))
    for index, name in enumerate(copy.output):
        copy.output[index] = outputs.get(name, name)
    return copy


def _declared(names: Mapping[str, str], types: Mapping[str, int]) -> list[ValueInfoProto]:
    return [helper.make_tensor_value_info(new, types.get(old, TensorProto.FLOAT), None) for old, new in names.items()]


def _types(graph: GraphProto) -> dict[str, int]:
    """Element types of all tensors of a graph by name; float where nobody says."""
    found = {name: int(TensorProto.FLOAT) for node in graph.node for name in node.output if name}
    for value in (*graph.value_info, *graph.input, *graph.output):
        if value.type.HasField("tensor_type"):
            found[value.name] = value.type.tensor_type.elem_type
    return found


def _import(model: ModelProto, other: ModelProto) -> None:
    """Declare the operator sets that the pieces of `other` need."""
    have = {entry.domain for entry in model.opset_import}
    model.opset_import.extend(entry for entry in other.opset_import if entry.domain not in have)
    model.ir_version = max(model.ir_version, other.ir_version)
