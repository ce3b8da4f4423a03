"""Which executed node reads what which other one wrote, by the names of tensors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from infer_opt.profiles.nodes import Node, Tensor

SIZE_BYTES = 1024  # sizes, and indices made of them, are smaller than this
INTEGERS = frozenset({"int64", "int32", "bool"})

Step = Callable[[int], tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The executed graph. Nodes go by their position in the order of execution."""

    nodes: tuple[Node, ...]
    writer: Mapping[str, int]
    readers: Mapping[str, tuple[int, ...]]

    def before(self, index: int) -> tuple[int, ...]:
        """The nodes that wrote what `index` reads, in the order of its inputs; weights and inputs have none."""
        names = (tensor.name for tensor in self.nodes[index].inputs if tensor is not None)
        return tuple(dict.fromkeys(self.writer[name] for name in names if name in self.writer))

    def after(self, index: int) -> tuple[int, ...]:
        """The nodes that read what `index` writes."""
        found = (reader for tensor in self.nodes[index].outputs for reader in self.readers.get(tensor.name, ()))
        return tuple(dict.fromkeys(found))

    def operator(self, index: int) -> str:
        """The node's operator, whichever domain it is of."""
        return self.nodes[index].operator

    def reads(self, index: int, name: str) -> bool:
        """Whether the node reads the tensor of that name."""
        return any(tensor is not None and tensor.name == name for tensor in self.nodes[index].inputs)


def wire(nodes: Sequence[Node]) -> Wiring:
    """The wiring of nodes in the order of execution."""
    writer = {tensor.name: index for index, node in enumerate(nodes) for tensor in node.outputs if tensor.name}
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for tensor in node.inputs:
            if tensor is not None and tensor.name:
                readers.setdefault(tensor.name, []).append(index)
    return Wiring(nodes=tuple(nodes), writer=writer, readers={name: tuple(found) for name, found in readers.items()})


def computed(node: Node) -> tuple[Tensor, ...]:
    """The inputs of a node that are no weights."""
    return tuple(tensor for tensor in node.inputs if tensor is not None and not tensor.is_constant)


def constants(node: Node) -> tuple[Tensor, ...]:
    """The inputs of a node that are weights."""
    return tuple(tensor for tensor in node.inputs if tensor is not None and tensor.is_constant)


def is_of_sizes(node: Node) -> bool:
    """Whether it writes few integers, as arithmetic on shapes does."""
    return all(tensor.dtype in INTEGERS and tensor.bytes <= SIZE_BYTES for tensor in node.outputs)


def path(begin: int, *, step: Step, through: Callable[[int], bool], to: Callable[[int], bool], most: int) -> list[int]:
    """The shortest way from `begin` to a node that is `to`, over at most `most` nodes that are `through`.

    Neither end is among them. Empty lists are ways too: the caller gets [end, ...nodes between]; [] means none.
    """
    came: dict[int, int] = {begin: begin}
    edge = [begin]
    for _ in range(most + 1):
        following: list[int] = []
        for index in edge:
            for other in step(index):
                if other in came:
                    continue
                came[other] = index
                if to(other):
                    return [other, *_back(came, other, begin)]
                if through(other):
                    following.append(other)
        edge = following
    return []


def _back(came: Mapping[int, int], end: int, begin: int) -> Iterator[int]:
    index = came[end]
    while index != begin:
        yield index
        index = came[index]
