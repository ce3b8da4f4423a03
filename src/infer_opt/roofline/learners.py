"""Classical learners of `ai.onnx.ml`, as far as shapes and parameters say what they do."""

import math
from collections.abc import Callable
from typing import Any

from infer_opt.profiles.nodes import Node
from infer_opt.profiles.roofline import Work
from infer_opt.roofline.asking import UncountableError, attribute, given, size, work


def _samples(node: Node) -> int:
    inputs = given(node, 0)
    return size(inputs, 0) if len(inputs.shape) > 1 else 1


def _linear(node: Node) -> Work:
    return work(node, 2 * _samples(node) * len(_parameters(node, "coefficients")), precision="float32")


def _support_vectors(node: Node) -> Work:
    """The products with all vectors; the kernel function comes on top."""
    products = len(_parameters(node, "support_vectors"))
    return work(node, 2 * _samples(node) * products, precision="float32", is_exact=False)


def _trees(node: Node) -> Work:
    """A comparison at each level of each tree, as deep as balanced trees of so many leaves are: an estimate.

    Which nodes are visited, and so what is read of them, only the data say.
    """
    trees, modes = _parameters(node, "nodes_treeids"), _parameters(node, "nodes_modes")
    leaves: dict[int, int] = dict.fromkeys(trees, 0)
    for tree, mode in zip(trees, modes, strict=False):
        leaves[tree] += mode == "LEAF"
    depths = sum(math.log2(max(1, count)) for count in leaves.values())
    return work(node, round(_samples(node) * depths), precision="float32", is_exact=False)


def _parameters(node: Node, name: str) -> tuple[Any, ...]:
    found = attribute(node, name)
    if not isinstance(found, tuple) or not found:
        raise UncountableError(f"{node.kind} does not say its {name}")
    return found


LEARNERS: dict[str, Callable[[Node], Work | None]] = {
    **dict.fromkeys(("ai.onnx.ml.LinearClassifier", "ai.onnx.ml.LinearRegressor"), _linear),
    **dict.fromkeys(("ai.onnx.ml.SVMClassifier", "ai.onnx.ml.SVMRegressor"), _support_vectors),
    **dict.fromkeys(("ai.onnx.ml.TreeEnsembleClassifier", "ai.onnx.ml.TreeEnsembleRegressor"), _trees),
}
