"""What the three small models share: a loss, an optimiser, batches and writing ONNX by hand."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
Params = dict[str, Array]

OPSET = 17
IR_VERSION = 8  # the oldest that opset 17 may have, so that older runtimes read the files too


class Adam:
    """Adam with decoupled weight decay and a cosine schedule over a known number of steps.

    Source: Kingma & Ba 2015; Loshchilov & Hutter 2019.
    """

    def __init__(self, params: Params, *, rate: float, steps: int, decay: float = 1e-4) -> None:
        self._params, self._rate, self._steps, self._decay = params, rate, steps, decay
        self._mean = {name: np.zeros_like(value) for name, value in params.items()}
        self._square = {name: np.zeros_like(value) for name, value in params.items()}
        self._step = 0

    def update(self, gradients: Mapping[str, Array]) -> None:
        """Change the parameters in place."""
        self._step += 1
        rate = self._rate * 0.5 * (1 + math.cos(math.pi * self._step / self._steps))
        for name, gradient in gradients.items():
            mean, square = self._mean[name], self._square[name]
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            step = mean / (1 - 0.9**self._step) / (np.sqrt(square / (1 - 0.999**self._step)) + 1e-8)
            self._params[name] -= (rate * (step + self._decay * self._params[name])).astype(np.float32)


def cross_entropy_gradient(logits: Array, labels: Array) -> Array:
    """The gradient of the mean cross-entropy with respect to `logits` (batch, classes)."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    gradient = exponents / exponents.sum(axis=1, keepdims=True)
    gradient[np.arange(len(labels)), labels] -= 1
    return np.asarray(gradient / len(labels), dtype=np.float32)


def minibatches(count: int, size: int, *, epochs: int, rng: np.random.Generator) -> Iterator[Array]:
    """Indices of one batch after another, in a fresh order each epoch; a short last batch is left out."""
    for _ in range(epochs):
        order = rng.permutation(count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]


def he_normal(rng: np.random.Generator, *shape: int) -> Array:
    """Weights for a layer followed by ReLU; the last axis counts outputs (He et al. 2015)."""
    return (rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[:-1]))).astype(np.float32)


def write_onnx(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Mapping[str, Sequence[str | int]],
    outputs: Mapping[str, Sequence[str | int]],
    weights: Mapping[str, Array],
) -> None:
    """One float32 graph, checked and written. Weights keep the type they come with."""
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.array(value, order="C"), name) for name, value in weights.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="infer-opt scripts/build_models.py",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
