"""An LSTM that reads scikit-learn's handwritten digits two pixels at a time, trained in numpy.

A sequence is 32 steps of 2 pixels; arrays are (seq, batch, features) while training, (batch, seq, features) outside.
"""

from pathlib import Path

import numpy as np
from onnx import helper
from scripts.small_models.digits import split
from scripts.small_models.learning import Adam, Array, Params, cross_entropy_gradient, minibatches, write_onnx

FEATURES = 2
HIDDEN = 160
EPOCHS = 45
BATCH = 32


def sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (np.tanh(0.5 * x) + 1))


def read(images: Array) -> Array:
    """Images (n, 8, 8) as sequences (n, 32, 2): row by row, from left to right."""
    return images.reshape(len(images), -1, FEATURES)


def forward(params: Params, sequences: Array) -> tuple[Array, list[tuple[Array, ...]]]:
    """Logits (batch, 10) from the last hidden state, and the tape of every step.

    Gates stand in ONNX's order: input, output, forget, cell.
    """
    steps, batch, _ = sequences.shape
    projected = sequences @ params["input"] + params["bias"]
    hidden = cell = np.zeros((batch, HIDDEN), np.float32)
    tape: list[tuple[Array, ...]] = []
    for step in range(steps):
        gates = projected[step] + hidden @ params["recurrent"]
        i, o, f = np.split(sigmoid(gates[:, : 3 * HIDDEN]), 3, axis=1)
        candidate = np.tanh(gates[:, 3 * HIDDEN :])
        before, cell = (hidden, cell), f * cell + i * candidate
        squashed = np.tanh(cell)
        hidden = o * squashed
        tape.append((*before, i, o, f, candidate, squashed))
    return hidden @ params["dense.weight"] + params["dense.bias"], [*tape, (hidden,)]


def backward(params: Params, sequences: Array, tape: list[tuple[Array, ...]], logits_gradient: Array) -> Params:
    """The gradient of every parameter, by backpropagation through time, clipped to a norm of 1."""
    gradients = {name: np.zeros_like(value) for name, value in params.items()}
    gradients["dense.weight"] += tape[-1][0].T @ logits_gradient
    gradients["dense.bias"] += logits_gradient.sum(0)
    hidden_gradient = logits_gradient @ params["dense.weight"].T
    cell_gradient = np.zeros_like(hidden_gradient)
    for step in reversed(range(len(sequences))):
        hidden, cell, i, o, f, candidate, squashed = tape[step]
        cell_gradient = cell_gradient + hidden_gradient * o * (1 - squashed**2)
        delta = np.concatenate(
            [
                cell_gradient * candidate * i * (1 - i),
                hidden_gradient * squashed * o * (1 - o),
                cell_gradient * cell * f * (1 - f),
                cell_gradient * i * (1 - candidate**2),
            ],
            axis=1,
        )
        gradients["input"] += sequences[step].T @ delta
        gradients["recurrent"] += hidden.T @ delta
        gradients["bias"] += delta.sum(0)
        hidden_gradient, cell_gradient = delta @ params["recurrent"].T, cell_gradient * f
    norm = float(np.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values())))
    return {name: gradient / max(1.0, norm) for name, gradient in gradients.items()}


def train(sequences: Array, labels: Array, rng: np.random.Generator) -> Params:
    scale = HIDDEN**-0.5
    bias = np.zeros(4 * HIDDEN, np.float32)
    bias[2 * HIDDEN : 3 * HIDDEN] = 1  # remember by default (Jozefowicz et al. 2015)
    params: Params = {
        "input": rng.uniform(-0.5, 0.5, (FEATURES, 4 * HIDDEN)).astype(np.float32),
        "recurrent": rng.uniform(-scale, scale, (HIDDEN, 4 * HIDDEN)).astype(np.float32),
        "bias": bias,
        "dense.weight": rng.uniform(-scale, scale, (HIDDEN, 10)).astype(np.float32),
        "dense.bias": np.zeros(10, np.float32),
    }
    optimiser = Adam(params, rate=4e-3, steps=EPOCHS * (len(labels) // BATCH))
    for batch in minibatches(len(labels), BATCH, epochs=EPOCHS, rng=rng):
        steps = np.ascontiguousarray(sequences[batch].transpose(1, 0, 2))
        logits, tape = forward(params, steps)
        optimiser.update(backward(params, steps, tape, cross_entropy_gradient(logits, labels[batch])))
    return params


def export(params: Params, path: Path) -> None:
    weights = {
        "lstm.W": params["input"].T[None],
        "lstm.R": params["recurrent"].T[None],
        "lstm.B": np.concatenate([params["bias"], np.zeros_like(params["bias"])])[None],
        "dense.weight": params["dense.weight"].T,
        "dense.bias": params["dense.bias"],
        "squeeze.axes": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("Transpose", ["sequence"], ["steps"], "transpose", perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "lstm.W", "lstm.R", "lstm.B"], ["", "hidden"], "lstm", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["hidden", "squeeze.axes"], ["last"], "squeeze"),
        helper.make_node("Gemm", ["last", "dense.weight", "dense.bias"], ["logits"], "dense", transB=1),
    ]
    write_onnx(
        path,
        nodes,
        inputs={"sequence": ["batch", "seq", FEATURES]},
        outputs={"logits": ["batch", 10]},
        weights=weights,
    )


def build(folder: Path, seed: int) -> None:
    """`sequence_lstm.onnx` and `sequence_lstm.npz` in `folder`."""
    rng = np.random.default_rng(seed)
    images, labels, held_out, held_out_labels = split(rng)
    export(train(read(images), labels, rng), folder / "sequence_lstm.onnx")
    np.savez_compressed(folder / "sequence_lstm.npz", sequence=read(held_out), labels=held_out_labels)
