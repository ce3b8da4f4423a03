"""`infer-opt bench`: one configuration, or two in fresh paired processes, or a bundle against its own claim."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from infer_opt import bundle
from infer_opt.budget import Budget
from infer_opt.concluding import pooled
from infer_opt.config import Objective, TrialConfig
from infer_opt.confirming import Confirmation, confirm, plan_rounds
from infer_opt.errors import ConfigError, EvidenceError, ModelError
from infer_opt.facts import ModelFacts
from infer_opt.parties import Party, foreign_notes, objective_of, open_party, request_for
from infer_opt.request import Request
from infer_opt.results import (
    Benchmark,
    Block,
    Caution,
    Comparison,
    Estimate,
    Note,
    Progress,
    TrialFailure,
    Verdict,
)
from infer_opt.rig import BASELINE, CLONE, Rig
from infer_opt.setting_up import Setup, cache_folder, scratch_folder, set_up
from infer_opt.stats.confirm import LOOKS
from infer_opt.stats.intervals import PROCESSES_FOR_A_CLAIM, median_interval
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.trials import Stock, run_stock, run_trial, timings_of
from infer_opt.workers.rounds import item_value

SUBJECT = "subject"
NO_CLAIM = "none: the bundle holds the stock configuration"
PRECISION = 0.01  # half-width of the median's interval at which one configuration is known well enough
MOST_PROCESSES = 12
SOLO_ROUNDS = 20

Show = Callable[[Progress], None]


def bench(request: Request, against: Path | None, *, budget: Budget, show: Show) -> Benchmark:
    """Measure `request.model`; against another model or bundle when one is given, or the stock model of a bundle.

    Raises:
        InferOptError: a party cannot be run, or the two cannot be compared.
    """
    subject = open_party(request.model, request)
    reference = open_party(against, request) if against is not None else _stock_of(subject)
    with scratch_folder() as scratch, ArtefactCache(cache_folder() / "artefacts") as cache:
        show(Progress(stage="inspect", detail=str(request.model)))
        asked = request_for(reference or subject, subject, request, is_own_claim=against is None)
        setup = set_up(asked, scratch, cache, budget_s=budget.total_s, exports=False)
        setup = replace(setup, notes=setup.notes + foreign_notes(setup, subject, reference))
        if reference is None:
            return _alone(setup, subject, budget, show)
        if against is None:
            _require_unchanged(subject, reference, setup.rig.facts)
        return _paired(setup, subject, reference, budget=budget, show=show, is_own_claim=against is None)


def _stock_of(subject: Party) -> Party | None:
    """What a bundle's claim was measured against, when it can still be found unchanged."""
    manifest = subject.manifest
    if manifest is None:
        return None
    stock = TrialConfig.from_dict(manifest.record["baseline"]["config"])
    if manifest.config.recipe.keeps_file and bundle.artefact_name(stock) == bundle.artefact_name(manifest.config):
        if manifest.config == stock:
            return None  # the bundle is stock itself: there is no claim to hold
        return Party(path=subject.path, artefact=manifest.artefact, config=stock)
    kept = manifest.folder / bundle.DEFAULT / bundle.artefact_name(stock)
    original = kept if kept.is_file() else Path(manifest.record["model"]["path"])
    if not original.is_file():
        raise ConfigError(
            f"the model that this bundle was compared with is not at {original}",
            hint="name it with --against MODEL, or make bundles with --keep-default",
        )
    return Party(path=original, artefact=original, config=stock)


def _require_unchanged(subject: Party, reference: Party, facts: ModelFacts) -> None:
    """Refuse to hold a bundle to a claim over another model than the one it was tuned from."""
    if subject.manifest is not None and subject.manifest.folder in reference.artefact.parents:
        return  # its hash was checked with the others
    if subject.manifest is not None and subject.manifest.record["model"]["content_hash"] != facts.content_hash:
        raise ConfigError(
            f"{reference.path} was changed since this bundle was compared with it",
            hint="name the old model with --against MODEL, or make bundles with --keep-default",
        )


def _alone(setup: Setup, subject: Party, budget: Budget, show: Show) -> Benchmark:
    rig = replace(setup.rig, given={BASELINE: subject.artefact})
    show(Progress(stage="stock", detail=str(subject.path)))
    base = run_stock(rig, subject.opened, setup.generator)
    base.entrant.worker.close()
    blocks, medians = _processes(rig, subject, setup, budget=budget, show=show)
    if not medians:
        raise EvidenceError(
            "no process was measured: the budget ended, or every round was disturbed by something else",
            hint="infer-opt doctor says what disturbs; --budget gives more time",
        )
    interval = median_interval(medians)
    notes = [*setup.notes, *base.result.notes, *_precision_notes(interval, len(medians))]
    found = timings_of(blocks, base.result.readings.shapes)
    items_per_s = subject.config.batch / interval.value * 1e9
    readings = replace(base.result.readings, quantiles=found.quantiles, shapes=found.shapes, items_per_s=items_per_s)
    return Benchmark(
        subject=str(subject.path),
        reference=None,
        trial=replace(
            base.result, config=subject.config, readings=readings, blocks=tuple(one for kept in blocks for one in kept)
        ),
        reference_trial=None,
        comparison=None,
        parity=None,
        claim_holds=None,
        claim=None if subject.manifest is None else NO_CLAIM,
        machine=rig.machine,
        median_ns=interval,
        processes=len(medians),
        notes=tuple(notes),
    )


def _processes(
    rig: Rig, subject: Party, setup: Setup, *, budget: Budget, show: Show
) -> tuple[list[list[Block]], list[float]]:
    """Fresh processes, one after another, until the median is known to 1 %: their blocks and ln medians (ns a call)."""
    blocks: list[list[Block]] = []
    medians: list[float] = []
    cost_s = 0.0
    while len(medians) < MOST_PROCESSES and budget.fits(cost_s):
        if len(medians) >= PROCESSES_FOR_A_CLAIM and _half_width(median_interval(medians)) <= PRECISION:
            break
        show(Progress(stage="bench", done=len(medians), total=MOST_PROCESSES, detail=str(subject.path)))
        before = budget.elapsed_s
        entrants, _ = rig.enter({BASELINE: subject.opened}, setup.generator)
        try:
            rounds = [rig.round(entrants, number, setup.generator) for number in range(SOLO_ROUNDS)]
        finally:
            entrants[BASELINE].worker.close()
        kept = [one.blocks[BASELINE] for one in rounds if one.discarded is None and not one.lost]
        if kept:
            blocks.append(kept)
            medians.append(item_value(_joined(kept), 1, Objective.LATENCY, rig.workload.weights))
        cost_s = budget.elapsed_s - before
    return blocks, medians


def _joined(blocks: Sequence[Block]) -> Block:
    """All runs of a process as one block."""
    return Block(
        latency_ns=tuple(run for block in blocks for run in block.latency_ns),
        shapes=tuple(shape for block in blocks for shape in block.shapes),
    )


def _half_width(interval: Estimate) -> float:
    return (interval.high - interval.low) / 2 / interval.value


def _precision_notes(interval: Estimate, processes: int) -> list[Note]:
    notes = []
    if processes < PROCESSES_FOR_A_CLAIM:
        measured = "1 process was" if processes == 1 else f"{processes} processes were"
        text = f"{measured} measured, where {PROCESSES_FOR_A_CLAIM} make a claim"
        notes.append(Note(caution=Caution.PROVISIONAL, text=text))
    if processes > 1 and _half_width(interval) > PRECISION:
        text = f"the median is known to ±{_half_width(interval):.1%}, not to ±{PRECISION:.0%}"
        notes.append(Note(caution=Caution.IMPRECISE, text=text))
    return notes


def _paired(
    setup: Setup, subject: Party, reference: Party, *, budget: Budget, show: Show, is_own_claim: bool
) -> Benchmark:
    # The comparison is about time; how far outputs agree is reported, and refused only where they cannot be compared.
    rig = replace(setup.rig, model=reference.artefact, tolerance=-math.inf)
    show(Progress(stage="stock", detail=str(reference.path)))
    base = run_stock(rig, reference.opened, setup.generator)
    try:
        show(Progress(stage="screen", detail=str(subject.path)))
        trial = run_trial(replace(rig, model=subject.artefact), subject.opened, base.entrant, setup.generator)
    finally:
        base.entrant.worker.close()
    if isinstance(trial, TrialFailure):
        raise ModelError(f"{subject.path} cannot be compared with {reference.path}: {trial.reason}")
    given = {SUBJECT: subject.artefact, BASELINE: reference.artefact, CLONE: reference.artefact}
    found = _confirm(replace(rig, given=given), base, subject, setup, budget=budget, show=show)
    comparison = found.comparisons.get(SUBJECT)
    if comparison is None:
        why = found.lost.get(SUBJECT, "the budget ended before two epochs were measured")
        raise EvidenceError(f"no comparison: {why}", hint="give it more time with --budget")
    claim, holds = _own_claim(subject, comparison) if is_own_claim else (None, None)
    return Benchmark(
        subject=str(subject.path),
        reference=str(reference.path),
        trial=pooled(replace(trial, config=subject.config), SUBJECT, found),
        reference_trial=pooled(replace(base.result, config=reference.config), BASELINE, found),
        comparison=replace(comparison, config=subject.config),
        parity=trial.parity,
        claim_holds=holds,
        claim=claim,
        machine=rig.machine,
        objective=rig.objective,
        notes=(*setup.notes, *trial.notes),
    )


def _confirm(rig: Rig, base: Stock, subject: Party, setup: Setup, *, budget: Budget, show: Show) -> Confirmation:
    rounds = plan_rounds(
        3 * base.setup_s, 3 * base.round_s, round_noise=None, left_s=budget.left_s, objective=rig.objective
    )
    done = 0

    def fits(cost_s: float) -> bool:
        nonlocal done
        show(Progress(stage="confirm", done=done, total=LOOKS[-1], detail=str(subject.path)))
        done += 1
        return budget.fits(cost_s or 3 * (base.setup_s + rounds * base.round_s))

    return confirm(
        rig,
        {SUBJECT: subject.opened},
        base.result.config,
        generator=setup.generator,
        rounds=rounds,
        fits=fits,
        least=_claimed_epochs(subject),
    )


def _claimed_epochs(subject: Party) -> int:
    """A bundle's re-measure interval speaks of as many epochs as its claim rests on; a shorter look misses it."""
    record = subject.manifest.record if subject.manifest is not None else {}
    comparison = record.get("comparison")
    return len(comparison["epochs"]) if comparison else 0


def _own_claim(subject: Party, comparison: Comparison) -> tuple[str | None, bool | None]:
    """The bundle's claim in words, and whether this measurement lies where the bundle said that it would.

    None where too little was measured to say: neither inside the printed interval nor proven outside of it.
    """
    if subject.manifest is None or subject.manifest.record["verdict"] != "faster":
        return None, None
    claimed = subject.manifest.record["speedup"]
    low, high = float(claimed["remeasure_low"]), float(claimed["remeasure_high"])
    gain = objective_of(subject, Objective.LATENCY).gain
    text = f"{claimed['estimate']:.3g}x {gain}; a new measurement gives {low:.3g} to {high:.3g}"
    inside = low <= comparison.speedup.value <= high
    if comparison.verdict is Verdict.TOO_NOISY:
        return text, None
    disjoint = comparison.speedup.high < low or comparison.speedup.low > high
    if inside:
        return text, comparison.verdict is not Verdict.SLOWER
    return text, False if disjoint or comparison.verdict is Verdict.SLOWER else None
