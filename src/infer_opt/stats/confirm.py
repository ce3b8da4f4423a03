"""Claims: what fresh epochs against the baseline prove, with the clone as the live control.

Epoch values are ln(time / baseline's time), one an epoch; below 0 is faster.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from infer_opt.errors import ConfigError
from infer_opt.results import Estimate, Verdict
from infer_opt.stats.intervals import FloatArray, Values, as_sample, exp_ratio, hodges_lehmann, mean_interval, student_t

LOOKS = (4, 6, 9, 13, 19)
LEVEL = 0.01  # two-sided, at each look: five looks and the margin together stay under 1 %
MINIMUM_MARGIN = 0.01
LARGEST_EQUIVALENCE = 0.02  # a share: a machine that cannot tell 5 % from nothing must not call 5 % equivalent
DEFAULT_ROUNDS = 20
FEWEST_ROUNDS, MOST_ROUNDS = 8, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the epochs so far say. `log_*`, `low`, `high` and `remeasure_*` are log ratios; the others are shares.

    `log_centre` is the epochs' Hodges-Lehmann value. `low` and `high` have confidence 1 - `level` for their mean; the
    re-measure bounds hold the centre of as many new epochs with 95 %.
    `is_final` means that more epochs would not be looked at.
    """

    verdict: Verdict
    is_final: bool
    epochs: int
    level: float
    log_centre: float
    low: float
    high: float
    remeasure_low: float
    remeasure_high: float
    margin: float
    noise_floor: float


def epoch_value(differences: Values) -> float:
    """An epoch's one number: Hodges-Lehmann of its paired rounds.

    Raises:
        EvidenceError: no rounds, or one that is not finite.
    """
    return hodges_lehmann(differences)


def noise_floor(clone_epochs: Values) -> float:
    """The share by which the baseline seems to differ from itself: |mean| + its 95 % half-width, over epochs.

    The smallest difference that this machine can show today. Infinite for one epoch.

    Raises:
        EvidenceError: no epochs, or one that is not finite.
    """
    clone = mean_interval(clone_epochs, confidence=0.95)
    return exp_ratio(abs(clone.value) + (clone.high - clone.low) / 2.0) - 1.0


def decide(epochs: Values, clone_epochs: Values, *, level: float = LEVEL) -> Decision:
    """Faster or slower beyond the margin, or equivalent within it and within 2 %, if proven; else inconclusive.

    Only the looks, 4, 6, 9, 13 and 19 epochs, can prove anything. At any other number (the budget ended) the verdict is
    inconclusive, with the interval of the epochs there are: infinite for one.

    Raises:
        EvidenceError: no epochs, or one that is not finite.
        ConfigError: `level` is not strictly between 0 and 1.

    Source: Haybittle 1971, "Repeated assessment of results in clinical trials" (one strict level at every look).
    """
    sample = as_sample(epochs)
    floor = noise_floor(clone_epochs)
    margin = max(MINIMUM_MARGIN, floor)
    interval = mean_interval(sample, confidence=1.0 - level)
    remeasure = _remeasure(sample, as_sample(clone_epochs))
    verdict = Verdict.INCONCLUSIVE
    if sample.size in LOOKS and math.isfinite(margin):  # an infinite margin would call everything equivalent
        verdict = _verdict(interval, math.log1p(margin))
    return Decision(
        verdict=verdict,
        is_final=verdict is not Verdict.INCONCLUSIVE or sample.size >= LOOKS[-1],
        epochs=sample.size,
        level=level,
        log_centre=hodges_lehmann(sample),
        low=interval.low,
        high=interval.high,
        remeasure_low=remeasure.low,
        remeasure_high=remeasure.high,
        margin=margin,
        noise_floor=floor,
    )


def decide_all(claims: Mapping[str, Values], clone_epochs: Values, *, level: float = LEVEL) -> dict[str, Decision]:
    """`decide` for several claims against one baseline, so that a false "faster" among them stays within `level`.

    Holm's steps: every claim is judged at level / (claims not yet proven faster), until no more are. The other verdicts
    are those of the last step.

    Raises:
        EvidenceError: a claim or the clone without epochs, or one that is not finite.
        ConfigError: `level` is not strictly between 0 and 1.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    proven: dict[str, Decision] = {}
    open_claims = dict(claims)
    while open_claims:
        judged = {
            name: decide(epochs, clone_epochs, level=level / len(open_claims)) for name, epochs in open_claims.items()
        }
        faster = {name: decision for name, decision in judged.items() if decision.verdict is Verdict.FASTER}
        proven |= faster or judged
        open_claims = {name: epochs for name, epochs in open_claims.items() if name not in proven}
    return {name: proven[name] for name in claims}


def speedup(decision: Decision) -> Estimate:
    """How many times faster: baseline's time over time, 2.0 = half the time, with the decision's own interval."""
    return Estimate(
        value=exp_ratio(-decision.log_centre),
        low=exp_ratio(-decision.high),
        high=exp_ratio(-decision.low),
        confidence=1.0 - decision.level,
    )


def remeasure(decision: Decision) -> Estimate:
    """The speed-up that a second measurement of as many epochs gives, 95 times in 100.

    Wider by sqrt(2) than an interval for the truth: both measurements err.
    """
    return Estimate(
        value=exp_ratio(-decision.log_centre),
        low=exp_ratio(-decision.remeasure_high),
        high=exp_ratio(-decision.remeasure_low),
        confidence=0.95,
    )


def rounds_per_epoch(
    cost_per_epoch_s: float,
    cost_per_round_s: float,
    *,
    variance_round: float | None = None,
    variance_epoch: float | None = None,
) -> int:
    """The rounds an epoch should take for the most precision a second: 8 to 40, and 20 while a variance is unknown.

    sqrt(cost ratio x variance ratio): `cost_per_epoch_s` is what respawning takes, `cost_per_round_s` one round,
    `variance_round` that of a round's difference within an epoch, `variance_epoch` that between true epoch means.

    Raises:
        ConfigError: a cost that is not positive, or a negative variance.

    Source: Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time", section 9.
    """
    if not (cost_per_epoch_s > 0.0 and cost_per_round_s > 0.0):
        raise ConfigError(f"costs must be positive, got {cost_per_epoch_s} s an epoch, {cost_per_round_s} s a round")
    if variance_round is None or variance_epoch is None:
        return DEFAULT_ROUNDS
    if variance_round < 0.0 or variance_epoch < 0.0:
        raise ConfigError(f"variances must be 0 or more, got {variance_round} and {variance_epoch}")
    if variance_epoch == 0.0:
        return MOST_ROUNDS if variance_round > 0.0 else DEFAULT_ROUNDS
    best = math.sqrt(cost_per_epoch_s / cost_per_round_s * (variance_round / variance_epoch))
    return round(min(max(best, FEWEST_ROUNDS), MOST_ROUNDS))


def _verdict(interval: Estimate, reach: float) -> Verdict:
    if interval.high < -reach:
        return Verdict.FASTER
    if interval.low > reach:
        return Verdict.SLOWER
    alike = min(reach, math.log1p(LARGEST_EQUIVALENCE))
    if -alike < interval.low and interval.high < alike:
        return Verdict.EQUIVALENT
    return Verdict.INCONCLUSIVE


def _remeasure(sample: FloatArray, clone: FloatArray) -> Estimate:
    """Where the centre of as many new epochs falls.

    A process now and then runs at a fraction of its speed throughout; one such epoch of four moves a mean out of any
    interval that four quiet epochs gave, and hardly moves Hodges-Lehmann.
    A spread from four epochs is too small by half in one case of seven, and the interval then misses most new
    measurements. The clone's epochs ran beside them and show the same processes' luck, so the larger spread counts.
    """
    centre = hodges_lehmann(sample)
    if sample.size == 1:
        return Estimate(value=centre, low=-math.inf, high=math.inf)
    spread = max(float(one.std(ddof=1)) for one in (sample, clone) if one.size > 1) * math.sqrt(2.0 / sample.size)
    reach = student_t(0.975, sample.size - 1) * spread
    return Estimate(value=centre, low=centre - reach, high=centre + reach)
