"""The spread of activations over channels moved into the weights that meet them, so that INT8 loses less: SmoothQuant.

A product X W is (X / s) (s W) for any scale s_j > 0 of channel j. With s_j = max|X_j|^alpha / max|W_j|^(1 - alpha) no
channel of X is far larger than the others, and one scale for the whole tensor serves all of them. Dividing X costs
nothing where it can be folded into what makes it: the gain and bias of a layer normalisation, a factor for each
channel, the weights of the product before. Where something else reads a normalisation too, such as a residual, it takes
one multiplication, which is spent only where channels differ much. Other activations stay as they are: behind a GELU
outliers come with tokens, not with channels, and moving them into weights costs more than it saves (seen on MiniLM).

Source: Xiao et al., "SmoothQuant", ICML 2023, equation 4. https://arxiv.org/abs/2211.10438
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from infer_opt.errors import ModelError
from infer_opt.recipes import Quantisation
from infer_opt.transforms.calibration import channel_maxima
from infer_opt.transforms.feeds import FeedSource
from infer_opt.transforms.folding import drop_dead
from infer_opt.transforms.model_files import all_nodes

WORTH_A_NODE = 4.0  # largest channel over the median one, from which a multiplication of its own is spent
SMALLEST_SHARE = 1e-3  # of the largest channel: what was never seen to be active is not taken for zero

# Normalisations, and which of their inputs are a gain and a bias for each channel of the first output.
_NORMS: Mapping[str, tuple[int, ...]] = {
    "EmbedLayerNormalization": (5, 6),
    "LayerNormalization": (1, 2),
    "RMSNormalization": (1,),
    "SimplifiedLayerNormalization": (1,),
    "SkipLayerNormalization": (2, 3),
    "SkipSimplifiedLayerNormalization": (2,),
}
_PASSING = frozenset({"Abs", "Identity", "LeakyRelu", "Relu"})  # f(s x) = s f(x) for any s > 0

Floats = NDArray[np.floating[Any]]
Change = Callable[[Floats], Floats]


class _Edit(NamedTuple):
    """An input of a node, and what its constant becomes."""

    node: NodeProto
    position: int
    change: Change


class _Reader(NamedTuple):
    """A product that reads a tensor, and the axis of its weight that meets the tensor's channels."""

    node: NodeProto
    axis: int


@dataclass
class _Graph:
    """A model's constants, makers and uses. Mutable: constants are replaced as scales move."""

    model: ModelProto

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.constants = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT}
        self.makers = {name: node for node in graph.node for name in node.output if name}
        self.uses: dict[str, int] = {value.name: 1 for value in graph.output}
        for node in all_nodes(graph):
            for name in node.input:
                self.uses[name] = self.uses.get(name, 0) + 1
        self._edited = 0

    def array(self, name: str) -> Floats:
        return numpy_helper.to_array(self.constants[name])

    def apply(self, edit: _Edit) -> None:
        """Give the node a constant of its own: the old one may serve others."""
        old = edit.node.input[edit.position]
        name = f"{old.partition('/smoothed')[0]}/smoothed/{self._edited}"
        self._edited += 1
        tensor = numpy_helper.from_array(np.ascontiguousarray(edit.change(self.array(old)), dtype=np.float32), name)
        self.constants[name] = tensor
        edit.node.input[edit.position] = name


def smooth(model: ModelProto, *, how: Quantisation, feeds: FeedSource | None, folder: Path) -> int:
    """Move scales from activations into weights, in place; gives for how many tensors. In float it computes the same.

    What only nodes of `how.floats` read is left as it is.

    Raises:
        ModelError: no feeds, nothing that can be smoothed, or the model does not run on the feeds.
    """
    if how.smooth is None or feeds is None:
        raise ModelError(f"{how.label} needs calibration inputs, and there are none", hint="give --inputs")
    graph = _Graph(model)
    places = _places(graph, floats=frozenset(how.floats))
    channels = {tensor: _channels(graph, readers[0]) for tensor, readers in places.items()}
    seen = channel_maxima(model, channels, feeds=feeds, folder=folder) if places else {}
    divided: dict[str, Floats] = {}
    smoothed = 0
    for tensor, readers in places.items():
        weights = np.max([_row_maxima(graph, one, per_channel=how.per_channel) for one in readers], axis=0)
        scales = smoothing_scales(seen[tensor], weights, alpha=how.smooth)
        if scales is None:
            continue
        edits = _folding(graph, tensor, 1.0 / scales, uses=len(readers))
        if edits is None and not _is_worth_a_node(graph, tensor, seen[tensor]):
            continue
        for edit in edits or ():
            graph.apply(edit)
        for reader in readers:
            graph.apply(_Edit(reader.node, 1, _along(scales, reader.axis)))
            if edits is None:
                reader.node.input[0] = f"{tensor}/smoothed"
        if edits is None:
            divided[tensor] = 1.0 / scales
        smoothed += 1
    if not smoothed:
        raise ModelError("no activation of this model could be smoothed")
    _write(graph, divided)
    return smoothed


def smoothing_scales(activations: Floats, weights: Floats, *, alpha: float) -> Floats | None:
    """s_j for the largest absolute values of each channel and of the weights that meet it; None without any.

    Only their ratios matter, so their geometric mean is 1.
    """
    largest = np.array([activations.max(), weights.max()], dtype=np.float64)
    if not np.all(np.isfinite(largest)) or not np.all(largest > 0.0):
        return None
    x = np.maximum(activations.astype(np.float64), largest[0] * SMALLEST_SHARE)
    w = np.maximum(weights.astype(np.float64), largest[1] * SMALLEST_SHARE)
    scales = x**alpha / w ** (1.0 - alpha)
    found: Floats = (scales / np.exp(np.log(scales).mean())).astype(np.float32)
    return found


def _places(graph: _Graph, *, floats: frozenset[str]) -> dict[str, list[_Reader]]:
    """Activation -> the products that read it, of which one at least is quantised."""
    found: dict[str, list[_Reader]] = {}
    for node in graph.model.graph.node:
        axis = _weight_axis(graph, node)
        if axis is not None and node.input[0] not in graph.constants:
            found.setdefault(node.input[0], []).append(_Reader(node, axis))
    return {tensor: readers for tensor, readers in found.items() if any(one.node.name not in floats for one in readers)}


def _weight_axis(graph: _Graph, node: NodeProto) -> int | None:
    """The axis of a product's constant weight that meets the channels of what it reads; None for other nodes."""
    if node.op_type not in ("Attention", "Gemm", "MatMul") or len(node.input) < 2:
        return None
    weight = graph.constants.get(node.input[1])
    if weight is None or len(weight.dims) != 2 or _setting(node, "transA"):
        return None
    return 1 if _setting(node, "transB") else 0


def _setting(node: NodeProto, name: str) -> bool:
    return any(attribute.name == name and attribute.i for attribute in node.attribute)


def _channels(graph: _Graph, reader: _Reader) -> int:
    return int(graph.constants[reader.node.input[1]].dims[reader.axis])


def _row_maxima(graph: _Graph, reader: _Reader, *, per_channel: bool) -> Floats:
    """The largest weight that meets each channel. With a scale for each output, as a share of that output's largest.

    A weight that is large for an output that has a scale of its own is not large for the others. (On MiniLM the
    channels with the largest activations meet the largest weights, all of one output: equation 4 would then leave the
    outliers as they are, and cost accuracy.)
    """
    weights = np.abs(graph.array(reader.node.input[1]))
    if per_channel:
        largest = weights.max(axis=reader.axis, keepdims=True)
        weights = weights / np.where(largest > 0.0, largest, 1.0)
    maxima: Floats = weights.max(axis=1 - reader.axis)
    return maxima


def _along(factor: Floats, axis: int) -> Change:
    """Multiplies a matrix by a factor for each index of `axis`."""
    shape = (-1, 1) if axis == 0 else (1, -1)
    return lambda matrix: matrix * factor.reshape(shape)


def _is_worth_a_node(graph: _Graph, tensor: str, seen: Floats) -> bool:
    """Whether it is a normalisation's result, decomposed ones among them, with channels that differ much."""
    node = graph.makers.get(tensor)
    if node is not None and node.op_type == "Add":  # the bias of a decomposed one
        node = next((graph.makers[name] for name in node.input if name in graph.makers), None)
    if node is None:
        return False
    is_scaled = node.op_type == "Mul" and any(_is_factor(graph, name, len(seen)) for name in node.input)
    return (node.op_type in _NORMS or is_scaled) and bool(seen.max() > WORTH_A_NODE * np.median(seen))


def _folding(graph: _Graph, tensor: str, factor: Floats, *, uses: int = 1) -> list[_Edit] | None:
    """What makes `tensor` come out times `factor` for each channel; None where no constants do, or others read it."""
    node = graph.makers.get(tensor)
    if node is None or graph.uses.get(tensor, 0) != uses or node.output[0] != tensor:
        return None
    if node.op_type in _NORMS:
        given = [index for index in _NORMS[node.op_type] if index < len(node.input) and node.input[index]]
        if any(not _is_vector(graph, node.input[index], len(factor)) for index in given):
            return None
        return [_Edit(node, index, lambda array: array * factor) for index in given] or None
    if node.op_type in _PASSING:
        return _folding(graph, node.input[0], factor)
    if node.op_type in ("Gemm", "MatMul"):
        return _into_product(graph, node, factor)
    if node.op_type in ("Add", "Div", "Mul", "Sub"):
        return _into_constant(graph, node, factor)
    return None


def _into_product(graph: _Graph, node: NodeProto, factor: Floats) -> list[_Edit] | None:
    axis = _weight_axis(graph, node)
    if axis is None or graph.constants[node.input[1]].dims[1 - axis] != len(factor):
        return None
    edits = [_Edit(node, 1, _along(factor, 1 - axis))]
    if len(node.input) > 2 and node.input[2]:
        if not _is_vector(graph, node.input[2], len(factor)):
            return None
        edits.append(_Edit(node, 2, lambda array: array * factor))
    return edits


def _into_constant(graph: _Graph, node: NodeProto, factor: Floats) -> list[_Edit] | None:
    """A product or quotient takes the factor into its constant; a sum has to be multiplied on both sides."""
    constant = next((index for index in (1, 0) if _is_factor(graph, node.input[index], len(factor))), None)
    if constant is None or (node.op_type == "Div" and constant == 0):
        return None
    if node.op_type == "Mul":
        return [_Edit(node, constant, lambda array: array * factor)]
    if node.op_type == "Div":
        return [_Edit(node, constant, lambda array: array / factor)]
    other = _folding(graph, node.input[1 - constant], factor)
    return None if other is None else [*other, _Edit(node, constant, lambda array: array * factor)]


def _is_vector(graph: _Graph, name: str, size: int) -> bool:
    return name in graph.constants and list(graph.constants[name].dims) == [size]


def _is_factor(graph: _Graph, name: str, size: int) -> bool:
    """Whether it holds a number for each channel, along the last axis."""
    dims = list(graph.constants[name].dims) if name in graph.constants else []
    return dims[-1:] == [size] and all(dim == 1 for dim in dims[:-1])


def _write(graph: _Graph, divided: Mapping[str, Floats]) -> None:
    """Put new constants and the multiplications that could not be folded into the model, each before its readers."""
    model = graph.model
    there = {tensor.name for tensor in model.graph.initializer}
    model.graph.initializer.extend(t for name, t in graph.constants.items() if name not in there)
    factors = {f"{tensor}/smoothing": factor for tensor, factor in divided.items()}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in factors.items())
    waiting = {f"{tensor}/smoothed": tensor for tensor in divided}
    # The quantiser leaves out what has no type.
    model.graph.value_info.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in waiting)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        for name in [name for name in node.input if name in waiting]:
            tensor = waiting.pop(name)
            nodes.append(helper.make_node("Mul", [tensor, f"{tensor}/smoothing"], [name], name=f"{tensor}/smooth"))
        copy = NodeProto()
        copy.CopyFrom(node)
        nodes.append(copy)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    drop_dead(model)
