"""What is done element by element, row by row or window by window.

Elementary functions (exp, erf, tanh, ...) count as one operation each, which is less than they take: such counts are
not exact, and a floor made of them stays a floor.
"""

from collections.abc import Callable

from infer_opt.profiles.nodes import Node
from infer_opt.profiles.roofline import Work
from infer_opt.roofline.asking import UncountableError, attribute, given, optional, output, product, size, work

# Operations an element of the output.
ARITHMETIC = {
    **dict.fromkeys((
        "Add", "Sub", "Mul", "Div", "Neg", "Abs", "Relu", "Floor", "Ceil", "Round", "Sign", "Reciprocal", "Sqrt", "Mod",
        "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf",
        "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "ThresholdedRelu",
        "com.microsoft.BiasAdd", "com.microsoft.BiasDropout", "ai.onnx.ml.Binarizer", "ai.onnx.ml.Imputer",
    ), 1),
    **dict.fromkeys(("Clip", "LeakyRelu", "PRelu", "Shrink", "ai.onnx.ml.Scaler"), 2),
    **dict.fromkeys(("QuantizeLinear", "com.microsoft.RotaryEmbedding", "RotaryEmbedding"), 3),
    "HardSigmoid": 4,
    "HardSwish": 5,
    "DynamicQuantizeLinear": 5,
    "com.microsoft.QuantizeLinear": 3,
}  # fmt: skip
FUNCTIONS = {
    **dict.fromkeys((
        "Exp", "Log", "Erf", "Tanh", "Pow", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh",
        "Acosh", "Atanh",
    ), 1),
    **dict.fromkeys(("Softplus", "Softsign", "Elu", "Celu"), 3),
    **dict.fromkeys(("Sigmoid", "Selu"), 4),
    **dict.fromkeys(("Gelu", "Swish", "Mish", "com.microsoft.Gelu"), 5),
    **dict.fromkeys(("SwiGLU", "com.microsoft.ScaledSiLU", "com.microsoft.QuickGelu", "com.microsoft.BiasGelu",
        "com.microsoft.FastGelu",), 6),
    "com.microsoft.BiasSplitGelu": 7,
    **dict.fromkeys(("Softmax", "LogSoftmax"), 5),
    "com.microsoft.BiasSoftmax": 6,
    "Hardmax": 1,
    "LpNormalization": 3,
    "ai.onnx.ml.Normalizer": 3,
}  # fmt: skip
# Operations an element of the input.
REDUCTIONS = {
    **dict.fromkeys((
        "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSum", "ArgMax", "ArgMin", "CumSum",
        "CumProd",
        "GlobalAveragePool", "GlobalMaxPool",
        "com.microsoft.QLinearReduceMean", "com.microsoft.QLinearGlobalAveragePool",
        "com.microsoft.nchwc.GlobalMaxPool", "com.microsoft.nchwc.GlobalAveragePool",
        "com.ms.internal.nhwc.GlobalAveragePool", "com.ms.internal.nhwc.GlobalMaxPool",
    ), 1),
    **dict.fromkeys((
        "ReduceL1", "ReduceL2", "ReduceSumSquare", "GlobalLpPool", "com.ms.internal.nhwc.GlobalLpPool",
    ), 2),
    "ReduceLogSumExp": 4,
}  # fmt: skip
# On 8 bits: to float, the function, and back. Two for what is dequantised, three for what is quantised.
QUANTISED = {
    **dict.fromkeys(("com.microsoft.QLinearAdd", "com.microsoft.QLinearMul"), 8),
    "com.microsoft.QLinearSigmoid": 9,
    "com.microsoft.QLinearLeakyRelu": 7,
    "com.microsoft.QLinearSoftmax": 10,
}
# Mean, minus it, squares and their sum, times the root's inverse, scale and bias.
NORMALISATIONS = {
    "LayerNormalization": (5, 1, 2),
    "InstanceNormalization": (5, 1, 2),
    "GroupNormalization": (5, 1, 2),
    "com.microsoft.GroupNorm": (5, 1, 2),
    "SimplifiedLayerNormalization": (3, 1, 9),
    "RMSNormalization": (3, 1, 9),
    "com.microsoft.SkipLayerNormalization": (6, 2, 3, 4),
    "com.microsoft.SkipSimplifiedLayerNormalization": (4, 2, 3),
    "MeanVarianceNormalization": (5,),
    "com.ms.internal.nhwc.InstanceNormalization": (5, 1, 2),
    "com.microsoft.SkipGroupNorm": (6, 1, 2, 4),
}
TAPS = {"nearest": 1, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}


def _an_element(operations: int, *, is_exact: bool) -> Callable[[Node], Work]:
    return lambda node: work(node, operations * output(node).elements, is_exact=is_exact)


def _an_input_element(operations: int) -> Callable[[Node], Work]:
    return lambda node: work(node, operations * given(node, 0).elements)


def _quantised(operations: int) -> Callable[[Node], Work]:
    return lambda node: work(node, operations * output(node).elements, precision="float32", is_exact=False)


def _normalised(operations: int, *optional_inputs: int) -> Callable[[Node], Work]:
    """One operation an element more for each of the optional inputs that is there."""

    def counter(node: Node) -> Work:
        extra = sum(optional(node, index) is not None for index in optional_inputs)
        return work(node, (operations + extra) * output(node).elements, is_exact=False)

    return counter


def _dequantised(node: Node) -> Work:
    """Minus the zero point, times the scale, in the precision of the result."""
    result = output(node)
    return work(node, 2 * result.elements, precision=result.dtype)


def _of_several(node: Node) -> Work:
    """Sum, mean, largest or smallest of so many inputs."""
    return work(node, max(1, len(node.inputs) - 1) * output(node).elements)


def _pooled(node: Node) -> Work:
    """One operation for each value in each window."""
    kernel = attribute(node, "kernel_shape")
    if not kernel:
        raise UncountableError(f"{node.kind} does not say its kernel")
    return work(node, output(node).elements * product(tuple(kernel)))


def _batch_normalised(node: Node) -> Work:
    """A multiply-add, once scale, bias, mean and variance are made into two factors a channel."""
    return work(node, 2 * output(node).elements)


def _over_channels(node: Node) -> Work:
    """Local response: squares and their sum over so many channels, then a power and a division."""
    return work(node, (2 * attribute(node, "size", 1) + 3) * output(node).elements, is_exact=False)


def _resized(node: Node) -> Work:
    """Taps a dimension that changes: one for the nearest, two for linear, four for cubic."""
    source, result = given(node, 0), output(node)
    taps = TAPS.get(attribute(node, "mode", "nearest"))
    if taps is None or len(source.shape) != len(result.shape):
        raise UncountableError(f"{node.kind} in a mode that is not known")
    changed = sum(before != after for before, after in zip(source.shape, result.shape, strict=True))
    reads = {0: min(source.bytes, result.bytes)}
    operations = 0 if taps == 1 else 2 * taps**changed * result.elements
    return work(node, operations, reads=reads, is_exact=False)


def _sampled(node: Node) -> Work:
    """Taps around each point of a grid over the last dimensions."""
    taps = TAPS.get(attribute(node, "mode", "linear"))
    if taps is None:
        raise UncountableError(f"{node.kind} in a mode that is not known")
    dimensions = size(given(node, 1), -1)
    operations = 0 if taps == 1 else 2 * taps**dimensions * output(node).elements
    return work(node, operations, reads={0: min(given(node, 0).bytes, output(node).bytes)}, is_exact=False)


def _embedded(node: Node) -> Work:
    """Rows of two or three tables, added and normalised."""
    result = output(node)
    tables = [index for index in (2, 3, 4) if optional(node, index) is not None]
    reads = {index: min(result.bytes, given(node, index).bytes) for index in tables}
    return work(node, (len(tables) - 1 + 7) * result.elements, precision=result.dtype, reads=reads, is_exact=False)


def _sorted(node: Node) -> Work:
    """Each value is looked at once at the least."""
    return work(node, given(node, 0).elements, is_exact=False)


def _region_aligned(node: Node) -> Work:
    """Four taps for each sample of each bin; how many samples an adaptive one takes only its values say."""
    samples = attribute(node, "sampling_ratio", 0)
    if not samples:
        raise UncountableError(f"{node.kind} chooses its samples by its regions")
    return work(node, 8 * samples**2 * output(node).elements, reads={0: 0}, is_exact=False)


POOLS = ("MaxPool", "AveragePool", "LpPool")

POINTWISE: dict[str, Callable[[Node], Work | None]] = {
    **{kind: _an_element(operations, is_exact=True) for kind, operations in ARITHMETIC.items()},
    **{kind: _an_element(operations, is_exact=False) for kind, operations in FUNCTIONS.items()},
    **{kind: _an_input_element(operations) for kind, operations in REDUCTIONS.items()},
    **{kind: _quantised(operations) for kind, operations in QUANTISED.items()},
    **{kind: _normalised(first, *rest) for kind, (first, *rest) in NORMALISATIONS.items()},
    **dict.fromkeys(("Max", "Min", "Sum", "Mean"), _of_several),
    **dict.fromkeys(("DequantizeLinear", "com.microsoft.DequantizeLinear"), _dequantised),
    **dict.fromkeys(POOLS, _pooled),
    **{f"com.microsoft.nchwc.{kind}": _pooled for kind in POOLS if kind != "LpPool"},
    **{f"com.ms.internal.nhwc.{kind}": _pooled for kind in POOLS},
    "com.microsoft.NhwcMaxPool": _pooled,
    "com.microsoft.MaxpoolWithMask": _pooled,
    "com.ms.internal.nhwc.QLinearAveragePool": _pooled,
    "com.microsoft.QLinearAveragePool": _pooled,
    "BatchNormalization": _batch_normalised,
    "com.ms.internal.nhwc.BatchNormalization": _batch_normalised,
    **dict.fromkeys(("LRN", "com.ms.internal.nhwc.LRN"), _over_channels),
    **dict.fromkeys(("Resize", "Upsample", "com.microsoft.nchwc.Upsample", "com.ms.internal.nhwc.Resize"), _resized),
    **dict.fromkeys(("GridSample", "com.microsoft.GridSample", "com.ms.internal.nhwc.GridSample"), _sampled),
    "com.microsoft.EmbedLayerNormalization": _embedded,
    "TopK": _sorted,
    "RoiAlign": _region_aligned,
}
