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


def fix_shapes(source: Path, target: Path, *, workload: Workload, batch: int | None = None) -> None:
    """Write the model with the workload's sizes as its dimensions; its batch stays free unless `batch` is given.

    The workload calls a dimension without a name `input:axis`. One that it does not size, other than the batch, stays
    dynamic.

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


def _fix_inputs(model: ModelProto, sizes: dict[str, int], batch: int | None) -> int:
    """Set the inputs' dimensions, and those of the same name in outputs; gives how many inputs' dimensions were set."""
    weights = {tensor.name for tensor in model.graph.initializer}
    free = [
        (dim, dim.dim_param or f"{value.name}:{axis}", axis)
        for value in model.graph.input
        if value.name not in weights
        for axis, dim in enumerate(_dims(value.type))
        if not dim.HasField("dim_value")
    ]
    items = _batch_names([(name, axis) for _, name, axis in free if name not in sizes])
    names = sizes if batch is None else sizes | dict.fromkeys(items, batch)
    fixed = [(dim, names[name]) for dim, name, _ in free if name in names]
    for dim, size in fixed:
        dim.dim_value = size
    for value in model.graph.output:
        for dim in _dims(value.type):
            if dim.dim_param in names:
                dim.dim_value = names[dim.dim_param]
            elif not dim.HasField("dim_value"):
                dim.ClearField("dim_param")  # left for inference to find out
    return len(fixed)


def _batch_names(unsized: list[tuple[str, int]]) -> set[str]:
    """The names, of those that the workload gives no size (with their axes), that must mean the batch.

    A workload sizes every dimension but the batch, so one name left over is it, also where time comes first. Of
    several, those on first axes.
    """
    names = {name for name, _ in unsized}
    return names if len(names) == 1 else {name for name, axis in unsized if axis == 0}


def _dims(kind: TypeProto) -> list:  # type: ignore[type-arg]
    return list(kind.tensor_type.shape.dim) if kind.tensor_type.HasField("shape") else []
