"""A tuning as it was, from what the store keeps of it: its document, its trials with raw runs, its epochs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from infer_opt.causes import Diagnosis
from infer_opt.config import Objective, TrialConfig
from infer_opt.errors import StorageError
from infer_opt.facts import MachineFacts, ModelFacts
from infer_opt.plans import Plan
from infer_opt.recipes import Recipe
from infer_opt.results import (
    Block,
    Changes,
    Comparison,
    Estimate,
    FailureKind,
    Frontier,
    Note,
    Parity,
    Placement,
    Readings,
    Search,
    Standing,
    Trial,
    TrialFailure,
    TrialResult,
    Tuning,
    TuningVerdict,
    Verdict,
)
from infer_opt.rig import BASELINE
from infer_opt.store.database import Store
from infer_opt.store.phases import CONFIRM, SCREEN, STOCK

_NORMAL_95 = 1.96
_SHAPED = {"operators_added", "operators_removed"}

Kind = TypeVar("Kind")


def tuning(store: Store, identity: str) -> Tuning:
    """The finished tuning of that id.

    A rebuilt one differs from what `tune` gave in one thing: its screened trials that failed have the readings that
    were printed, and no raw runs.

    Raises:
        StorageError: the database cannot be read, the tuning was not finished, or is of another release.
    """
    document = store.result(identity)
    if document is None:
        raise StorageError(f"the tuning {identity} was not finished", hint="infer-opt tune --resume goes on with it")
    kept = {trial.config.key: trial for phase in (SCREEN, STOCK) for trial in store.trials(identity, phase)}
    epochs = [record.payload for record in store.records(identity, CONFIRM)]
    try:
        return _tuning(document, kept, epochs, identity)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise StorageError(
            f"the tuning {identity} cannot be read: {what}", hint="it was written by another release of infer-opt"
        ) from error


def _tuning(
    document: Mapping[str, Any], kept: Mapping[str, Trial], epochs: Sequence[Mapping[str, Any]], identity: str
) -> Tuning:
    stock, won = document["baseline"]["key"], document["winner"]["key"]
    trials = {
        entry["key"]: _trial(
            entry, kept.get(entry["key"]), _pooled(epochs, BASELINE if entry["key"] == stock else entry["key"])
        )
        for entry in (*document["trials"], document["baseline"], document["winner"])
    }
    baseline, winner = trials[stock], trials[won]
    if not isinstance(baseline, TrialResult) or not isinstance(winner, TrialResult):
        raise ValueError("its winner is a trial that failed")
    return Tuning(
        verdict=TuningVerdict(document["verdict"]),
        reason=document["reason"],
        objective=Objective(document["objective"]),
        model=_of(ModelFacts, document["model"], pairs=("operators", "vocabularies")),
        machine=_of(MachineFacts, document["machine"], pairs=("versions",)),
        baseline=baseline,
        winner=winner,
        comparison=_comparison(document, {key: trial.config for key, trial in trials.items()}),
        standings=tuple(_standing(entry, trials[entry["key"]]) for entry in document["trials"]),
        search=_of(Search, document["search"]),
        notes=tuple(_of(Note, note) for note in document["cautions"]),
        bundle=document["bundle"],
        elapsed_s=document["elapsed_s"],
        budget_s=document["budget_s"],
        settings=document["settings"],
        frontiers=tuple(_frontier(entry) for entry in document.get("precision", ())),
        diagnoses=tuple(_of(Diagnosis, entry) for entry in document.get("diagnoses", ())),
        plan=None if document.get("plan") is None else _of(Plan, document["plan"]),
        kept_as=identity,
    )


def _standing(entry: Mapping[str, Any], trial: Trial) -> Standing:
    return Standing(trial=trial, fate=entry["fate"], reason=entry["reason"], on_pareto_front=entry["on_pareto_front"])


def _trial(entry: Mapping[str, Any], kept: Trial | None, pooled: tuple[Block, ...]) -> Trial:
    """A trial of the document, with what that lacks from the one that was kept: raw runs, and ratios unrounded.

    The document is later: the readings of finalists are those of the confirmation.
    """
    config, readings = TrialConfig.from_dict(entry["config"]), entry["readings"]
    parity = None if entry["parity"] is None else _of(Parity, entry["parity"])
    found = None if readings is None else _readings(readings)
    if entry["failure"] is not None:
        kind = FailureKind(entry["failure"])
        return TrialFailure(config=config, kind=kind, reason=entry["reason"], parity=parity, readings=found)
    screened = kept if isinstance(kept, TrialResult) else None
    ratio, error = _log_ratio(entry["screen_speedup"])
    if found is None or parity is None:
        raise ValueError(f"the trial {entry['key']} has no readings")
    return TrialResult(
        config=config,
        readings=found,
        parity=parity,
        log_ratio=screened.log_ratio if screened else ratio,
        log_ratio_error=screened.log_ratio_error if screened else error,
        blocks=pooled or (screened.blocks if screened else ()),
        baseline_ns=screened.baseline_ns if screened else None,
        placement=None if entry["placement"] is None else Placement(nodes=tuple(entry["placement"].items())),
        notes=tuple(_of(Note, note) for note in entry["cautions"]),
        changes=None if entry.get("changes") is None else _of(Changes, entry["changes"], pairs=_SHAPED),
    )


def _log_ratio(speedup: Mapping[str, float] | None) -> tuple[float, float]:
    """ln(time / stock's time) and its error, from a ratio and its 95 % interval; not known where there is none."""
    if speedup is None:
        return math.inf, math.inf
    half = (math.log(speedup["high"]) - math.log(speedup["low"])) / 2
    return -math.log(speedup["estimate"]), half / _NORMAL_95


def _readings(entry: Mapping[str, Any]) -> Readings:
    shapes = [
        {
            "shape": {"dims": list(one["dims"].items()), "weight": one["weight"]},
            "quantiles": one["quantiles"],
            "first_seen_ns": one["first_seen_ns"],
        }
        for one in entry.get("shapes", ())
    ]
    return _of(Readings, {**entry, "shapes": shapes})


def _pooled(epochs: Sequence[Mapping[str, Any]], key: str) -> tuple[Block, ...]:
    """The blocks of all epochs in which it was, in order."""
    return tuple(_of(Block, block) for epoch in epochs for block in epoch["blocks"].get(key, ()))


def _comparison(document: Mapping[str, Any], configs: Mapping[str, TrialConfig]) -> Comparison | None:
    found, speedup = document["comparison"], document["speedup"]
    if found is None:
        return None
    estimate, again = speedup["estimate"], found["remeasure_confidence"]
    return Comparison(
        config=configs[found["key"]],
        verdict=Verdict(found["verdict"]),
        speedup=Estimate(value=estimate, low=speedup["low"], high=speedup["high"], confidence=found["confidence"]),
        remeasure=Estimate(
            value=estimate, low=speedup["remeasure_low"], high=speedup["remeasure_high"], confidence=again
        ),
        margin=found["margin"],
        noise_floor=found["noise_floor"],
        epochs=tuple(found["epochs"]),
        clone_epochs=tuple(found["clone_epochs"]),
        discarded_rounds=found["discarded_rounds"],
        rounds=found["rounds"],
    )


def _frontier(entry: Mapping[str, Any]) -> Frontier:
    return _of(Frontier, {**entry, "recipe": msgspec.to_builtins(_of(Recipe, entry["recipe"]))})


def _of(kind: type[Kind], entry: Mapping[str, Any], *, pairs: Any = ()) -> Kind:
    """The dataclass of those fields; `pairs` are objects in the document, and tuples of (name, value) in it."""
    shaped = {name: list(value.items()) if name in pairs else value for name, value in entry.items()}
    return msgspec.convert(shaped, kind)
