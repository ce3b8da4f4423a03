"""A convolutional classifier of scikit-learn's handwritten digits, trained in numpy.

Images are (batch, 8, 8, channels) while training and (batch, 1, 8, 8) in the exported graph.
"""

import itertools
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from onnx import helper
from scripts.small_models.learning import (
    Adam,
    Array,
    Params,
    cross_entropy_gradient,
    he_normal,
    minibatches,
    write_onnx,
)

CHANNELS = (1, 32, 64, 64, 64, 64)
LAYERS = range(1, len(CHANNELS))
EPOCHS = 16
BATCH = 32
HELD_OUT = 360


def split(rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Training images and labels, then the 360 held out; images are (n, 8, 8) float32 in 0 to 1."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)
    order = rng.permutation(len(labels))
    held_out, training = order[:HELD_OUT], order[HELD_OUT:]
    return images[training], labels[training], images[held_out], labels[held_out]


def columns(x: Array) -> Array:
    """Every 3x3 neighbourhood of (batch, h, w, c), zero-padded, as a row of c*3*3."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return sliding_window_view(padded, (3, 3), axis=(1, 2)).reshape(-1, x.shape[3] * 9)


def convolve(x: Array, kernel: Array) -> tuple[Array, Array]:
    """A 3x3 convolution with (c, 3, 3, k); also gives the columns, which its gradient needs."""
    unrolled = columns(x)
    out = unrolled @ kernel.reshape(-1, kernel.shape[3])
    return out.reshape(*x.shape[:3], -1), unrolled


def forward(params: Params, images: Array) -> tuple[Array, list[Array]]:
    """Logits (batch, 10), and the activations that the backward pass needs."""
    x, tape = images[..., None], []
    for layer in LAYERS:
        x, unrolled = convolve(x, params[f"conv{layer}.weight"])
        x = np.maximum(x + params[f"conv{layer}.bias"], 0)
        tape += [unrolled, x]
    batch, height, width, channels = x.shape
    windows = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    pooled = windows.max(axis=(2, 4), keepdims=True)
    flat = pooled.reshape(batch, -1)
    tape += [windows, pooled, flat]
    return flat @ params["dense.weight"] + params["dense.bias"], tape


def backward(params: Params, tape: list[Array], logits_gradient: Array) -> Params:
    """The gradient of every parameter."""
    windows, pooled, flat = tape[-3:]
    gradients = {"dense.weight": flat.T @ logits_gradient, "dense.bias": logits_gradient.sum(0)}
    share = (windows == pooled).astype(np.float32)
    share /= share.sum(axis=(2, 4), keepdims=True)
    batch, height, _, width, _, channels = windows.shape
    delta = share * (logits_gradient @ params["dense.weight"].T).reshape(pooled.shape)
    delta = delta.reshape(batch, 2 * height, 2 * width, channels)
    for layer in reversed(LAYERS):
        unrolled, activation = tape[2 * layer - 2 : 2 * layer]
        kernel = params[f"conv{layer}.weight"]
        delta = delta * (activation > 0)
        flat_delta = delta.reshape(-1, kernel.shape[3])
        gradients[f"conv{layer}.weight"] = (unrolled.T @ flat_delta).reshape(kernel.shape)
        gradients[f"conv{layer}.bias"] = flat_delta.sum(0)
        if layer > 1:
            delta, _ = convolve(delta, kernel[:, ::-1, ::-1, :].transpose(3, 1, 2, 0))
    return gradients


def train(images: Array, labels: Array, rng: np.random.Generator) -> Params:
    params: Params = {}
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(CHANNELS), start=1):
        params |= {f"conv{layer}.weight": he_normal(rng, inputs, 3, 3, outputs)}
        params |= {f"conv{layer}.bias": np.zeros(outputs, np.float32)}
    params |= {"dense.weight": he_normal(rng, CHANNELS[-1] * 16, 10), "dense.bias": np.zeros(10, np.float32)}
    optimiser = Adam(params, rate=2e-3, steps=EPOCHS * (len(labels) // BATCH))
    for batch in minibatches(len(labels), BATCH, epochs=EPOCHS, rng=rng):
        shifted = np.roll(images[batch], rng.integers(-1, 2, 2), axis=(1, 2))  # one shift a batch: cheap augmentation
        logits, tape = forward(params, shifted)
        optimiser.update(backward(params, tape, cross_entropy_gradient(logits, labels[batch])))
    return params


def export(params: Params, path: Path) -> None:
    weights: Params = {}
    nodes, previous = [], "image"
    for layer in LAYERS:
        weights[f"conv{layer}.weight"] = params[f"conv{layer}.weight"].transpose(3, 0, 1, 2)
        weights[f"conv{layer}.bias"] = params[f"conv{layer}.bias"]
        names = [previous, f"conv{layer}.weight", f"conv{layer}.bias"]
        nodes += [
            helper.make_node("Conv", names, [f"conv{layer}"], f"conv{layer}", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"conv{layer}"], [f"relu{layer}"], f"relu{layer}"),
        ]
        previous = f"relu{layer}"
    # Training flattens (4, 4, channels), ONNX (channels, 4, 4): the rows of the dense layer move.
    dense = params["dense.weight"].reshape(4, 4, CHANNELS[-1], 10).transpose(2, 0, 1, 3).reshape(-1, 10)
    weights |= {"dense.weight": dense.T, "dense.bias": params["dense.bias"]}
    nodes += [
        helper.make_node("MaxPool", [previous], ["pool"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"], "flatten", axis=1),
        helper.make_node("Gemm", ["flat", "dense.weight", "dense.bias"], ["logits"], "dense", transB=1),
    ]
    write_onnx(path, nodes, inputs={"image": ["batch", 1, 8, 8]}, outputs={"logits": ["batch", 10]}, weights=weights)


def build(folder: Path, seed: int) -> None:
    """`digits_cnn.onnx` and `digits_cnn.npz` in `folder`."""
    rng = np.random.default_rng(seed)
    images, labels, held_out, held_out_labels = split(rng)
    export(train(images, labels, rng), folder / "digits_cnn.onnx")
    np.savez_compressed(folder / "digits_cnn.npz", image=held_out[:, None], labels=held_out_labels)
