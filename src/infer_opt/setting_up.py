"""From a request to a rig: the model inspected, the providers asked, the inputs prepared, the space drawn up."""

import contextlib
import dataclasses
import importlib.metadata
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from infer_opt.causes import Diagnosis
from infer_opt.config import NATIVE, Objective, Provider
from infer_opt.errors import InferOptError, StorageError, UnavailableError
from infer_opt.exporting import is_pytorch
from infer_opt.facts import MachineFacts, ModelFacts
from infer_opt.machine.cpu import has_bf16, has_vnni
from infer_opt.machine.describe import describe
from infer_opt.machine.memory import available_bytes
from infer_opt.models.axes import fixed_batch
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.preparing import Availability, Prepared
from infer_opt.recipes import Buckets, Rewriter
from infer_opt.request import Request, versions
from infer_opt.results import Caution, Frontier, Note
from infer_opt.rig import Limits, Rig
from infer_opt.runtimes import ENGINES
from infer_opt.search.paddings import paddings
from infer_opt.search.surroundings import Surroundings
from infer_opt.taking import onnx_beside, onnx_version, take
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.transforms.prospects import fusable_types, is_convolutional, quantisable, smoothable
from infer_opt.workers.process import CAN_FREEZE, run_task
from infer_opt.workers.watching import watch_machine

OLD_OPSET = 13  # below it, or with weights among the graph's inputs, quantisers need the graph normalised first
OLD_IR = 4
MEMORY_SHARE = 0.8
DEFAULT_PARITY = 0.99
LARGEST_BATCH = (
    128  # that is tried without having been asked for: beyond it, waiting for items costs more than it gains
)


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
    diagnoses: tuple[Diagnosis, ...] = ()


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
    if request.objective is Objective.ENERGY and (nvml is None or providers != (Provider.CUDA,)):
        raise UnavailableError(
            "energy is read from NVIDIA GPUs alone", hint="name --provider cuda on a machine with one"
        )
    machine = describe(gpus=nvml.gpus() if nvml else (), versions=versions())
    batches = request.batches or default_batches(facts, request.objective)
    unnamed = frozenset() if request.batches else frozenset(batches[1:])
    prepared: Prepared = run_task(
        "infer_opt.preparing:prepare",
        facts,
        scratch,
        inputs=request.inputs,
        dims=dict(taken.dims) | dict(request.dims),
        batches=batches,
        seed=request.seed,
        ready=request.ready_feeds,
        optional=unnamed,
        distributions=dict(request.distributions),
    )
    batches = tuple(batch for batch in batches if batch in prepared.feeds or batch not in unnamed)
    if not CAN_FREEZE:
        text = "this platform cannot stop idle workers, whose threads may disturb the one that is timed"
        notes.append(Note(caution=Caution.NO_FREEZE, text=text))
    engines = _engines(request) if taken.exported or not exports else {}
    surroundings = _surroundings(request, facts, machine, prepared, providers, batches, tuple(engines))
    if taken.native is not None:
        where, beside, missing = onnx_beside(taken) if exports else ((), onnx_version(), [])
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
        unnamed=unnamed & set(batches),
    )
    return Setup(
        rig=rig,
        surroundings=surroundings,
        prepared=prepared,
        notes=(*taken.notes, *notes, *prepared.notes),
        runtime_versions={request.runtime: availability.version, **engines},
        generator=random.Random(request.seed),
    )


def default_batches(facts: ModelFacts, objective: Objective) -> tuple[int, ...]:
    """Without a word from the user: one item or what the model is fixed to; for throughput also 2, 4, 8 ... items."""
    fixed = fixed_batch(facts)
    if fixed is not None or objective is not Objective.THROUGHPUT:
        return (fixed or 1,)
    return tuple(2**power for power in range(LARGEST_BATCH.bit_length()))


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
    padded, spread = _paddings(request, prepared), bool(request.distributions)
    named = {*request.dims, *request.distributions}
    return Surroundings(
        providers=tuple(providers),
        usable_cores=machine.usable_cores,
        physical_cores=machine.physical_cores,
        batches=tuple(batches),
        objective=request.objective,
        has_vnni=has_vnni(machine.isa),
        has_bf16=has_bf16(machine.isa),
        # A bundle with fixed shapes takes no others: only for sizes that the user named.
        has_free_shapes=bool(named) and set(prepared.workload.sizes) <= named and (bool(padded) or not spread),
        is_mixture=spread,
        paddings=padded,
        can_calibrate=prepared.calibration is not None,
        is_old_graph=facts.opset < OLD_OPSET or facts.ir_version < OLD_IR,
        dynamic_operators=quantisable(operators),
        static_operators=quantisable(operators, kind="static"),
        is_convolutional=is_convolutional(operators),
        weight_operators=quantisable(operators, kind="weights"),
        weight_bytes=facts.weight_bytes,
        can_smooth=smoothable(operators) and prepared.calibration is not None,
        fusable=fusable_types(operators),
        rewriters=_rewriters(request),
        custom_ops=request.custom_ops,
        engines=engines,
    )


def _paddings(request: Request, prepared: Prepared) -> tuple[Buckets, ...]:
    """None where a further dimension follows from one of the distribution: it would have to be filled up as well."""
    shapes = prepared.workload.shapes
    follows = bool(shapes) and {name for name, _ in shapes[0].dims} != set(request.distributions)
    return () if follows else paddings(request.distributions)


def _rewriters(request: Request) -> tuple[Rewriter, ...]:
    """The graph rewriters that are installed; none for operators that they do not know."""
    installed = versions()
    return tuple(library for library in Rewriter if library in installed and not request.custom_ops)


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
        return NvmlMonitor(detailed=False)  # the rest takes time, which sessions are being measured in
    except UnavailableError:
        return None  # CUDA works without NVML (containers, Jetson): its readings are n/a then


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
