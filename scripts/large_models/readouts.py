"""Three kinds of layers that the shipped models lack, on scikit-learn's handwritten digits: depthwise convolutions, a
GRU, a transformer encoder.

Each has seeded random layers and a last one that is trained on what they give (least squares), so that it classifies
held-out digits far above chance, and a wrong answer shows as one. Sources of the idea: Huang et al. 2006 (extreme
learning machines), Jaeger 2001 (echo state networks).
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from scripts.small_models.digits import split
from scripts.small_models.learning import Array, Params, he_normal, write_onnx
from scripts.small_models.sequence import read

CLASSES = 10
RIDGE = 1e-2  # of the features' own spread
PIXELS_EACH = 4  # the depthwise net sees each pixel as a square of so many by so many

CHANNELS = ((16, 1), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1))  # (outputs, stride)
GRU_HIDDEN = 128
WIDTH, HEADS, INNER, LAYERS = 192, 6, 768, 4

DATA = (
    "real: sklearn.datasets.load_digits (UCI, CC BY 4.0); 1437 images train the last layer, 360 are held out and are "
    "the inputs"
)
WEIGHTS = "seeded random, the last layer trained by least squares"

Nodes = list[onnx.NodeProto]


class Drawing:
    """A graph as it is drawn: its nodes and weights so far. Mutable, used up by `finish`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: Nodes = []
        self.weights: Params = {}

    def add(self, operator: str, *inputs: str | Array, **attributes: Any) -> str:
        """A node and its output's name; arrays among its inputs become weights."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        names = []
        for place, value in enumerate(inputs):
            if isinstance(value, str):
                names.append(value)
                continue
            self.weights[f"{name}.{place}"] = value
            names.append(f"{name}.{place}")
        outputs = ["", name] if operator == "GRU" else [name]
        self.nodes.append(helper.make_node(operator, names, outputs, name, **attributes))
        return name

    def normal(self, *shape: int, gain: float = 1.0) -> Array:
        """Weights that keep the spread of what they are multiplied with; the first axes count inputs."""
        return (self.rng.standard_normal(shape) * gain / math.sqrt(math.prod(shape[:-1]))).astype(np.float32)


def depthwise(drawing: Drawing, x: str) -> str:
    """A small net of depthwise separable convolutions (Howard et al. 2017)."""
    inputs = 1
    for outputs, stride in CHANNELS:
        kernel = he_normal(drawing.rng, 1, 3, 3, inputs).transpose(3, 0, 1, 2)
        x = drawing.add("Conv", x, kernel, kernel_shape=[3, 3], pads=[1] * 4, strides=[stride] * 2, group=inputs)
        x = drawing.add("Relu", x)
        kernel = he_normal(drawing.rng, inputs, 1, 1, outputs).transpose(3, 0, 1, 2)
        shift = (0.1 * drawing.rng.standard_normal(outputs)).astype(np.float32)
        x = drawing.add("Relu", drawing.add("Conv", x, kernel, shift, kernel_shape=[1, 1]))
        inputs = outputs
    x = drawing.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    return drawing.add("Flatten", x, axis=1)


def gru(drawing: Drawing, x: str) -> str:
    """The last hidden state of a GRU that reads two pixels a step."""
    reach = GRU_HIDDEN**-0.5
    steps = drawing.add("Transpose", x, perm=[1, 0, 2])
    weights = drawing.rng.uniform(-1.0, 1.0, (1, 3 * GRU_HIDDEN, 2)).astype(np.float32)
    recurrent = drawing.rng.uniform(-2 * reach, 2 * reach, (1, 3 * GRU_HIDDEN, GRU_HIDDEN)).astype(np.float32)
    bias = drawing.rng.uniform(-reach, reach, (1, 6 * GRU_HIDDEN)).astype(np.float32)
    bias[0, :GRU_HIDDEN] += 2  # the update gate: remember by default
    hidden = drawing.add("GRU", steps, weights, recurrent, bias, hidden_size=GRU_HIDDEN, linear_before_reset=1)
    return drawing.add("Squeeze", hidden, np.array([0], np.int64))


def encoder(drawing: Drawing, x: str) -> str:
    """The mean over tokens of a transformer encoder (post-norm); a token is two pixels."""
    x = drawing.add("MatMul", x, drawing.normal(2, WIDTH, gain=2.0))
    x = drawing.add("Add", x, drawing.rng.standard_normal((32, WIDTH)).astype(np.float32))
    for _ in range(LAYERS):
        x = _normed(drawing, drawing.add("Add", x, _attention(drawing, x)))
        x = _normed(drawing, drawing.add("Add", x, _feed_forward(drawing, x)))
    return drawing.add("ReduceMean", x, axes=[1], keepdims=0)


def _dense(drawing: Drawing, x: str, inputs: int, outputs: int, gain: float = 1.0) -> str:
    x = drawing.add("MatMul", x, drawing.normal(inputs, outputs, gain=gain))
    return drawing.add("Add", x, (0.1 * drawing.rng.standard_normal(outputs)).astype(np.float32))


def _attention(drawing: Drawing, x: str) -> str:
    split_heads = np.array([0, 0, HEADS, WIDTH // HEADS], np.int64)

    def heads(perm: list[int], gain: float) -> str:
        parted = drawing.add("Reshape", _dense(drawing, x, WIDTH, WIDTH, gain), split_heads)
        return drawing.add("Transpose", parted, perm=perm)

    # A gain above 1 lets some tokens be attended to more than others, as training would.
    scores = drawing.add("MatMul", heads([0, 2, 1, 3], 1.5), heads([0, 2, 3, 1], 1.5))
    scores = drawing.add("Mul", scores, np.array((WIDTH // HEADS) ** -0.5, np.float32))
    mixed = drawing.add("MatMul", drawing.add("Softmax", scores, axis=-1), heads([0, 2, 1, 3], 1.0))
    joined = drawing.add("Transpose", mixed, perm=[0, 2, 1, 3])
    return _dense(drawing, drawing.add("Reshape", joined, np.array([0, 0, WIDTH], np.int64)), WIDTH, WIDTH)


def _feed_forward(drawing: Drawing, x: str) -> str:
    x = _dense(drawing, x, WIDTH, INNER)
    erf = drawing.add("Erf", drawing.add("Div", x, np.array(math.sqrt(2), np.float32)))
    gelu = drawing.add("Mul", x, drawing.add("Add", erf, np.array(1, np.float32)))
    return _dense(drawing, drawing.add("Mul", gelu, np.array(0.5, np.float32)), INNER, WIDTH)


def _normed(drawing: Drawing, x: str) -> str:
    scale = drawing.rng.uniform(0.7, 1.3, WIDTH).astype(np.float32)
    shift = (0.1 * drawing.rng.standard_normal(WIDTH)).astype(np.float32)
    return drawing.add("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-5)


def enlarged(images: Array) -> Array:
    """Images (n, 8, 8) as (n, 1, 32, 32)."""
    return np.kron(images, np.ones((1, PIXELS_EACH, PIXELS_EACH), np.float32))[:, None]


# name -> (its input's name, the input's axes, images to inputs, the layers)
NETS: dict[str, tuple[str, list[str | int], Callable[[Array], Array], Callable[[Drawing, str], str]]] = {
    "digits_depthwise": ("image", ["batch", 1, 32, 32], enlarged, depthwise),
    "digits_gru": ("sequence", ["batch", 32, 2], read, gru),
    "digits_encoder": ("tokens", ["batch", 32, 2], read, encoder),
}


def build(folder: Path, name: str, *, seed: int) -> dict[str, Any]:
    """`NAME.onnx` and `NAME.npz` in `folder`; what the manifest says about them."""
    source, axes, convert, layers = NETS[name]
    rng = np.random.default_rng(seed)
    images, labels, held_out, held_out_labels = split(rng)
    drawing = Drawing(rng)
    features = layers(drawing, source)
    path = folder / f"{name}.onnx"
    write_onnx(
        path, drawing.nodes, inputs={source: axes}, outputs={features: ["batch", "features"]}, weights=drawing.weights
    )
    kernel, bias = fitted(_run(path, {source: convert(images)}), labels)
    drawing.add("Gemm", features, kernel, bias)
    drawing.nodes[-1].output[0] = "logits"
    write_onnx(
        path,
        drawing.nodes,
        inputs={source: axes},
        outputs={"logits": ["batch", CLASSES]},
        weights=drawing.weights,
    )
    arrays: dict[str, Any] = {source: convert(held_out), "labels": held_out_labels}
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    found = _run(path, {source: convert(held_out)}).argmax(axis=1)
    return {
        "weights": WEIGHTS,
        "data": DATA,
        "made_by": f"scripts/build_large_models.py, scripts.large_models.readouts ({name})",
        "opset": 17,
        "dims": {"batch": "images"},
        "accuracy": round(float(np.mean(found == held_out_labels)), 4),
    }


def fitted(features: Array, labels: Array) -> tuple[Array, Array]:
    """Kernel (features, classes) and bias of the linear layer that gives +1 for the class and -1 for the others."""
    wanted = 2.0 * np.eye(CLASSES)[labels] - 1.0
    mean = features.mean(axis=0).astype(np.float64)
    centred = features - mean
    inner = centred.T @ centred
    ridge = RIDGE * float(np.trace(inner)) / len(inner)
    kernel = np.linalg.solve(inner + ridge * np.eye(len(inner)), centred.T @ (wanted - wanted.mean(axis=0)))
    return kernel.astype(np.float32), (wanted.mean(axis=0) - mean @ kernel).astype(np.float32)


def _run(path: Path, feeds: dict[str, Array]) -> Array:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])
