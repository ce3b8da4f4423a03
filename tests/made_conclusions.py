"""Races and confirmations that ended as they are told to, and what is concluded of them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fakes import PASSED, World, make_result, make_rig, make_setup
from infer_opt.concluding import Outcome, conclude
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.confirming import Confirmation, Epoch
from infer_opt.racing import Race
from infer_opt.results import Block, Comparison, Estimate, FailureKind, Trial, TrialFailure, TrialResult, Verdict
from infer_opt.rig import BASELINE, CLONE, Limits
from infer_opt.trials import Stock

STOCK = TrialConfig()
ONE, TWO, THREE = (TrialConfig(options=SessionOptions(intra_threads=count)) for count in (1, 2, 3))
FAILED = TrialFailure(config=THREE, kind=FailureKind.CRASH, reason="the worker crashed with SIGSEGV")


def raced_with(
    ratios: Mapping[TrialConfig, float], *, survivors: Sequence[TrialConfig | None] | None = None, **changes: Any
) -> Race:
    """A finished race over these ln ratios; None among the survivors is stock."""
    by_ratio: list[TrialConfig] = sorted(ratios, key=lambda config: ratios[config])
    ordered = by_ratio if survivors is None else survivors
    settings: dict[str, Any] = {
        "configs": {config.key: config for config in ratios},
        "survivors": tuple(BASELINE if config is None else config.key for config in ordered),
        "is_equivalence_set": False,
        "rounds": 40,
        "discarded": 0,
        "log_ratios": {config.key: ratio for config, ratio in ratios.items()} | {BASELINE: 0.0},
        "lost": {},
    }
    return Race(**(settings | changes))


def comparison(config: TrialConfig, verdict: Verdict, speedup: float = 1.2, *, epochs: int = 4) -> Comparison:
    estimate = Estimate(value=speedup, low=speedup * 0.95, high=speedup * 1.05, confidence=0.99)
    return Comparison(
        config=config,
        verdict=verdict,
        speedup=estimate,
        remeasure=estimate,
        margin=0.012,
        noise_floor=0.01,
        epochs=(-math.log(speedup),) * epochs,
        clone_epochs=(0.001,) * epochs,
        rounds=80,
    )


def epoch(times_ns: Mapping[str, Sequence[int]]) -> Epoch:
    """An epoch of one block each, of these run times."""
    return Epoch(
        values=dict.fromkeys((*times_ns, CLONE), 0.0),
        blocks={key: (Block(latency_ns=tuple(times)),) for key, times in times_ns.items()},
        rounds=20,
        discarded=0,
        setup_s=1.0,
        cost_s=2.0,
    )


def confirmation(*comparisons: Comparison, epochs: Sequence[Epoch] = (), **changes: Any) -> Confirmation:
    settings: dict[str, Any] = {
        "comparisons": {one.config.key: one for one in comparisons},
        "epochs": tuple(epochs),
        "is_too_noisy": False,
        "ran_out": False,
    }
    return Confirmation(**(settings | changes))


def concluded(
    trials: Sequence[Trial],
    raced: Race | None,
    found: Confirmation | None,
    *,
    limits: Limits | None = None,
    was_interrupted: bool = False,
    stock: TrialResult | None = None,
) -> Outcome:
    world = World()
    setup = make_setup(make_rig(world, limits=limits or Limits()))
    base = Stock(
        entrant=world.entrant(STOCK, BASELINE),
        setup_s=1.0,
        round_s=0.05,
        result=stock or make_result(STOCK),
        metric=None,
        self_parity=PASSED,
        checked=8,
    )
    return conclude(setup, base, trials, raced, found, was_interrupted=was_interrupted)


def fates(outcome: Outcome) -> dict[TrialConfig, str]:
    return {standing.trial.config: standing.fate for standing in outcome.standings}


RAN = [make_result(ONE, -0.1)]
LED = raced_with({ONE: -0.1})
