"""An old or awkward file into the form that every other tool expects, computing the same numbers.

Models from before IR 4 list their weights as inputs, exporters leave Constant and Shape chains, and the small files in
onnx's own test data make their weights by ConstantOfShape: onnxruntime's quantiser refuses all three
("Expected conv1_w_0 to be an initializer").
"""

from pathlib import Path

from onnx import ModelProto, checker, inliner, version_converter

from infer_opt.errors import ModelError
from infer_opt.transforms.faults import library_faults, step
from infer_opt.transforms.folding import FOLD_LIMIT_BYTES, drop_dead, fold_constants
from infer_opt.transforms.model_files import infer_shapes, is_large, load, name_nodes, on_skeleton, opset, save

OLDEST_OPSET = 13  # per-channel DequantizeLinear, and what onnxruntime's fusions are written for
PREFERRED_OPSETS = (17, 13)
OLDEST_IR = 8  # the IR of opset 17's time; initialisers need no entry among the inputs since IR 4

_MOST_PASSES = 4  # folding a shape makes further shapes static; it has always settled by the third


def normalise(source: Path, target: Path) -> None:
    """Write the model at `source` to `target`, in normal form.

    Raises:
        ModelError: it cannot be read, or is in normal form already.
        StorageError: `target` cannot be written.
    """
    with step("normalising"):
        model, changes = normalised(load(source))
        if not changes:
            raise ModelError(f"{source.name} needs no normalising: there is nothing to change")
        save(model, target)


def normalised(model: ModelProto, *, limit_bytes: int = FOLD_LIMIT_BYTES) -> tuple[ModelProto, tuple[str, ...]]:
    """The model in normal form, and what had to be done to it. The model passed in is used up."""
    changes = []
    if model.functions:
        model = inliner.inline_local_functions(model)
        changes.append("functions inlined")
    if _separate_weights(model):
        changes.append("weights taken out of the inputs")
    if model.ir_version < OLDEST_IR:
        model.ir_version = OLDEST_IR
        changes.append(f"IR raised to {OLDEST_IR}")
    before = opset(model)
    model = _raise_opset(model)
    if opset(model) != before:
        changes.append(f"opset raised from {before} to {opset(model)}")
    model, folded = _fold(model, limit_bytes)
    changes += [f"{folded} nodes folded"] * bool(folded)
    dead = drop_dead(model)
    changes += [f"{dead} unused parts removed"] * bool(dead)
    name_nodes(model)
    return model, tuple(changes)


def _separate_weights(model: ModelProto) -> int:
    """Take initialisers out of the graph's inputs, where they only count as defaults; gives how many."""
    weights = {tensor.name for tensor in model.graph.initializer}
    listed = [index for index, value in enumerate(model.graph.input) if value.name in weights]
    for index in reversed(listed):
        del model.graph.input[index]
    return len(listed)


def _raise_opset(model: ModelProto) -> ModelProto:
    """The model in a recent operator set; unchanged where it is recent enough or the converter refuses."""
    if not 0 < opset(model) < OLDEST_OPSET:
        return model
    for version in PREFERRED_OPSETS:
        try:
            converted = on_skeleton(model, lambda skeleton, to=version: version_converter.convert_version(skeleton, to))  # type: ignore[misc]
            if not is_large(converted):  # the checker serialises the model, which ends at 2 GB
                checker.check_model(converted)
        except library_faults():
            continue
        converted.ir_version = max(converted.ir_version, OLDEST_IR)
        return converted
    return model


def _fold(model: ModelProto, limit_bytes: int) -> tuple[ModelProto, int]:
    """Fold constants until nothing more becomes known."""
    total = 0
    for _ in range(_MOST_PASSES):
        model = infer_shapes(model)
        folded = fold_constants(model, limit_bytes=limit_bytes)
        total += folded
        if not folded:
            break
    return model, total
