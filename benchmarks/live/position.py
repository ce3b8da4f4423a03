"""Does it matter who is first in a round? Three equals in rounds of random order; who was first, against the others.

What a process is by luck is taken out first: each one's values are centred on their own mean. The order is drawn anew
in each round, so that a bias of the first place would harm nobody in particular; this says how large it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.evidence import Evidence, Findings, Tier
from benchmarks.live.pairs import models_of
from benchmarks.live.stand import FAST, FASTEST, SLOW, Experiment, Observation, Stand, repeat
from benchmarks.record import Target

from infer_opt.rig import BASELINE, CLONE
from infer_opt.stats.intervals import hodges_lehmann, mean_interval
from infer_opt.workers.rounds import Round

MODELS = (FAST, SLOW, FASTEST)
THIRD = "third"
ROUNDS, FEWEST = 30, 10
EXPECTED_S = 6.0
MARGIN_PERCENT = 1.0  # what a claim must clear: a bias below it decides nothing


def run(stand: Stand, seen: Sequence[Observation]) -> Iterator[Observation]:
    """Fresh processes for each set of rounds."""
    for number in repeat(stand, EXPECTED_S):
        name = MODELS[number % len(MODELS)]
        ready = stand.ready(name)
        entrants, _ = ready.rig.enter(dict.fromkeys((BASELINE, CLONE, THIRD), ready.stock), stand.generator)
        try:
            rounds = [ready.rig.round(entrants, turn, stand.generator) for turn in range(ROUNDS)]
        finally:
            for entrant in entrants.values():
                entrant.worker.close()
        yield {"model": name} | observed(rounds)
    stand.show("who is first in a round: done")


def observed(rounds: Sequence[Round]) -> dict[str, Any]:
    """Orders and values of the rounds that nothing disturbed."""
    kept = [one for one in rounds if one.discarded is None and not one.lost]
    return {
        "discarded": len(rounds) - len(kept),
        "orders": [list(one.order) for one in kept],
        "values": [{key: round(value, 6) for key, value in one.values.items()} for one in kept],
    }


def first_against_others(orders: Sequence[Sequence[str]], values: Sequence[Mapping[str, float]]) -> float:
    """ln(time of whoever was first / the others'), Hodges-Lehmann over rounds, each entrant centred on its own mean."""
    means = {key: sum(one[key] for one in values) / len(values) for key in orders[0]}
    differences = []
    for order, found in zip(orders, values, strict=True):
        first, *others = (found[key] - means[key] for key in order)
        differences.append(first - sum(others) / len(others))
    return hodges_lehmann(differences)


def judge(found: Sequence[Observation]) -> Findings:
    """The bias in per cent, by the far end of its interval over sets of processes."""
    usable = [one for one in found if len(one["orders"]) >= FEWEST]
    biases = [100.0 * first_against_others(one["orders"], one["values"]) for one in usable]
    setting = f"first in its round against the others, {len(biases)} sets of fresh processes, {models_of(found)}"
    name = "bias of the first place, either way"
    if len(biases) < 2:
        target = Target(name=name, unit="%", measured=None, at_most=MARGIN_PERCENT)
        cause = f"{len(found) - len(usable)} of {len(found)} sets of rounds were disturbed"
        return Findings(evidence=(Evidence(row=3, tier=Tier.LIVE, setting=setting, target=target, cause=cause),))
    interval = mean_interval(biases)
    target = Target(
        name=name,
        unit="%",
        measured=abs(interval.value),
        high=max(abs(interval.low), abs(interval.high)),
        at_most=MARGIN_PERCENT,
    )
    line = Evidence(row=3, tier=Tier.LIVE, setting=setting, target=target)
    return Findings(evidence=(line,), results={"bias_percent": interval, "sets": biases})


EXPERIMENT = Experiment(run=run, judge=judge)
