"""What a model's operators promise, before anything is built. Loads no library, so a search may ask freely."""

# ruff: noqa: SIM905 -- operator names read better in lines than one a line

from collections.abc import Mapping

# What onnxruntime's dynamic quantiser has integer kernels for. Gather and EmbedLayerNormalization are left out on
# purpose: an embedding in INT8 saves memory but no time, and costs parity. So is Conv: with ConvInteger models took
# eight to sixteen times as long as in float, on a CPU with VNNI (Olive dynamic in benchmarks/results/comparison.json).
DYNAMIC_OPERATORS = frozenset({"Attention", "Gemm", "LSTM", "MatMul"})

# The products that INT8 makes faster. ConvTranspose is left out: the CPU has no integer kernel for it.
STATIC_OPERATORS = frozenset({"Conv", "Gemm", "MatMul"})

# The products whose weights alone can be quantised.
WEIGHT_OPERATORS = frozenset({"Gemm", "MatMul"})

_NORMALISATIONS = frozenset(
    "EmbedLayerNormalization LayerNormalization RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization "
    "SkipSimplifiedLayerNormalization".split()
)
_BY_KIND = {"dynamic": DYNAMIC_OPERATORS, "static": STATIC_OPERATORS, "weights": WEIGHT_OPERATORS}

# What stands between the products of a convolutional network and has an integer CPU kernel: left in float, each would
# cost a dequantisation and a quantisation.
STATIC_GLUE = frozenset(
    "Add AveragePool Clip Concat Flatten GlobalAveragePool LeakyRelu MaxPool Mul Pad Relu Reshape Resize Sigmoid "
    "Slice Split Squeeze Transpose Unsqueeze".split()
)


def quantisable(operators: Mapping[str, int], *, kind: str = "dynamic") -> frozenset[str]:
    """Those of the model's operators (type -> count) that quantising could make faster. Empty: do not try.

    `kind` is that of the quantisation: `dynamic`, `static` or `weights`.
    """
    return frozenset(name for name, count in operators.items() if count and name in _BY_KIND[kind])


def smoothable(operators: Mapping[str, int]) -> bool:
    """Whether activations could differ much over channels where products read them: after a layer normalisation."""
    has = {name for name, count in operators.items() if count}
    normalised = bool(has & _NORMALISATIONS) or {"ReduceMean", "Sqrt"} <= has
    return normalised and bool(has & WEIGHT_OPERATORS) and not is_convolutional(operators)


def is_convolutional(operators: Mapping[str, int]) -> bool:
    """Whether convolutions do most of the work; else it is a matter of matrix products (transformers, perceptrons)."""
    return operators.get("Conv", 0) > operators.get("MatMul", 0) + operators.get("Gemm", 0)


def fusable_types(operators: Mapping[str, int]) -> tuple[str, ...]:
    """The transformer types whose fusions could match these operators (type -> count), likeliest first.

    Attention needs a Softmax between matrix products; a GELU shows as Erf or Tanh, a layer normalisation by name or as
    ReduceMean with Sqrt. A decoder shows by what its causal mask is made of.
    """
    has = {name for name, count in operators.items() if count}
    attention = "Softmax" in has and operators.get("MatMul", 0) >= 4
    gelu = bool(has & {"Erf", "Tanh"}) and "MatMul" in has
    layer_norm = "LayerNormalization" in has or {"ReduceMean", "Sqrt"} <= has
    if not (attention or (gelu and layer_norm)):
        return ()
    if "Conv" in has:
        return ("vit",)
    return ("gpt2", "bert") if attention and has & {"Trilu", "Where"} else ("bert",)
