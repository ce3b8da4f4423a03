"""Attention, as ONNX 23 has it and as runtimes fuse it: two products of queries with keys and of scores with values.

Where a query may only look back, only the pairs that it may see are counted: kernels leave the others out.
"""

from collections.abc import Callable
from dataclasses import dataclass

from infer_opt.profiles.nodes import Node, Tensor
from infer_opt.profiles.roofline import Work
from infer_opt.roofline.asking import UncountableError, attribute, given, optional, output, product, size, work

SOFTMAX = 6  # a pair: scaled, then the largest, minus it, exp, the sum, over it


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """What is attended to: `queries` times `keys` pairs in each of so many heads, of so many values each.

    The first query stands at the key `before`. Where `is_causal`, none sees a key behind it; `back` and `ahead` are how
    many keys it sees on either side, None for all.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    width: int
    value_width: int
    before: int = 0
    is_causal: bool = False
    back: int | None = None
    ahead: int | None = None

    @property
    def pairs(self) -> int:
        """How many pairs of a query and a key one head scores."""
        ahead = 0 if self.is_causal else self.ahead
        if self.back is None and ahead is None:
            return self.queries * self.keys
        total = 0
        for place in range(self.before, self.before + self.queries):
            first = 0 if self.back is None else max(0, place - self.back)
            last = self.keys - 1 if ahead is None else min(self.keys - 1, place + ahead)
            total += max(0, last - first + 1)
        return total

    @property
    def operations(self) -> int:
        """Both products and the softmax between them."""
        return self.batch * self.heads * self.pairs * (2 * self.width + SOFTMAX + 2 * self.value_width)


def _attention(node: Node) -> Work:
    """ONNX's own: (batch, heads, length, width), or (batch, length, heads * width) with the heads as attributes.

    Where only values say how many keys are in use, as many as there are queries are taken for sure.
    """
    query, key, value = given(node, 0), given(node, 1), given(node, 2)
    past = optional(node, 4)
    earlier = size(past, 2) if past is not None else 0
    if len(query.shape) == 4:
        heads, queries, keys = size(query, 1), size(query, 2), size(key, 2)
        width, value_width = size(query, 3), size(value, 3)
    else:
        heads, queries, keys = _count(node, "q_num_heads"), size(query, 1), size(key, 1)
        width, value_width = size(query, 2) // heads, size(value, 2) // _count(node, "kv_num_heads")
    reads = {}
    if optional(node, 6) is not None:
        used = min(keys, queries)
        reads = {index: given(node, index).bytes * used // max(1, keys) for index in (1, 2)}
        keys = used
    found = Heads(
        batch=size(query, 0), heads=heads, queries=queries, keys=keys + earlier, width=width, value_width=value_width,
        before=earlier, is_causal=bool(attribute(node, "is_causal", 0)),
        back=_side(attribute(node, "left_window_size", -1)), ahead=_side(attribute(node, "right_window_size", -1)),
    )  # fmt: skip
    return work(node, found.operations, reads=reads, is_exact=False)


def _projected(precision: str | None = None, *, past_index: int = 4) -> Callable[[Node], Work]:
    """ONNX Runtime's, which projects its input to queries, keys and values first."""

    def counter(node: Node) -> Work:
        tokens, weights, past = given(node, 0), given(node, 1), optional(node, past_index)
        batch, length, heads = size(tokens, 0), size(tokens, 1), _count(node, "num_heads")
        columns, values = size(weights, -1), size(output(node), -1)
        earlier = size(past, 3) if past is not None and not attribute(node, "past_present_share_buffer", 0) else 0
        found = Heads(
            batch=batch, heads=heads, queries=length, keys=length + earlier, before=earlier,
            width=(columns - values) // 2 // heads, value_width=values // heads,
            is_causal=bool(attribute(node, "unidirectional", 0)),
        )  # fmt: skip
        projections = 2 * tokens.elements * columns + batch * length * columns
        return work(node, projections + found.operations, precision=precision, is_exact=False)

    return counter


def _multi_head(node: Node) -> Work:
    """ONNX Runtime's without projections. Keys and values may be packed with the queries, or with each other."""
    query, key, value = given(node, 0), optional(node, 1), optional(node, 2)
    heads = _count(node, "num_heads")
    past = optional(node, 6)
    if len(query.shape) == 5:  # (batch, length, heads, 3, width)
        queries = keys = size(query, 1)
        width = value_width = size(query, 4)
    else:
        queries, width = size(query, 1), size(query, 2) // heads
        keys = _length(key) if key is not None else queries
        value_width = size(output(node), -1) // heads if value is not None else width
    earlier = size(past, 2) if past is not None and (key is None or len(key.shape) == 3) else 0
    found = Heads(
        batch=size(query, 0), heads=heads, queries=queries, keys=keys + earlier, before=earlier,
        width=width, value_width=value_width, is_causal=bool(attribute(node, "unidirectional", 0)),
    )  # fmt: skip
    return work(node, found.operations, is_exact=False)


def _grouped(node: Node) -> Work:
    """Several queries to a key. How much of the buffer of the past is in use only its values say, so that what cannot
    be told from shapes is left out: a lower bound."""
    query, key, past = given(node, 0), optional(node, 1), optional(node, 3)
    heads, pairs = _count(node, "num_heads"), _count(node, "kv_num_heads")
    queries = size(query, 1)
    width = size(query, 2) // (heads if key is not None else heads + 2 * pairs)
    present = node.outputs[1] if len(node.outputs) > 1 else None
    earlier = size(past, 2) if past is not None else 0
    is_grown = present is not None and size(present, 2) == earlier + queries
    found = Heads(
        batch=size(query, 0), heads=heads, queries=queries, keys=queries + earlier * is_grown, width=width,
        value_width=width, before=earlier * is_grown, is_causal=bool(attribute(node, "causal", 1)),
        back=_side(attribute(node, "local_window_size", -1) - 1),
    )  # fmt: skip
    if is_grown or past is None:
        return work(node, found.operations, is_exact=False)
    rows = product((size(query, 0), pairs, queries, width)) * past.bytes // max(1, past.elements)
    caches = {index: rows for index in (3, 4) if optional(node, index) is not None}
    return work(node, found.operations, reads=caches, written=output(node).bytes + 2 * rows, is_exact=False)


def _count(node: Node, name: str) -> int:
    found = attribute(node, name)
    if not isinstance(found, int) or found < 1:
        raise UncountableError(f"{node.kind} does not say its {name}")
    return found


def _side(size_of_window: int) -> int | None:
    return size_of_window if size_of_window >= 0 else None


def _length(key: Tensor) -> int:
    """(batch, length, ...) and packed (batch, length, heads, 2, width), or (batch, heads, length, width)."""
    return size(key, 2 if len(key.shape) == 4 else 1)


ATTENTION: dict[str, Callable[[Node], Work | None]] = {
    "Attention": _attention,
    "com.microsoft.Attention": _projected(),
    "com.microsoft.QAttention": _projected("int8", past_index=8),
    "com.microsoft.MultiHeadAttention": _multi_head,
    "com.microsoft.GroupQueryAttention": _grouped,
}
