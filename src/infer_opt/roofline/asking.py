"""What counters ask of a node, and how they answer."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from infer_opt.profiles.nodes import Node, Tensor
from infer_opt.profiles.roofline import Work

NO_CHANGE: Mapping[int, int] = MappingProxyType({})


class UncountableError(Exception):
    """What a count needs is not there: an input is left out, a shape is of the wrong rank, an attribute is unknown."""


def given(node: Node, index: int) -> Tensor:
    """The input at `index`.

    Raises:
        UncountableError: the node has none there.
    """
    found = optional(node, index)
    if found is None:
        raise UncountableError(f"{node.kind} has no input {index}")
    return found


def optional(node: Node, index: int) -> Tensor | None:
    """The input at `index`, or None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def output(node: Node) -> Tensor:
    """The first output.

    Raises:
        UncountableError: it has none.
    """
    if not node.outputs:
        raise UncountableError(f"{node.kind} has no output")
    return node.outputs[0]


def size(tensor: Tensor, axis: int) -> int:
    """How long the tensor is along an axis, counted from the end where it is negative.

    Raises:
        UncountableError: it has no such axis.
    """
    if not -len(tensor.shape) <= axis < len(tensor.shape):
        raise UncountableError(f"{tensor.name or 'a tensor'} of shape {tensor.shape} has no axis {axis}")
    return tensor.shape[axis]


def attribute(node: Node, name: str, default: Any = None) -> Any:
    """The node's attribute, or `default`."""
    return next((value for found, value in node.attributes if found == name), default)


def product(sizes: tuple[int, ...]) -> int:
    """All of them multiplied; 1 for none."""
    result = 1
    for one in sizes:
        result *= one
    return result


def work(
    node: Node,
    operations: int,
    *,
    precision: str | None = None,
    reads: Mapping[int, int] = NO_CHANGE,
    written: int | None = None,
    is_exact: bool = True,
) -> Work:
    """The work of a node that reads each input and writes each output once.

    `reads` has the bytes of inputs, by index, of which only some are read; `written` replaces the bytes of the outputs.
    `precision` is that of the first input where it is not said.
    """
    sizes = list(_read(node, reads))
    first = next((tensor for tensor in node.inputs if tensor is not None), None) or output(node)
    return Work(
        operations=operations,
        read_bytes=sum(count for _, count in sizes),
        written_bytes=sum(tensor.bytes for tensor in node.outputs) if written is None else written,
        weight_bytes=sum(count for tensor, count in sizes if tensor.is_constant),
        precision=precision or first.dtype,
        is_exact=is_exact,
    )


def _read(node: Node, reads: Mapping[int, int]) -> Iterator[tuple[Tensor, int]]:
    """Each tensor that is read and how many bytes of it, one that is given twice but once."""
    seen = set()
    for index, tensor in enumerate(node.inputs):
        if tensor is None or (tensor.name and tensor.name in seen):
            continue
        seen.add(tensor.name)
        yield tensor, reads.get(index, tensor.bytes)
