"""Dynamic dimensions set to the sizes in use, so that the runtime can plan its memory and fold shape arithmetic."""

from pathlib import Path

from onnx import ModelProto, TypeProto

from infer_opt.config import Workload
from infer_opt.errors import ModelError
from infer_opt.transforms.faults import step
from infer_opt.transforms.folding import drop_dead, fold_constants
from infer_opt.transforms.model_files import infer_shapes, load, save

# Only shape arithmetic is to be folded here; large arrays stay as the file has them.
_FOLD_LIMIT_BYTES = 2**24


def fix_shapes(source: Path, target: Path, *, workload: Workload, batch: int) -> None:
    """Write the model with `batch` as its dynamic first axis and the workload's sizes as its named dimensions.

    A dynamic dimension without a name or a size, other than the first, stays dynamic.

    Raises:
        ModelError: it cannot be read, has no such dimension, or its shapes contradict the sizes.
        StorageError: `target` cannot be written.
    """
    with step("fixing shapes"):
        model = load(source)
        if not _fix_inputs(model, workload.sizes, batch):
            raise ModelError(f"{source.name} has no dynamic dimension to fix: its input shapes are numbers already")
        del model.graph.value_info[:]  # holds the old names; inferred anew
        model = infer_shapes(model)
        if fold_constants(model, limit_bytes=_FOLD_LIMIT_BYTES):
            drop_dead(model)
            model = infer_shapes(model)
        save(model, target)


def _fix_inputs(model: ModelProto, sizes: dict[str, int], batch: int) -> int:
    """Set the inputs' dimensions, and those of the same name in outputs; gives how many inputs' dimensions were set."""
    weights = {tensor.name for tensor in model.graph.initializer}
    names, fixed = dict(sizes), 0
    for value in model.graph.input:
        if value.name in weights:
            continue
        for axis, dim in enumerate(_dims(value.type)):
            if dim.HasField("dim_value"):
                continue
            name = dim.dim_param
            if name not in names and axis == 0:
                if name:
                    names[name] = batch
                dim.dim_value = batch
            elif name in names:
                dim.dim_value = names[name]
            else:
                continue
            fixed += 1
    for value in model.graph.output:
        for dim in _dims(value.type):
            if dim.dim_param in names:
                dim.dim_value = names[dim.dim_param]
            elif not dim.HasField("dim_value"):
                dim.ClearField("dim_param")  # left for inference to find out
    return fixed


def _dims(kind: TypeProto) -> list:  # type: ignore[type-arg]
    return list(kind.tensor_type.shape.dim) if kind.tensor_type.HasField("shape") else []
