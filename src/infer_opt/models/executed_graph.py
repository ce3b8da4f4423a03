"""The nodes that a profile saw, joined with the optimised graph: attributes, names of tensors, weights, origins.

The graph says what the profile does not (attributes, names of tensors, what is constant), the profile says what the
graph does not (shapes of a call, which branch was taken, where a node ran).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from infer_opt.models.graphs import ONNX_DOMAINS, all_graphs
from infer_opt.models.lifetimes import memory_course
from infer_opt.models.origins import GivenGraph, GivenNode, module_of
from infer_opt.models.tensors import dtype_name
from infer_opt.profiles.executed import Key, SeenNode, TensorSeen
from infer_opt.profiles.nodes import MemoryCourse, Node, Tensor

_FUSED_UNNAMED = "fused"  # what the runtime calls a fusion of nodes that have no names


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """A graph, the constants that its nodes can read, and tensors that are no tensors (sequences, maps)."""

    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, TensorSeen]
    others: frozenset[str]


def join_nodes(seen: Sequence[SeenNode], optimised: onnx.ModelProto, given: onnx.ModelProto) -> dict[Key, Node]:
    """Each node that was seen, as a Node with a name of its own."""
    matched = _match(seen, optimised)
    origins = _Origins(GivenGraph(given), [matched[one.key] for one in seen if one.key in matched])
    names = _names(seen)
    nodes: dict[Key, Node] = {}
    for one in seen:
        found = matched.get(one.key)
        if found is None:
            nodes[one.key] = _unmatched(one, names[one.key])
            continue
        proto, scope = found.proto, found.scope
        from_given = origins.of(proto)
        nodes[one.key] = Node(
            name=names[one.key],
            operator=proto.op_type,
            domain="" if proto.domain in ONNX_DOMAINS else proto.domain,
            provider=one.provider,
            inputs=_inputs(proto, scope, one.inputs),
            outputs=_outputs(proto, scope, one.outputs),
            attributes=tuple(sorted(_attributes(proto))),
            module=module_of(from_given, one.name),
            origins=tuple(node.name for node in from_given),
        )
    return nodes


def weight_bytes(optimised: onnx.ModelProto) -> int:
    """What the constants of the optimised graph take, its bodies included."""
    return sum(
        Tensor(dtype=kind, shape=shape).bytes
        for graph in all_graphs(optimised)
        for kind, shape in (_constant(tensor) for tensor in graph.initializer)
    )


def memory_of(optimised: onnx.ModelProto, nodes: Sequence[Node]) -> MemoryCourse:
    """The memory over a call of the optimised graph, whose executed nodes are given in their order."""
    return memory_course(
        nodes,
        inputs=[value.name for value in optimised.graph.input],
        outputs=[value.name for value in optimised.graph.output],
        weight_bytes=weight_bytes(optimised),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Matched:
    proto: onnx.NodeProto
    scope: _Scope


def _match(seen: Sequence[SeenNode], optimised: onnx.ModelProto) -> dict[Key, _Matched]:
    """Seen node -> node of the optimised graph. Containers come before what is inside of them."""
    inside: dict[Key, list[SeenNode]] = defaultdict(list)
    for one in seen:
        inside[one.key[:-1]].append(one)
    matched: dict[Key, _Matched] = {}
    waiting: list[tuple[Key, list[_Scope]]] = [((), [_scope(optimised.graph, None)])]
    while waiting:
        key, scopes = waiting.pop()
        children = inside[key]
        if key:  # a body's nodes are stored in the order of their numbers, the main graph's as they are executed
            children = sorted(children, key=lambda one: one.index)
        found = _match_in(children, scopes)
        matched |= found
        for child, match in found.items():
            if child in inside:
                waiting.append((child, [_scope(body, match.scope) for body in _bodies(match.proto)]))
    return matched


def _match_in(children: Sequence[SeenNode], scopes: Sequence[_Scope]) -> dict[Key, _Matched]:
    """Of several bodies (the branches of an If), the one that most of the nodes are found in comes first."""
    tried = [_match_scope(children, scope) for scope in scopes]
    matched: dict[Key, _Matched] = {}
    for found in sorted(tried, key=len, reverse=True):
        matched = found | matched
    return matched


def _match_scope(children: Sequence[SeenNode], scope: _Scope) -> dict[Key, _Matched]:
    stored: dict[tuple[str, str], list[onnx.NodeProto]] = defaultdict(list)
    for node in scope.nodes:
        stored[node.op_type, node.name.strip()].append(node)
    turns: dict[tuple[str, str], Iterator[onnx.NodeProto]] = {name: iter(nodes) for name, nodes in stored.items()}
    found: dict[Key, _Matched] = {}
    for one in children:
        is_unnamed = one.name == f"{one.operator}_{one.index}" and (one.operator, one.name) not in stored
        proto = next(turns.get((one.operator, "" if is_unnamed else one.name), iter(())), None)
        if proto is not None:
            found[one.key] = _Matched(proto=proto, scope=scope)
    return found


def _scope(graph: onnx.GraphProto, around: _Scope | None) -> _Scope:
    constants = dict(around.constants) if around is not None else {}
    constants |= {tensor.name: _constant(tensor) for tensor in graph.initializer}
    values = (*graph.input, *graph.output, *graph.value_info)
    others = {value.name for value in values if value.type.WhichOneof("value") not in ("tensor_type", None)}
    return _Scope(
        nodes=tuple(graph.node),
        constants=constants,
        others=frozenset(others | (around.others if around is not None else frozenset())),
    )


def _constant(tensor: onnx.TensorProto) -> TensorSeen:
    return dtype_name(tensor.data_type), tuple(tensor.dims)


def _bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [
        body
        for attribute in node.attribute
        for body in (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ()))
    ]


def _inputs(proto: onnx.NodeProto, scope: _Scope, seen: Sequence[TensorSeen]) -> tuple[Tensor | None, ...]:
    """The node's inputs by name. The profile leaves out what is not there, and weights that were laid out anew.

    What was seen without a name (the two cannot be brought together) is kept without one.
    """
    names = list(proto.input)
    needed = sum(bool(name) and name not in scope.constants and name not in scope.others for name in names)
    spare, at = len(seen) - needed, 0  # so many constants are among what was seen
    tensors: list[Tensor | None] = []
    for name in names:
        constant = scope.constants.get(name)
        if not name or (name in scope.others and constant is None):
            tensors.append(None)
        elif constant is not None:
            if spare > 0 and at < len(seen) and seen[at] == constant:
                spare, at = spare - 1, at + 1
            tensors.append(Tensor(name=name, dtype=constant[0], shape=constant[1], is_constant=True))
        elif at < len(seen):
            tensors.append(Tensor(name=name, dtype=seen[at][0], shape=seen[at][1]))
            at += 1
        else:
            tensors.append(None)
    if at != len(seen):
        return tuple(Tensor(dtype=kind, shape=shape) for kind, shape in seen)
    return tuple(tensors)


def _outputs(proto: onnx.NodeProto, scope: _Scope, seen: Sequence[TensorSeen]) -> tuple[Tensor, ...]:
    names = [name for name in proto.output if name and name not in scope.others]
    if len(names) != len(seen):
        names = [""] * len(seen)
    return tuple(Tensor(name=name, dtype=kind, shape=shape) for name, (kind, shape) in zip(names, seen, strict=True))


def _attributes(proto: onnx.NodeProto) -> Iterator[tuple[str, Any]]:
    """Plain ones: numbers, texts and lists of them."""
    for attribute in proto.attribute:
        match attribute.type:
            case onnx.AttributeProto.INT:
                yield attribute.name, int(attribute.i)
            case onnx.AttributeProto.FLOAT:
                yield attribute.name, float(attribute.f)
            case onnx.AttributeProto.STRING:
                yield attribute.name, attribute.s.decode(errors="replace")
            case onnx.AttributeProto.INTS:
                yield attribute.name, tuple(int(value) for value in attribute.ints)
            case onnx.AttributeProto.FLOATS:
                yield attribute.name, tuple(float(value) for value in attribute.floats)
            case onnx.AttributeProto.STRINGS:
                yield attribute.name, tuple(value.decode(errors="replace") for value in attribute.strings)


def _names(seen: Sequence[SeenNode]) -> dict[Key, str]:
    """A name of its own for each: the runtime's, in a body after the Loop's or If's where it is taken already."""
    names: dict[Key, str] = {}
    taken: set[str] = set()
    for one in sorted(seen, key=lambda one: len(one.key)):
        plain = one.name if one.name not in ("", _FUSED_UNNAMED) else f"{one.operator}_{one.index}"
        around = names.get(one.key[:-1])
        tries = [plain, f"{around}/{plain}" if around else f"{plain}#{one.index}"]
        name = next((candidate for candidate in tries if candidate not in taken), f"{tries[1]}#{len(taken)}")
        taken.add(name)
        names[one.key] = name
    return names


def _unmatched(one: SeenNode, name: str) -> Node:
    """What the profile alone says of a node."""
    return Node(
        name=name,
        operator=one.operator,
        provider=one.provider,
        inputs=tuple(Tensor(dtype=kind, shape=shape) for kind, shape in one.inputs),
        outputs=tuple(Tensor(dtype=kind, shape=shape) for kind, shape in one.outputs),
        module=module_of((), one.name),
    )


class _Origins:
    """The given graph, and what the tensors of the optimised one are called in it."""

    def __init__(self, given: GivenGraph, matched: Sequence[_Matched]) -> None:
        self._given = given
        self._stands_for: dict[str, frozenset[str]] = {}
        for match in matched:
            name = match.proto.name.strip()
            after = given.named_after(name) if name else frozenset()
            # Weights are no way to what a node stands for.
            reads = [name for name in match.proto.input if name and name not in match.scope.constants]
            for tensor in match.proto.output:
                if given.writes(tensor):
                    self._stands_for[tensor] = frozenset({tensor})
                else:  # in another layout; or of what was put in between, a cast or a copy
                    self._stands_for[tensor] = after or (self._called(reads[0]) if reads else frozenset())
        self._available = frozenset().union(*self._stands_for.values())

    def of(self, proto: onnx.NodeProto) -> list[GivenNode]:
        """The nodes of the model as given that this one does the work of."""
        read = frozenset().union(*(self._called(name) for name in proto.input if name))
        written = frozenset().union(*(self._called(name) for name in proto.output if name)) - read

        def is_available(tensor: str) -> bool:
            return tensor not in written and (tensor in self._available or tensor in read)

        return self._given.between(written, is_available)

    def _called(self, tensor: str) -> frozenset[str]:
        return self._stands_for.get(tensor, frozenset({tensor}))
