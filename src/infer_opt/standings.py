"""Where each trial of a tuning ended up, why it is not the winner, and what nothing beats on every count."""

import math
from collections.abc import Sequence

from infer_opt.config import Objective
from infer_opt.confirming import Confirmation
from infer_opt.racing import Race
from infer_opt.reports.pareto import Coordinate, Point, front
from infer_opt.results import Standing, Trial, TrialFailure, TrialResult

NORMAL_95 = 1.96
# What two looks at one configuration may differ by: ln(time) and ln(bytes) of its process, and parity.
ALIKE_TIME, ALIKE_MEMORY, ALIKE_PARITY = 0.03, 0.01, 0.0005


def standings(
    objective: Objective, baseline: TrialResult, winner: TrialResult, trials: Sequence[Trial], raced: Race | None,
    confirmation: Confirmation | None,
) -> tuple[Standing, ...]:  # fmt: skip
    """Every trial, stock first, with its fate and the reason."""
    whole: list[Trial] = [baseline]
    whole += [winner if trial.config == winner.config else trial for trial in trials if trial.config != baseline.config]
    on_front = iter(front([_point(trial, objective) for trial in whole if isinstance(trial, TrialResult)]))
    found = []
    for trial in whole:
        fate, reason = _fate(trial, baseline, winner, raced, confirmation, better=objective.better)
        on = next(on_front) if isinstance(trial, TrialResult) else False
        found.append(Standing(trial=trial, fate=fate, reason=reason, on_pareto_front=on))
    return tuple(found)


def _point(trial: TrialResult, objective: Objective) -> Point:
    """The objective as far as it is known, time where that is something else, memory and parity."""
    half = NORMAL_95 * trial.log_ratio_error
    median_ns, memory = trial.readings.quantile_ns(0.5), trial.readings.peak_rss_bytes
    time = None if median_ns is None else math.log(median_ns / trial.config.batch)
    return (
        (trial.log_ratio - half, trial.log_ratio + half),
        _about(time, ALIKE_TIME) if objective.is_of_a_process else None,
        _about(None if memory is None else math.log(memory), ALIKE_MEMORY),
        _about(1 - trial.parity.score, ALIKE_PARITY),
    )


def _about(value: float | None, half: float) -> Coordinate:
    return None if value is None else (value - half, value + half)


def _fate(
    trial: Trial, baseline: TrialResult, winner: TrialResult, raced: Race | None, confirmation: Confirmation | None, *,
    better: str,
) -> tuple[str, str]:  # fmt: skip
    key = trial.config.key
    if trial.config == winner.config and winner.config != baseline.config:
        return "winner", f"proven {better} than stock in fresh processes"
    if trial.config == baseline.config:
        return "stock", "the settings that all others are measured against"
    if isinstance(trial, TrialFailure):
        return "failed", trial.reason
    comparison = confirmation.comparisons.get(key) if confirmation is not None else None
    if comparison is not None:
        return "not chosen", f"{comparison.verdict} in the confirmation: {comparison.speedup.value:.3g}x stock"
    if confirmation is not None and key in confirmation.lost:
        return "lost", f"its worker ended in the confirmation: {confirmation.lost[key]}"
    if raced is not None and key in raced.lost:
        return "lost", f"its worker ended in the race: {raced.lost[key]}"
    if raced is not None and key in raced.survivors:
        return "not confirmed", "the tuning ended before it could be confirmed"
    if raced is not None and raced.rounds and key in raced.log_ratios:
        return "raced", f"left the race: {math.exp(-raced.log_ratios[key]):.3g}x stock in {raced.rounds} rounds"
    if trial.log_ratio >= 0:
        return "screened", f"no {better} than stock in the screen"
    return "screened", f"may be {better} than stock, but others looked better in the screen"
