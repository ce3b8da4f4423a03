"""Whole tunes over configurations that are all the same: screen, race and confirmation, one after another as in `tune`.

The best of many equals looks faster by luck; a tune that believes its screen or its race hands back a winner here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.evidence import Evidence, Findings, Tier
from benchmarks.live import counted
from benchmarks.live.pairs import ENTRANTS, models_of
from benchmarks.live.stand import FAST, FASTEST, Experiment, Observation, Ready, Stand, repeat

from infer_opt.budget import Budget
from infer_opt.concluding import break_ties, conclude, finalists_of, settled_race
from infer_opt.config import TrialConfig
from infer_opt.confirming import Confirmation, confirm, plan_rounds
from infer_opt.presets import Preset, load_preset
from infer_opt.racing import Race, race
from infer_opt.results import Trial, TuningVerdict
from infer_opt.search.quiet import stock_levels
from infer_opt.search.screen import best, promising
from infer_opt.stats.levels import quiet_level
from infer_opt.trials import Stock, run_stock, run_trial

MODELS = (FAST, FASTEST)
CONFIGURATIONS = 16
PRESET = "quick"
CONFIRM_S = 40.0
EXPECTED_S = 75.0
RATE = 0.01


def equals(stock: TrialConfig, count: int) -> tuple[TrialConfig, ...]:
    """`count` configurations that differ from stock in name alone.

    Threads between operators are used by parallel execution only; all of these execute in sequence.
    """
    return tuple(replace(stock, options=replace(stock.options, inter_threads=number)) for number in range(1, count + 1))


def run(stand: Stand, seen: Sequence[Observation]) -> Iterator[Observation]:
    """One tune after another."""
    preset = load_preset(PRESET)
    for number in repeat(stand, EXPECTED_S):
        name = MODELS[(len(seen) + number) % len(MODELS)]
        before = stand.time.elapsed_s
        found = tuned(stand, stand.ready(name), preset)
        seconds = round(stand.time.elapsed_s - before, 1)
        stand.show(f"whole tune of {name} over {CONFIGURATIONS} equals: {found['verdict']} after {seconds:.0f} s")
        yield {"model": name, "configurations": CONFIGURATIONS, "seconds": seconds} | found


def tuned(stand: Stand, ready: Ready, preset: Preset) -> dict[str, Any]:
    """The chapters of `tune`, without a budget that could end one early."""
    generator, rig = stand.generator, ready.rig
    base = run_stock(rig, ready.stock, generator)
    try:
        trials = tuple(
            run_trial(rig, config, base.entrant, generator) for config in equals(ready.stock, CONFIGURATIONS)
        )
    finally:
        base.entrant.worker.close()
    raced = _race(stand, ready, trials, preset)
    confirmation = _confirm(stand, ready, base, raced, preset)
    outcome = conclude(ready.setup, base, trials, raced, confirmation, was_interrupted=False)
    screened = best(trials)
    return {
        "verdict": str(outcome.verdict),
        "reason": outcome.reason,
        "trials_that_ran": len(screened),
        "best_of_the_screen_log": screened[0].log_ratio if screened else None,
        "race_rounds": raced.rounds,
        "finalists": len(raced.survivors),
        "epochs": [] if outcome.comparison is None else [round(value, 6) for value in outcome.comparison.epochs],
    }


def _race(stand: Stand, ready: Ready, trials: Sequence[Trial], preset: Preset) -> Race:
    entrants = {trial.config.key: trial.config for trial in promising(trials, most=preset.entrants)}
    finalists = 1 + preset.rivals
    raced = settled_race(tuple(entrants), trials)
    if len(entrants) > 1:
        found = race(
            ready.rig,
            entrants,
            ready.stock,
            generator=stand.generator,
            goes_on=lambda cost_s: True,
            finalists=finalists,
            quiet=quiet_level(stock_levels(trials)),
        )
        raced = break_ties(found, trials) if found.rounds else raced
    return replace(raced, survivors=finalists_of(raced, most=finalists))


def _confirm(stand: Stand, ready: Ready, base: Stock, raced: Race, preset: Preset) -> Confirmation | None:
    if not raced.survivors:
        return None
    budget = Budget(total_s=CONFIRM_S)
    return confirm(
        ready.rig,
        {key: raced.configs[key] for key in raced.survivors},
        ready.stock,
        generator=stand.generator,
        rounds=plan_rounds(ENTRANTS * base.setup_s, ENTRANTS * base.round_s, round_noise=None, left_s=CONFIRM_S),
        fits=budget.fits,
        most=preset.epochs,
    )


def judge(found: Sequence[Observation]) -> Findings:
    """Tunes that named a winner: each of them is false. One that was too noisy for any answer proves nothing."""
    verdicts = [one["verdict"] for one in found]
    answered = [verdict for verdict in verdicts if verdict != TuningVerdict.TOO_NOISY]
    wrong = sum(verdict == TuningVerdict.FASTER for verdict in answered)
    noisy = len(found) - len(answered)
    line = Evidence(
        row=2,
        tier=Tier.LIVE,
        setting=f"whole tunes over {CONFIGURATIONS} equals, {models_of(found)}: {counted.counts(verdicts)}",
        target=counted.seldom("winner faster", wrong, len(answered), rate=RATE),
        cause=f"{noisy} of {len(found)} gave no answer, being too noisy, and do not count" if noisy else "",
    )
    looked = [one["best_of_the_screen_log"] for one in found if one["best_of_the_screen_log"] is not None]
    return Findings(evidence=(line,), results={"best_of_the_screen_log": looked})


EXPERIMENT = Experiment(run=run, judge=judge)
