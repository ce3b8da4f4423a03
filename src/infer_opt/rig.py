"""What every trial of one tuning shares, and how a configuration becomes a live worker on it."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from infer_opt.config import NATIVE, Objective, Provider, TrialConfig, Workload
from infer_opt.errors import InferOptError, ModelError, UnavailableError
from infer_opt.facts import MachineFacts, ModelFacts
from infer_opt.measure import WarmUp, WarmUpPlan
from infer_opt.protocols import Monitor
from infer_opt.results import Changes, Placement
from infer_opt.runtimes import PROVIDER_NAMES
from infer_opt.transforms.cache import MANIFEST_NAME, ArtefactCache, artefact_key, recorded_changes
from infer_opt.workers.messages import Open, Opened, Warm
from infer_opt.workers.process import WorkerProcess, run_task
from infer_opt.workers.rounds import Entrant, Round, Watch, measure_round
from infer_opt.workers.usage import CUDA_RUN_S, REST_S, RUN_S, Usage, device_memory_bytes, usage

BASELINE, CLONE = "baseline", "clone"  # the keys of the two stock sessions in every race and epoch
ROTATING, FEWEST_ROTATING = 16, 4  # inputs that take turns while timing
WARM_UP_CPU = WarmUpPlan(least_ns=200_000_000, cap_ns=3_000_000_000)
ENERGY_S = 1.5  # of runs: the device counts energy in steps of up to a tenth of a second
WARM_UP_CUDA = WarmUpPlan(least_ns=500_000_000, cap_ns=10_000_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a configuration must keep to. None asks nothing; without `min_parity`, 0.99 unless a metric decides."""

    min_parity: float | None = None
    max_p99_ns: float | None = None
    max_memory_bytes: int | None = None
    evaluation: str | None = None
    max_drop: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """What every trial of one tuning shares.

    `feeds` maps a batch size to a file of batched inputs, `references` to what the stock session answered for them.
    `unnamed` are batch sizes that nobody asked for by name, which the search may or may not come to.
    `native` is the program of a PyTorch model, which `model` is the ONNX file of; None for a model that came as ONNX.
    `given` are finished artefacts of entrants by key, for comparisons of files that no recipe made.
    """

    model: Path
    facts: ModelFacts
    machine: MachineFacts
    objective: Objective
    workload: Workload
    limits: Limits
    feeds: Mapping[int, Path]
    references: Mapping[int, Path]
    cache: ArtefactCache
    watch: Watch
    calibration: Path | None = None
    calibration_hash: str | None = None
    cap_bytes: int | None = None
    timeout_s: float = 120.0
    build_timeout_s: float = 600.0
    tolerance: float = 0.99
    checked: int = 64
    baseline_metric: float | None = None
    device: Monitor | None = None
    unnamed: frozenset[int] = frozenset()
    native: Path | None = None
    given: Mapping[str, Path] = field(default_factory=dict)

    def artefact(self, config: TrialConfig) -> Path:
        """The file that the recipe of `config` makes of the model, from the cache when it was made before.

        Raises:
            ModelError: the recipe does not apply to this model, or a library failed on it.
            WorkerError: the process that made it crashed, hung or ran out of memory.
            StorageError: it cannot be written.
        """
        recipe, provider = config.recipe, config.options.provider
        if config.runtime == NATIVE and self.native is not None:
            return self.native
        if recipe.keeps_file:
            return self.model
        workload = self.workload.filled_up(recipe.buckets)
        key = artefact_key(
            self.facts.content_hash,
            recipe,
            workload=workload,
            calibration_hash=self.calibration_hash,
            provider=provider,
            machine=self.machine.fingerprint,
        )
        return self.cache.get_or_build(
            key,
            lambda folder: run_task(
                "infer_opt.transforms.apply:build",
                self.model,
                recipe,
                folder=folder,
                workload=workload,
                calibration=self.calibration,
                provider=provider,
                timeout_s=self.build_timeout_s,
            ),
        )

    def start(self, config: TrialConfig, generator: random.Random, *, key: str = "") -> "Starting":
        """A worker that is opening `config`; several can be opening at once. Closed on failure."""
        begin = time.monotonic()
        artefact = self.given.get(key) or self.artefact(config)
        worker = WorkerProcess(generator, cap_bytes=self.cap_bytes, own_pools=config.runtime == NATIVE)
        try:
            worker.send(
                Open(
                    runtime=config.runtime,
                    artefact=artefact,
                    options=config.options,
                    feeds=self.feeds[config.batch],
                    instances=config.instances,
                    timed=self._timed,
                    shapes=max(1, len(self.workload.shapes)),
                    buckets=config.recipe.buckets,
                    inputs=self.facts.inputs,
                    outputs=self.facts.outputs,
                )
            )
        except BaseException:
            worker.close()
            raise
        size = self.facts.size_bytes if artefact == self.model else artefact_bytes(artefact)
        return Starting(config=config, worker=worker, artefact=artefact, artefact_bytes=size, began_s=begin)

    @property
    def _timed(self) -> int:
        """Inputs that rotate: 16, and of several shapes at least four of each."""
        shapes = max(1, len(self.workload.shapes))
        return max(ROTATING // shapes, FEWEST_ROTATING) * shapes

    def opening_s(self, config: TrialConfig) -> float:
        """How long `config` may take until its first answer: compiling is building."""
        return self.timeout_s if config.options.compiled is None else max(self.timeout_s, self.build_timeout_s)

    def warm_up_plan(self, config: TrialConfig, drop_above_ns: float | None = None) -> WarmUpPlan:
        """How long `config` warms up, by its provider."""
        plan = WARM_UP_CUDA if config.options.provider is Provider.CUDA else WARM_UP_CPU
        return WarmUpPlan(least_ns=plan.least_ns, cap_ns=plan.cap_ns, drop_above_ns=drop_above_ns)

    def _times_kernels(self, config: TrialConfig) -> bool:
        """Whether a session's first run picks kernels by timing them, as cuDNN does for convolutions.

        Beside others it would time those, too, and keep a slow kernel for the life of the process.
        """
        return config.options.provider is Provider.CUDA and "Conv" in dict(self.facts.operators)

    def enter(
        self, configs: Mapping[str, TrialConfig], generator: random.Random
    ) -> tuple[dict[str, Entrant], dict[str, str]]:
        """Fresh, warmed-up, stopped entrants, made in random order, and the reason of each that did not come up.

        They open side by side, unless opening is what is measured or decides how fast they will be, and warm up one
        after another, since that is.

        Raises:
            ModelError: the baseline or its clone did not come up.
        """
        keys = list(configs)
        generator.shuffle(keys)
        starting: dict[str, Starting] = {}
        opened: dict[str, Opened] = {}
        disturbed: dict[str, str | None] = {}
        entrants: dict[str, Entrant] = {}
        lost: dict[str, str] = {}
        try:
            for key in keys:
                try:
                    starting[key] = self.start(configs[key], generator, key=key)
                    if self.objective is Objective.COLD_START:
                        over = self.watch([starting[key].worker.pid])
                        opened[key] = self._settle(starting[key])
                        disturbed[key] = over()
                    elif self._times_kernels(configs[key]):
                        opened[key] = self._settle(starting[key])
                except InferOptError as error:
                    lost[key] = error.what
            for key in [key for key in keys if key not in lost and key not in opened]:
                try:
                    opened[key] = self._settle(starting[key])
                except InferOptError as error:
                    lost[key] = error.what
            for key in [key for key in keys if key not in lost]:
                try:
                    entrants[key] = replace(self._warm(starting[key], opened[key]), disturbed=disturbed.get(key))
                except InferOptError as error:
                    lost[key] = error.what
            for key in set(lost) & set(starting):
                starting[key].worker.close()
            for key in {BASELINE, CLONE} & set(lost):
                raise ModelError(f"the stock session did not come up again: {lost[key]}")
        except BaseException:
            for entry in starting.values():
                entry.worker.close()
            raise
        return entrants, lost

    def round(self, live: Mapping[str, Entrant], number: int, generator: random.Random) -> Round:
        """One block of each of `live`, all others stopped, judged by what happened outside the workers meanwhile."""
        return measure_round(
            live,
            number=number,
            objective=self.objective,
            generator=generator,
            watch=self.watch,
            timeout_s=self.timeout_s,
            weights=self.workload.weights,
        )

    def _settle(self, starting: "Starting") -> Opened:
        opened: Opened = starting.worker.receive(timeout_s=self.opening_s(starting.config))
        starting.worker.freeze()
        require_placement(opened.placement, starting.config.options.provider)
        return opened

    def _warm(self, starting: "Starting", opened: Opened) -> Entrant:
        warmed: WarmUp = starting.worker.ask(Warm(plan=self.warm_up_plan(starting.config)), timeout_s=self.timeout_s)
        shown = self.shown(starting, opened)
        starting.worker.freeze()
        return Entrant(
            config=starting.config, worker=starting.worker, latency_ns=warmed.latency_ns, shown=shown
        )  # fmt: skip

    def shown(self, starting: "Starting", opened: Opened) -> float | None:
        """What a warmed-up process shows for the objective: ns, bytes or joules an item; None where blocks decide.

        Raises:
            UnavailableError: it cannot be read on this machine.
        """
        if not self.objective.is_of_a_process:
            return None
        if self.objective is Objective.COLD_START:
            return float(opened.open_ns + opened.first_run_ns)
        found = self._peak_bytes(starting) if self.objective is Objective.MEMORY else self._joules(starting)
        if not found:
            raise UnavailableError(f"the {self.objective} of a process cannot be read here", hint="infer-opt doctor")
        return found

    def usage(self, starting: "Starting", *, run_s: float | None = None, rest_s: float = REST_S) -> Usage:
        """What a warmed-up worker uses while it runs and after it, read from outside of it."""
        device = self.device if starting.config.options.provider is Provider.CUDA else None
        seconds = run_s or (RUN_S if device is None else CUDA_RUN_S)
        return usage(starting.worker, timeout_s=self.timeout_s, run_s=seconds, rest_s=rest_s, device=device)

    def _peak_bytes(self, starting: "Starting") -> float | None:
        if starting.config.options.provider is not Provider.CUDA:
            return starting.worker.memory_bytes("VmHWM")
        return None if self.device is None else device_memory_bytes(self.device, starting.worker)

    def _joules(self, starting: "Starting") -> float | None:
        """Of the device, over a while of runs; a joule an item."""
        if self.device is None or starting.config.options.provider is not Provider.CUDA:
            return None
        found = self.usage(starting, run_s=ENERGY_S, rest_s=0.0)
        return None if found.energy_joules is None else found.energy_joules / (found.runs * starting.config.batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """A worker that has been asked to open its session."""

    config: TrialConfig
    worker: WorkerProcess
    artefact: Path
    artefact_bytes: int
    began_s: float

    @property
    def changes(self) -> Changes | None:
        """What the recipe changed in the graph; None for the model as given, or where it is not known."""
        return None if self.config.recipe.is_stock else recorded_changes(self.artefact)


def artefact_bytes(artefact: Path) -> int:
    """The size of a finished file, with the external data beside it where the cache built both."""
    built = (artefact.parent / MANIFEST_NAME).is_file()
    files = [path for path in artefact.parent.rglob("*") if path.is_file()] if built else [artefact]
    return sum(path.stat().st_size for path in files if path.name != MANIFEST_NAME)


def misplaced(placement: Placement | None, provider: Provider) -> str | None:
    """A sentence when nodes went elsewhere than to `provider`; None when all are there or nothing is known."""
    if placement is None:
        return None
    counts = dict(placement.nodes)
    here, total = counts.get(PROVIDER_NAMES[provider], 0), sum(counts.values())
    if here == total:
        return None
    return f"{PROVIDER_NAMES[provider]} took {here} of {total} nodes; {total - here} ran elsewhere"


def require_placement(placement: Placement | None, provider: Provider) -> None:
    """Refuse a session of which `provider` took nothing.

    Raises:
        ModelError: not one node is where it was asked to be.
    """
    sentence = misplaced(placement, provider)
    if sentence is not None and placement is not None and dict(placement.nodes).get(PROVIDER_NAMES[provider], 0) == 0:
        raise ModelError(sentence)
