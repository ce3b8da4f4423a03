"""The trials of a tuning as rows: every number that a report shows, once, in its raw unit."""

import math
from dataclasses import dataclass

from infer_opt.config import TrialConfig
from infer_opt.results import Estimate, Quantile, Standing, Trial, TrialFailure, TrialResult, Tuning, TuningVerdict

_NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trial, with its place in the tuning. `speedup` is the estimate of the screen, paired with the baseline.

    `label` is the configuration for people, beside that baseline.
    """

    trial: Trial
    fate: str
    reason: str
    on_pareto_front: bool
    is_baseline: bool
    is_winner: bool
    speedup: Estimate | None
    label: str

    @property
    def config(self) -> TrialConfig:
        """What was tried."""
        return self.trial.config

    @property
    def failed(self) -> bool:
        """Whether it gave no usable result."""
        return isinstance(self.trial, TrialFailure)

    def quantile(self, q: float) -> Quantile | None:
        """The latency percentile at `q`, with what is missing for it."""
        quantiles = self.trial.readings.quantiles if self.trial.readings else ()
        return next((quantile for quantile in quantiles if quantile.q == q), None)

    def quantile_ns(self, q: float) -> float | None:
        """The latency at `q`, or None without the evidence for it."""
        found = self.quantile(q)
        return None if found is None else found.value_ns

    @property
    def cold_start_ns(self) -> int | None:
        """From nothing to the first answer: opening, then the first run."""
        readings = self.trial.readings
        return None if readings is None else readings.open_ns + readings.first_run_ns

    def reading(self, name: str) -> float | None:
        """One field of the readings; None where the trial has none."""
        return None if self.trial.readings is None else getattr(self.trial.readings, name)

    @property
    def parity_score(self) -> float | None:
        """How far the outputs agree with stock, 0 to 1."""
        return None if self.trial.parity is None else self.trial.parity.score


def rows(tuning: Tuning) -> tuple[Row, ...]:
    """Every trial: the winner, then by time an item, then what failed. The baseline is always among them."""
    standings = list(tuning.standings)
    for trial, fate in ((tuning.baseline, "stock"), (tuning.winner, "winner")):
        if all(standing.trial.config != trial.config for standing in standings):
            standings.append(Standing(trial=trial, fate=fate, reason=""))
    return tuple(sorted((_row(standing, tuning) for standing in standings), key=_order))


def screen_speedup(trial: Trial) -> Estimate | None:
    """How many times faster than the baseline the paired blocks of the screen say, with a 95 % interval."""
    if isinstance(trial, TrialFailure) or not math.isfinite(trial.log_ratio):
        return None
    half = _NORMAL_95 * trial.log_ratio_error
    return Estimate(
        value=math.exp(-trial.log_ratio), low=math.exp(-trial.log_ratio - half), high=math.exp(-trial.log_ratio + half)
    )


def _row(standing: Standing, tuning: Tuning) -> Row:
    trial = standing.trial
    return Row(
        trial=trial,
        fate=standing.fate,
        reason=standing.reason or (trial.reason if isinstance(trial, TrialFailure) else ""),
        on_pareto_front=standing.on_pareto_front,
        is_baseline=trial.config == tuning.baseline.config,
        is_winner=tuning.verdict is TuningVerdict.FASTER and trial.config == tuning.winner.config,
        speedup=screen_speedup(trial),
        label=trial.config.label_beside(tuning.baseline.config),
    )


def _order(row: Row) -> tuple[bool, bool, float, str]:
    relative_time = row.trial.log_ratio if isinstance(row.trial, TrialResult) else 0.0
    return row.failed, not row.is_winner, relative_time, row.label
