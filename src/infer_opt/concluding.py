"""From finished measurements to an answer: who is confirmed, why the others lost, and the bundle."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from infer_opt import bundle
from infer_opt.config import NATIVE, TrialConfig
from infer_opt.confirming import Confirmation, Epoch
from infer_opt.facts import model_name
from infer_opt.racing import Race
from infer_opt.reports import Format
from infer_opt.reports.documents import to_json, tuning_document
from infer_opt.reports.picture import draw
from infer_opt.reports.quantities import ratio_and_interval
from infer_opt.reports.tuning import render
from infer_opt.results import (
    Block,
    Caution,
    Comparison,
    FailureKind,
    Frontier,
    Note,
    Readings,
    Standing,
    Trial,
    TrialFailure,
    TrialResult,
    Tuning,
    TuningVerdict,
    Verdict,
)
from infer_opt.rig import BASELINE, CLONE, Limits, Rig
from infer_opt.search.screen import best
from infer_opt.search.space import distance_from_stock
from infer_opt.setting_up import Setup
from infer_opt.standings import standings
from infer_opt.stats.levels import SLOW
from infer_opt.transforms.cache import MANIFEST_NAME
from infer_opt.trials import Stock, rate, timings_of, within_limits

MOST_SAMPLE_BYTES = 16_000_000  # inputs that travel with the bundle, so that its claim can be measured again


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer, before it is written anywhere."""

    verdict: TuningVerdict
    reason: str
    baseline: TrialResult
    winner: TrialResult
    comparison: Comparison | None
    standings: tuple[Standing, ...]
    notes: tuple[Note, ...] = ()


def settled_race(keys: Sequence[str], trials: Sequence[Trial]) -> Race:
    """A race that needs no rounds: so few entrants that all of them can be confirmed."""
    results = {trial.config.key: trial for trial in best(trials)}
    kept = tuple(key for key in keys if key in results)
    return Race(
        configs={key: results[key].config for key in kept},
        survivors=kept,
        is_equivalence_set=False,
        rounds=0,
        discarded=0,
        log_ratios={key: results[key].log_ratio for key in kept},
        lost={},
    )


def break_ties(raced: Race, trials: Sequence[Trial]) -> Race:
    """Order an equivalence set by parity, p99, memory and nearness to stock, each as coarsely as it matters."""
    if not raced.is_equivalence_set:
        return raced
    results = {trial.config.key: trial for trial in best(trials)}
    tail = _common_tail([results[key].readings for key in raced.survivors if key != BASELINE])

    def rank(key: str) -> tuple[float, ...]:
        if key == BASELINE:
            return (-math.inf,)  # stock is among the equals: nothing else is worth a change
        trial = results[key]
        slow = trial.readings.quantile_ns(tail) or 0.0
        memory = trial.readings.peak_rss_bytes or 0
        return (-round(trial.parity.score, 3), _step(slow, 1.05), _step(memory, 1.1), distance_from_stock(trial.config))

    return replace(raced, survivors=tuple(sorted(raced.survivors, key=rank)))


def _common_tail(readings: Sequence[Readings]) -> float:
    """p99, or the highest percentile that all of them have evidence for: only like is compared with like."""
    return next((q for q in (0.99, 0.95, 0.9) if all(one.quantile_ns(q) is not None for one in readings)), 0.5)


def _step(value: float, ratio: float) -> float:
    """Values within about `ratio` of each other count as equal."""
    return 0.0 if value <= 0 else float(round(math.log(value) / math.log(ratio)))


def finalists_of(raced: Race, *, most: int) -> tuple[str, ...]:
    """Who is confirmed: none where stock leads, or is one of the equals."""
    if raced.survivors and raced.survivors[0] == BASELINE:
        return ()
    ahead = (key for key in raced.survivors if key != BASELINE and raced.log_ratios.get(key, 0.0) < 0)
    return tuple(ahead)[:most]


def conclude(
    setup: Setup, base: Stock, trials: Sequence[Trial], raced: Race | None, confirmation: Confirmation | None, *,
    was_interrupted: bool,
) -> Outcome:  # fmt: skip
    """The answer of a tuning: the winner and its proof, or stock and the reason."""
    notes = _endings(confirmation, was_interrupted) + _slow_phases(raced) + _saturations(setup, trials)
    baseline = pooled(base.result, BASELINE, confirmation)
    key, broken = _winner(setup.rig.limits, trials, raced, confirmation)
    comparison = _shown(key, raced, confirmation)
    if key is not None and comparison is not None:
        winner = pooled(_result_of(trials, key), key, confirmation)
        return Outcome(
            verdict=TuningVerdict.FASTER,
            reason=(
                f"{winner.config.label_beside(baseline.config)} is proven {setup.rig.objective.better} over"
                f" {len(comparison.epochs)} epochs of fresh processes"
            ),
            baseline=baseline,
            winner=winner,
            comparison=comparison,
            standings=standings(setup.rig.objective, baseline, winner, trials, raced, confirmation),
            notes=notes,
        )
    too_noisy = confirmation is not None and confirmation.is_too_noisy
    return Outcome(
        verdict=TuningVerdict.TOO_NOISY if too_noisy else TuningVerdict.NO_FASTER,
        reason=broken or _why_not(setup, trials, raced, confirmation, comparison, was_interrupted=was_interrupted),
        baseline=baseline,
        winner=baseline,
        comparison=comparison,
        standings=standings(setup.rig.objective, baseline, baseline, trials, raced, confirmation),
        notes=notes + _stock_limits(setup, baseline, trials),
    )


def _stock_limits(setup: Setup, baseline: TrialResult, trials: Sequence[Trial]) -> tuple[Note, ...]:
    """Stock is handed back although it breaks a limit: says so, and which trial came nearest to what was asked."""
    found = within_limits(setup.rig, baseline)
    if isinstance(found, TrialResult):
        return ()
    keeps = best(trials)[:1]
    text = f"stock itself {found.reason}"
    for trial in keeps:
        speed = math.exp(-trial.log_ratio)
        label = trial.config.label_beside(baseline.config)
        text += f"; {label} keeps the limit at {speed:.3g}x stock's speed, by the screen's estimate"
    return (Note(caution=Caution.LIMIT_NOT_MET, text=text),)


def _winner(
    limits: Limits, trials: Sequence[Trial], raced: Race | None, confirmation: Confirmation | None
) -> tuple[str | None, str | None]:
    """The first contender that is proven faster and keeps the limits; else the limit that the proven one broke."""
    broken = None
    for key in raced.survivors if raced is not None and confirmation is not None else ():
        found = confirmation.comparisons.get(key) if confirmation is not None else None
        if found is None or found.verdict is not Verdict.FASTER:
            continue
        p99 = _highest_p99_ns(pooled(_result_of(trials, key), key, confirmation))
        if limits.max_p99_ns is None or p99 <= limits.max_p99_ns:
            return key, None
        broken = f"{found.config.label} is faster, but its p99 is {p99 / 1e6:.3g} ms"
        broken += f", above {limits.max_p99_ns / 1e6:.3g} ms"
    return None, broken


def _highest_p99_ns(result: TrialResult) -> float:
    """p99, or without the evidence for it the slowest run seen, which is never below it."""
    p99 = result.readings.quantile_ns(0.99)
    return p99 if p99 is not None else float(max(max(block.latency_ns) for block in result.blocks))


def _result_of(trials: Sequence[Trial], key: str) -> TrialResult:
    return next(trial for trial in best(trials) if trial.config.key == key)


def _shown(key: str | None, raced: Race | None, confirmation: Confirmation | None) -> Comparison | None:
    """The winner's comparison, or that of the best challenger."""
    if confirmation is None or raced is None:
        return None
    wanted = [key] if key is not None else list(raced.survivors)
    return next((confirmation.comparisons[name] for name in wanted if name in confirmation.comparisons), None)


def pooled(result: TrialResult, key: str, confirmation: Confirmation | None) -> TrialResult:
    """`result` with the percentiles of all its confirmation processes: a winner's numbers are not those it won by."""
    epochs = [epoch.blocks[key] for epoch in confirmation.epochs if key in epoch.blocks] if confirmation else []
    if not epochs:
        return result
    whole = tuple(block for blocks in epochs for block in blocks)
    found = timings_of(epochs, result.readings.shapes)
    readings = replace(
        result.readings,
        quantiles=found.quantiles,
        shapes=found.shapes,
        items_per_s=rate(result.config, whole, found.call_ns),
    )
    return replace(result, readings=readings, blocks=whole)


def _why_not(
    setup: Setup, trials: Sequence[Trial], raced: Race | None, confirmation: Confirmation | None,
    comparison: Comparison | None, *, was_interrupted: bool,
) -> str:  # fmt: skip
    ran, better = len(best(trials)), setup.rig.objective.better
    if was_interrupted:
        return f"the tuning was interrupted after {len(trials)} trials, before anything was proven"
    if not trials:
        return "the budget left no time for a single trial; give it more with --budget"
    if ran == 0:
        return f"none of the {len(trials)} configurations tried can stand in for stock (see the reasons)"
    if raced is None or (not raced.survivors and raced.rounds == 0):
        return f"none of the {ran} configurations that ran looked {better} than stock"
    if not raced.survivors:
        return f"stock was not beaten in a race of {raced.rounds} rounds against the most promising configurations"
    if confirmation is not None and confirmation.is_too_noisy:
        rounds = sum(epoch.rounds for epoch in confirmation.epochs)
        discarded = sum(epoch.discarded for epoch in confirmation.epochs)
        return (
            f"{discarded} of the {rounds} rounds of the confirmation were disturbed by something else on this machine"
        )
    if confirmation is not None and comparison is None and confirmation.lost:
        deaths = "; ".join(confirmation.lost.values())
        return f"what looked {better} did not survive in fresh processes: {deaths}"
    if confirmation is None or comparison is None:
        return "the budget ended before the first epoch of the confirmation; give it more with --budget"
    value = "{} [{}]".format(*ratio_and_interval(comparison.speedup))
    epochs = f"{len(comparison.epochs)} epochs of fresh processes"
    if comparison.verdict is Verdict.EQUIVALENT:
        return f"the best challenger is no different from stock within the margin: {value} over {epochs}"
    if comparison.verdict is Verdict.SLOWER:
        return f"the best challenger proved worse in fresh processes: {value}"
    if confirmation.ran_out:
        return f"the budget ended after {epochs}, which say {value} and prove nothing yet; give it more with --budget"
    return f"{epochs} say {value}, which does not clear the margin of {comparison.margin:.1%}"


def _slow_phases(raced: Race | None) -> tuple[Note, ...]:
    """That the machine had phases in which stock itself was slow, which the choice of a winner left out."""
    if raced is None or not raced.slow_heats:
        return ()
    text = (
        f"stock itself was more than {math.expm1(SLOW):.0%} slower than usual in {raced.slow_heats} of the"
        f" {raced.heats + raced.slow_heats} heats of the race, which were run again: something else slows the cores"
    )
    return (Note(caution=Caution.SLOW_MACHINE, text=text),)


def _endings(confirmation: Confirmation | None, was_interrupted: bool) -> tuple[Note, ...]:
    notes = []
    if was_interrupted:
        text = "the tuning was interrupted; what it finished is kept, and --resume goes on from there"
        notes.append(Note(caution=Caution.INTERRUPTED, text=text))
    elif confirmation is not None and confirmation.ran_out:
        text = f"the budget ended after {len(confirmation.epochs)} epochs of the confirmation"
        notes.append(Note(caution=Caution.OUT_OF_BUDGET, text=text))
    return tuple(notes)


def _saturations(setup: Setup, trials: Sequence[Trial]) -> tuple[Note, ...]:
    """Names the cause once, where 8-bit weights failed parity on a CPU that cannot sum their products."""
    if setup.surroundings.has_vnni:
        return ()
    failed = [trial for trial in trials if isinstance(trial, TrialFailure) and trial.kind is FailureKind.PARITY]
    wide = [trial for trial in failed if trial.config.recipe.quantise and trial.config.recipe.quantise.may_saturate]
    if not wide:
        return ()
    text = f"this CPU has no VNNI: {len(wide)} configurations with 8-bit weights gave wrong answers"
    return (Note(caution=Caution.INT8_SATURATION, text=text),)


def write_bundle(setup: Setup, tuning: Tuning, out: Path, *, keep_default: bool) -> None:
    """Put what was proven into `out`: the winner, or stock.

    Raises:
        StorageError: it cannot be written; the results are in the store all the same.
    """
    rig, winner = setup.rig, tuning.winner.config
    files = _files(setup, winner)
    samples = rig.feeds[winner.batch]
    document = json.loads(to_json(tuning_document(tuning)))
    kept = ("verdict", "reason", "objective", "speedup", "comparison", "baseline", "winner", "parity", "machine")
    record = {name: document[name] for name in kept} | {
        "model": {"path": _place(rig), "content_hash": rig.facts.content_hash},
        "dims": dict(rig.workload.dims),
        "distributions": dict(rig.workload.distributions),
        "versions": dict(rig.machine.versions),
        "cautions": document["cautions"],
    }
    # Of a PyTorch model nothing else holds the program that stock was: it may have come from a function.
    keeps = keep_default and not winner.recipe.keeps_file if rig.native is None else winner.runtime != NATIVE
    default = _files(setup, tuning.baseline.config) if keeps else ()
    bundle.write(
        out,
        bundle.Contents(
            name=model_name(rig.facts.path),
            summary=render(tuning, Format.TABLE).partition("\n\n")[0],
            picture=draw(tuning),
            config=winner,
            files=files,
            default=default,
            samples=samples if samples.stat().st_size <= MOST_SAMPLE_BYTES else None,
            runtime_version=setup.runtime_versions[winner.runtime],
            isa=rig.machine.isa,
            record=record,
            plan=document["plan"],
            inputs=rig.facts.inputs,
            outputs=rig.facts.outputs,
        ),
    )


def _place(rig: Rig) -> str:
    """Where the model as given lies; the words that name it where it is a function."""
    path = Path(rig.facts.path)
    return str(path.resolve()) if path.exists() else str(path)


def _files(setup: Setup, config: TrialConfig) -> tuple[Path, ...]:
    """The artefact first, then the external data that it refers to."""
    artefact = setup.rig.artefact(config)
    if artefact == setup.rig.native:
        return (artefact,)
    if config.recipe.keeps_file:
        return (artefact, *(artefact.parent / name for name in setup.rig.facts.external_files))
    others = sorted(path for path in artefact.parent.rglob("*") if path.is_file())
    return (artefact, *(path for path in others if path != artefact and path.name != MANIFEST_NAME))


def epoch_record(epoch: Epoch) -> dict[str, Any]:
    """An epoch as plain JSON types."""
    record: dict[str, Any] = msgspec.to_builtins(epoch)
    return record


def epoch_from(record: Mapping[str, Any]) -> Epoch:
    """The epoch that `epoch_record` described."""
    return Epoch(
        values=record["values"],
        blocks={
            key: tuple(
                Block(
                    latency_ns=tuple(block["latency_ns"]),
                    spacing_ns=block.get("spacing_ns"),
                    shapes=tuple(block.get("shapes", ())),
                )
                for block in blocks
            )
            for key, blocks in record["blocks"].items()
        },
        rounds=record["rounds"],
        discarded=record["discarded"],
        setup_s=record["setup_s"],
        cost_s=record["cost_s"],
    )


def frontier_record(frontier: Frontier) -> dict[str, Any]:
    """A frontier as plain JSON types."""
    record: dict[str, Any] = msgspec.to_builtins(frontier)
    return record


def frontier_from(record: Mapping[str, Any]) -> Frontier:
    """The frontier that `frontier_record` described."""
    return msgspec.convert(record, Frontier)


def is_complete(epoch: Epoch, finalists: Sequence[str]) -> bool:
    """Whether an epoch of an earlier call holds all that this one needs."""
    return {CLONE, *finalists} <= set(epoch.values)
