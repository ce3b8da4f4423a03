"""Seeded random weights under the names that PyTorch's modules give them: both libraries read the same arrays.

They keep activations near 1, so that half precision is not judged by networks that leave its range.
"""

import math
from collections.abc import Iterator

import numpy as np
from scripts.ladder.sizes import BertSize, LstmSize, PolicySize, ResNetSize, Size, VitSize
from scripts.small_models.learning import Array

Weights = dict[str, Array]

EXPANSION = 4  # of a bottleneck: its outer channels over its inner ones
STEM = 64


def drawn(size: Size, rng: np.random.Generator) -> Weights:
    """The weights of the network of that size."""
    if isinstance(size, ResNetSize):
        return resnet(size, rng)
    if isinstance(size, BertSize):
        return bert(size, rng)
    if isinstance(size, VitSize):
        return vit(size, rng)
    return lstm(size, rng) if isinstance(size, LstmSize) else policy(size, rng)


def bottlenecks(size: ResNetSize) -> Iterator[tuple[str, int, int, int, bool]]:
    """Each block: its prefix, channels in, inner channels, stride, and whether its shortcut has a convolution."""
    channels = STEM
    for stage, (width, count) in enumerate(zip(size.widths, size.blocks, strict=True), start=1):
        for index in range(count):
            stride = 2 if index == 0 and stage > 1 else 1
            yield f"layer{stage}.{index}", channels, width, stride, index == 0
            channels = width * EXPANSION


def resnet(size: ResNetSize, rng: np.random.Generator) -> Weights:
    """A ResNet with bottlenecks, as torchvision names it."""
    found = _convolution(rng, "conv1", STEM, 3, 7) | _batch_norm(rng, "bn1", STEM)
    channels = STEM
    for prefix, inputs, width, _, is_first in bottlenecks(size):
        channels = width * EXPANSION
        for number, (taken, given, kernel) in enumerate(
            ((inputs, width, 1), (width, width, 3), (width, channels, 1)), start=1
        ):
            found |= _convolution(rng, f"{prefix}.conv{number}", given, taken, kernel)
            # A branch adds little to the sum that it joins: sixteen equal ones would double the spread each.
            found |= _batch_norm(rng, f"{prefix}.bn{number}", given, gain=0.3 if number == 3 else 1.0)
        if is_first:
            found |= _convolution(rng, f"{prefix}.downsample.0", channels, inputs, 1, gain=1.0)
            found |= _batch_norm(rng, f"{prefix}.downsample.1", channels)
    return found | _linear(rng, "fc", channels, size.classes)


def bert(size: BertSize, rng: np.random.Generator) -> Weights:
    """An encoder, as Hugging Face's BertModel names it."""
    found: Weights = {"embeddings.position_ids": np.arange(size.positions, dtype=np.int64)[None]}
    for kind, count in (("word", size.vocabulary), ("position", size.positions), ("token_type", 2)):
        found[f"embeddings.{kind}_embeddings.weight"] = _normal(rng, (count, size.hidden), 0.05)
    found |= _layer_norm(rng, "embeddings.LayerNorm", size.hidden)
    for index in range(size.layers):
        prefix = f"encoder.layer.{index}"
        for part in ("query", "key", "value"):
            found |= _linear(rng, f"{prefix}.attention.self.{part}", size.hidden, size.hidden)
        found |= _linear(rng, f"{prefix}.attention.output.dense", size.hidden, size.hidden)
        found |= _layer_norm(rng, f"{prefix}.attention.output.LayerNorm", size.hidden)
        found |= _linear(rng, f"{prefix}.intermediate.dense", size.hidden, EXPANSION * size.hidden)
        found |= _linear(rng, f"{prefix}.output.dense", EXPANSION * size.hidden, size.hidden)
        found |= _layer_norm(rng, f"{prefix}.output.LayerNorm", size.hidden)
    return found


def vit(size: VitSize, rng: np.random.Generator) -> Weights:
    """A vision transformer; names of our own, since every library has others."""
    found: Weights = {
        "class_token": _normal(rng, (1, 1, size.hidden), 0.5),
        "positions": _normal(rng, (1, size.patches + 1, size.hidden), 0.5),
    }
    found |= _convolution(rng, "patches", size.hidden, 3, size.patch, gain=1.0)
    found["patches.bias"] = _normal(rng, (size.hidden,), 0.1)
    for index in range(size.layers):
        prefix = f"layers.{index}"
        found |= _layer_norm(rng, f"{prefix}.norm1", size.hidden)
        for part in ("query", "key", "value"):
            found |= _linear(rng, f"{prefix}.{part}", size.hidden, size.hidden)
        found |= _linear(rng, f"{prefix}.joined", size.hidden, size.hidden, gain=0.5)
        found |= _layer_norm(rng, f"{prefix}.norm2", size.hidden)
        found |= _linear(rng, f"{prefix}.inner", size.hidden, EXPANSION * size.hidden)
        found |= _linear(rng, f"{prefix}.outer", EXPANSION * size.hidden, size.hidden, gain=0.5)
    return found | _layer_norm(rng, "norm", size.hidden) | _linear(rng, "head", size.hidden, size.classes)


def lstm(size: LstmSize, rng: np.random.Generator) -> Weights:
    """As torch.nn.LSTM names and orders them: the gates are input, forget, cell, output."""
    found: Weights = {}
    reach = size.hidden**-0.5
    for layer in range(size.layers):
        inputs = size.inputs if layer == 0 else size.hidden
        for name, shape in (("ih", (4 * size.hidden, inputs)), ("hh", (4 * size.hidden, size.hidden))):
            found[f"lstm.weight_{name}_l{layer}"] = rng.uniform(-2 * reach, 2 * reach, shape).astype(np.float32)
            found[f"lstm.bias_{name}_l{layer}"] = rng.uniform(-reach, reach, 4 * size.hidden).astype(np.float32)
    return found | _linear(rng, "head", size.hidden, size.classes)


def policy(size: PolicySize, rng: np.random.Generator) -> Weights:
    """As torch.nn.Sequential names it: linear layers with ReLU between them."""
    widths = (size.inputs, *size.hidden, size.actions)
    found: Weights = {}
    for index in range(len(widths) - 1):
        found |= _linear(rng, f"layers.{2 * index}", widths[index], widths[index + 1], gain=math.sqrt(2))
    return found


def _normal(rng: np.random.Generator, shape: tuple[int, ...], spread: float) -> Array:
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(spread)


def _convolution(
    rng: np.random.Generator, name: str, outputs: int, inputs: int, kernel: int, *, gain: float = math.sqrt(2)
) -> Weights:
    spread = gain / math.sqrt(inputs * kernel * kernel)
    return {f"{name}.weight": _normal(rng, (outputs, inputs, kernel, kernel), spread)}


def _linear(rng: np.random.Generator, name: str, inputs: int, outputs: int, *, gain: float = 1.0) -> Weights:
    return {
        f"{name}.weight": _normal(rng, (outputs, inputs), gain / math.sqrt(inputs)),
        f"{name}.bias": _normal(rng, (outputs,), 0.1),
    }


def _layer_norm(rng: np.random.Generator, name: str, size: int) -> Weights:
    scale = rng.uniform(0.8, 1.2, size).astype(np.float32)
    return {f"{name}.weight": scale, f"{name}.bias": _normal(rng, (size,), 0.1)}


def _batch_norm(rng: np.random.Generator, name: str, size: int, *, gain: float = 1.0) -> Weights:
    return {
        f"{name}.weight": (gain * rng.uniform(0.8, 1.2, size)).astype(np.float32),
        f"{name}.bias": _normal(rng, (size,), 0.1),
        f"{name}.running_mean": _normal(rng, (size,), 0.1),
        f"{name}.running_var": rng.uniform(0.8, 1.2, size).astype(np.float32),
    }
