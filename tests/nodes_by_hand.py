"""Nodes written down in a line each."""

from collections.abc import Sequence
from typing import Any

from infer_opt.profiles.nodes import Node, Tensor


def tensor(*shape: int, dtype: str = "float32", name: str = "") -> Tensor:
    return Tensor(dtype=dtype, shape=shape, name=name)


def weight(*shape: int, dtype: str = "float32", name: str = "") -> Tensor:
    return Tensor(dtype=dtype, shape=shape, name=name, is_constant=True)


def node(kind: str, inputs: Sequence[Tensor | None], *outputs: Tensor, name: str = "n", **attributes: Any) -> Node:
    domain, _, operator = kind.rpartition(".")
    return Node(
        name=name,
        operator=operator,
        domain=domain,
        inputs=tuple(inputs),
        outputs=outputs,
        attributes=tuple(attributes.items()),
    )
