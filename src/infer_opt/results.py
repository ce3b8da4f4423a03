"""What measurements and comparisons give back. Numbers carry their unit in the name; n/a is None, never 0."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from infer_opt.causes import Diagnosis
from infer_opt.config import Objective, Shape, TrialConfig
from infer_opt.facts import MachineFacts, ModelFacts
from infer_opt.plans import Plan
from infer_opt.recipes import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Consecutive timed runs in one worker: nanoseconds a run, in the order they happened.

    Of several instances at once, thread by thread; `spacing_ns` is then the wall time over the runs that all of them
    did in it, in ns. None for one instance, whose runs follow each other. `shapes` are the positions of the runs'
    shapes in the workload's; empty where it has but one.
    """

    latency_ns: tuple[int, ...]
    spacing_ns: int | None = None
    shapes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its interval at the given confidence."""

    value: float
    low: float
    high: float
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """A latency percentile with its 95 % band. Without enough evidence the band and value are None."""

    q: float
    value_ns: float | None
    low_ns: float | None = None
    high_ns: float | None = None
    missing_runs: int = 0


class Caution(StrEnum):
    """A reason to trust a number less."""

    SYNTHETIC_INPUTS = "synthetic-inputs"
    GUESSED_DIMENSION = "guessed-dimension"
    NO_STEADY_STATE = "no-steady-state"
    NO_FREEZE = "no-freeze"
    UNPINNED = "unpinned"
    IMPRECISE = "imprecise"
    PROVISIONAL = "provisional"
    NONDETERMINISTIC = "nondeterministic"
    TOO_NOISY = "too-noisy"
    SLOW_MACHINE = "slow-machine"
    THROTTLED = "throttled"
    FEW_SAMPLES = "few-samples"
    INTERRUPTED = "interrupted"
    OUT_OF_BUDGET = "out-of-budget"
    LIMIT_NOT_MET = "limit-not-met"
    FALLBACK = "fallback"
    PROVIDER_UNAVAILABLE = "provider-unavailable"
    INT8_SATURATION = "int8-saturation"
    PARTLY_ELSEWHERE = "partly-elsewhere"
    OTHER_MACHINE = "other-machine"
    OTHER_RUNTIME = "other-runtime"
    UNPAIRED = "unpaired"
    ONNX_EXPORT = "onnx-export"
    LOW_CEILING = "low-ceiling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A caution together with the sentence that explains it here."""

    caution: Caution
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputParity:
    """How one output agrees with the baseline's, over all checked inputs (the worst of them).

    `cosine` is None for outputs that are not floats; `agreement` is the share of equal elements there, over all inputs.
    `top1` is the share of equal arg-max over the last axis, where the output looks like scores.
    """

    name: str
    cosine: float | None
    relative_l2: float | None
    largest_difference: float | None
    top1: float | None = None
    agreement: float | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How a trial's outputs agree with the stock session's. `score` is the smallest over all outputs, 0 to 1."""

    score: float
    passed: bool
    outputs: tuple[OutputParity, ...]
    samples: int
    metric: float | None = None
    drop: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the runtime's own record says nodes were assigned: provider -> number of nodes."""

    nodes: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeReadings:
    """What a configuration takes in one of several shapes: `weight` of all calls have it.

    `first_seen_ns` is the first call in that shape in a fresh process, after calls in others; in the first shape of
    the workload it is the first call of all.
    """

    shape: Shape
    quantiles: tuple[Quantile, ...]
    first_seen_ns: int

    @property
    def median_ns(self) -> float | None:
        """p50 in this shape."""
        return next((quantile.value_ns for quantile in self.quantiles if quantile.q == 0.5), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What one trial was seen to do.

    Latencies and times in ns a call; `items_per_s` = batch / median latency, or of several instances the batch over
    their spacing; `open_ns` and `first_run_ns` are cold
    start; RSS from /proc/PID/status (VmHWM, VmRSS); `cpu_cores_running` and `cpu_cores_after` are process CPU time over
    wall time, during runs and in the 200 ms after them (spinning); device readings from NVML, energy in joules a run.

    Where a model is called with several `shapes`, `quantiles` are of the mixture, and `items_per_s` = batch / expected
    time, which is the medians of the shapes weighted by their shares.
    """

    quantiles: tuple[Quantile, ...]
    items_per_s: float
    open_ns: int
    first_run_ns: int
    artefact_bytes: int
    peak_rss_bytes: int | None = None
    steady_rss_bytes: int | None = None
    device_memory_bytes: int | None = None
    cpu_cores_running: float | None = None
    cpu_cores_after: float | None = None
    gpu_utilisation: float | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    shapes: tuple[ShapeReadings, ...] = ()

    @property
    def expected_ns(self) -> float | None:
        """The expected time a call over several shapes; None where there is one, or a median is not known."""
        medians = [one.median_ns for one in self.shapes]
        known = [median for median in medians if median is not None]
        if not known or len(known) < len(medians):
            return None
        return sum(one.shape.weight * median for one, median in zip(self.shapes, known, strict=True))

    def quantile_ns(self, q: float) -> float | None:
        """The latency at `q` (0.5 is the median), or None without the evidence for it."""
        return next((quantile.value_ns for quantile in self.quantiles if quantile.q == q), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a recipe changed in the graph of the model as given.

    `operators_added` and `operators_removed` are how many more or fewer nodes there are of a type, the most first.
    `added`, `removed` and `changed` count nodes, of which the first hundred of each are named; a node is changed where
    its type, its attributes, what it reads or its weights are. `besides` names what else differs: `inputs` (their
    shapes or types), `opset`.
    """

    operators_added: tuple[tuple[str, int], ...] = ()
    operators_removed: tuple[tuple[str, int], ...] = ()
    added: int = 0
    removed: int = 0
    changed: int = 0
    nodes_added: tuple[str, ...] = ()
    nodes_removed: tuple[str, ...] = ()
    nodes_changed: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the graph is as it was."""
        return not (self.added or self.removed or self.changed or self.besides)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """A configuration that ran.

    `log_ratio` is ln(time / baseline's time) per item, paired by rounds, with its standard error; 0 for the baseline.
    It is that of cold starts, of memory or of energy where one of them is the objective.
    `baseline_ns` is what an item took the baseline in the same rounds: it tells whether the machine was slow then.
    `changes` is what its recipe changed in the graph; None for the model as given, or where it is not known.
    """

    config: TrialConfig
    readings: Readings
    parity: Parity
    log_ratio: float
    log_ratio_error: float
    blocks: tuple[Block, ...]
    baseline_ns: float | None = None
    placement: Placement | None = None
    notes: tuple[Note, ...] = ()
    changes: Changes | None = None


class FailureKind(StrEnum):
    """Why a configuration gave no usable result."""

    BUILD = "build"
    OPEN = "open"
    ERROR = "error"
    CRASH = "crash"
    MEMORY = "memory"
    TIMEOUT = "timeout"
    PARITY = "parity"
    PLACEMENT = "placement"
    STALE_OUTPUT = "stale-output"
    CONSTRAINT = "constraint"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFailure:
    """A configuration that cannot be used, with one sentence that says why."""

    config: TrialConfig
    kind: FailureKind
    reason: str
    parity: Parity | None = None
    readings: Readings | None = None


Trial = TrialResult | TrialFailure  # a configuration that cannot run is an answer too: stored, ranked last, explained


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """What INT8 does to one layer alone: it saves `saved_ns` a call, and adds `error` (1 - parity) to the outputs.

    None: the runtime's profile does not name it, or the time was over.
    """

    name: str
    nodes: tuple[str, ...]
    saved_ns: float | None
    error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionPoint:
    """A whole model with `layers` of its layers in INT8 and the nodes `floats` in float, as it was checked.

    `saved_ns` is what those layers save a call, added up; `score` is the parity of the whole.
    """

    layers: int
    floats: tuple[str, ...]
    saved_ns: float
    score: float
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """Time against accuracy of one way to quantise: every layer alone, and the whole models that were checked.

    `call_ns` is what the nodes of the float model take a call, by the runtime's profile.
    """

    recipe: Recipe
    call_ns: float
    layers: tuple[LayerCost, ...]
    points: tuple[PrecisionPoint, ...]


class Verdict(StrEnum):
    """What a paired comparison against the baseline says."""

    FASTER = "faster"
    SLOWER = "slower"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    TOO_NOISY = "too-noisy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One configuration against the baseline over fresh epochs.

    `epochs` and `clone_epochs` are ln(time / baseline's time), one an epoch; `speedup` and `remeasure` are ratios
    (2.0 = half the time); `margin` is the share by which a claim must clear 1, the noise floor included.
    """

    config: TrialConfig
    verdict: Verdict
    speedup: Estimate
    remeasure: Estimate
    margin: float
    noise_floor: float
    epochs: tuple[float, ...]
    clone_epochs: tuple[float, ...]
    discarded_rounds: int = 0
    rounds: int = 0


class TuningVerdict(StrEnum):
    """The answer of a tuning."""

    FASTER = "faster"
    NO_FASTER = "no-faster"
    TOO_NOISY = "too-noisy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one trial ended up, and why it is not the winner."""

    trial: Trial
    fate: str
    reason: str
    on_pareto_front: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How a space was searched: by which strategy, how many configurations there were, how many were screened.

    `earlier` counts the trials of earlier tunings that guided it. `chance_left` is the probability that an unscreened
    configuration is more than 1 % faster than the best screened one, as the strategy's model sees it: no more than
    that, and None where the strategy has none. `suspected` are the knobs, by the names of their fields, whose
    configurations a diagnosis of stock put first.
    """

    strategy: str
    configurations: int
    screened: int
    earlier: int = 0
    chance_left: float | None = None
    suspected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Everything that a tuning found out. `diagnoses` are of stock, by a short profile; () where none was made.

    `kept_as` is what the store calls it; None where it was not finished.
    """

    verdict: TuningVerdict
    reason: str
    objective: Objective
    model: ModelFacts
    machine: MachineFacts
    baseline: TrialResult
    winner: TrialResult
    comparison: Comparison | None
    standings: tuple[Standing, ...]
    search: Search
    notes: tuple[Note, ...]
    bundle: str | None
    elapsed_s: float
    budget_s: float
    settings: Mapping[str, Any]
    frontiers: tuple[Frontier, ...] = ()
    plan: Plan | None = None
    diagnoses: tuple[Diagnosis, ...] = ()
    kept_as: str | None = None


class Severity(StrEnum):
    """How much a finding about the machine would spoil a measurement."""

    OK = "ok"
    CAUTION = "caution"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at on this machine: what was seen, and what to do about it."""

    name: str
    severity: Severity
    what: str
    action: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What `bench` gives: one configuration, or a paired comparison of `subject` against `reference`.

    `median_ns` is that of one configuration over `processes` fresh ones; None for a comparison. `claim` and
    `claim_holds` are set for a bundle against its own stock; None in `claim_holds` means that it cannot be told.
    """

    subject: str
    reference: str | None
    trial: TrialResult
    reference_trial: TrialResult | None
    comparison: Comparison | None
    parity: Parity | None
    claim_holds: bool | None
    claim: str | None
    machine: MachineFacts
    objective: Objective = Objective.LATENCY
    median_ns: Estimate | None = None
    processes: int = 0
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a long call stands, for whoever shows it. `total` is None while nobody knows."""

    stage: str
    done: int = 0
    total: int | None = None
    detail: str = ""
