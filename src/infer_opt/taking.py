"""The model of a request as files and facts: as it is, or exported from PyTorch in a process of its own."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infer_opt.config import NATIVE, Provider
from infer_opt.errors import ConfigError, InferOptError, ModelError, StorageError, UnavailableError
from infer_opt.facts import ModelFacts, TensorSpec
from infer_opt.models.axes import find_batch_dim
from infer_opt.preparing import Availability
from infer_opt.request import Request
from infer_opt.results import Caution, Note
from infer_opt.runtimes.pt2 import refuse_pickle
from infer_opt.runtimes.torch_exports import Exported
from infer_opt.workers.process import WorkerError, run_task


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The model as files. `native` is a PyTorch model's program; `exported` says whether `model` is ONNX made of it.

    `dims` are sizes that its example inputs have.
    """

    model: Path
    facts: ModelFacts
    native: Path | None = None
    exported: bool = True
    dims: Mapping[str, int] = dataclasses.field(default_factory=dict)
    notes: tuple[Note, ...] = ()


def inspect_model(request: Request) -> ModelFacts:
    """The model's facts, found in a process of its own: parsing takes memory, and hostile files may crash it."""
    try:
        facts: ModelFacts = run_task(
            "infer_opt.models.inspecting:inspect", request.model, custom_ops=bool(request.custom_ops)
        )
    except InferOptError as error:
        if isinstance(error, ModelError | ConfigError | UnavailableError | StorageError):
            raise
        raise ModelError(f"{request.model} cannot be inspected: {error.what}") from error
    for path in request.custom_ops:
        if not Path(path).is_file():
            raise ConfigError(f"there is no custom-operator library {path}", hint="check --custom-ops")
    return facts


def take(request: Request, scratch: Path, *, exports: bool) -> Taken:
    """The model as files: as it is; or a PyTorch model exported into `scratch`, in a process of its own.

    Raises:
        ModelError: it cannot be read or exported.
        UnavailableError: it is PyTorch's, which is not installed.
    """
    refuse_pickle(request.model)
    if request.runtime != NATIVE:
        return Taken(model=request.model, facts=inspect_model(request))
    if request.custom_ops:
        raise ConfigError("--custom-ops are ONNX Runtime's, and the model is PyTorch's", hint="leave --custom-ops out")
    if not exports:
        inputs, outputs = run_task("infer_opt.exporting:signature", request.model)
        facts = _native_facts(request, request.model, inputs, outputs)
        return Taken(model=request.model, native=request.model, facts=facts, exported=False)
    try:
        found: Exported = run_task("infer_opt.exporting:export", request.model, scratch)
    except WorkerError as error:
        raise ModelError(f"{request.model} cannot be exported: {error.what}") from error
    notes = [Note(caution=Caution.ONNX_EXPORT, text=text) for text in found.notes]
    facts = _native_facts(request, found.native, found.inputs, found.outputs)
    facts = dataclasses.replace(facts, vocabularies=found.vocabularies)
    model = found.model
    if model is not None:
        try:
            facts = _merged(facts, inspect_model(dataclasses.replace(request, model=model)))
        except ModelError as error:
            model, text = None, f"the ONNX file that was exported cannot be used: {error.what}"
            notes.append(Note(caution=Caution.ONNX_EXPORT, text=text))
    return Taken(
        model=model or found.native,
        native=found.native,
        exported=model is not None,
        facts=facts,
        dims={name: size for name, size in found.sizes.items() if name in facts.dynamic_dims},
        notes=tuple(notes),
    )


def _native_facts(
    request: Request, native: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> ModelFacts:
    """What is known of a program without ONNX: no operator that a recipe could be for."""
    content = native.read_bytes()
    batch_dim = find_batch_dim(inputs)
    names = dict.fromkeys(dim for spec in inputs for dim in spec.shape or () if isinstance(dim, str))
    return ModelFacts(
        path=str(request.model),
        content_hash=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        weight_bytes=len(content),
        ir_version=0,
        opset=0,
        inputs=inputs,
        outputs=outputs,
        operators=(),
        dynamic_dims=tuple(name for name in names if name != batch_dim),
        batch_dim=batch_dim,
    )


def _merged(native: ModelFacts, onnx: ModelFacts) -> ModelFacts:
    """The facts of the ONNX file, which recipes are chosen by, under the name and content of what it was made of."""
    whole = hashlib.sha256(f"{native.content_hash} {onnx.content_hash}".encode()).hexdigest()
    vocabularies = dict(native.vocabularies) | dict(onnx.vocabularies)
    return dataclasses.replace(onnx, path=native.path, content_hash=whole, vocabularies=tuple(vocabularies.items()))


def onnx_beside(taken: Taken) -> tuple[tuple[Provider, ...], dict[str, str], list[Note]]:
    """Where ONNX Runtime runs what was exported of a PyTorch model, its version, and what to say where it does not."""
    if not taken.exported:
        return (), {}, []
    try:
        availability: Availability = run_task("infer_opt.preparing:ask_runtime", "onnx")
    except UnavailableError as error:
        text = f"what was exported to ONNX is not measured with ONNX Runtime: {error.what}"
        return (), {}, [Note(caution=Caution.ONNX_EXPORT, text=text)]
    working = tuple(provider for provider in Provider if availability.why_not.get(provider) is None)
    return working, {"onnx": availability.version}, []


def onnx_version() -> dict[str, str]:
    """ONNX Runtime's version, for what else is compared with a program; none where it is not installed."""
    try:
        availability: Availability = run_task("infer_opt.preparing:ask_runtime", "onnx")
    except UnavailableError:
        return {}
    return {"onnx": availability.version}
