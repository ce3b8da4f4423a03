"""Which axis of each input counts items, and what the names of dynamic dimensions suggest."""

import re
from collections import Counter
from collections.abc import Sequence

from infer_opt.facts import Dim, ModelFacts, TensorSpec

_BATCH = re.compile(r"batch|^(n|b|bs)$", re.IGNORECASE)
_SEQUENCE = re.compile(r"seq|length|(^|_)len(_|$)|time|token|frame|^[tls]$", re.IGNORECASE)
_IMAGE = re.compile(r"height|width|^[hw]$", re.IGNORECASE)


def is_sequence_name(name: str) -> bool:
    """Whether a dimension of that name probably counts steps of a sequence."""
    return _SEQUENCE.search(name) is not None and not _BATCH.search(name)


def is_image_name(name: str) -> bool:
    """Whether a dimension of that name is probably the height or width of an image."""
    return _IMAGE.search(name) is not None


def find_batch_dim(inputs: Sequence[TensorSpec]) -> str | None:
    """The dynamic dimension that counts items: its name, '' when it has none, None when there is no such dimension.

    A name that says so (`batch`, `N`) decides, on whatever axis. Else it is the first axis, if every input of two or
    more axes leaves it free (or fixes it at 1, for what all items share), under one name that does not speak of
    sequences or images. So the nodes of a graph, beside its `[2, edges]`, are not mistaken for a batch.
    """
    shapes = [spec.shape for spec in inputs if spec.shape]
    spoken = Counter(dim for shape in shapes for dim in set(shape) if isinstance(dim, str) and _BATCH.search(dim))
    if spoken:
        return spoken.most_common(1)[0][0]
    if any(isinstance(shape[0], int) and shape[0] != 1 for shape in shapes if len(shape) > 1):
        return None
    firsts = {shape[0] for shape in shapes if not isinstance(shape[0], int)}
    if not firsts:
        return None
    names = {first for first in firsts if isinstance(first, str)}
    if len(names) > 1:
        return None
    name = names.pop() if names else ""
    return None if is_sequence_name(name) or is_image_name(name) else name


def fixed_batch(facts: ModelFacts) -> int | None:
    """The only batch that the model takes, in items a call; None when the batch is free.

    A first axis fixed at the same size above 1 in all inputs and outputs of at least two axes is a batch; any other
    model without a batch dimension takes one item, whole, a call.
    """
    if facts.batch_dim is not None:
        return None
    shapes = [spec.shape for spec in facts.inputs if spec.shape]
    results = [spec.shape for spec in facts.outputs if spec.shape]
    firsts: set[Dim] = {shape[0] for shape in (*shapes, *results)}
    first = next(iter(firsts)) if len(firsts) == 1 else 1
    is_batch = isinstance(first, int) and first > 1 and results and all(len(shape) > 1 for shape in shapes)
    return first if is_batch and isinstance(first, int) else 1


def batch_axis(facts: ModelFacts, spec: TensorSpec) -> int | None:
    """The axis of `spec` along which items lie one after another; None when all items of a call share the tensor."""
    if facts.batch_dim is None:
        return 0 if spec.shape and spec.shape[0] == fixed_batch(facts) else None
    if spec.shape is None:
        return 0
    if facts.batch_dim and facts.batch_dim in spec.shape:
        return spec.shape.index(facts.batch_dim)
    return 0 if spec.shape and spec.shape[0] is None else None
