"""A PyTorch module or program as two files: the exported program (`.pt2`) and, where it can be, ONNX.

Exporters may crash and take memory: this belongs into a process of its own.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from infer_opt.config import NATIVE, SessionOptions
from infer_opt.errors import InferOptError, ModelError, UnavailableError
from infer_opt.facts import TensorSpec
from infer_opt.protocols import Array
from infer_opt.runtimes import open_runtime
from infer_opt.runtimes.pt2 import NAMES, dimension_names, example_bytes
from infer_opt.runtimes.torch_programs import (
    FAULTS,
    SYMBOL,
    Program,
    callable_of,
    describe,
    library,
    load_program,
    one_line,
    rename_outputs,
    renamed,
)

OPSET = 18  # what the TorchScript exporter is asked for; the other one chooses
INLINE_BYTES = 1_500_000_000  # larger weights go into a file beside the model: protobuf ends at 2 GB
CLOSE = 1e-3  # of an output's largest value: what the same arithmetic in another order differs by, and more
RETURNS = "it must return (module, example_inputs) or (module, example_inputs, dynamic_shapes)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The files that were made, and what is known of the model.

    `model` is None where no exporter gave ONNX that agrees; `notes` say why, and which exporter did not. `sizes` are
    those of free dimensions in the example inputs, `vocabularies` the numbers below which integers lie there.
    """

    native: Path
    model: Path | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    vocabularies: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is exported. `examples` are tensors by input name, none where none are known.

    `names` are what the user calls free dimensions, by PyTorch's names for them.
    """

    program: Program
    examples: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)

    def renamed(self, text: str) -> str:
        """`text` with the user's names for free dimensions."""
        return renamed(text, self.names)


def from_file(path: Path) -> Source:
    """The program in a `.pt2` archive, with its example inputs as far as they are nothing but tensors.

    Raises:
        ModelError: as `load_program`.
    """
    program = load_program(path)
    kept = example_bytes(path)
    examples: dict[str, Any] = {}
    if kept:
        try:
            # Tensors and containers of them, and nothing else: this is PyTorch's own reader, which runs no code.
            args, kwargs = library().load(io.BytesIO(kept), weights_only=True)
            examples = _by_name(program, args, kwargs)
        except (*FAULTS, import_module("pickle").UnpicklingError):
            examples = {}  # the race compares on other inputs anyway
    return Source(program=program, examples=examples, names=dimension_names(path))


def from_function(returned: object, name: str) -> Source:
    """What a function of the user's gave, exported. The module is put into evaluation mode.

    Raises:
        ModelError: it gave something else, or PyTorch cannot export the module.
    """
    parts = returned if isinstance(returned, tuple) else (returned,)
    if len(parts) not in (2, 3) or not isinstance(parts[0], library().nn.Module):
        raise ModelError(f"{name} gave {_named(returned)}", hint=RETURNS)
    module, inputs, shapes = parts[0].eval(), parts[1], parts[2] if len(parts) == 3 else None
    args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
    args = tuple(args) if isinstance(args, tuple | list) else (args,)
    tensors = [one for one in [*args, *kwargs.values()] if isinstance(one, library().Tensor)]
    if not tensors:
        raise ModelError(f"{name} gave example inputs without a tensor, {_named(inputs)}", hint=RETURNS)
    try:
        exported = import_module("torch.export").export(module, args, kwargs, dynamic_shapes=shapes)
    except FAULTS as error:
        raise ModelError(
            f"torch.export cannot export what {name} gave: {one_line(error)}",
            hint="what it says of shapes is about the third value; control flow on values must go",
        ) from error
    names = _dimensions(describe(exported, name), shapes)
    program = describe(exported, name, names)
    return Source(program=program, examples=_by_name(program, args, kwargs), names=names)


def _named(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(type(one).__name__ for one in value)})"
    return f"one {type(value).__name__}"


def _by_name(program: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Example tensors by input name; none where they do not fit, which is no reason to stop."""
    leaves = import_module("torch.utils._pytree").tree_leaves((args, dict(kwargs)))
    tensors = [leaf for leaf in leaves if isinstance(leaf, library().Tensor)]
    if len(tensors) != len(program.inputs):
        return {}
    found = {spec.name: tensor.detach() for spec, tensor in zip(program.inputs, tensors, strict=True)}
    fits = all(
        str(found[spec.name].dtype) == f"torch.{spec.dtype}" and found[spec.name].dim() == len(spec.shape or ())
        for spec in program.inputs
    )
    return found if fits else {}


def _dimensions(program: Program, shapes: object) -> dict[str, str]:
    """PyTorch's name of a free dimension -> the user's, from the shapes that an export was given."""
    if isinstance(shapes, Mapping):
        entries = [shapes.get(spec.name) for spec in program.inputs]
    else:
        entries = list(shapes) if isinstance(shapes, tuple | list) and len(shapes) == len(program.inputs) else []
    names: dict[str, str] = {}
    for spec, entry in zip(program.inputs, entries, strict=False):
        sizes = (
            entry.items() if isinstance(entry, Mapping) else enumerate(entry) if isinstance(entry, tuple | list) else ()
        )
        for axis, dim in sizes:
            name, symbol = getattr(dim, "__name__", None), (spec.shape or ())[axis]
            if isinstance(name, str) and isinstance(symbol, str) and SYMBOL.fullmatch(symbol):
                names[symbol] = name
    return names


def write(source: Source, folder: Path) -> Exported:
    """Both files, in `folder`. The program gives its outputs by name there, and holds no example inputs.

    Raises:
        ModelError: the program cannot be saved, or not be opened again.
    """
    program, native = source.program, folder / "model.pt2"
    rename_outputs(program)
    program.exported.example_inputs = None  # a pickle
    try:
        import_module("torch.export").save(
            program.exported, native, extra_files={NAMES: json.dumps(dict(source.names))}
        )
    except FAULTS as error:
        raise ModelError(f"the exported program cannot be saved: {one_line(error)}") from error
    session = open_runtime(NATIVE).open(native, SessionOptions())
    feeds = {name: tensor.cpu().contiguous().numpy() for name, tensor in source.examples.items()}
    reference = session.run(feeds) if feeds else {}
    session.close()
    model, notes = _to_onnx(source, folder, feeds, reference)
    return Exported(
        native=native,
        model=model,
        inputs=program.inputs,
        outputs=program.outputs,
        notes=tuple(notes),
        sizes=_sizes(source, feeds),
        vocabularies=tuple(
            (name, int(array.max()) + 1)
            for name, array in feeds.items()
            if array.dtype.kind == "i" and array.size and array.min() >= 0
        ),
    )


def _sizes(source: Source, feeds: Mapping[str, Array]) -> dict[str, int]:
    return {
        dim: feeds[spec.name].shape[axis]
        for spec in source.program.inputs
        if spec.name in feeds
        for axis, dim in enumerate(spec.shape or ())
        if isinstance(dim, str) and dim.isidentifier()
    }


def _to_onnx(
    source: Source, folder: Path, feeds: Mapping[str, Array], reference: Mapping[str, Array]
) -> tuple[Path | None, list[str]]:
    """The first ONNX file that agrees with the program on the example inputs, and why others are not it."""
    notes: list[str] = []
    exporters: dict[str, Callable[[Source, Path], None]] = {"dynamo": _by_dynamo}
    if source.examples:  # the other one follows a call with them
        exporters["TorchScript"] = _by_torchscript
    for name, export in exporters.items():
        path = folder / f"{name.lower()}.onnx"
        try:
            export(source, path)
            _tidy(source, path)
            problem = _disagreement(path, feeds, reference)
        except ModelError as error:
            problem = error.what
        except (*FAULTS, library().onnx.OnnxExporterError) as error:
            problem = one_line(error)
        if problem is None:
            return path, notes
        notes.append(f"the {name} exporter gave no ONNX file that can be compared: {problem}")
    return None, notes


def _by_dynamo(source: Source, path: Path) -> None:
    weights = source.program.exported.state_dict.values()
    size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in weights)
    library().onnx.export(
        source.program.exported,
        f=str(path),
        dynamo=True,
        input_names=[spec.name for spec in source.program.inputs],
        output_names=[spec.name for spec in source.program.outputs],
        external_data=size_bytes > INLINE_BYTES,
        verbose=False,
    )


def _by_torchscript(source: Source, path: Path) -> None:
    """The older exporter, which follows one call: what depends on values there is fixed for good."""
    program = source.program
    module = callable_of(program)
    del module.train, module.eval  # those of a program raise, and the exporter calls them
    free = {
        spec.name: {axis: dim for axis, dim in enumerate(spec.shape or ()) if isinstance(dim, str)}
        for spec in (*program.inputs, *program.outputs)
    }
    library().onnx.export(
        module,
        tuple(constant if name is None else source.examples[name] for name, constant in program.arguments),
        f=str(path),
        dynamo=False,
        input_names=[spec.name for spec in program.inputs],
        output_names=[spec.name for spec in program.outputs],
        dynamic_axes={name: axes for name, axes in free.items() if axes},
        opset_version=OPSET,
    )


def _tidy(source: Source, path: Path) -> None:
    """The user's names for free dimensions; and without the places in the user's files that every node came from."""
    onnx = import_module("onnx")
    model = onnx.load(path, load_external_data=False)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = source.renamed(dim.dim_param)
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info, model.graph):
        del part.metadata_props[:]
    path.write_bytes(model.SerializeToString())


def _disagreement(path: Path, feeds: Mapping[str, Array], reference: Mapping[str, Array]) -> str | None:
    """Why the file is not the program, judged on the example inputs; None where it is, or cannot be run here."""
    if not feeds:
        return None
    try:
        runtime = open_runtime("onnx")
        runtime.version()
    except UnavailableError:
        return None
    try:
        session = runtime.open(path, SessionOptions())
        answer = session.run(feeds)
        session.close()
    except InferOptError as error:
        return error.what
    if list(answer) != list(reference):
        return f"its outputs are {', '.join(answer)}, not {', '.join(reference)}"
    return next((why for name in reference if (why := _apart(name, answer[name], reference[name])) is not None), None)


def _apart(name: str, ours: Array, theirs: Array) -> str | None:
    if ours.shape != theirs.shape:
        return f"{name} has shape {list(ours.shape)}, not {list(theirs.shape)}"
    if theirs.dtype.kind != "f":
        return None if np.array_equal(ours, theirs) else f"{name} differs"
    scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0))
    if np.allclose(ours, theirs, rtol=CLOSE, atol=CLOSE * scale + 1e-6, equal_nan=True):
        return None
    return f"{name} differs by {float(np.nanmax(np.abs(ours - theirs))):.3g}, where its largest value is {scale:.3g}"
