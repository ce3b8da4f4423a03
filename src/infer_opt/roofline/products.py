"""Matrix products and convolutions: in float, in integers, and as runtimes fuse them.

A multiply-add is two operations. Definitions: ONNX's operators, and `ContribOperators.md` of ONNX Runtime.
"""

from collections.abc import Callable

from infer_opt.profiles.nodes import Node
from infer_opt.profiles.roofline import Work
from infer_opt.roofline.asking import UncountableError, attribute, given, optional, output, product, size, work

INT8 = "int8"  # whatever the signs of the two factors are
INT8_ACCURACY = 4  # MatMulNBits multiplies in int8 where it may be as inexact as that


def _inner(node: Node, index: int) -> int:
    """How many products make up one element: the length of the inner axis of the first factor."""
    first = given(node, index)
    if not attribute(node, "transA", 0) or len(first.shape) == 1:
        return size(first, -1)
    return size(first, 0) if attribute(node, "transBatchA", 0) else size(first, -2)


def _product(precision: str | None = None, *, bias: int | None = None, scaled: bool = False) -> Callable[[Node], Work]:
    """A counter of `first @ second`, plus the input at `bias`, plus an activation where the node names one."""

    def counter(node: Node) -> Work:
        elements = output(node).elements
        extra = elements * (bias is not None and optional(node, bias) is not None)
        extra += elements * (attribute(node, "alpha", 1.0) != 1.0)
        extra += elements * bool(attribute(node, "activation"))
        extra += elements * scaled
        return work(node, 2 * elements * _inner(node, 0) + extra, precision=precision)

    return counter


def _gemm(precision: str | None = None, *, bias: int = 2) -> Callable[[Node], Work]:
    """A counter of alpha A @ B + beta C."""

    def counter(node: Node) -> Work:
        inner = size(given(node, 0), 0 if attribute(node, "transA", 0) else 1)
        elements = output(node).elements
        extra = elements * (optional(node, bias) is not None) + elements * bool(attribute(node, "activation"))
        return work(node, 2 * elements * inner + extra, precision=precision)

    return counter


def _convolution(
    precision: str | None = None, *, weights: int = 1, bias: int = 2, added: int | None = None
) -> Callable[[Node], Work]:
    """A counter of a convolution, groups and dilation included: the weights are (out, in / groups, *kernel).

    Products with padding count, as in the figures that are published of networks. The layout of what is convolved does
    not matter. `added` is an input that is added to the result.
    """

    def counter(node: Node) -> Work:
        kernel = given(node, weights).shape
        if len(kernel) < 3:
            raise UncountableError(f"weights of shape {kernel} are those of no convolution")
        elements = output(node).elements
        extra = sum(elements for index in (bias, added) if index is not None and optional(node, index) is not None)
        extra += elements * bool(attribute(node, "activation"))
        return work(node, 2 * elements * product(kernel[1:]) + extra, precision=precision)

    return counter


def _transposed_convolution(
    precision: str | None = None, *, weights: int = 1, bias: int = 2, is_cut: bool = False
) -> Callable[[Node], Work]:
    """Each input element is multiplied with (out / groups, *kernel); what padding then cuts off is computed too."""

    def counter(node: Node) -> Work:
        kernel = given(node, weights).shape
        if len(kernel) < 3:
            raise UncountableError(f"weights of shape {kernel} are those of no convolution")
        extra = output(node).elements * (optional(node, bias) is not None)
        padded = any(attribute(node, "pads", ())) or attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID")
        operations = 2 * given(node, 0).elements * product(kernel[1:]) + extra
        return work(node, operations, precision=precision, is_exact=not padded and not is_cut)

    return counter


def _few_bits(node: Node) -> Work:
    """Weights in few bits, in blocks: the product alone, in which precision the node allows for."""
    inner = attribute(node, "K")
    if not isinstance(inner, int):
        raise UncountableError(f"{node.kind} does not say its K")
    precision = INT8 if attribute(node, "accuracy_level", 0) == INT8_ACCURACY else None
    return work(node, 2 * output(node).elements * inner, precision=precision, is_exact=False)


def _einsum(node: Node) -> Work:
    """One loop over all indices, a multiply-add in each; with three factors or more an upper bound."""
    terms, result = _terms(node)
    sizes: dict[str, int] = {}
    for labels, tensor in terms:
        for label, length in zip(labels, tensor, strict=True):
            sizes[label] = max(sizes.get(label, 1), length)
    everything = product(tuple(sizes.values()))
    is_summed = bool(set(sizes) - set(result))
    if len(terms) == 1:
        # A sum adds up; a permutation only moves.
        return work(node, everything if is_summed else 0)
    return work(node, everything * (len(terms) - 1 + is_summed), is_exact=len(terms) == 2)


def _terms(node: Node) -> tuple[list[tuple[list[str], tuple[int, ...]]], list[str]]:
    """Per factor its labels and sizes, and the labels of the result; those of an ellipsis are `...1`, `...2` etc."""
    equation = str(attribute(node, "equation", "")).replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = []
    for index, text in enumerate(left.split(",")):
        shape = given(node, index).shape
        terms.append((_labels(text, len(shape)), shape))
        if len(terms[-1][0]) != len(shape):
            raise UncountableError(f"{equation} does not fit a tensor of shape {shape}")
    if arrow:
        return terms, _labels(right, len(output(node).shape))
    labels = [label for names, _ in terms for label in names]
    return terms, [label for label in dict.fromkeys(labels) if labels.count(label) == 1 or label.startswith("...")]


def _labels(text: str, rank: int) -> list[str]:
    before, dots, after = text.partition("...")
    spread = rank - len(before) - len(after) if dots else 0
    return [*before, *(f"...{number}" for number in range(spread, 0, -1)), *after]


PRODUCTS: dict[str, Callable[[Node], Work | None]] = {
    "MatMul": _product(),
    "Gemm": _gemm(),
    "Einsum": _einsum,
    "MatMulInteger": _product(INT8),
    "QLinearMatMul": _product(INT8, scaled=True),
    "Conv": _convolution(),
    "ConvInteger": _convolution(INT8, bias=99),
    "ConvTranspose": _transposed_convolution(),
    "QLinearConv": _convolution(INT8, weights=3, bias=8),
    "com.microsoft.FusedMatMul": _product(),
    "com.microsoft.TransposeMatMul": _product(),
    "com.microsoft.FusedMatMulActivation": _product(),
    "com.microsoft.FusedGemm": _gemm(),
    "com.microsoft.GemmFastGelu": _product(bias=2),
    "com.microsoft.QGemm": _gemm(INT8, bias=6),
    "com.microsoft.MatMulInteger16": _product("int16"),
    "com.microsoft.DynamicQuantizeMatMul": _product(INT8, bias=4, scaled=True),
    "com.microsoft.MatMulIntegerToFloat": _product(INT8, bias=6, scaled=True),
    "com.microsoft.MatMulNBits": _few_bits,
    "com.microsoft.MatMulBnb4": _few_bits,
    "com.microsoft.FusedConv": _convolution(added=3),
    "com.microsoft.NhwcFusedConv": _convolution(added=3),
    "com.microsoft.NhwcConv": _convolution(),
    "com.microsoft.QLinearConv": _convolution(INT8, weights=3, bias=8),
    "com.microsoft.ConvTransposeWithDynamicPads": _transposed_convolution(bias=3, is_cut=True),
    "com.microsoft.nchwc.Conv": _convolution(added=3),
    "com.ms.internal.nhwc.Conv": _convolution(),
    "com.ms.internal.nhwc.ConvTranspose": _transposed_convolution(),
    "com.ms.internal.nhwc.QLinearConvTranspose": _transposed_convolution(INT8, weights=3, bias=8),
    "com.ms.internal.nhwc.QLinearConv": _convolution(INT8, weights=3, bias=8),
}
