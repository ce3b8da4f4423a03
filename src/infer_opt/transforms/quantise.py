"""INT8: dynamic (activations quantised at each call) or static (ranges from calibration inputs, QDQ format).

What else can be done to weights has modules of its own: `weight_only`, and `smoothing` before either kind of INT8.

Static activations are uint8 with a zero point, weights int8: on x86 the integer kernels take unsigned by signed (AVX2
`vpmaddubsw`, VNNI `vpdpbusd`), so int8 activations are turned into uint8 at load time anyway, and an asymmetric range
wastes no level on the negative half that a ReLU never gives. On CPUs without VNNI that kernel saturates its 16-bit
sums: `reduce_range` keeps weights to 7 bits, and parity catches what is left (onnxruntime#6004).
"""

# ruff: noqa: SIM905 -- operator names read better in lines than one a line

import itertools
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from infer_opt.config import Provider
from infer_opt.errors import ModelError
from infer_opt.recipes import GraphLevel, Quantisation, WeightType
from infer_opt.transforms.calibration import Range, calibrate
from infer_opt.transforms.faults import step
from infer_opt.transforms.feeds import FeedSource
from infer_opt.transforms.folding import rename_inputs
from infer_opt.transforms.kept_ranges import kept_ranges, read_ranges, write_ranges
from infer_opt.transforms.model_files import infer_shapes, is_large, load, operators, save
from infer_opt.transforms.normalise import normalised
from infer_opt.transforms.offline import open_and_save
from infer_opt.transforms.prospects import (
    DYNAMIC_OPERATORS,
    STATIC_GLUE,
    STATIC_OPERATORS,
    WEIGHT_OPERATORS,
    is_convolutional,
    quantisable,
)
from infer_opt.transforms.smoothing import smooth
from infer_opt.transforms.weight_only import quantise_weights

# What shows that quantising did something.
QUANTISED_OPERATORS = frozenset(
    "ConvInteger DynamicQuantizeLSTM DynamicQuantizeLinear DynamicQuantizeMatMul MatMulInteger MatMulIntegerToFloat "
    "MatMulNBits QAttention QLinearConv QLinearMatMul QuantizeLinear".split()
)

# What the quantiser appends to a tensor's name for the tensors that it adds.
_QUANTISER_SUFFIXES = ("_scale", "_zero_point", "_quantized")

# In models without convolutions what these give is rounded by who reads it, if that is in INT8.
ROUNDED_BY_READERS = {"MatMul"}

# Values as large as this are masks (-3.4e38, or -inf, for "do not attend"): their scale would overflow.
_LARGEST_ACTIVATION = 1e37


def quantise(source: Path, target: Path, *, how: Quantisation, feeds: FeedSource | None = None) -> None:
    """Write the model at `source` quantised; what `needs_inputs` needs `feeds`. Normalises first.

    Raises:
        ModelError: nothing to quantise, quantised already, no feeds, or onnxruntime's quantiser refuses the model.
        StorageError: `target` cannot be written.
    """
    with step("quantising"):
        model = load(source)
        found = operators(model)
        if QUANTISED_OPERATORS & set(found):
            raise ModelError(f"{source.name} is quantised already")
        if not quantisable(found, kind=how.kind):
            raise ModelError(f"{source.name} holds no operator that {how.label} would make faster")
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            model = prepared(model, Path(scratch))
        if how.smooth is not None:
            smooth(model, how=how, feeds=feeds, folder=target.parent)
        ranges = find_ranges(model, how=how, feeds=feeds, folder=target.parent) if how.is_static else None
        quantise_prepared(model, target, how=how, ranges=ranges)
        if not QUANTISED_OPERATORS & set(operators(load(target))):
            target.unlink()
            raise ModelError(
                f"nothing in {source.name} could be quantised",
                hint="integer kernels need weights that are constants, not inputs or results",
            )


def quantise_prepared(
    model: ModelProto, target: Path, *, how: Quantisation, ranges: dict[str, Range] | None = None
) -> None:
    """Write the prepared `model` quantised, with the `ranges` of `find_ranges` where it is static. It is used up."""
    if how.weight_only is not None:
        quantise_weights(model, how=how.weight_only, floats=how.floats)
        save(model, target)
    elif how.is_static:
        quantise_static(model, target, how=how, ranges=ranges or {})
    else:
        quantise_dynamic(model, target, how=how)


def quantised_types(model: ModelProto, how: Quantisation) -> list[str]:
    """The operator types of the prepared `model` that are quantised."""
    if how.weight_only is not None:
        return sorted(WEIGHT_OPERATORS)
    return static_types(model) if how.is_static else dynamic_types()


def prepared(model: ModelProto, scratch: Path) -> ModelProto:
    """The model as the quantiser wants it: in normal form, batch normalisation folded into the convolutions.

    Without that folding each BatchNormalization would stay in float between two conversions. onnxruntime does it at the
    level basic, but not once quantisers have put QuantizeLinear between the two.
    """
    model, _ = normalised(model)
    _sums_to_adds(model)
    _rename_lookalikes(model)
    plain, optimised = scratch / "normal.onnx", scratch / "folded.onnx"
    save(model, plain)
    open_and_save(plain, optimised, level=GraphLevel.BASIC, provider=Provider.CPU, external=is_large(model))
    model, _ = normalised(load(optimised))
    _name_nodes(model)
    return infer_shapes(model)


def _name_nodes(model: ModelProto) -> None:
    """Give every node a name of its own: quantisers can leave out only what has one."""
    taken = {node.name for node in model.graph.node}
    seen: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = next(
                name
                for number in itertools.count(index)
                if (name := f"{node.op_type}_{number}") not in taken and name not in seen
            )
        seen.add(node.name)


def _sums_to_adds(model: ModelProto) -> None:
    """Make a Sum of two an Add, which is the same and has an integer kernel (residuals of older exporters)."""
    for node in model.graph.node:
        if node.op_type == "Sum" and len(node.input) == 2:
            node.op_type = "Add"


def _rename_lookalikes(model: ModelProto) -> None:
    """Rename tensors whose names the quantiser would give to its own: with `norm` and `norm_scale` in a model it makes
    a second `norm_scale`, and then fails with "Graph is not a DAG".
    """
    graph = model.graph
    fixed = {value.name for value in (*graph.input, *graph.output)}
    made = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
    lookalikes = {name: f"{name}/given" for name in made - fixed if name.endswith(_QUANTISER_SUFFIXES)}
    for tensor in (*graph.initializer, *graph.value_info):
        tensor.name = lookalikes.get(tensor.name, tensor.name)
    for node in graph.node:
        rename_inputs(node, lookalikes)
        for index, name in enumerate(node.output):
            node.output[index] = lookalikes.get(name, name)


def dynamic_types() -> list[str]:
    """The operator types that dynamic quantisation is asked for; the quantiser turns each Gemm into a MatMul first."""
    return sorted(DYNAMIC_OPERATORS - {"Gemm"} | {"MatMul"})


def quantise_dynamic(model: ModelProto, target: Path, *, how: Quantisation) -> None:
    """Write the prepared `model` with INT8 weights; activations are quantised at each call. `model` itself is changed.

    `quantize_dynamic` of onnxruntime does the same by way of three files.
    """
    from onnxruntime.quantization import QuantizationMode, QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    add_infer_metadata(model)  # else it warns that shapes may not be known
    quantiser = ONNXQuantizer(
        model,
        how.per_channel,
        how.reduce_range,
        QuantizationMode.IntegerOps,
        False,  # not static
        QuantType.QUInt8 if how.weight_type is WeightType.UINT8 else QuantType.QInt8,
        QuantType.QUInt8,
        None,
        [],
        [*how.floats, *(f"{name}_MatMul" for name in how.floats)],  # what it makes of a Gemm
        dynamic_types(),
        {"MatMulConstBOnly": True},
    )
    quantiser.quantize_model()
    save(quantiser.model.model, target)


def find_ranges(model: ModelProto, *, how: Quantisation, feeds: FeedSource | None, folder: Path) -> dict[str, Range]:
    """The range of every activation of the prepared `model` that static quantisation may quantise.

    They are kept beside the file of `feeds`: every mixture of float and INT8 of one model rests on the same.

    Raises:
        ModelError: no feeds, or the model does not run on them.
    """
    if how.calibration is None:
        raise ModelError("static quantisation needs a calibration method")
    if feeds is None:
        raise ModelError(f"{how.label} needs calibration inputs, and there are none", hint="give --inputs")
    tensors = _activations(model, static_types(model))
    kept = kept_ranges(model, how.calibration, feeds)
    if kept is not None and (found := read_ranges(kept)) is not None:
        return found
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        ranges = calibrate(model, tensors, feeds=feeds, method=how.calibration, folder=Path(scratch))
    if kept is not None:
        write_ranges(kept, ranges)
    return ranges


def quantise_static(model: ModelProto, target: Path, *, how: Quantisation, ranges: dict[str, Range]) -> None:
    """Write the prepared `model` with INT8 weights and activations, as QuantizeLinear / DequantizeLinear pairs.

    `model` itself is changed.
    """
    wild = {name for name, found in ranges.items() if not found.reach < _LARGEST_ACTIVATION}
    excluded = [*_touching(model.graph.node, wild), *_products_of_activations(model), *how.floats]
    types = static_types(model)
    rounded = set(types) - (set() if is_convolutional(operators(model)) else ROUNDED_BY_READERS)
    quantiser = _static_quantiser(model, how, ranges, types=types, excluded=excluded)
    quantiser.quantize_model()
    made = quantiser.model.model
    _spare_floats(made, types=set(types), excluded=set(excluded), rounded=rounded)
    save(made, target)


def _spare_floats(model: ModelProto, *, types: set[str], excluded: set[str], rounded: set[str]) -> None:
    """Let float nodes read what stands before a rounding to INT8, not after it, where a float node gave it.

    The quantiser puts the rounded tensor in the place of the other for every reader: the residual path of a transformer
    was rounded at each layer, for nothing. What an integer node gives (of types `rounded`) stays rounded: its kernel
    rounds anyway, and with a second reader of the unrounded it would not be found.
    """
    graph = model.graph

    def is_quantised(node: NodeProto, among: set[str]) -> bool:
        return node.op_type in among and node.name not in excluded

    integer = {name for node in graph.node if is_quantised(node, rounded) for name in node.output}
    before = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    spared = {
        node.output[0]: before[node.input[0]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and before.get(node.input[0], "") not in integer | {""}
    }
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") and not is_quantised(node, types):
            rename_inputs(node, spared)


def _static_quantiser(
    model: ModelProto, how: Quantisation, ranges: dict[str, Range], *, types: list[str], excluded: list[str]
) -> Any:
    """onnxruntime's QDQ quantiser, given our ranges. `quantize_static` would insist on its own calibrators."""
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    add_infer_metadata(model)  # else it writes and reads the model once more to infer shapes
    data = {name: (np.float32(found.low), np.float32(found.high)) for name, found in ranges.items()}
    return QDQQuantizer(
        model,
        how.per_channel,
        how.reduce_range,
        QuantType.QUInt8 if how.weight_type is WeightType.UINT8 else QuantType.QInt8,
        QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, data),
        [],
        excluded,
        types,
        # Integer products add up in 32 bits, and one kernel turns that into float at once. Rounding to 8 bits in
        # between costs accuracy (MiniLM: cosine 0.79 for 0.91) and helps only where an integer operator follows.
        {}
        if is_convolutional(operators(model))
        else {"OpTypesToExcludeOutputQuantization": sorted(ROUNDED_BY_READERS)},
    )


def static_types(model: ModelProto) -> list[str]:
    """The operator types to quantise. Element-wise ones only in convolutional models.

    In transformers they stand between GELU, Softmax and layer normalisation, which stay in float, so INT8 there costs
    both accuracy and conversions.
    """
    found = operators(model)
    wanted = STATIC_OPERATORS | (STATIC_GLUE if is_convolutional(found) else {"Clip", "Relu"})
    return sorted(wanted & set(found))


def _activations(model: ModelProto, types: list[str]) -> list[str]:
    """The float32 tensors, weights apart, that nodes of these types read or write: each needs a range."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    floats = {
        value.name
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    touched = (name for node in graph.node if node.op_type in types for name in (*node.input, *node.output))
    return [name for name in dict.fromkeys(touched) if name in floats and name not in weights]


def _touching(nodes: Iterable[NodeProto], tensors: set[str]) -> list[str]:
    """Names of the nodes that read or write any of these tensors."""
    return [node.name for node in nodes if tensors & {*node.input, *node.output}]


def _products_of_activations(model: ModelProto) -> list[str]:
    """Names of the MatMuls without a weight, as in attention: the ranges of both factors follow every input.

    The option MatMulConstBOnly would be for this, but the QDQ quantiser does not read it.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and not weights & set(node.input)]
