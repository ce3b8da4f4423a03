"""The confirmation: the only source of claims. Fresh processes each epoch, data that no choice has seen."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from infer_opt.config import Objective, TrialConfig
from infer_opt.errors import ModelError
from infer_opt.results import Block, Comparison, Verdict
from infer_opt.rig import BASELINE, CLONE, Rig
from infer_opt.stats.confirm import LOOKS, Decision, decide_all, epoch_value, remeasure, rounds_per_epoch, speedup
from infer_opt.workers.rounds import Entrant, Round

MOST_DISCARDED = 0.2
TRIES = 1.5  # rounds that an epoch may try for each that it needs, before it counts as disturbed
EPOCH_VARIANCE = 0.012**2  # before any epoch was seen: what fresh processes differ by in recorded spaces, squared
ROUND_NOISE = 0.05  # before any paired round was seen: ln(time), of equals
LEAST_NOISE, MOST_NOISE = 0.01, 0.2  # what a few rounds seem to stray by is held within these
FEWEST_ROUNDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One set of fresh processes. `values` are ln(time / baseline's time) of the contenders and of the clone."""

    values: Mapping[str, float]
    blocks: Mapping[str, tuple[Block, ...]]
    rounds: int
    discarded: int
    setup_s: float
    cost_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the epochs say of each contender."""

    comparisons: Mapping[str, Comparison]
    epochs: tuple[Epoch, ...]
    is_too_noisy: bool
    ran_out: bool
    lost: Mapping[str, str] = field(default_factory=dict)


def confirm(
    rig: Rig, contenders: Mapping[str, TrialConfig], stock: TrialConfig, *, generator: random.Random, rounds: int,
    fits: Callable[[float], bool], least: int = 0, most: int = LOOKS[-1], done: Sequence[Epoch] = (),
    keep: Callable[[Epoch], None] = lambda epoch: None,
) -> Confirmation:  # fmt: skip
    """Measure epochs until the first contender's claim is decided, the last look is over, or the time is.

    Arguments:
        contenders: key -> configuration, the race's winner first.
        least: epochs to measure even when the claim is decided before.
        most: the last look, in epochs.
        fits: is asked before each epoch with its expected cost in seconds; 0 before the first.
        done: epochs of an earlier call of the same tuning, which count.
        keep: is given each finished epoch at once.
    """
    epochs = list(done)
    contenders = dict(contenders)
    lost: dict[str, str] = {}
    # What earlier calls measured may settle it already, or end just at a look.
    decisions = _decide(epochs, contenders) if _usable(epochs) in LOOKS else {}
    ran_out = False
    # Noise at one look may be gone by the next: only what is left of the time ends a noisy confirmation.
    while _usable(epochs) < most and not _is_hopeless(epochs):
        if _usable(epochs) >= least and _is_settled(decisions, contenders):
            break
        if not fits(epochs[-1].cost_s if epochs else 0.0):
            ran_out = True
            break
        epoch, died = run_epoch(rig, contenders, stock, generator=generator, rounds=rounds)
        lost |= died
        contenders = {key: config for key, config in contenders.items() if key not in died}
        if epoch is None:
            continue
        epochs.append(epoch)
        keep(epoch)
        if epoch.values and _usable(epochs) in LOOKS and not is_too_noisy(epochs):
            decisions = _decide(epochs, contenders)
    if contenders and (_usable(epochs) not in LOOKS or not decisions):
        # Between two looks nothing new can be proven; what a look has proven stands.
        latest = _decide(epochs, contenders)
        proven = {key: decision for key, decision in decisions.items() if decision.verdict is not Verdict.INCONCLUSIVE}
        decisions = latest | proven
    # When the time is over before four epochs and all of them were disturbed, it was the noise that left no answer.
    noisy = is_too_noisy(epochs) or (bool(epochs) and not _usable(epochs))
    return Confirmation(
        comparisons={
            key: _comparison(config, decisions[key], key, epochs, noisy)
            for key, config in contenders.items()
            if key in decisions
        },
        epochs=tuple(epochs),
        is_too_noisy=noisy,
        ran_out=ran_out,
        lost=lost,
    )


def run_epoch(
    rig: Rig, contenders: Mapping[str, TrialConfig], stock: TrialConfig, *, generator: random.Random, rounds: int
) -> tuple[Epoch | None, dict[str, str]]:
    """One epoch: respawn everyone in random order, then `rounds` undisturbed rounds. None when a contender died.

    Raises:
        ModelError: the baseline or its clone died.
    """
    begin = time.monotonic()
    entrants, lost = rig.enter({BASELINE: stock, CLONE: stock} | dict(contenders), generator)
    setup_s = time.monotonic() - begin
    try:
        found = [] if lost else _rounds(rig, entrants, generator, rounds)
    finally:
        for entrant in entrants.values():
            entrant.worker.close()
    lost |= {key: error.what for one in found for key, error in one.lost.items()}
    for key in {BASELINE, CLONE} & set(lost):
        raise ModelError(f"the stock session died in the confirmation: {lost[key]}")
    kept = [one for one in found if one.discarded is None]
    if lost or len(kept) < min(FEWEST_ROUNDS, rounds):
        # An epoch that was disturbed throughout still counts its discards, or the noise would never be seen.
        return (None if lost else _empty_epoch(found, setup_s, begin)), lost
    values = {
        key: epoch_value([one.values[key] - one.values[BASELINE] for one in kept])
        for key in entrants
        if key != BASELINE
    }
    return Epoch(
        values=values,
        blocks={key: tuple(one.blocks[key] for one in kept) for key in entrants if key != CLONE},
        rounds=len(found),
        discarded=len(found) - len(kept),
        setup_s=setup_s,
        cost_s=time.monotonic() - begin,
    ), {}


def _empty_epoch(found: Sequence[Round], setup_s: float, begin: float) -> Epoch:
    return Epoch(
        values={}, blocks={}, rounds=len(found), discarded=len(found), setup_s=setup_s, cost_s=time.monotonic() - begin
    )


def _rounds(rig: Rig, entrants: Mapping[str, Entrant], generator: random.Random, wanted: int) -> list[Round]:
    found: list[Round] = []
    while sum(one.discarded is None for one in found) < wanted and len(found) < wanted * TRIES:
        one = rig.round(entrants, len(found), generator)
        found.append(one)
        if one.lost:
            break
    return found


def is_too_noisy(epochs: Sequence[Epoch]) -> bool:
    """More than a fifth of all rounds were disturbed from outside, over the four epochs that a first look needs."""
    rounds, discarded = sum(epoch.rounds for epoch in epochs), sum(epoch.discarded for epoch in epochs)
    return len(epochs) >= LOOKS[0] and discarded > MOST_DISCARDED * rounds


def _is_hopeless(epochs: Sequence[Epoch]) -> bool:
    """Four epochs in a row were disturbed throughout."""
    return len(epochs) >= LOOKS[0] and not _usable(epochs[-LOOKS[0] :])


def _usable(epochs: Sequence[Epoch]) -> int:
    return sum(bool(epoch.values) for epoch in epochs)


def _decide(epochs: Sequence[Epoch], contenders: Mapping[str, TrialConfig]) -> dict[str, Decision]:
    usable = [epoch for epoch in epochs if epoch.values]
    if not usable:
        return {}
    claims = {key: [epoch.values[key] for epoch in usable] for key in contenders}
    return decide_all(claims, [epoch.values[CLONE] for epoch in usable])


def _is_settled(decisions: Mapping[str, Decision], contenders: Mapping[str, TrialConfig]) -> bool:
    """Nobody is left; or the winner's claim is decided; or it is proven no faster and nobody else is undecided."""
    if not contenders:
        return True
    first = decisions.get(next(iter(contenders)))
    if first is None:
        return False
    if first.verdict is Verdict.FASTER:
        return True
    return all(decisions[key].verdict is not Verdict.INCONCLUSIVE for key in contenders)


def _comparison(config: TrialConfig, decision: Decision, key: str, epochs: Sequence[Epoch], noisy: bool) -> Comparison:
    usable = [epoch for epoch in epochs if epoch.values]
    return Comparison(
        config=config,
        verdict=Verdict.TOO_NOISY if noisy else decision.verdict,
        speedup=speedup(decision),
        remeasure=remeasure(decision),
        margin=decision.margin,
        noise_floor=decision.noise_floor,
        epochs=tuple(epoch.values[key] for epoch in usable),
        clone_epochs=tuple(epoch.values[CLONE] for epoch in usable),
        discarded_rounds=sum(epoch.discarded for epoch in epochs),
        rounds=sum(epoch.rounds - epoch.discarded for epoch in epochs),
    )


def plan_rounds(
    setup_s: float,
    round_s: float,
    *,
    round_noise: float | None,
    left_s: float,
    objective: Objective = Objective.LATENCY,
) -> int:
    """Rounds an epoch: the most precise share of the time, fewer when four epochs would not fit into `left_s`.

    One, where a process shows what counts as a whole.

    Arguments:
        round_noise: the standard deviation of a paired round of equals (ln), as seen; None when nobody has seen it.
    """
    if objective.is_of_a_process:
        return 1
    noise = ROUND_NOISE if round_noise is None else min(max(round_noise, LEAST_NOISE), MOST_NOISE)
    best = rounds_per_epoch(
        max(setup_s, 1e-3), max(round_s, 1e-4), variance_round=noise**2, variance_epoch=EPOCH_VARIANCE
    )
    affordable = int((left_s / LOOKS[0] - setup_s) / max(round_s, 1e-4))
    return max(FEWEST_ROUNDS, min(best, affordable))
