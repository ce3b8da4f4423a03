"""Which tensors are alive while each node runs, and so how much memory activations take, and where it is most."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from infer_opt.profiles.nodes import Holder, MemoryCourse, Node, Tensor

# They give back what they read under another shape, in the same memory.
VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})


@dataclass(slots=True, kw_only=True)
class _Life:
    """From the node that writes a buffer to the last that reads it, by their positions. Mutable while it is found."""

    tensor: Tensor
    begin: int
    end: int
    is_output: bool = False


def memory_course(
    nodes: Sequence[Node], *, inputs: Iterable[str], outputs: Iterable[str], weight_bytes: int
) -> MemoryCourse:
    """The bytes of activations alive while each of the nodes runs, which are in the order of execution.

    A tensor is alive from the node that writes it to the last one that reads it; the model's `inputs` from the
    beginning, and its `outputs` to the end. A reshaped tensor lies where it lay. Weights are not among them.
    """
    lives = _lives(nodes, frozenset(inputs), frozenset(outputs))
    changes = [0] * (len(nodes) + 1)
    for life in lives.values():
        changes[life.begin] += life.tensor.bytes
        changes[life.end + 1] -= life.tensor.bytes
    alive, now = [], 0
    for change in changes[: len(nodes)]:
        now += change
        alive.append(now)
    peak = max(range(len(alive)), key=alive.__getitem__, default=0)
    holding = [life for life in lives.values() if life.begin <= peak <= life.end and life.tensor.bytes]
    return MemoryCourse(
        alive_bytes=tuple(alive),
        peak_index=peak,
        holders=tuple(_holder(life, nodes) for life in sorted(holding, key=lambda life: -life.tensor.bytes)),
        weight_bytes=weight_bytes,
    )


def _lives(nodes: Sequence[Node], inputs: frozenset[str], outputs: frozenset[str]) -> Mapping[str, _Life]:
    """Buffers by the tensor that they were made for."""
    lives: dict[str, _Life] = {}
    lies_in: dict[str, str] = {}  # a reshaped tensor -> the one whose memory it is
    weights = {tensor.name for node in nodes for tensor in node.inputs if tensor is not None and tensor.is_constant}
    for position, node in enumerate(nodes):
        for tensor in node.inputs:
            if tensor is None or not tensor.name or tensor.name in weights:
                continue
            home = lies_in.get(tensor.name, tensor.name)
            if home in weights:
                continue
            if home not in lives:  # nobody wrote it: the model was fed with it, or a Loop's body
                lives[home] = _Life(tensor=tensor, begin=0 if home in inputs else position, end=position)
            lives[home].end = max(lives[home].end, position)
        source = node.inputs[0] if node.operator in VIEWS and node.inputs else None
        for number, tensor in enumerate(node.outputs):
            if source is not None and source.name and number == 0:
                lies_in[tensor.name] = lies_in.get(source.name, source.name)
                continue
            name = tensor.name or f"{node.name}:{number}"
            lives.setdefault(name, _Life(tensor=tensor, begin=position, end=position))
    for name in outputs:
        home = lies_in.get(name, name)
        if home in lives:
            lives[home].end, lives[home].is_output = len(nodes) - 1, True
    return lives


def _holder(life: _Life, nodes: Sequence[Node]) -> Holder:
    """Written by nobody where the model was fed with it, needed by nobody where it is given back."""
    wrote = any(tensor.name == life.tensor.name for tensor in nodes[life.begin].outputs)
    return Holder(
        tensor=life.tensor.name,
        bytes=life.tensor.bytes,
        written_by=nodes[life.begin].name if wrote else "",
        needed_by="" if life.is_output else nodes[life.end].name,
    )
