"""Results as JSON documents of a stable shape: docs/json.md describes every field."""

import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from infer_opt.config import TrialConfig
from infer_opt.facts import MachineFacts, ModelFacts
from infer_opt.reports.rows import Row, rows, screen_speedup
from infer_opt.results import (
    Benchmark,
    Changes,
    Comparison,
    Estimate,
    Finding,
    Frontier,
    Readings,
    Trial,
    TrialFailure,
    TrialResult,
    Tuning,
)

SCHEMA_VERSION = 1


def to_json(document: dict[str, Any]) -> str:
    """Indented JSON; an infinity or NaN, which JSON has no word for, is null."""
    return json.dumps(finite(msgspec.to_builtins(document)), indent=2, ensure_ascii=False, allow_nan=False)


def tuning_document(tuning: Tuning) -> dict[str, Any]:
    """What `tune --format json` gives."""
    trials = rows(tuning)
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": tuning.verdict,
        "reason": tuning.reason,
        "objective": tuning.objective,
        "speedup": _speedup(tuning.comparison),
        "comparison": _comparison(tuning.comparison, tuning.baseline.config),
        "baseline": next(_row(row) for row in trials if row.is_baseline),
        "winner": next(_row(row) for row in trials if row.config == tuning.winner.config),
        "trials": [_row(row) for row in trials],
        "search": tuning.search,
        "diagnoses": tuning.diagnoses,
        "precision": [_frontier(frontier) for frontier in tuning.frontiers],
        "plan": tuning.plan,
        "parity": tuning.winner.parity,
        "machine": machine_document(tuning.machine),
        "model": _model(tuning.model),
        "cautions": tuning.notes,
        "bundle": tuning.bundle,
        "elapsed_s": tuning.elapsed_s,
        "budget_s": tuning.budget_s,
        "settings": dict(tuning.settings),
    }


def _frontier(frontier: Frontier) -> dict[str, Any]:
    return {
        "label": frontier.recipe.label,
        "recipe": frontier.recipe,
        "call_ns": frontier.call_ns,
        "layers": frontier.layers,
        "points": frontier.points,
    }


def benchmark_document(benchmark: Benchmark) -> dict[str, Any]:
    """What `bench --format json` gives."""
    reference = benchmark.reference_trial
    return {
        "schema_version": SCHEMA_VERSION,
        "subject": benchmark.subject,
        "reference": benchmark.reference,
        "verdict": None if benchmark.comparison is None else benchmark.comparison.verdict,
        "speedup": _speedup(benchmark.comparison),
        "comparison": _comparison(benchmark.comparison, None),
        "median_ns": benchmark.median_ns,
        "processes": benchmark.processes or None,
        "claim": benchmark.claim,
        "claim_holds": benchmark.claim_holds,
        "trial": _trial(benchmark.trial),
        "reference_trial": None if reference is None else _trial(reference),
        "parity": benchmark.parity,
        "machine": machine_document(benchmark.machine),
        "cautions": benchmark.notes,
    }


def findings_document(findings: Sequence[Finding], machine: MachineFacts) -> dict[str, Any]:
    """What `doctor --format json` gives."""
    return {"schema_version": SCHEMA_VERSION, "machine": machine_document(machine), "findings": list(findings)}


def machine_document(machine: MachineFacts) -> dict[str, Any]:
    """The machine; versions as an object, library -> version."""
    return {**msgspec.to_builtins(machine), "versions": dict(machine.versions)}


def _row(row: Row) -> dict[str, Any]:
    return {
        **_trial(row.trial),
        "label": row.label,
        "fate": row.fate,
        "reason": row.reason,
        "on_pareto_front": row.on_pareto_front,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    result = trial if isinstance(trial, TrialResult) else None
    return {
        "key": trial.config.key,
        "label": trial.config.label,
        "config": trial.config.to_dict(),
        "failure": trial.kind if isinstance(trial, TrialFailure) else None,
        "screen_speedup": _interval(screen_speedup(trial)),
        "readings": None if trial.readings is None else _readings(trial.readings),
        "parity": trial.parity,
        "placement": dict(result.placement.nodes) if result and result.placement else None,
        "changes": _changes(result.changes) if result and result.changes else None,
        "cautions": result.notes if result else (),
    }


def _readings(readings: Readings) -> dict[str, Any]:
    """The readings; the sizes of a shape as an object, dimension -> size."""
    by_shape = [
        {
            "dims": dict(one.shape.dims),
            "weight": one.shape.weight,
            "quantiles": one.quantiles,
            "first_seen_ns": one.first_seen_ns,
        }
        for one in readings.shapes
    ]
    return {**msgspec.to_builtins(readings), "shapes": by_shape, "expected_ns": readings.expected_ns}


def _changes(changes: Changes) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(changes)
    return {**document, **{name: dict(document[name]) for name in ("operators_added", "operators_removed")}}


def _speedup(comparison: Comparison | None) -> dict[str, float] | None:
    if comparison is None:
        return None
    return {
        "estimate": comparison.speedup.value,
        "low": comparison.speedup.low,
        "high": comparison.speedup.high,
        "remeasure_low": comparison.remeasure.low,
        "remeasure_high": comparison.remeasure.high,
    }


def _comparison(comparison: Comparison | None, stock: TrialConfig | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    return {
        "key": comparison.config.key,
        "label": comparison.config.label if stock is None else comparison.config.label_beside(stock),
        "verdict": comparison.verdict,
        "confidence": comparison.speedup.confidence,
        "remeasure_confidence": comparison.remeasure.confidence,
        "margin": comparison.margin,
        "noise_floor": comparison.noise_floor,
        "epochs": comparison.epochs,
        "clone_epochs": comparison.clone_epochs,
        "rounds": comparison.rounds,
        "discarded_rounds": comparison.discarded_rounds,
    }


def _interval(estimate: Estimate | None) -> dict[str, float] | None:
    return None if estimate is None else {"estimate": estimate.value, "low": estimate.low, "high": estimate.high}


def _model(model: ModelFacts) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(model)
    return {**document, "operators": dict(model.operators), "vocabularies": dict(model.vocabularies)}


def finite(value: Any) -> Any:
    """The plain value with null in the place of infinities and NaN, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
