"""One comparison of a contender with stock, by the confirmation that all claims of `tune` and `bench` rest on."""

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.evidence import Evidence, Tier
from benchmarks.live import counted
from benchmarks.live.stand import Observation, Ready

from infer_opt.budget import Budget
from infer_opt.config import TrialConfig
from infer_opt.confirming import Confirmation, Epoch, confirm, plan_rounds
from infer_opt.results import Verdict
from infer_opt.rig import BASELINE, Rig
from infer_opt.stats.confirm import LARGEST_EQUIVALENCE, LEVEL, LOOKS
from infer_opt.stats.intervals import mean_interval

SUBJECT = "subject"
NO_ANSWER = "no-answer"  # the time ended before two epochs were measured
FALSE = frozenset({Verdict.FASTER, Verdict.SLOWER})
ENTRANTS = 3  # the contender, stock and stock's clone
QUARTILES_TO_DEVIATION = 1.349


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """How one comparison is made. `least` and `most` bound its epochs, `limit_s` its time."""

    limit_s: float
    least: int = 0
    most: int = LOOKS[-1]


def compare(
    ready: Ready, contender: TrialConfig, *, contest: Contest, generator: random.Random, artefact: Path,
    rig: Rig | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Hold `contender`, opened from `artefact`, against stock, and say what came of it."""
    rounds = plan_rounds(
        ENTRANTS * ready.setup_s,
        ENTRANTS * ready.round_s,
        round_noise=None,
        left_s=contest.limit_s,
    )
    budget = Budget(total_s=contest.limit_s)
    found = confirm(
        replace(rig or ready.rig, given={SUBJECT: artefact}),
        {SUBJECT: contender},
        ready.stock,
        generator=generator,
        rounds=rounds,
        fits=budget.fits,
        least=contest.least,
        most=contest.most,
    )
    return observed(found) | {"seconds": round(budget.elapsed_s, 2), "limit_s": contest.limit_s}


def observed(found: Confirmation) -> dict[str, Any]:
    """A confirmation of one contender, as plain JSON types."""
    comparison = found.comparisons.get(SUBJECT)
    discards = {
        "rounds": sum(epoch.rounds for epoch in found.epochs),
        "discarded": sum(epoch.discarded for epoch in found.epochs),
        "round_noise": round_noise(found.epochs),
    }
    if comparison is None:
        lost = found.lost.get(SUBJECT)
        verdict = str(Verdict.TOO_NOISY) if found.is_too_noisy else NO_ANSWER
        return {"verdict": verdict, "epochs": [], "clone_epochs": [], "margin": None, "lost": lost} | discards
    return {
        "verdict": str(comparison.verdict),
        "epochs": [round(value, 6) for value in comparison.epochs],
        "clone_epochs": [round(value, 6) for value in comparison.clone_epochs],
        # One epoch has an infinite margin, which JSON cannot hold.
        "margin": comparison.margin if math.isfinite(comparison.margin) else None,
        "lost": None,
    } | discards


def round_noise(epochs: Sequence[Epoch]) -> float | None:
    """What a round's ln(contender / stock) varies by within an epoch: the median over epochs, by its quartiles.

    Quartiles, since a burst now and then is not what a round is usually like. None without an epoch of four rounds.
    """
    spreads = []
    for epoch in epochs:
        pairs = zip(epoch.blocks.get(SUBJECT, ()), epoch.blocks.get(BASELINE, ()), strict=True)
        values = [
            math.log(statistics.median(one.latency_ns) / statistics.median(other.latency_ns)) for one, other in pairs
        ]
        if len(values) >= 4:
            low, _, high = statistics.quantiles(values, n=4)
            spreads.append((high - low) / QUARTILES_TO_DEVIATION)
    return statistics.median(spreads) if spreads else None


def is_false_without_margin(epochs: Sequence[float]) -> bool:
    """Whether the interval of any look that these epochs reached excludes "no difference": with no margin to clear."""
    looked = [mean_interval(epochs[:look], confidence=1.0 - LEVEL) for look in LOOKS if look <= len(epochs)]
    return any(interval.low > 0.0 or interval.high < 0.0 for interval in looked)


def of_equals(found: Sequence[Observation], *, row: int, setting: str, rate: float, cause: str = "") -> Evidence:
    """The line for comparisons of stock with itself: a verdict that there is a difference is false."""
    verdicts = [one["verdict"] for one in found]
    wrong = sum(verdict in FALSE for verdict in verdicts)
    said = f": {counted.counts(verdicts)}" if verdicts else ""
    return Evidence(
        row=row,
        tier=Tier.LIVE,
        setting=f"{setting}{said}",
        target=counted.seldom("false verdicts over equals", wrong, len(found), rate=rate),
        cause=cause,
    )


def is_wrong(one: Observation, slowdown: float) -> bool:
    """Whether a contender that is slower by `slowdown` (a share) was called faster, or equal within less than that."""
    if one["verdict"] == Verdict.FASTER:
        return True
    # Equal within a margin that holds the slow-down is right; nothing is called equal within more than 2 %.
    held = min(one["margin"] or 0.0, LARGEST_EQUIVALENCE)
    return bool(one["verdict"] == Verdict.EQUIVALENT and held < slowdown)


def models_of(found: Sequence[Observation]) -> str:
    """The models' names, each once."""
    return ", ".join(dict.fromkeys(one["model"] for one in found))
