"""Task metrics of the shipped models, for `--eval models/evals.py:digits_accuracy`. Higher is better.

Each takes `run`: arrays by input name in, arrays by output name out. It is called once, with every held-out sample.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[dict[str, Any]], Mapping[str, Any]]


def digits_accuracy(run: Run) -> float:
    """Share of the held-out images that `digits_cnn` classifies correctly."""
    return _accuracy(run, "digits_cnn", "image")


def policy_accuracy(run: Run) -> float:
    """Share of the held-out observations for which `policy_mlp` picks the expert's action."""
    return _accuracy(run, "policy_mlp", "observation")


def sequence_accuracy(run: Run) -> float:
    """Share of the held-out sequences that `sequence_lstm` classifies correctly."""
    return _accuracy(run, "sequence_lstm", "sequence")


def _accuracy(run: Run, model: str, name: str) -> float:
    with np.load(Path(__file__).parent / f"{model}.npz") as data:
        samples, labels = data[name], data["labels"]
    return float(np.mean(np.argmax(run({name: samples})["logits"], axis=-1) == labels))
