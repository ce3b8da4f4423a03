"""The ladder's networks as ONNX, node by node in the shape that PyTorch's exporter gives them, from given weights."""

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper
from scripts.ladder.sizes import BertSize, LstmSize, PolicySize, ResNetSize, Size, VitSize
from scripts.ladder.weights import Weights, bottlenecks
from scripts.large_models.bert_graph import BertShape, BertWriter, GraphWriter
from scripts.small_models.learning import IR_VERSION, OPSET, Array

EPSILON = 1e-5
BERT_EPSILON = 1e-12


def written(size: Size, weights: Weights) -> onnx.ModelProto:
    """The network of that size, with a free batch."""
    if isinstance(size, ResNetSize):
        return resnet(size, weights)
    if isinstance(size, BertSize):
        return bert(size, weights)
    if isinstance(size, VitSize):
        return vit(size, weights)
    return lstm(size, weights) if isinstance(size, LstmSize) else policy(size, weights)


def bert(size: BertSize, weights: Weights) -> onnx.ModelProto:
    """Ids and mask in, hidden states and an embedding of the sentence out."""
    shape = BertShape(layers=size.layers, hidden=size.hidden, heads=size.heads, epsilon=BERT_EPSILON)
    return BertWriter(shape, weights).write()


def resnet(size: ResNetSize, weights: Weights) -> onnx.ModelProto:
    """An image in, logits out."""
    out = GraphWriter()

    def convolution(x: str, name: str, norm: str, *, kernel: int, stride: int = 1, relu: bool = True) -> str:
        weight = out.weight(f"{name}.weight", weights[f"{name}.weight"])
        pads = [kernel // 2] * 4
        x = out.node("Conv", x, weight, name=f"{name}/Conv", kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)
        parts = [out.weight(f"{norm}.{part}", weights[f"{norm}.{part}"]) for part in _NORM]
        x = out.node("BatchNormalization", x, *parts, name=f"{norm}/BatchNormalization", epsilon=EPSILON)
        return out.node("Relu", x, name=f"{norm}/Relu") if relu else x

    x = convolution("image", "conv1", "bn1", kernel=7, stride=2)
    x = out.node("MaxPool", x, name="MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for prefix, _, _, stride, has_convolution in bottlenecks(size):
        inner = convolution(x, f"{prefix}.conv1", f"{prefix}.bn1", kernel=1)
        inner = convolution(inner, f"{prefix}.conv2", f"{prefix}.bn2", kernel=3, stride=stride)
        inner = convolution(inner, f"{prefix}.conv3", f"{prefix}.bn3", kernel=1, relu=False)
        if has_convolution:
            part = f"{prefix}.downsample"
            x = convolution(x, f"{part}.0", f"{part}.1", kernel=1, stride=stride, relu=False)
        x = out.node("Relu", out.node("Add", inner, x, name=f"{prefix}/Add"), name=f"{prefix}/Relu")
    x = out.node("Flatten", out.node("GlobalAveragePool", x, name="pool"), name="flat", axis=1)
    _gemm(out, x, "fc", weights, "logits")
    return _model(out, "resnet", {"image": [3, size.pixels, size.pixels]}, {"logits": [size.classes]})


def vit(size: VitSize, weights: Weights) -> onnx.ModelProto:
    """An image in, logits out. The class token is the place that Pad makes and the table of positions fills."""
    out = GraphWriter()
    kernel = out.weight("patches.weight", weights["patches.weight"])
    bias = out.weight("patches.bias", weights["patches.bias"])
    step = [size.patch] * 2
    x = out.node("Conv", "image", kernel, bias, name="patches/Conv", kernel_shape=step, strides=step)
    x = out.node("Reshape", x, out.integers(0, size.hidden, size.patches), name="patches/Reshape")
    x = out.node("Transpose", x, name="patches/Transpose", perm=[0, 2, 1])
    x = out.node("Pad", x, out.integers(0, 1, 0, 0, 0, 0), name="token/Pad")
    table = weights["positions"].copy()
    table[:, :1] += weights["class_token"]
    x = out.node("Add", x, out.weight("positions", table), name="positions/Add")
    for index in range(size.layers):
        x = _vit_layer(out, x, size, weights, f"layers.{index}")
    x = _layer_norm(out, x, "norm", weights)
    x = out.node("Gather", x, out.weight("index.0", np.array(0, np.int64)), name="token/Gather", axis=1)
    _gemm(out, x, "head", weights, "logits")
    return _model(out, "vit", {"image": [3, size.pixels, size.pixels]}, {"logits": [size.classes]})


def _vit_layer(out: GraphWriter, x: str, size: VitSize, weights: Weights, name: str) -> str:
    split = out.integers(0, 0, size.heads, size.hidden // size.heads)
    normed = _layer_norm(out, x, f"{name}.norm1", weights)

    def heads(part: str, order: Sequence[int]) -> str:
        y = out.node("Reshape", _linear(out, normed, f"{name}.{part}", weights), split, name=f"{name}.{part}/Reshape")
        return out.node("Transpose", y, name=f"{name}.{part}/Transpose", perm=list(order))

    query, key, value = heads("query", (0, 2, 1, 3)), heads("key", (0, 2, 3, 1)), heads("value", (0, 2, 1, 3))
    scores = out.node("MatMul", query, key, name=f"{name}/MatMul")
    scores = out.node("Div", scores, out.scalar(math.sqrt(size.hidden // size.heads)), name=f"{name}/Div")
    shares = out.node("Softmax", scores, name=f"{name}/Softmax", axis=-1)
    mixed = out.node("MatMul", shares, value, name=f"{name}/MatMul_1")
    mixed = out.node("Transpose", mixed, name=f"{name}/Transpose", perm=[0, 2, 1, 3])
    mixed = out.node("Reshape", mixed, out.integers(0, 0, size.hidden), name=f"{name}/Reshape")
    x = out.node("Add", x, _linear(out, mixed, f"{name}.joined", weights), name=f"{name}/residual")
    inner = _linear(out, _layer_norm(out, x, f"{name}.norm2", weights), f"{name}.inner", weights)
    inner = _linear(out, _gelu(out, inner, f"{name}/gelu"), f"{name}.outer", weights)
    return out.node("Add", x, inner, name=f"{name}/residual_1")


def lstm(size: LstmSize, weights: Weights) -> onnx.ModelProto:
    """A sequence (batch, steps, inputs) in, scores out. ONNX has the gates input, output, forget, cell."""
    out = GraphWriter()
    x = out.node("Transpose", "sequence", name="steps/Transpose", perm=[1, 0, 2])

    def reordered(array: Array) -> Array:
        first, forget, cell, output = np.split(array, 4)
        return np.concatenate([first, output, forget, cell])

    for layer in range(size.layers):
        parts = {name: reordered(weights[f"lstm.{name}_l{layer}"]) for name in _LSTM}
        kernel = out.weight(f"lstm.{layer}.W", parts["weight_ih"][None])
        recurrent = out.weight(f"lstm.{layer}.R", parts["weight_hh"][None])
        bias = out.weight(f"lstm.{layer}.B", np.concatenate([parts["bias_ih"], parts["bias_hh"]])[None])
        x = out.node("LSTM", x, kernel, recurrent, bias, name=f"lstm.{layer}/LSTM", hidden_size=size.hidden)
        x = out.node("Squeeze", x, out.integers(1), name=f"lstm.{layer}/Squeeze")
    x = out.node("Gather", x, out.weight("index.-1", np.array(-1, np.int64)), name="last/Gather", axis=0)
    _gemm(out, x, "head", weights, "scores")
    return _model(out, "lstm", {"sequence": [size.length, size.inputs]}, {"scores": [size.classes]})


def policy(size: PolicySize, weights: Weights) -> onnx.ModelProto:
    """An observation in, actions out."""
    out, x, last = GraphWriter(), "observation", len(size.hidden)
    for index in range(last):
        x = _gemm(out, x, f"layers.{2 * index}", weights, f"layers.{2 * index}/Gemm")
        x = out.node("Relu", x, name=f"layers.{2 * index}/Relu")
    _gemm(out, x, f"layers.{2 * last}", weights, "actions")
    return _model(out, "policy", {"observation": [size.inputs]}, {"actions": [size.actions]})


_NORM = ("weight", "bias", "running_mean", "running_var")
_LSTM = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _gemm(out: GraphWriter, x: str, name: str, weights: Weights, result: str) -> str:
    """A Linear of a two-dimensional tensor, as the exporter writes it."""
    parts = [out.weight(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias")]
    return out.node("Gemm", x, *parts, name=result, transB=1)


def _linear(out: GraphWriter, x: str, name: str, weights: Weights) -> str:
    """MatMul and Add, as the exporter writes a Linear of a three-dimensional tensor."""
    product = out.node("MatMul", x, out.weight(f"{name}.weight.T", weights[f"{name}.weight"].T), name=f"{name}/MatMul")
    return out.node("Add", out.weight(f"{name}.bias", weights[f"{name}.bias"]), product, name=f"{name}/Add")


def _layer_norm(out: GraphWriter, x: str, name: str, weights: Weights) -> str:
    parts = [out.weight(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias")]
    return out.node("LayerNormalization", x, *parts, name=f"{name}/LayerNormalization", axis=-1, epsilon=EPSILON)


def _gelu(out: GraphWriter, x: str, name: str) -> str:
    """The exact GELU, through erf."""
    inner = out.node("Erf", out.node("Div", x, out.scalar(math.sqrt(2)), name=f"{name}/Div"), name=f"{name}/Erf")
    inner = out.node("Add", inner, out.scalar(1), name=f"{name}/Add")
    return out.node("Mul", out.node("Mul", x, inner, name=f"{name}/Mul"), out.scalar(0.5), name=f"{name}/Mul_1")


def _model(out: GraphWriter, name: str, inputs: dict[str, list[int]], outputs: dict[str, list[int]]) -> onnx.ModelProto:
    described = [
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, ["batch", *shape]) for key, shape in values.items()]
        for values in (inputs, outputs)
    ]
    graph = helper.make_graph(out.nodes, name, described[0], described[1], list(out.weights.values()))
    return helper.make_model(
        graph,
        producer_name="infer-opt scripts/gpu_ladder.py",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
