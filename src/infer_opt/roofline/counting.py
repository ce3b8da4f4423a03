"""What a node has to do, by its operator and the shapes that it was seen with."""

import dataclasses

from infer_opt.profiles.nodes import Node
from infer_opt.profiles.roofline import Work
from infer_opt.roofline.asking import UncountableError
from infer_opt.roofline.attention import ATTENTION
from infer_opt.roofline.learners import LEARNERS
from infer_opt.roofline.movement import MOVEMENT
from infer_opt.roofline.pointwise import POINTWISE
from infer_opt.roofline.products import PRODUCTS
from infer_opt.roofline.recurrent import RECURRENT

# operator with its domain -> what counts it.
COUNTERS = {**PRODUCTS, **ATTENTION, **RECURRENT, **POINTWISE, **MOVEMENT, **LEARNERS}
STANDARD = "ai.onnx"  # another name of ONNX's own domain


def count(node: Node) -> Work | None:
    """The node's work an execution; None for an operator that is not known, or whose shapes do not tell.

    Bytes are those of each tensor once, as if whatever is read twice came from a register the second time.
    """
    if node.domain == STANDARD:
        node = dataclasses.replace(node, domain="")
    counter = COUNTERS.get(node.kind)
    try:
        return None if counter is None else counter(node)
    except UncountableError:
        return None
