"""What bundles are made of, and what is done to them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from fakes import MODEL
from infer_opt.bundle import Contents
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.machine.cpu import isa
from infer_opt.recipes import GraphLevel, Quantisation, Recipe

ONE_THREAD = TrialConfig(options=SessionOptions(intra_threads=1, io_binding=True))
X = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
INT8 = TrialConfig(recipe=Recipe(quantise=Quantisation()))
INT7 = TrialConfig(recipe=Recipe(quantise=Quantisation(reduce_range=True)))
SAVED = TrialConfig(recipe=Recipe(saved_level=GraphLevel.ALL))


def contents(source: Path, **changes: Any) -> Contents:
    settings: dict[str, Any] = {
        "name": "mlp",
        "summary": "1 thread is 2x faster {not a placeholder}",
        "config": ONE_THREAD,
        "files": (source,),
        "default": (),
        "samples": None,
        "runtime_version": onnxruntime.__version__,
        "isa": isa(),
        "record": {"verdict": "faster", "dims": {}},
        "inputs": MODEL.inputs,
        "outputs": MODEL.outputs,
        "picture": "<svg/>",
    }
    return Contents(**(settings | changes))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = folder / "bundle.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return folder


def leftovers(parent: Path) -> list[str]:
    return [path.name for path in parent.iterdir() if path.name.startswith(".")]
