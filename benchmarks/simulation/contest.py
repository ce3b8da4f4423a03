"""infer-opt and the rules that others use, side by side on the same noise and the same seconds."""

from typing import Any

import numpy as np
from benchmarks.simulation.noise import Noise
from benchmarks.simulation.ours import Costs, tunings
from benchmarks.simulation.rates import Rate
from benchmarks.simulation.studies import ROUNDS, paths, ratio_coverage
from benchmarks.simulation.theirs import RULES, T_TEST, best_of, with_gain

from infer_opt.results import Verdict
from infer_opt.stats.confirm import LOOKS

OURS = "infer-opt"
GAINS = (0.02, 0.03, 0.05, 0.10)
TIMES_S = (5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 80.0)
MORE_TIME_S = 30.0
# As people use them: 20 runs, 100 ms, ten windows of 5 s at most, as long as it takes; and ours to its last look.
COMMON_S = {"three windows within 10 %": MORE_TIME_S, T_TEST: MORE_TIME_S, OURS: 80.0}


def figures(scale: float, rng: np.random.Generator) -> dict[str, Any]:
    """Everything that is drawn, as plain JSON types: shares of rule, noise, gain and time."""
    return {
        "seconds": MORE_TIME_S,
        "false_winner": {rule: false_winners(rule, scale, rng) for rule in (*RULES, OURS)},
        "false_winner_with_time": {
            rule: false_winners(rule, scale, rng, seconds=MORE_TIME_S) for rule in (*RULES, OURS)
        },
        "power": {rule: power_curves(rule, scale, rng) for rule in (*RULES, OURS)},
        "coverage": {rule: coverage(rule, scale, rng) for rule in (*RULES, OURS)},
        "best_of_64_identical": {rule: inflation(rule, scale, rng) for rule in (*RULES, OURS)},
    }


def times(scale: float, whole: int) -> int:
    """Repeats of one cell, at least 20."""
    return max(20, round(scale * whole))


def false_winners(rule: str, scale: float, rng: np.random.Generator, *, seconds: float | None = None) -> dict[str, Any]:
    """noise -> how often one of two identical configurations is called the winner, as commonly used or in `seconds`."""
    seconds = COMMON_S.get(rule, 0.0) if seconds is None else seconds
    rates: dict[str, Any] = {}
    for noise in Noise:
        if rule == OURS:
            faster, slower = _ours(noise, rng, times(scale, 2000), gain=0.0, seconds=seconds)
            rates[noise] = Rate(hits=faster.hits + slower.hits, trials=faster.trials).to_dict()
        else:
            one = RULES[rule](noise, rng, times(scale, 500), seconds)
            rates[noise] = _rate(one.faster() | one.slower()).to_dict()
    return rates


def power_curves(rule: str, scale: float, rng: np.random.Generator) -> dict[str, Any]:
    """gain -> for each time, the share of the six noises' repeats in which it is found, and the wrong one is."""
    curves: dict[str, Any] = {}
    for gain in GAINS:
        right, wrong = [], []
        for seconds in TIMES_S:
            found = [_answers(rule, noise, rng, times(scale, 120), (gain, seconds)) for noise in Noise]
            right.append(round(sum((one[0] for one in found), Rate(hits=0, trials=0)).share, 4))
            wrong.append(round(sum((one[1] for one in found), Rate(hits=0, trials=0)).share, 4))
        curves[f"{gain:g}"] = {"seconds": list(TIMES_S), "found": right, "wrong": wrong}
    return curves


def coverage(rule: str, scale: float, rng: np.random.Generator) -> dict[str, Any]:
    """noise -> how often the printed 95 % interval of the ratio holds a second measurement by the same rule."""
    count = times(scale, 500)
    if rule == OURS:
        return {n: ratio_coverage(n, rng, repeats=count, gain=0.05).again.to_dict() for n in Noise}
    rates: dict[str, Any] = {}
    for noise in Noise:
        first, again = (RULES[rule](noise, rng, count, COMMON_S.get(rule, 0.0)) for _ in range(2))
        rates[noise] = _rate(np.abs(again.centre - first.centre) <= first.reach).to_dict()
    return rates


def inflation(rule: str, scale: float, rng: np.random.Generator) -> dict[str, float]:
    """noise -> by how many per cent the best of 64 identical configurations is printed as faster, on average."""
    count = times(scale, 60)
    if rule != OURS:
        return {n: round(100.0 * float(np.expm1(best_of(rule, n, rng, repeats=count)).mean()), 3) for n in Noise}
    printed = {noise: [one.printed for one in tunings(noise, rng, repeats=count, spread=0.0)] for noise in Noise}
    # A tuning that hands stock back prints no gain: it counts as none.
    return {n: round(100.0 * float(np.expm1(values).sum()) / count, 3) for n, values in printed.items()}


def _answers(
    rule: str, noise: Noise, rng: np.random.Generator, count: int, case: tuple[float, float]
) -> tuple[Rate, Rate]:
    gain, seconds = case
    if rule == OURS:
        return _ours(noise, rng, count, gain=gain, seconds=seconds)
    shift = float(np.log1p(gain))
    found = with_gain(rule, noise, rng, repeats=count, seconds=seconds, gain=shift)
    return _rate(found.faster(shift)), _rate(found.slower(shift))


def _ours(noise: Noise, rng: np.random.Generator, count: int, *, gain: float, seconds: float) -> tuple[Rate, Rate]:
    costs = Costs()
    rounds = min(ROUNDS, costs.rounds_within(seconds))
    most = min(LOOKS[-1], costs.epochs_within(seconds, rounds))
    if most < LOOKS[0]:
        return Rate(hits=0, trials=count), Rate(hits=0, trials=count)
    ended = [one.verdict for one in paths(noise, rng, repeats=count, gain=gain, rounds=rounds, most=most)]
    faster, slower = ended.count(Verdict.FASTER), ended.count(Verdict.SLOWER)
    return Rate(hits=faster, trials=count), Rate(hits=slower, trials=count)


def _rate(hits: "np.ndarray[Any, Any]") -> Rate:
    return Rate(hits=int(hits.sum()), trials=hits.size)
