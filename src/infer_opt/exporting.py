"""From a PyTorch model, a `.pt2` file or a function of the user's that makes one, to files that engines open.

Runs in a process of its own: the user's code does, and so do exporters that may crash.
"""

import re
import sys
from pathlib import Path

from infer_opt.errors import ModelError
from infer_opt.facts import TensorSpec
from infer_opt.runtimes.torch_exports import RETURNS, Exported, from_file, from_function, write
from infer_opt.runtimes.torch_programs import library, load_program
from infer_opt.workers.child import FAULTS, resolve

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*|.+\.py:[A-Za-z_]\w*")


def is_function(model: Path) -> bool:
    """Whether `model` is `package.module:function` or `file.py:function`, and no file of such a name."""
    return _FUNCTION.fullmatch(str(model)) is not None and not model.exists()


def is_pytorch(model: Path) -> bool:
    """Whether `model` is one that PyTorch runs as it is: by its name, for nothing is opened here."""
    return model.suffix == ".pt2" or is_function(model)


def export(model: Path, folder: Path) -> Exported:
    """The model as an exported program and as ONNX, in `folder`. A function is called, so its code is run.

    Raises:
        ModelError: it cannot be read, is no such function, gives something else, or cannot be exported.
        UnavailableError: PyTorch is not installed.
    """
    library()
    if not is_function(model):
        return write(from_file(model), folder)
    sys.path.insert(0, str(Path.cwd()))  # where `package.module:function` is looked for
    function = resolve(str(model))
    try:
        returned = function()
    except FAULTS as error:
        raise ModelError(
            f"{model} failed: {type(error).__name__}: {error}", hint=f"it is called without arguments, and {RETURNS}"
        ) from error
    return write(from_function(returned, str(model)), folder)


def signature(model: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a program in a `.pt2` file.

    Raises:
        ModelError: it cannot be read.
        UnavailableError: PyTorch is not installed.
    """
    library()
    program = load_program(model)
    return program.inputs, program.outputs
