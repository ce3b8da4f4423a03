"""Trials as they would look on the quiet machine, as far as what stock took beside them tells."""

import math
from collections.abc import Sequence
from dataclasses import replace

from infer_opt.results import Trial, TrialResult
from infer_opt.stats.levels import is_slow, quiet_level


def stock_levels(done: Sequence[Trial]) -> list[float]:
    """What an item took stock beside each trial that ran, as ln(ns)."""
    seen = (trial.baseline_ns for trial in done if isinstance(trial, TrialResult))
    return [math.log(found) for found in seen if found is not None]


def in_quiet(done: Sequence[Trial]) -> tuple[Trial, ...]:
    """The same trials; of those that were measured while stock was slow, the ratio is moved and its error widened.

    Where stock was slower than usual by x, and what slowed it left the trial alone, the trial's ratio is too good by
    x; where it slowed both alike, the ratio is right. So the quiet ratio lies between the ratio and the ratio + x: the
    middle is taken, and half the width as an error more.
    """
    quiet = quiet_level(stock_levels(done))
    return tuple(_moved(trial, quiet) if isinstance(trial, TrialResult) else trial for trial in done)


def _moved(trial: TrialResult, quiet: float | None) -> TrialResult:
    if quiet is None or trial.baseline_ns is None or not is_slow(math.log(trial.baseline_ns), quiet):
        return trial
    half = (math.log(trial.baseline_ns) - quiet) / 2
    return replace(trial, log_ratio=trial.log_ratio + half, log_ratio_error=math.hypot(trial.log_ratio_error, half))
