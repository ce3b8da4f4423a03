"""From a request to a rig: the model inspected, the providers asked, the inputs prepared, the space drawn up."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from infer_opt.config import NATIVE, Objective, Provider
from infer_opt.errors import ConfigError, InferOptError, ModelError, StorageError, UnavailableError
from infer_opt.exporting import is_pytorch
from infer_opt.facts import MachineFacts, ModelFacts, TensorSpec
from infer_opt.machine.cpu import has_vnni
from infer_opt.machine.describe import describe
from infer_opt.machine.memory import available_bytes
from infer_opt.models.axes import find_batch_dim, fixed_batch
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.preparing import Availability, Prepared
from infer_opt.results import Caution, Frontier, Note
from infer_opt.rig import Limits, Rig
from infer_opt.runtimes import ENGINES
from infer_opt.runtimes.pt2 import refuse_pickle
from infer_opt.runtimes.torch_exports import Exported
from infer_opt.search.space import Surroundings
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.transforms.prospects import fusable_types, quantisable
from infer_opt.workers.process import CAN_FREEZE, WorkerError, run_task
from infer_opt.workers.watching import watch_machine

OLD_OPSET = 13  # below it, or with weights among the graph's inputs, quantisers need the graph normalised first
OLD_IR = 4
MEMORY_SHARE = 0.8
VERSIONED = ("infer-opt", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "onnxscript", "onnx", "numpy")
DEFAULT_PARITY = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for. `providers` is empty for every one that works here.

    `ready_feeds` stand in for `inputs` where a bundle brings batched inputs of its own.
    """

    model: Path
    inputs: Path | None = None
    ready_feeds: Path | None = None
    dims: Mapping[str, int] = dataclasses.field(default_factory=dict)
    batches: tuple[int, ...] = ()
    objective: Objective = Objective.LATENCY
    limits: Limits = dataclasses.field(default_factory=Limits)
    providers: tuple[Provider, ...] = ()
    fallback: Provider | None = None
    custom_ops: tuple[str, ...] = ()
    seed: int = 0
    runtime: str = "onnx"

    def __post_init__(self) -> None:
        if self.objective is Objective.LATENCY and len(self.batches) > 1:
            raise ConfigError(
                f"latency is that of one batch size, got {', '.join(map(str, self.batches))}",
                hint="add --objective throughput to choose among batch sizes, or name one",
            )
        if any(batch < 1 for batch in self.batches):
            raise ConfigError(f"a batch must be 1 or more, got {min(self.batches)}", hint="such as --batch 1,8")
        if self.limits.evaluation is None and self.limits.max_drop != Limits().max_drop:
            raise ConfigError("--max-drop needs a metric to drop", hint="add --eval MODULE:FUNCTION")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types: what is kept with the results."""
        data = dataclasses.asdict(self)
        paths = {name: data[name] for name in ("model", "inputs", "ready_feeds")}
        return data | {name: None if path is None else str(path) for name, path in paths.items()}

    def key(self, rig: Rig, plan: Mapping[str, Any]) -> str:
        """Equal for requests that can go on where another was cut off: by content, on this machine, the same plan."""
        return _digest(self.to_dict() | _content(rig) | dict(plan))

    def subject(self, rig: Rig) -> str:
        """Equal for requests whose trials tell of each other: whatever was tried, and wherever the files lie."""
        elsewhere = {"model", "inputs", "ready_feeds", "seed", "fallback"}
        return _digest({name: value for name, value in self.to_dict().items() if name not in elsewhere} | _content(rig))


def _content(rig: Rig) -> dict[str, Any]:
    return {
        "model": rig.facts.content_hash,
        "calibration": rig.calibration_hash,
        "machine": rig.machine.fingerprint,
        "versions": versions(),
    }


def _digest(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that the measuring needs."""

    rig: Rig
    surroundings: Surroundings
    prepared: Prepared
    notes: tuple[Note, ...]
    runtime_versions: Mapping[str, str]
    generator: random.Random
    frontiers: tuple[Frontier, ...] = ()


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


def set_up(
    request: Request, scratch: Path, cache: ArtefactCache, *, budget_s: float, exports: bool = True
) -> Setup:  # fmt: skip
    """Inspect, ask, prepare. Nothing is measured yet. `exports`: a PyTorch model is made into ONNX too.

    Raises:
        InferOptError: whatever of the request cannot be met, before any time is spent.
    """
    if is_pytorch(request.model):
        request = dataclasses.replace(request, runtime=NATIVE)
    taken = take(request, scratch, exports=exports)
    facts = taken.facts
    availability: Availability = run_task("infer_opt.preparing:ask_runtime", request.runtime)
    providers, notes = choose_providers(request, availability)
    nvml = _nvml() if Provider.CUDA in providers else None
    machine = describe(gpus=nvml.gpus() if nvml else (), versions=versions())
    batches = request.batches or (fixed_batch(facts) or 1,)
    prepared: Prepared = run_task(
        "infer_opt.preparing:prepare",
        facts,
        scratch,
        inputs=request.inputs,
        dims=dict(taken.dims) | dict(request.dims),
        batches=batches,
        seed=request.seed,
        ready=request.ready_feeds,
    )
    if not CAN_FREEZE:
        text = "this platform cannot stop idle workers, whose threads may disturb the one that is timed"
        notes.append(Note(caution=Caution.NO_FREEZE, text=text))
    engines = _engines(request) if taken.exported or not exports else {}
    surroundings = _surroundings(request, facts, machine, prepared, providers, batches, tuple(engines))
    if taken.native is not None:
        where, beside, missing = _onnx_beside(taken) if exports else ((), _onnx_version(), [])
        surroundings = dataclasses.replace(surroundings, is_native=True, exported=where)
        engines |= beside
        notes += missing
    available = available_bytes()
    limits = request.limits
    rig = Rig(
        model=taken.model,
        native=taken.native if exports else None,
        facts=facts,
        machine=machine,
        objective=request.objective,
        workload=prepared.workload,
        limits=limits,
        feeds=prepared.feeds,
        references={batch: scratch / f"reference-{batch}.pickle" for batch in batches},
        cache=cache,
        watch=watch_machine(machine.usable_cores, nvml),
        calibration=prepared.calibration,
        calibration_hash=prepared.calibration_hash,
        cap_bytes=None if available is None else int(available * MEMORY_SHARE),
        # A worker that hangs must not take the time of all others.
        timeout_s=min(max(budget_s / 6, 10.0), 120.0),
        build_timeout_s=min(max(budget_s / 4, 20.0), 600.0),
        tolerance=_tolerance(limits),
        device=nvml,
    )
    return Setup(
        rig=rig,
        surroundings=surroundings,
        prepared=prepared,
        notes=(*taken.notes, *notes, *prepared.notes),
        runtime_versions={request.runtime: availability.version, **engines},
        generator=random.Random(request.seed),
    )


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


def _onnx_beside(taken: Taken) -> tuple[tuple[Provider, ...], dict[str, str], list[Note]]:
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


def _onnx_version() -> dict[str, str]:
    """ONNX Runtime's version, for what else is compared with a program; none where it is not installed."""
    try:
        availability: Availability = run_task("infer_opt.preparing:ask_runtime", "onnx")
    except UnavailableError:
        return {}
    return {"onnx": availability.version}


def choose_providers(request: Request, availability: Availability) -> tuple[tuple[Provider, ...], list[Note]]:
    """The providers to measure, the baseline's first, and what to say about those that do not work.

    Raises:
        UnavailableError: one that was asked for by name does not work here, and no fallback was allowed.
    """
    broken = {provider: why for provider, why in availability.why_not.items() if why is not None}
    if not request.providers:
        # Whoever has a GPU that works would use it: that is the baseline to beat.
        working = tuple(provider for provider in (Provider.CUDA, Provider.CPU) if provider not in broken)
        notes = [
            Note(caution=Caution.PROVIDER_UNAVAILABLE, text=f"{provider} is not measured: {why}")
            for provider, why in broken.items()
        ]
        if not working:
            raise UnavailableError("no execution provider works here", hint="infer-opt doctor says why")
        return working, notes
    kept = tuple(provider for provider in request.providers if provider not in broken)
    notes = []
    for provider in request.providers:
        if provider in broken:
            if request.fallback is None or request.fallback in broken:
                raise UnavailableError(
                    f"the provider {provider} does not work here: {broken[provider]}",
                    hint="infer-opt doctor says what to do; --fallback cpu measures the CPU instead",
                )
            kept = tuple(dict.fromkeys((*kept, request.fallback)))
            text = f"{provider} does not work here ({broken[provider]}): {request.fallback} was measured instead"
            notes.append(Note(caution=Caution.FALLBACK, text=text))
    return kept, notes


def _surroundings(
    request: Request, facts: ModelFacts, machine: MachineFacts, prepared: Prepared, providers: Sequence[Provider],
    batches: Sequence[int], engines: tuple[str, ...],
) -> Surroundings:  # fmt: skip
    operators = dict(facts.operators)
    return Surroundings(
        providers=tuple(providers),
        usable_cores=machine.usable_cores,
        physical_cores=machine.physical_cores,
        batches=tuple(batches),
        objective=request.objective,
        has_vnni=has_vnni(machine.isa),
        has_bf16=bool({"avx512_bf16", "amx_bf16"} & set(machine.isa)),
        # A bundle with fixed shapes takes no others: only for sizes that the user named.
        has_free_shapes=bool(request.dims) and set(prepared.workload.sizes) <= set(request.dims),
        can_calibrate=prepared.calibration is not None,
        is_old_graph=facts.opset < OLD_OPSET or facts.ir_version < OLD_IR,
        dynamic_operators=quantisable(operators),
        static_operators=quantisable(operators, static=True),
        fusable=fusable_types(operators),
        custom_ops=request.custom_ops,
        engines=engines,
    )


def _engines(request: Request) -> dict[str, str]:
    """The versions of the other engines that are installed and load; none for operators that only one of them has."""
    found: dict[str, str] = {}
    for name, distribution in ENGINES.items() if not request.custom_ops else ():
        if name == request.runtime:
            continue
        with contextlib.suppress(importlib.metadata.PackageNotFoundError, InferOptError):
            importlib.metadata.version(distribution)  # a process to find out is started only where there is hope
            availability: Availability = run_task("infer_opt.preparing:ask_runtime", name)
            found[name] = availability.version
    return found


def _tolerance(limits: Limits) -> float:
    if limits.min_parity is not None:
        return limits.min_parity
    return DEFAULT_PARITY if limits.evaluation is None else 0.0


def _nvml() -> NvmlMonitor | None:
    try:
        return NvmlMonitor()
    except UnavailableError:
        return None  # CUDA works without NVML (containers, Jetson): its readings are n/a then


def versions() -> dict[str, str]:
    """Versions of what shapes a result."""
    found = {}
    for name in VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def cache_folder() -> Path:
    """Where artefacts and scratch files lie; INFER_OPT_CACHE overrides it."""
    return Path(os.environ.get("INFER_OPT_CACHE") or platformdirs.user_cache_dir("infer-opt"))


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder for one call, removed after it; what killed calls left behind is removed too.

    Raises:
        StorageError: the cache folder cannot be written.
    """
    parent = cache_folder() / "scratch"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
    except OSError as error:
        raise StorageError(
            f"the cache folder {parent} cannot be written: {error.strerror}",
            hint="set INFER_OPT_CACHE to another folder",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for path in parent.iterdir():
        pid = path.name.partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(path, ignore_errors=True)
