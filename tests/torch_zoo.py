"""Models of the zoo as PyTorch modules with the same names, signatures and weights, exported to `.pt2`.

Importing this module needs PyTorch; tests import it where they know that it is there.
"""

import functools
import tempfile
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, numpy_helper

import zoo

torch: Any = import_module("torch")


class Net(torch.nn.Module):  # type: ignore[misc]  # PyTorch need not be installed where types are checked
    """A module with an ONNX model's initialisers as buffers `w_NAME`."""

    def __init__(self, model: ModelProto | None = None) -> None:
        super().__init__()
        for tensor in model.graph.initializer if model is not None else ():
            self.register_buffer(f"w_{tensor.name}", torch.from_numpy(numpy_helper.to_array(tensor).copy()))


class Mlp(Net):
    def forward(self, x: Any) -> Any:
        return {"scores": torch.relu(x @ self.w_w1 + self.w_b1) @ self.w_w2 + self.w_b2}


class TwoInTwoOut(Net):
    def forward(self, left: Any, right: Any) -> Any:
        wide, narrow = left @ self.w_wl, right @ self.w_wr
        return {"total": wide + narrow, "product": wide * narrow}


class SharedScalar(Net):
    def forward(self, x: Any, scale: Any) -> Any:
        return {"y": x * scale}


class TimeMajor(Net):
    def forward(self, sequence: Any) -> Any:
        return {"mean": sequence.mean(0)}


class DoublePrecision(Net):
    def forward(self, x: Any) -> Any:
        return {"y": x @ self.w_w}


class IntegerNet(Net):
    def forward(self, a: Any, b: Any) -> Any:
        return {"total": a + b}


class BooleanNet(Net):
    def forward(self, flags: Any) -> Any:
        return {"flipped": ~flags}


class UnnamedDims(Net):
    def forward(self, ids: Any) -> Any:
        return {"vectors": self.w_table[ids.long()]}


class Clip(Net):
    def forward(self, x: Any, low: Any) -> Any:
        return {"y": torch.maximum(x, low)}


def floats(*shape: int) -> Any:
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))


# name -> module, example inputs, and the axes that are free in each of them
MODELS: dict[str, Callable[[], tuple[Any, tuple[Any, ...], tuple[tuple[int, ...], ...]]]] = {
    "mlp": lambda: (Mlp(zoo.mlp()), (floats(2, 8),), ((0,),)),
    "two_in_two_out": lambda: (TwoInTwoOut(zoo.two_in_two_out()), (floats(2, 4), floats(2, 6)), ((0,), (0,))),
    "shared_scalar": lambda: (SharedScalar(), (floats(2, 4), floats()), ((0,), ())),
    "time_major": lambda: (TimeMajor(), (floats(5, 2, 3),), ((0, 1),)),
    "double_precision": lambda: (DoublePrecision(zoo.double_precision()), (floats(2, 4).double(),), ((0,),)),
    "integer_net": lambda: (IntegerNet(), (floats(2, 4).int(), floats(2, 4).int()), ((0,), (0,))),
    "boolean_net": lambda: (BooleanNet(), (floats(2, 4) > 0,), ((0,),)),
    "unnamed_dims": lambda: (UnnamedDims(zoo.unnamed_dims()), (torch.ones(2, 3, dtype=torch.int32),), ((0, 1),)),
    "clip": lambda: (Clip(), (floats(4), floats()), ((), ())),
}


def export(module: Any, inputs: tuple[Any, ...], free: tuple[tuple[int, ...], ...] | None = None, **given: Any) -> Any:
    """The module as an exported program; `free` axes take any size."""
    auto = torch.export.Dim.AUTO
    shapes = None if free is None else tuple(dict.fromkeys(axes, auto) for axes in free)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about itself
        return torch.export.export(module.eval(), inputs, dynamic_shapes=shapes, **given)


def save(program: Any, path: Path) -> Path:
    """Writes the program, with its example inputs, as `torch.export.save` does, and gives the path back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)
    return path


@functools.cache
def archive(name: str) -> bytes:
    """The model of that name as a `.pt2`, made once."""
    with tempfile.TemporaryDirectory() as folder:
        return save(export(*MODELS[name]()), Path(folder) / "model.pt2").read_bytes()
