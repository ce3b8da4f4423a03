"""One configuration in, a result or a failure with its reason out. Always: one failed trial never ends a tuning."""

import math
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from infer_opt.config import Objective, Provider, TrialConfig
from infer_opt.errors import InferOptError, ModelError, StorageError
from infer_opt.machine.cpu import has_vnni
from infer_opt.measure import WarmUp
from infer_opt.results import (
    Block,
    Caution,
    FailureKind,
    Note,
    Parity,
    Quantile,
    Readings,
    ShapeReadings,
    Trial,
    TrialFailure,
    TrialResult,
)
from infer_opt.rig import BASELINE, Rig, Starting, misplaced, require_placement
from infer_opt.stats.intervals import hodges_lehmann, hodges_lehmann_error
from infer_opt.stats.mixtures import Timings, timings
from infer_opt.stats.tails import quantile
from infer_opt.workers.messages import Check, CheckStale, Evaluate, Opened, Record, Warm
from infer_opt.workers.process import WorkerError, WorkerProcess
from infer_opt.workers.rounds import Entrant, Round
from infer_opt.workers.usage import Usage

TRIAL = "trial"
SCREEN_ROUNDS = 5
MOST_DISTURBED = 5  # rounds that are redone before a trial makes do with disturbed ones
DROP_RATIO = 3.0
FEWEST_CHECKED, MOST_CHECKED = 4, 64  # inputs on which parity is checked
CHECK_NS = 4_000_000_000  # what checking them may take, by the time of stock's first run
PROCESS_ERROR = 0.05  # ln(ratio) that two processes of one configuration may differ by, where a process is one value
QUANTILES = (0.5, 0.9, 0.95, 0.99)
SELF_AGREEMENT = 1 - 1e-6  # below this, two runs of stock on the same inputs count as different


class TrialError(Exception):
    """Carries a failure up to whoever runs the trial: `run_trial` turns it into its result."""

    def __init__(self, failure: TrialFailure) -> None:
        super().__init__(failure)
        self.failure = failure


def run_trial(rig: Rig, config: TrialConfig, baseline: Entrant, generator: random.Random) -> Trial:
    """Build, open, check, warm up and measure `config` in rounds paired with the live `baseline`.

    Raises:
        StorageError: results cannot be kept; going on would lose them.
    """
    stage = _Stage(config)
    try:
        return _run(rig, stage, baseline, generator)
    except TrialError as error:
        return error.failure
    except StorageError:
        raise
    except WorkerError as error:
        return stage.failure(error.what, kind=error.kind)
    except InferOptError as error:
        return stage.failure(error.what)
    except Exception as error:  # noqa: BLE001  (whatever a trial does, the tuning goes on)
        return stage.failure(f"{type(error).__name__}: {error}", kind=FailureKind.ERROR)


class _Stage:
    """How far a trial has come, so that its failure can say so."""

    def __init__(self, config: TrialConfig) -> None:
        self.config = config
        self.kind = FailureKind.BUILD

    def failure(self, reason: str, *, kind: FailureKind | None = None) -> TrialFailure:
        return TrialFailure(config=self.config, kind=kind or self.kind, reason=reason)


def _run(rig: Rig, stage: _Stage, baseline: Entrant, generator: random.Random) -> Trial:
    config = stage.config
    rig.artefact(config)
    stage.kind = FailureKind.ERROR
    require_reference(rig, replace(baseline.config, batch=config.batch), generator)
    stage.kind = FailureKind.OPEN
    starting = rig.start(config, generator)
    with starting.worker as worker:
        opened: Opened = worker.receive(timeout_s=rig.opening_s(config))
        stage.kind = FailureKind.PLACEMENT
        require_placement(opened.placement, config.options.provider)
        stage.kind = FailureKind.ERROR
        parity = check_parity(rig, config, worker)
        warmed: WarmUp = worker.ask(
            Warm(plan=rig.warm_up_plan(config, DROP_RATIO * _latency_ns(baseline, config))), timeout_s=rig.timeout_s
        )
        shown = rig.shown(starting, opened)
        worker.freeze()
        entrant = Entrant(config=config, worker=worker, latency_ns=warmed.latency_ns, shown=shown)
        rounds = paired_rounds(rig, entrant, baseline, generator)
        readings, labels = read(rig, starting, opened, [r.blocks[TRIAL] for r in rounds])
    differences = [r.values[TRIAL] - r.values[BASELINE] for r in rounds]
    result = TrialResult(
        config=config,
        readings=readings,
        parity=parity,
        log_ratio=hodges_lehmann(differences),
        log_ratio_error=PROCESS_ERROR if shown is not None else hodges_lehmann_error(differences),
        blocks=tuple(r.blocks[TRIAL] for r in rounds),
        baseline_ns=_level_ns(rig, rounds),
        placement=opened.placement,
        notes=_notes(config, opened, warmed) + _disturbed(rounds) + labels,
        changes=starting.changes,
    )
    return within_limits(rig, result)


def _level_ns(rig: Rig, rounds: Sequence[Round]) -> float | None:
    """What an item took the baseline, in ns: the median over rounds; None where rounds are not about time."""
    if rig.objective.is_of_a_process:
        return None
    return math.exp(statistics.median(one.values[BASELINE] for one in rounds))


def _latency_ns(baseline: Entrant, config: TrialConfig) -> float:
    """What a call of `config` would take at the baseline's speed, in ns; of several instances, each of them."""
    return baseline.latency_ns * config.batch / baseline.config.batch * config.instances


def check_parity(rig: Rig, config: TrialConfig, worker: WorkerProcess) -> Parity:
    """Agreement with stock on every input, stale replays, and the user's metric, before any time is spent on timing."""
    reference = rig.references[config.batch]
    parity: Parity = worker.ask(
        Check(reference=reference, tolerance=rig.tolerance, count=rig.checked), timeout_s=rig.timeout_s
    )
    if config.options.cuda_graph:
        stale = worker.ask(CheckStale(reference=reference), timeout_s=rig.timeout_s)
        if stale is not None:
            raise TrialError(TrialFailure(config=config, kind=FailureKind.STALE_OUTPUT, reason=stale, parity=parity))
    if rig.limits.evaluation is not None and rig.baseline_metric is not None:
        metric = float(worker.ask(Evaluate(target=rig.limits.evaluation), timeout_s=rig.build_timeout_s))
        drop = rig.baseline_metric - metric
        parity = replace(parity, metric=metric, drop=drop)
        if parity.passed and drop > rig.limits.max_drop:
            reason = (
                f"the metric falls from {rig.baseline_metric:.4g} to {metric:.4g}, by more than {rig.limits.max_drop:g}"
            )
            parity = replace(parity, passed=False, reason=reason)
    if not parity.passed:
        reason = (parity.reason or "outputs differ from stock's") + _saturation(rig, config)
        raise TrialError(TrialFailure(config=config, kind=FailureKind.PARITY, reason=reason, parity=parity))
    return parity


def _saturation(rig: Rig, config: TrialConfig) -> str:
    """Names the likely cause: without VNNI, 8-bit products are summed in pairs of 16 bits, which saturate."""
    quantise = config.recipe.quantise
    if quantise is None or not quantise.may_saturate or config.options.provider is not Provider.CPU:
        return ""
    if has_vnni(rig.machine.isa):
        return ""
    return "; this CPU has no VNNI, where 8-bit weights saturate 16-bit sums (7-bit weights do not)"


def paired_rounds(rig: Rig, entrant: Entrant, baseline: Entrant, generator: random.Random) -> list[Round]:
    """Five rounds of the pair, undisturbed ones where the machine allows it.

    The screen only chooses whom to look at again, so on a noisy machine disturbed rounds are better than none: pairs
    are disturbed alike. The confirmation, which claims, is strict.
    """
    rounds: list[Round] = []
    while len(rounds) < SCREEN_ROUNDS + MOST_DISTURBED:
        rounds.append(_round(rig, {TRIAL: entrant, BASELINE: baseline}, len(rounds), generator))
        quiet = [one for one in rounds if one.discarded is None]
        if len(quiet) == SCREEN_ROUNDS:
            return quiet
    return rounds


def _round(rig: Rig, live: Mapping[str, Entrant], number: int, generator: random.Random) -> Round:
    """One round of the pair; a worker that ends in it ends the trial."""
    found = rig.round(live, number, generator)
    for key in (BASELINE, TRIAL):
        if key in found.lost:
            raise found.lost[key]
    return found


def read(rig: Rig, starting: Starting, opened: Opened, blocks: Sequence[Block]) -> tuple[Readings, tuple[Note, ...]]:
    """Everything else that is read of a trial, and what it did to the device's clock.

    The worker is live; the last thing asked of it.
    """
    worker, config = starting.worker, starting.config
    use = rig.usage(starting)
    seen = [
        ShapeReadings(shape=shape, quantiles=(), first_seen_ns=first_ns)
        for shape, first_ns in zip(rig.workload.shapes, opened.first_seen_ns, strict=True)
    ]
    found = timings_of([blocks], seen)
    readings = Readings(
        quantiles=found.quantiles,
        shapes=found.shapes,
        items_per_s=rate(config, blocks, found.call_ns),
        open_ns=opened.open_ns,
        first_run_ns=opened.first_run_ns,
        artefact_bytes=starting.artefact_bytes,
        peak_rss_bytes=worker.memory_bytes("VmHWM"),
        steady_rss_bytes=worker.memory_bytes("VmRSS"),
        cpu_cores_running=use.cores_running,
        cpu_cores_after=use.cores_after,
        device_memory_bytes=use.device_memory_bytes,
        gpu_utilisation=use.gpu_utilisation,
        power_watts=use.power_watts,
        energy_joules=None if use.energy_joules is None else use.energy_joules / use.runs,
    )
    return readings, _throttled(use)


def _throttled(use: Usage) -> tuple[Note, ...]:
    """A label, not a reason to discard: the heat and power of a configuration are its own doing."""
    if not use.throttled_by:
        return ()
    text = f"the GPU held its clock down for {' and '.join(use.throttled_by)} while it ran"
    return (Note(caution=Caution.THROTTLED, text=text),)


def rate(config: TrialConfig, blocks: Sequence[Block], median_ns: float) -> float:
    """Items a second: the batch over the median latency, or of several instances over their median spacing."""
    spacings = [block.spacing_ns for block in blocks if block.spacing_ns is not None]
    return config.batch / (statistics.median(spacings) if spacings else median_ns) * 1e9


def timings_of(processes: Sequence[Sequence[Block]], shapes: Sequence[ShapeReadings]) -> Timings:
    """p50, p90, p95 and p99 over process -> block, and of each of `shapes`."""
    return timings(processes, shapes, levels=QUANTILES)


def quantiles_of(processes: Sequence[Sequence[Sequence[int]]]) -> tuple[Quantile, ...]:
    """p50, p90, p95 and p99 over process -> block -> run times in ns."""
    return tuple(quantile(processes, q) for q in QUANTILES)


def _notes(config: TrialConfig, opened: Opened, warmed: WarmUp) -> tuple[Note, ...]:
    notes = []
    if warmed.was_dropped:
        text = f"more than {DROP_RATIO:g} times slower than stock after 3 runs: its warm-up was cut short"
        notes.append(Note(caution=Caution.NO_STEADY_STATE, text=text))
    elif not warmed.is_steady:
        text = f"run times were still drifting after a warm-up of {warmed.runs} runs"
        notes.append(Note(caution=Caution.NO_STEADY_STATE, text=text))
    if opened.is_pinned is False:
        text = f"its {config.instances} instances could not be given cores of their own"
        notes.append(Note(caution=Caution.UNPINNED, text=text))
    elsewhere = misplaced(opened.placement, config.options.provider)
    if elsewhere is not None:
        notes.append(Note(caution=Caution.PARTLY_ELSEWHERE, text=elsewhere))
    return tuple(notes)


def _disturbed(rounds: Sequence[Round]) -> tuple[Note, ...]:
    reasons = [one.discarded for one in rounds if one.discarded is not None]
    if not reasons:
        return ()
    text = f"{len(reasons)} of {len(rounds)} rounds were disturbed from outside ({', '.join(sorted(set(reasons)))})"
    return (Note(caution=Caution.TOO_NOISY, text=text),)


def within_limits(rig: Rig, result: TrialResult) -> Trial:
    """`result`, or a failure that says which limit it breaks. A percentile without evidence cannot break one."""
    on_device = result.config.options.provider is Provider.CUDA
    memory = result.readings.device_memory_bytes if on_device else result.readings.peak_rss_bytes
    reason = None
    if rig.limits.max_memory_bytes is not None and memory is not None and memory > rig.limits.max_memory_bytes:
        reason = f"takes {memory / 1e6:.0f} MB at its peak, more than {rig.limits.max_memory_bytes / 1e6:.0f} MB"
    highest = next((q for q in (0.99, 0.9, 0.5) if result.readings.quantile_ns(q) is not None), 0.99)
    seen = result.readings.quantile_ns(highest)
    if rig.limits.max_p99_ns is not None and seen is not None and seen > rig.limits.max_p99_ns:
        word = "p99" if highest == 0.99 else f"p{highest * 100:.0f}, and so a p99,"
        reason = f"has a {word} of {seen / 1e6:.3g} ms, above {rig.limits.max_p99_ns / 1e6:.3g} ms"
    if reason is None:
        return result
    return TrialFailure(
        config=result.config,
        kind=FailureKind.CONSTRAINT,
        reason=reason,
        parity=result.parity,
        readings=result.readings,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """The baseline: live, with what was read of it, its metric, and how well it agrees with itself.

    `setup_s` is what opening and warming up take, `round_s` a round of it alone: what later phases are planned by.
    """

    entrant: Entrant
    setup_s: float
    round_s: float
    result: TrialResult
    metric: float | None
    self_parity: Parity
    checked: int

    @property
    def is_deterministic(self) -> bool:
        """Whether two runs on the same inputs gave the same outputs, to float rounding."""
        return self.self_parity.score >= SELF_AGREEMENT


def run_stock(rig: Rig, config: TrialConfig, generator: random.Random) -> Stock:
    """Open the model as given with the runtime's stock settings, and record the outputs that all others must match.

    The entrant stays live: every trial is paired with it. `rig.references` are written for every batch size but those
    that the search chooses itself, `rig.unnamed`: those are written when the first trial needs them.

    Raises:
        ModelError: the model cannot be run at all, with the reason.
    """
    for batch, path in rig.references.items():
        if batch == config.batch or batch in rig.unnamed:
            path.unlink(missing_ok=True)
        else:
            _record(rig, replace(config, batch=batch), generator)
    if rig.objective is Objective.COLD_START:
        with rig.start(config, generator).worker as first:  # the first to read the file finds it in no cache
            first.receive(timeout_s=rig.timeout_s)
    starting = rig.start(config, generator)
    worker = starting.worker
    try:
        opened: Opened = worker.receive(timeout_s=rig.timeout_s)
        setup_s = time.monotonic() - starting.began_s
        require_placement(opened.placement, config.options.provider)
        reference = rig.references[config.batch]
        checked = _checked(opened)
        worker.ask(Record(path=reference, count=checked), timeout_s=rig.build_timeout_s)
        agreement: Parity = worker.ask(
            Check(reference=reference, tolerance=SELF_AGREEMENT, count=checked), timeout_s=rig.build_timeout_s
        )
        broken = next((output for output in agreement.outputs if output.problem is not None), None)
        if broken is not None:
            raise ModelError(
                f"stock's own output {broken.name} cannot be compared: {broken.problem}",
                hint="give real inputs with --inputs",
            )
        metric = None
        if rig.limits.evaluation is not None:
            metric = float(worker.ask(Evaluate(target=rig.limits.evaluation), timeout_s=rig.build_timeout_s))
        begin = time.monotonic()
        warmed: WarmUp = worker.ask(Warm(plan=rig.warm_up_plan(config)), timeout_s=rig.timeout_s)
        setup_s += time.monotonic() - begin
        shown = rig.shown(starting, opened)
        entrant = Entrant(config=config, worker=worker, latency_ns=warmed.latency_ns, shown=shown)
        rounds = [_round(rig, {BASELINE: entrant}, number, generator) for number in range(SCREEN_ROUNDS)]
        blocks = [found.blocks[BASELINE] for found in rounds]
        readings, labels = read(rig, starting, opened, blocks)
        worker.freeze()
    except BaseException:
        worker.close()
        raise
    result = TrialResult(
        config=config,
        readings=readings,
        parity=Parity(score=1.0, passed=True, outputs=(), samples=agreement.samples, metric=metric),
        log_ratio=0.0,
        log_ratio_error=0.0,
        blocks=tuple(blocks),
        baseline_ns=_level_ns(rig, rounds),
        placement=opened.placement,
        notes=_notes(config, opened, warmed) + labels,
    )
    return Stock(
        entrant=entrant,
        setup_s=setup_s,
        round_s=min(found.cost_s for found in rounds),
        result=result,
        metric=metric,
        self_parity=agreement,
        checked=checked,
    )


def _checked(opened: Opened) -> int:
    """On how many inputs parity is checked: fewer of a slow model's, but one of each shape at least."""
    slowest_ns = max(1, opened.first_run_ns, *opened.first_seen_ns)
    return max(FEWEST_CHECKED, len(opened.first_seen_ns), min(MOST_CHECKED, int(CHECK_NS / slowest_ns)))


def require_reference(rig: Rig, stock: TrialConfig, generator: random.Random) -> None:
    """Stock's outputs at a batch that the search has come to, unless they are there.

    Raises:
        ModelError: the model does not run with that batch.
    """
    if stock.batch in rig.unnamed and not rig.references[stock.batch].exists():
        _record(rig, stock, generator)


def _record(rig: Rig, config: TrialConfig, generator: random.Random) -> None:
    """Write stock's outputs for another batch size."""
    starting = rig.start(config, generator)
    with starting.worker as worker:
        try:
            opened: Opened = worker.receive(timeout_s=rig.timeout_s)
            command = Record(path=rig.references[config.batch], count=_checked(opened))
            worker.ask(command, timeout_s=rig.build_timeout_s)
        except (ModelError, WorkerError) as error:
            raise ModelError(
                f"the model does not run with batch {config.batch}: {error.what}", hint="leave that --batch out"
            ) from error
