"""Each safeguard of the measurement, on and off: with it a promise holds, without it the same promise breaks.

`SAFEGUARDS` names them all. A promise is checked on the real code; then the smallest piece of real code that makes the
safeguard is replaced, and the very same check has to fail.
"""

import math
import random
import re
from collections.abc import Callable, Mapping, MutableSequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import MS, FakeRig, FakeWorker
from infer_opt import confirming, measure
from infer_opt import racing as chapter
from infer_opt import rig as rigs
from infer_opt.config import TrialConfig
from infer_opt.confirming import Epoch
from infer_opt.measure import ClockCost, Plan, plan_block
from infer_opt.results import Estimate, Verdict
from infer_opt.rig import BASELINE, Rig
from infer_opt.stats import confirm as claims
from infer_opt.stats import race as racing
from infer_opt.stats.confirm import decide_all
from infer_opt.stats.intervals import FloatArray, hodges_lehmann, student_t
from infer_opt.workers.rounds import Entrant, Round, measure_round
from proof import promises
from proof.worlds import most_allowed

DOCUMENT = Path(__file__).parents[2] / "docs" / "measurement.md"
ONE_PER_CENT, FIVE_PER_CENT = 0.01, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """A piece of the real code, and what stands in its place while the safeguard is off."""

    owner: Any
    name: str
    by: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A safeguard and its proof.

    `named` is what docs/measurement.md calls the rule that it belongs to. `wrong` gives how far reality is from
    `promise`: a share of wrong answers, or the size of an error; the promise holds up to `limit`.
    """

    named: str
    promise: str
    wrong: Callable[[], float]
    limit: float
    without: tuple[Replaced, ...]


def tolerated(share: float, worlds: int) -> float:
    """The share of failures in so many worlds that chance explains when the true one is `share`."""
    return most_allowed(share, worlds) / worlds


# What stands in the place of a safeguard


original_enter = Rig.enter


def same_processes_again(
    rig: FakeRig, configs: Mapping[str, TrialConfig], generator: random.Random
) -> tuple[dict[str, Entrant], dict[str, str]]:
    """What is open already is used once more."""
    open_ones = {worker.name.partition("#")[0]: worker for worker in reversed(rig.world.workers)}
    if not set(configs) <= set(open_ones):
        return original_enter(rig, configs, generator)
    return {key: Entrant(config=config, worker=open_ones[key]) for key, config in configs.items()}, {}


def without_lead_in(latency_ns: float, cost: ClockCost, *, after_stop: bool = True) -> Plan:
    return replace(plan_block(latency_ns, cost, after_stop=after_stop), lead_in_runs=0)


def one_after_another(rig: Rig, entrants: Mapping[str, Entrant], generator: random.Random, wanted: int) -> list[Round]:
    """Every configuration has all its blocks at once."""
    keys = list(entrants)
    generator.shuffle(keys)
    alone = {
        key: [
            measure_round(
                {key: entrants[key]}, number=number, objective=rig.objective, generator=generator, watch=rig.watch
            )
            for number in range(wanted)
        ]
        for key in keys
    }
    return [
        replace(
            alone[keys[0]][number],
            order=tuple(keys),
            blocks={key: alone[key][number].blocks[key] for key in keys},
            values={key: alone[key][number].values[key] for key in keys},
        )
        for number in range(wanted)
    ]


original_rounds = confirming._rounds


def unpaired(rig: Rig, entrants: Mapping[str, Entrant], generator: random.Random, wanted: int) -> list[Round]:
    """The same blocks, but stock's are those of another round."""
    found = original_rounds(rig, entrants, generator, wanted)
    others = found[len(found) // 2 :] + found[: len(found) // 2]
    return [
        replace(one, values={**one.values, BASELINE: other.values[BASELINE]})
        for one, other in zip(found, others, strict=True)
    ]


def as_given(generator: random.Random, keys: MutableSequence[Any]) -> None:
    """An order that nobody draws."""


def with_hindsight(live: Mapping[str, Entrant], **settings: Any) -> Round:
    """A round that looks slow is taken for disturbed."""
    found = measure_round(live, **settings)
    looks_slow = max(found.values.values()) > math.log(1.1 * MS)
    return replace(found, discarded="slow") if looks_slow else found


original_run_epoch = confirming.run_epoch


def on_what_chose(
    rig: FakeRig, contenders: Mapping[str, TrialConfig], stock: TrialConfig, **settings: Any
) -> tuple[Epoch | None, dict[str, str]]:
    """The epochs that chose the winner count for it again."""
    remembered = rig.world.remembered  # type: ignore[attr-defined]
    if len(contenders) == 1 and remembered:
        return remembered.pop(0), {}
    return original_run_epoch(rig, contenders, stock, **settings)


def by_a_repeated_sign_test(slower: int, rounds: int, *, entrants: int, alpha: float = 0.05) -> bool:
    """What a sign test says that believes it is asked once."""
    from scipy.stats import binom

    return rounds >= racing.MINIMUM_ROUNDS and bool(binom.sf(slower - 1, rounds, 0.5) <= alpha)


EVERY_EPOCH = tuple(range(2, 20))


def whatever_looks_faster(interval: Estimate, reach: float) -> Verdict:
    return Verdict.FASTER if interval.value < 0.0 else Verdict.SLOWER


def winners_spread_alone(sample: FloatArray, clone: FloatArray) -> Estimate:
    centre = hodges_lehmann(sample)
    reach = student_t(0.975, sample.size - 1) * float(sample.std(ddof=1)) * math.sqrt(2.0 / sample.size)
    return Estimate(value=centre, low=centre - reach, high=centre + reach)


SAFEGUARDS = {
    "fresh processes": Mutation(
        named="A fresh process for each configuration",
        promise="the luck of one process is not a speed-up",
        wrong=promises.claims_where_processes_differ,
        limit=tolerated(ONE_PER_CENT, 60),
        without=(Replaced(owner=Rig, name="enter", by=same_processes_again),),
    ),
    "freezing of idle workers": Mutation(
        named="A fresh process for each configuration",
        promise="a configuration that leaves a core to the idle sessions of others does not win by that",
        wrong=promises.claims_of_one_thread_over_two,
        limit=0.0,
        without=(Replaced(owner=FakeWorker, name="freeze", by=lambda worker: None),),
    ),
    "warm-up": Mutation(
        named="Warm-up, apart from the measurement",
        promise="run times that still drift are waited for, or said to drift",
        wrong=promises.unnoticed_drift,
        limit=0.005,
        without=(Replaced(owner=measure, name="has_steady_state", by=lambda log_times, before: True),),
    ),
    "lead-in": Mutation(
        named="Warm-up, apart from the measurement",
        promise="waking up after a stop is not timed",
        wrong=promises.block_error,
        limit=0.01,
        without=(Replaced(owner=measure, name="plan_block", by=without_lead_in),),
    ),
    "a longer lead-in after a stop": Mutation(
        named="Warm-up, apart from the measurement",
        promise="waking up after a stop is not timed",
        wrong=promises.block_error,
        limit=0.01,
        without=(Replaced(owner=measure, name="AFTER_STOP_RUNS", by=0),),
    ),
    "interleaving": Mutation(
        named="Paired rounds",
        promise="10 % are found on a machine that drifts",
        wrong=promises.misses_where_the_machine_drifts,
        limit=tolerated(FIVE_PER_CENT, 40),
        without=(Replaced(owner=confirming, name="_rounds", by=one_after_another),),
    ),
    "paired baseline": Mutation(
        named="Paired rounds",
        promise="5 % are found beside somebody who computes half of the time",
        wrong=promises.misses_beside_a_co_runner,
        limit=tolerated(FIVE_PER_CENT, 40),
        without=(Replaced(owner=confirming, name="_rounds", by=unpaired),),
    ),
    "randomised order": Mutation(
        named="Paired rounds",
        promise="a place in the round is not a speed-up",
        wrong=promises.claims_where_the_first_block_is_cold,
        limit=tolerated(ONE_PER_CENT, 30),
        without=(Replaced(owner=random.Random, name="shuffle", by=as_given),),
    ),
    "blind discards": Mutation(
        named="Disturbed rounds are thrown away blindly",
        promise="what is thrown away does not depend on what was measured",
        wrong=promises.discards_that_latencies_decide,
        limit=0.0,
        without=(Replaced(owner=rigs, name="measure_round", by=with_hindsight),),
    ),
    "fresh data for the winner": Mutation(
        named="Choosing and claiming are kept apart",
        promise="the best of many equals is not printed as faster than it is",
        wrong=promises.flattery,
        limit=0.003,
        without=(Replaced(owner=confirming, name="run_epoch", by=on_what_chose),),
    ),
    "evidence that may be looked at in every round": Mutation(
        named="Choosing and claiming are kept apart",
        promise="the truly fastest is seldom lost in the race",
        wrong=promises.best_lost_in_the_race,
        limit=tolerated(FIVE_PER_CENT, 100),
        without=(Replaced(owner=racing, name="is_eliminated", by=by_a_repeated_sign_test),),
    ),
    "fresh processes in each heat": Mutation(
        named="Choosing and claiming are kept apart",
        promise="the truly fastest is seldom lost to a luckier process",
        wrong=promises.best_lost_to_luck,
        limit=tolerated(FIVE_PER_CENT, 40),
        without=(
            Replaced(owner=chapter, name="HEAT_ROUNDS", by=80),
            Replaced(owner=chapter, name="HEATS_A_CUT", by=1),
            Replaced(owner=chapter, name="allowance", by=lambda heats: 0.0),
        ),
    ),
    "setting slow heats aside": Mutation(
        named="Chosen for the quiet machine",
        promise="what a slow core happens to spare is not chosen for that",
        wrong=promises.picks_of_a_slow_machine,
        limit=tolerated(ONE_PER_CENT, 20),
        without=(Replaced(owner=chapter, name="is_slow", by=lambda level, quiet: False),),
    ),
    "corrected looks": Mutation(
        named="Looks",
        promise="looking again and again finds nothing that is not there",
        wrong=promises.verdicts_on_a_restless_configuration,
        limit=tolerated(FIVE_PER_CENT, 400),
        without=(
            Replaced(owner=claims, name="LOOKS", by=EVERY_EPOCH),
            Replaced(owner=claims, name="decide_all", by=partial(decide_all, level=0.05)),
        ),
    ),
    "clone margin": Mutation(
        named="The margin",
        promise="what happens to stock alone is not a speed-up of all others",
        wrong=promises.claims_where_stock_is_unlucky,
        limit=tolerated(ONE_PER_CENT, 30),
        without=(Replaced(owner=claims, name="noise_floor", by=lambda clone_epochs: 0.0),),
    ),
    "smallest margin": Mutation(
        named="The margin",
        promise="less than 1 % is not claimed",
        wrong=promises.claims_of_next_to_nothing,
        limit=0.0,
        without=(Replaced(owner=claims, name="MINIMUM_MARGIN", by=0.0),),
    ),
    "proof before advice": Mutation(
        named="Never worse",
        promise="nothing slower than stock is handed back",
        wrong=promises.worse_than_stock,
        limit=tolerated(ONE_PER_CENT, 40),
        without=(Replaced(owner=claims, name="_verdict", by=whatever_looks_faster),),
    ),
    "a centre that slow processes hardly move": Mutation(
        named="re-measure interval",
        promise="a second measurement falls into the printed interval nine times of ten",
        wrong=partial(promises.second_measurements_missed, promises.epochs_with_slow_processes, 9),
        limit=0.10,
        without=(Replaced(owner=claims, name="hodges_lehmann", by=lambda values: float(np.mean(values))),),
    ),
    "the larger spread": Mutation(
        named="re-measure interval",
        promise="a second measurement falls into the printed interval nineteen times of twenty",
        wrong=partial(promises.second_measurements_missed, promises.calm_epochs, 4),
        limit=0.05,
        without=(Replaced(owner=claims, name="_remeasure", by=winners_spread_alone),),
    ),
}


@pytest.mark.parametrize("name", SAFEGUARDS)
def test_the_claim_holds_with(name: str) -> None:
    safeguard = SAFEGUARDS[name]

    assert safeguard.wrong() <= safeguard.limit, safeguard.promise


@pytest.mark.parametrize("name", SAFEGUARDS)
def test_the_claim_breaks_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    safeguard = SAFEGUARDS[name]
    for replaced in safeguard.without:
        monkeypatch.setattr(replaced.owner, replaced.name, replaced.by)

    assert safeguard.wrong() > safeguard.limit, f"{safeguard.promise}: holds without {name}, which proves nothing"


# What the contract names in so many words, beside what the page for users describes.
CONTRACT = {
    "interleaving",
    "fresh processes",
    "corrected looks",
    "lead-in",
    "clone margin",
    "freezing of idle workers",
    "blind discards",
    "paired baseline",
    "randomised order",
    "the larger spread",
}


def test_no_safeguard_that_users_are_told_of_is_without_proof() -> None:
    text = DOCUMENT.read_text()
    told = text.partition("## What it does")[2].partition("\n## ")[0]
    rules = {rule.rstrip(".") for rule in re.findall(r"^\*\*(.+?)\*\*", told, re.MULTILINE)}
    named = {safeguard.named for safeguard in SAFEGUARDS.values()}

    assert len(rules) >= 8
    assert rules <= named
    assert all(name in text for name in named)  # nor is one proven that nobody is told of


def test_no_safeguard_of_the_contract_is_without_proof() -> None:
    assert set(SAFEGUARDS) >= CONTRACT
