"""From the trials of a tuning for throughput to a plan: how to serve many callers, and what was seen of the knee."""

import math
import statistics
from collections.abc import Sequence

from infer_opt.config import Objective, TrialConfig
from infer_opt.facts import ModelFacts
from infer_opt.machine.cores import hardware_threads, lay_out
from infer_opt.plans import LoadPoint, Plan
from infer_opt.results import FailureKind, Trial, TrialFailure, TrialResult
from infer_opt.rig import Limits, Rig
from infer_opt.search.knee import knee, lane
from infer_opt.search.screen import best

LANES = 6  # configurations whose batch sizes are told, stock's and the winner's among them
WAITED_SHARE = 0.5  # of what a call takes: waiting longer for a fuller batch costs more than a call gains


def plan_of(rig: Rig, baseline: TrialResult, winner: TrialResult, trials: Sequence[Trial]) -> Plan | None:
    """The plan that the winner stands for; None where latency was asked for.

    How far to batch is left open where stock is handed back, and where the model takes no other batch.
    """
    if rig.objective is not Objective.THROUGHPUT:
        return None
    config = winner.config
    says = config != baseline.config and can_batch(rig.facts)
    return Plan(
        instances=config.instances,
        threads=config.options.intra_threads,
        cores=cores_of(config),
        batch=config.batch,
        max_batch=config.batch if says else None,
        max_wait_s=max_wait_s(winner, rig.limits) if says else None,
        points=points(baseline, winner, trials),
    )


def can_batch(facts: ModelFacts) -> bool:
    """Whether the model takes any number of items a call."""
    return facts.batch_dim is not None


def cores_of(config: TrialConfig) -> tuple[tuple[int, ...], ...]:
    """The hardware threads of each instance on this machine; empty where they are left to the scheduler."""
    if config.instances == 1:
        return ()
    return lay_out(hardware_threads(), instances=config.instances, each=config.options.intra_threads)


def max_wait_s(winner: TrialResult, limits: Limits) -> float:
    """How long a request should wait for others: half of a call, or what the limit on p99 leaves beside a call."""
    p50 = winner.readings.quantile_ns(0.5) or 0.0
    p99 = winner.readings.quantile_ns(0.99) or p50
    left = p50 if limits.max_p99_ns is None else max(0.0, limits.max_p99_ns - p99)
    return round(min(WAITED_SHARE * p50, left) / 1e9, 6)


def points(baseline: TrialResult, winner: TrialResult, trials: Sequence[Trial]) -> tuple[LoadPoint, ...]:
    """Batch by batch: stock's lane, the winner's, and the best of the others of which several batches were tried."""
    known: dict[TrialConfig, Trial] = {trial.config: trial for trial in trials}
    known |= {baseline.config: baseline, winner.config: winner}
    lanes: dict[TrialConfig, list[Trial]] = {}
    for trial in sorted(known.values(), key=lambda trial: trial.config.batch):
        if isinstance(trial, TrialResult) or (trial.kind is FailureKind.CONSTRAINT and trial.readings is not None):
            lanes.setdefault(lane(trial.config), []).append(trial)
    ranked = dict.fromkeys(lane(trial.config) for trial in best(list(known.values())))
    first = (lane(baseline.config), lane(winner.config))
    told = dict.fromkeys((*first, *(one for one in ranked if len(lanes[one]) > 1)))
    return tuple(point for one in list(told)[:LANES] for point in _lane(lanes[one], baseline, winner))


def _items_per_s(trial: Trial, baseline: TrialResult) -> float:
    """Stock's own throughput times the ratio, so that all are comparable: of the paired rounds, or of what was read."""
    means = [statistics.fmean(block.latency_ns) for block in baseline.blocks]
    stock = baseline.config.batch / statistics.median(means) * 1e9
    if isinstance(trial, TrialResult):
        return stock * math.exp(-trial.log_ratio)
    read = math.nan if trial.readings is None else trial.readings.items_per_s
    return stock * read / baseline.readings.items_per_s


def _lane(trials: Sequence[Trial], baseline: TrialResult, winner: TrialResult) -> list[LoadPoint]:
    seen = {one.config.batch: -one.log_ratio if isinstance(one, TrialResult) else None for one in trials}
    turning = knee(seen) if len(seen) > 1 else None
    return [
        LoadPoint(
            name=lane(trial.config).label,
            instances=trial.config.instances,
            threads=trial.config.options.intra_threads,
            batch=trial.config.batch,
            items_per_s=_items_per_s(trial, baseline),
            p50_ns=trial.readings.quantile_ns(0.5),
            p99_ns=trial.readings.quantile_ns(0.99),
            speedup=math.exp(-trial.log_ratio) if isinstance(trial, TrialResult) else None,
            is_stock=trial.config == baseline.config,
            is_chosen=trial.config == winner.config,
            is_knee=trial.config.batch == turning,
            limit=trial.reason if isinstance(trial, TrialFailure) else None,
        )
        for trial in trials
        if trial.readings is not None
    ]
