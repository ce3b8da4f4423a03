"""Which nodes of the model as given a node of the optimised graph does the work of, and which module they are of.

Optimisers leave the names of most tensors alone, so the given graph is walked backwards from what the executed node
writes to what is there without it. Where tensors were renamed (other layouts, casts put in), names of nodes tell: what
is made of a node is called after it.
"""

import ast
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx

from infer_opt.models.graphs import initialiser_names

SCOPES, NAMESPACE = "pkg.torch.onnx.name_scopes", "namespace"  # what PyTorch's exporters leave in metadata_props
MOST_ORIGINS = 10_000  # a walk that takes in more is no fusion
_SEPARATOR = re.compile(r"[_/ ]")


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenNode:
    """A node of the model as given, subgraphs included. `is_folded`: it reads constants alone, so no call runs it.

    `place` counts all nodes, in the order of the file.
    """

    place: int
    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    module: str
    is_folded: bool


class GivenGraph:
    """The model as given, to be walked backwards."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._writers: dict[str, GivenNode] = {}
        self._names: dict[str, GivenNode] = {}
        for node in _nodes(model.graph, set(), itertools.count()):
            for name in node.outputs:
                self._writers.setdefault(name, node)
            self._names.setdefault(node.name, node)

    def writes(self, tensor: str) -> bool:
        """Whether a node of the model as given writes the tensor."""
        return tensor in self._writers

    def named_after(self, name: str) -> frozenset[str]:
        """The tensors that a node of this name stands for: those of a node, or one that the name begins with.

        As `dense/MatMul_quant` is called after the node `dense/MatMul`, and `h_nchwc` after the tensor `h`.
        """
        ends = [found.start() for found in _SEPARATOR.finditer(name)]
        for end in (len(name), *reversed(ends)):
            if name[:end] in self._names:
                return frozenset(self._names[name[:end]].outputs)
            if name[:end] in self._writers:
                return frozenset({name[:end]})
        return frozenset()

    def between(self, outputs: Iterable[str], is_available: Callable[[str], bool]) -> list[GivenNode]:
        """The nodes that lead from what is available to the outputs, in the order of the model; folded ones not."""
        waiting, found = list(outputs), set[GivenNode]()
        while waiting:
            writer = self._writers.get(waiting.pop())
            if writer is None or writer in found or writer.is_folded:
                continue
            if len(found) == MOST_ORIGINS:
                return []
            found.add(writer)
            waiting += [name for name in writer.inputs if name and not is_available(name)]
        return sorted(found, key=lambda node: node.place)


def module_of(origins: Sequence[GivenNode], name: str) -> str:
    """The module that all origins are of, or the one around them; by the executed node's own name without origins."""
    modules = list(dict.fromkeys(node.module for node in origins if node.module))
    if not modules:
        return "" if origins else path_in(name)
    parts = [module.split(".") for module in modules]
    common: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return ".".join(common) or modules[-1]


def path_in(name: str) -> str:
    """`encoder.layer.0` for `/encoder/layer.0/MatMul`: what a node's name says of its module; "" without a path."""
    return ".".join(part for part in name.strip().split("/")[:-1] if part)


def _nodes(graph: onnx.GraphProto, constants: set[str], places: Iterator[int]) -> Iterator[GivenNode]:
    """Every node of the graph and, after each, those of its bodies. `constants` are known around the graph."""
    # Up to IR 3 weights stand among the inputs as well: they are there before the call all the same.
    known = constants | initialiser_names(graph)
    for index, node in enumerate(graph.node):
        bodies = [body for attribute in node.attribute for body in (*attribute.graphs, *_body(attribute))]
        reads = tuple(node.input)
        # Without inputs, only a Constant is one: random numbers are not.
        folded = node.op_type == "Constant" or (bool(reads) and not bodies and all(not n or n in known for n in reads))
        if folded:
            known.update(name for name in node.output if name)
        yield GivenNode(
            place=next(places),
            name=node.name or f"{node.op_type}_{index}",  # as the runtime calls it
            operator=node.op_type,
            inputs=reads,
            outputs=tuple(name for name in node.output if name),
            module=_module(node),
            is_folded=folded,
        )
        for body in bodies:
            yield from _nodes(body, known, places)


def _body(attribute: onnx.AttributeProto) -> tuple[onnx.GraphProto, ...]:
    return (attribute.g,) if attribute.HasField("g") else ()


def _module(node: onnx.NodeProto) -> str:
    notes = {entry.key: entry.value for entry in node.metadata_props}
    return _from_scopes(notes.get(SCOPES, "")) or _from_namespace(notes.get(NAMESPACE, "")) or path_in(node.name)


def _from_scopes(text: str) -> str:
    """`['', 'encoder', 'encoder.layer', 'linear']`: modules from the outermost, then the node itself."""
    try:
        scopes = ast.literal_eval(text) if text else ()
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # what a file says is not to be trusted
        return ""
    if not isinstance(scopes, list | tuple) or len(scopes) < 2 or not isinstance(scopes[-2], str):
        return ""
    return scopes[-2]


def _from_namespace(text: str) -> str:
    """`: Model/encoder: Encoder/encoder.layer: Linear/linear: aten.linear.default`."""
    parts = text.split("/")
    return parts[-2].partition(":")[0].strip() if len(parts) > 1 else ""
