"""Weights of matrix products in 4 or 8 bits, in blocks with a scale each; activations stay in float between operators.

What a product reads from memory shrinks to an eighth or a quarter, which is what bounds it when few rows meet a large
matrix; and activations, whose outliers are what INT8 suffers from, keep their range. The operator is onnxruntime's
MatMulNBits. Weights are rounded to the nearest level, as its own tool does by default; written here, since
that tool needs a library that the runtime does not (onnx_ir), and sets up logging for the whole process.

Source: the operator's specification in onnxruntime's docs/ContribOperators.md, com.microsoft.MatMulNBits.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from infer_opt.recipes import WeightOnly
from infer_opt.transforms.folding import drop_dead
from infer_opt.transforms.model_files import CONTRIB_DOMAIN

OPERATOR = "MatMulNBits"
# Activations are rounded to 8 bits inside of the product, block by block, so that it is one of integers (4). With 0 the
# weights are made floats again, which is slower than float weights as soon as a few rows share them.
ACCURACY_LEVEL = 4

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


class Blocks(NamedTuple):
    """A matrix (outputs, inputs) in blocks along its inputs.

    `packed` is (outputs, blocks, bytes a block), `scales` (outputs, blocks), `zero_points` packed likewise, or None
    where they are the middle of the range.
    """

    packed: Bytes
    scales: Floats
    zero_points: Bytes | None


def quantise_weights(model: ModelProto, *, how: WeightOnly, floats: tuple[str, ...] = ()) -> int:
    """Quantise the constant weights of MatMul and Gemm nodes in place, but for the nodes named in `floats`.

    Gives how many products were changed. The weights of the others, and those that something else reads too, stay.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    made: dict[tuple[str, bool], list[str]] = {}  # a weight and how it lies -> the tensors that stand for it
    changed = 0
    for node in graph.node:
        product = None if node.name in floats else _product(node, weights)
        if product is None:
            continue
        weight, is_transposed = product
        matrix = numpy_helper.to_array(weights[weight]).astype(np.float32)
        matrix = matrix if is_transposed else matrix.T
        if (weight, is_transposed) not in made:
            made[weight, is_transposed] = _store(model, f"{weight}_{changed}", quantise_blocks(matrix, how))
        _replace(node, made[weight, is_transposed], shape=matrix.shape, how=how)
        changed += 1
    if changed:
        if all(entry.domain != CONTRIB_DOMAIN for entry in model.opset_import):
            model.opset_import.append(helper.make_opsetid(CONTRIB_DOMAIN, 1))
        drop_dead(model)
    return changed


def quantise_blocks(matrix: Floats, how: WeightOnly) -> Blocks:
    """The matrix (outputs, inputs) rounded to the nearest of 2^bits levels, block by block."""
    outputs, inputs = matrix.shape
    blocks, top = -(-inputs // how.block), 2**how.bits - 1
    padded = np.zeros((outputs, blocks * how.block), dtype=np.float32)
    padded[:, :inputs] = matrix
    values = padded.reshape(outputs, blocks, how.block)
    if how.symmetric:
        # The end that is larger takes the level that the other side lacks: -8 to 7, or 8 to -7.
        high, low = values.max(axis=2), values.min(axis=2)
        scales = np.where(high > -low, high, low) / -(2.0 ** (how.bits - 1))
        zeros = np.full_like(scales, 2 ** (how.bits - 1))
    else:
        high, low = np.maximum(values.max(axis=2), 0.0), np.minimum(values.min(axis=2), 0.0)
        scales = (high - low) / top
        zeros = np.rint(np.divide(-low, scales, out=np.zeros_like(scales), where=scales != 0.0)).clip(0, top)
    divisors = np.where(scales == 0.0, 1.0, scales)[:, :, None]
    levels = np.rint(values / divisors + zeros[:, :, None]).clip(0, top).astype(np.uint8)
    return Blocks(
        packed=_packed(levels, how.bits),
        scales=scales.astype(np.float32),
        zero_points=None if how.symmetric else _packed(zeros.astype(np.uint8), how.bits),
    )


def _packed(levels: Bytes, bits: int) -> Bytes:
    """Two levels of 4 bits a byte along the last axis, the earlier one in the lower half."""
    if bits == 8:
        return levels
    if levels.shape[-1] % 2:
        levels = np.concatenate([levels, np.zeros_like(levels[..., :1])], axis=-1)
    packed: Bytes = levels[..., 0::2] | np.left_shift(levels[..., 1::2], 4, dtype=np.uint8)
    return packed


def _product(node: NodeProto, weights: dict[str, TensorProto]) -> tuple[str, bool] | None:
    """The weight of a product that can be replaced, and whether it lies as (outputs, inputs); None for other nodes."""
    if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in weights:
        return None
    weight = weights[node.input[1]]
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    plain: dict[str, Any] = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    if len(weight.dims) != 2 or any(settings.get(name, value) != value for name, value in plain.items()):
        return None
    is_transposed = bool(settings.get("transB", 0))
    bias = node.input[2] if len(node.input) > 2 else ""
    if bias and (bias not in weights or list(weights[bias].dims) != [weight.dims[0 if is_transposed else 1]]):
        return None
    return weight.name, is_transposed


def _store(model: ModelProto, name: str, blocks: Blocks) -> list[str]:
    """Add the tensors to the model; gives their names in the order of the operator's inputs."""
    parts: dict[str, Floats | Bytes | None] = {
        "packed": blocks.packed,
        "scales": blocks.scales,
        "zero_points": blocks.zero_points,
    }
    there = {f"{name}/{part}": array for part, array in parts.items() if array is not None}
    model.graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in there.items())
    return list(there)


def _replace(node: NodeProto, tensors: list[str], *, shape: tuple[int, ...], how: WeightOnly) -> None:
    """Turn the node into a MatMulNBits with these weights, its name after that of the node."""
    outputs, inputs = shape
    read = [node.input[0], *tensors]
    if len(node.input) > 2 and node.input[2]:
        read += [""] * (5 - len(read)) + [node.input[2]]
    settings: dict[str, Any] = {"K": inputs, "N": outputs, "bits": how.bits, "block_size": how.block}
    product = helper.make_node(
        OPERATOR,
        read,
        list(node.output),
        name=f"{node.name}_{how.bits}bits",
        domain=CONTRIB_DOMAIN,
        accuracy_level=ACCURACY_LEVEL,
        **settings,
    )
    node.CopyFrom(product)
