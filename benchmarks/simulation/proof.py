"""The simulated part of the table of proof: every study at a given scale, as lines with target and figure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from benchmarks.evidence import Evidence, Findings, Tier
from benchmarks.record import Target
from benchmarks.simulation import contest
from benchmarks.simulation.noise import Noise
from benchmarks.simulation.ours import Costs, tunings
from benchmarks.simulation.rates import Rate
from benchmarks.simulation.studies import (
    SECONDS,
    Power,
    false_verdicts,
    median_when_stopping,
    paths,
    power,
    power_of,
    ratio_coverage,
    tail_coverage,
)
from benchmarks.simulation.workings import MOST_BIAS, SHAPES, Mean, blind_discards, curse_of, mean_of, warmed_up

QS = (0.5, 0.9, 0.95, 0.99)
NAMES = {0.5: "p50", 0.9: "p90", 0.95: "p95", 0.99: "p99"}
INDEPENDENT = (Noise.GAUSSIAN, Noise.STUDENT, Noise.BURSTS, Noise.DRIFT)
LONGEST_S = (0.4, 3.0)  # a slow beginning that the warm-up can outlast, and one as long as its cap
FEWEST_CLAIMS = 20  # tunings below which a mean says nothing
SPREADS = {"near-equal": 0.005, "spread by 3 %": 0.03}
CAUSES = {
    "power": "an epoch of 6 % noise is 1.1 % uncertain, and the first look at four epochs asks for 5.8 standard errors",
    "hurry": "15 s are four epochs, and the first look at four epochs asks for 5.8 standard errors",
    Noise.CORRELATED: "rounds repeat their neighbours, so 32 are worth about 17",
    Noise.PROCESSES: "each epoch strays by 1.4 % whatever its rounds, so only more epochs, and more time, help",
    "drift": "half a minute of one configuration cannot know a wave of 60 s and steps of 3 %; ratios do not feel them",
    "warm-up": "what comes after runs have been steady for a window of 0.2 s is not foreseen",
    "wide": "bands end at runs that were seen, and are a little wider than they must be",
    "stopping": "stopping once the interval is narrow favours the processes that happen to be alike",
    "tails": "printed only where runs look independent enough, which is where their spread was underestimated",
}


def evidence(scale: float, seed: int) -> Findings:
    """Rows 1, 4, 5, 7, 9 and 10 on simulated noise, and the rules of others on the same.

    Arguments:
        scale: 1 is about four minutes on one core; 0.1 is quick and coarse.
    """
    lines: list[Evidence] = []
    results: dict[str, Any] = {"scale": scale, "seed": seed}
    for name, study in STUDIES.items():
        found, figures = study(scale, np.random.default_rng([seed, len(results)]))
        lines += found
        results[name] = figures
    return Findings(evidence=lines, results=results)


def repeats(scale: float, whole: int) -> int:
    """As many as the scale says, at least 20."""
    return max(20, round(scale * whole))


def percent(name: str, rate: Rate, *, at_most: float | None = None, at_least: float | None = None) -> Target:
    """A share against its limit. At most: the end of its interval must keep it."""
    high = None if at_most is None else 100.0 * rate.high
    return Target(name=name, unit="%", measured=100.0 * rate.share, high=high, at_most=at_most, at_least=at_least)


def line(row: int, setting: str, target: Target, cause: str = "") -> Evidence:
    """A line of the table; the cause stands only beside a miss."""
    return Evidence(row=row, tier=Tier.SIMULATED, setting=setting, target=target, cause="" if target.is_met else cause)


Study = tuple[list[Evidence], Mapping[str, Any]]


def _pairs(scale: float, rng: np.random.Generator) -> Study:
    found = {noise: false_verdicts(noise, rng, repeats=repeats(scale, 4000)) for noise in Noise}
    lines = []
    for noise, one in found.items():
        lines += [
            line(1, f"{noise}, no margin", percent("identical pairs told apart", one.no_margin, at_most=5.0)),
            line(1, f"{noise}, default margin", percent("identical pairs told apart", one.margin, at_most=1.0)),
        ]
    names = ("no_margin", "margin", "every_epoch")
    return lines, {noise: {name: getattr(one, name).to_dict() for name in names} for noise, one in found.items()}


def _power(scale: float, rng: np.random.Generator) -> Study:
    least = {0.10: 99.0, 0.05: 95.0, 0.03: 90.0}
    lines: list[Evidence] = []
    figures: dict[str, Any] = {}
    wrong = Rate(hits=0, trials=0)
    for gain, seconds in SECONDS.items():
        found = {n: power(n, rng, repeats=repeats(scale, 2000), gain=gain, seconds=seconds) for n in Noise}
        name = f"{gain:.0%} found within {seconds:g} s"
        worst = min(INDEPENDENT, key=lambda noise: found[noise].found.share)
        for noise in (worst, Noise.CORRELATED, Noise.PROCESSES):
            setting = f"{noise}{', the worst of four' if noise is worst else ''}, 6 % noise a round"
            cause = CAUSES.get(noise, CAUSES["hurry" if gain == max(SECONDS) else "power"])
            lines.append(line(4, setting, percent(name, found[noise].found, at_least=least[gain]), cause))
        figures[name] = {noise: _power_figures(one) for noise, one in found.items()}
        wrong = sum((one.wrong for one in found.values()), wrong)
    lines.append(line(4, "all six noises, all gains", percent("called slower instead", wrong, at_most=0.1)))
    return lines, figures


def _power_figures(one: Power) -> dict[str, Any]:
    return {"found": one.found.to_dict(), "wrong": one.wrong.to_dict()}


def _other_plans(scale: float, rng: np.random.Generator) -> Study:
    """Power with other numbers of rounds an epoch, and with processes that come up one after another."""
    figures: dict[str, Any] = {}
    plans = {"two at a time": Costs(), "one after another": replace(Costs(), come_up_s=2 * Costs().come_up_s)}
    for label, costs in plans.items():
        for rounds in (10, 20, 30, 40):
            for gain, seconds in SECONDS.items():
                most = min(19, costs.epochs_within(seconds, rounds))
                found = {
                    noise: power_of(
                        paths(noise, rng, repeats=repeats(scale, 400), gain=gain, rounds=rounds, most=most), most=most
                    ).found.share
                    for noise in Noise
                    if most >= 4
                }
                figures[f"{label}, {rounds} rounds, {gain:.0%} in {seconds:g} s"] = {"epochs": most} | found
    return [], figures


def _coverage(scale: float, rng: np.random.Generator) -> Study:
    lines: list[Evidence] = []
    figures: dict[str, Any] = {}
    tails = {noise: tail_coverage(noise, rng, QS, repeats=repeats(scale, 500)) for noise in Noise}
    for q in QS:
        still = [noise for noise in Noise if noise is not Noise.DRIFT and tails[noise][q][0].trials > 1]
        worst = min(still, key=lambda noise: tails[noise][q][0].share)
        pooled = sum((tails[noise][q][0] for noise in still), Rate(hits=0, trials=0))
        name = f"{NAMES[q]} band holds the truth"
        lines.append(
            line(
                5,
                f"{worst}, the worst without drift",
                percent(name, tails[worst][q][0], at_least=93.0),
                CAUSES["tails"],
            )
        )
        if q != 0.99:
            target = Target(name=name, unit="%", measured=100.0 * pooled.share, at_most=97.5)
            lines.append(line(5, "all without drift, on average", target, CAUSES["wide"]))
        figures[NAMES[q]] = {
            n: dict(zip(("band", "as_if_independent"), map(Rate.to_dict, tails[n][q]), strict=True)) for n in Noise
        }
    drift = tails[Noise.DRIFT][0.5][0]
    lines.append(line(5, str(Noise.DRIFT), percent("p50 band holds the truth", drift, at_least=93.0), CAUSES["drift"]))
    stopped = {noise: median_when_stopping(noise, rng, repeats=repeats(scale, 2000)) for noise in Noise}
    worst = min((n for n in Noise if n is not Noise.DRIFT), key=lambda noise: stopped[noise].share)
    target = percent("median of bench holds the truth", stopped[worst], at_least=93.0)
    lines.append(line(5, f"{worst}, the worst without drift, stops itself at 1 %", target, CAUSES["stopping"]))
    figures["median of bench, stops itself"] = {noise: rate.to_dict() for noise, rate in stopped.items()}
    return lines, figures


def _ratios(scale: float, rng: np.random.Generator) -> Study:
    lines: list[Evidence] = []
    figures: dict[str, Any] = {}
    cases = {"stops itself": (19, True), "4 epochs": (4, False), "9 epochs": (9, False)}
    for name, (most, stops) in cases.items():
        found = {
            n: ratio_coverage(n, rng, repeats=repeats(scale, 1000), gain=0.05, most=most, stops=stops) for n in Noise
        }
        worst = min(Noise, key=lambda noise: found[noise].again.share)
        target = percent("re-measure interval holds a second measurement", found[worst].again, at_least=93.0)
        lines.append(line(5, f"ratio, {name}, {worst}, the worst", target))
        worst = min(Noise, key=lambda noise: found[noise].truth.share)
        target = percent("99 % interval holds the true ratio", found[worst].truth, at_least=93.0)
        lines.append(line(5, f"ratio, {name}, {worst}, the worst", target))
        figures[name] = {
            noise: {key: getattr(one, key).to_dict() for key in ("truth", "again", "mean_again")}
            for noise, one in found.items()
        }
    return lines, figures


def _curse(scale: float, rng: np.random.Generator) -> Study:
    lines: list[Evidence] = []
    figures: dict[str, Any] = {}
    for name, spread in SPREADS.items():
        tuned = {noise: list(tunings(noise, rng, repeats=repeats(scale, 100), spread=spread)) for noise in Noise}
        pooled = curse_of([one for found in tuned.values() for one in found])
        setting = f"64 candidates {name}, all six noises"
        parts = {"printed less re-measured": pooled.printed, "the same, where faster was claimed": pooled.claimed}
        for what, mean in parts.items():
            if mean.count >= FEWEST_CLAIMS:
                target = Target(name=what, unit="points", measured=abs(mean.value), high=mean.largest, at_most=0.3)
                lines.append(line(7, setting, target, f"over {mean.count} tunings"))
        figures[name] = {part: _mean_figures(mean) for part, mean in parts.items()}
        figures[name]["best of the screen less re-measured"] = _mean_figures(pooled.screen)
        figures[name]["by noise"] = {noise: _mean_figures(curse_of(found).printed) for noise, found in tuned.items()}
    return lines, figures


def _mean_figures(mean: Mean) -> dict[str, float]:
    return {"mean": round(mean.value, 4), "error": round(mean.error, 4), "tunings": mean.count}


def _warm_up(scale: float, rng: np.random.Generator) -> Study:
    lines: list[Evidence] = []
    figures: dict[str, Any] = {}
    for shortest, longest in zip((0.05, *LONGEST_S), LONGEST_S, strict=False):
        for shape in SHAPES:
            found = warmed_up(shape, rng, repeats=repeats(scale, 400), lengths_s=(shortest, longest))
            open_ones = [one.bias for one in found if not one.is_flagged]
            mean = mean_of(open_ones)
            setting = f"{shape}, lasts {shortest:g} to {longest:g} s"
            target = Target(
                name="bias where nothing was flagged", unit="%", measured=100.0 * abs(mean.value),
                high=100.0 * mean.largest, at_most=100.0 * MOST_BIAS,
            )  # fmt: skip
            lines.append(line(9, setting, target, CAUSES["warm-up"]))
            figures[setting] = {
                "bias": round(mean.value, 5),
                "over_half_a_percent": sum(abs(bias) > MOST_BIAS for bias in open_ones) / max(1, len(open_ones)),
                "flagged": sum(one.is_flagged for one in found) / len(found),
                "bias_after_ten_runs": round(mean_of([one.bias_without for one in found]).value, 5),
            }
    return lines, figures


def _discards(scale: float, rng: np.random.Generator) -> Study:
    rate = blind_discards(rng, repeats=repeats(scale, 200))
    target = percent("same rounds discarded when latencies change places", rate, at_least=100.0)
    return [line(10, "30 rounds, a fifth robbed of CPU time", target)], rate.to_dict()


def _contest(scale: float, rng: np.random.Generator) -> Study:
    return [], contest.figures(scale, rng)


STUDIES = {
    "false_verdicts": _pairs,
    "power": _power,
    "power_with_other_plans": _other_plans,
    "coverage_of_latencies": _coverage,
    "coverage_of_ratios": _ratios,
    "winners_curse": _curse,
    "warm_up": _warm_up,
    "discards": _discards,
    "contest": _contest,
}
