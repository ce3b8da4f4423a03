"""Precision by layer on real MiniLM: the frontier of time against agreement, and what it is worth.

For each way to quantise, every layer is tried alone and whole models between float and INT8 are checked, as `tune` does
(infer_opt/precision.py). Then stock, its clone, the fastest uniform quantisation that keeps the agreement and the best
of the models between are measured as `tune` confirms: fresh processes, paired rounds, random order. A uniform
quantisation that does not keep it is shown and not compared: it gives other answers.

MiniLM is the published sentence encoder with real sentences (python -m scripts.build_large_models minilm).
"""

import argparse
import math
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import calls, record
from benchmarks.record import Target

from infer_opt.budget import Budget
from infer_opt.config import TrialConfig
from infer_opt.confirming import Confirmation, confirm
from infer_opt.exploring import explore, offered
from infer_opt.presets import parse_duration
from infer_opt.recipes import Recipe
from infer_opt.request import Request
from infer_opt.results import Comparison, Frontier, Trial, TrialResult, Verdict
from infer_opt.rig import Limits
from infer_opt.search.space import candidates
from infer_opt.search.surroundings import Surroundings, stock
from infer_opt.setting_up import scratch_folder, set_up
from infer_opt.stats.confirm import DEFAULT_ROUNDS
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.trials import run_stock, run_trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "precision"
MODEL = "large/minilm"
MOST_EPOCHS = 13
TINY = 1e-4  # what is missing to 1 below which it makes no difference


def uniform(surroundings: Surroundings) -> tuple[TrialConfig, ...]:
    """Every way to quantise all layers, with stock's session settings."""
    settings = stock(surroundings).options
    return tuple(
        config
        for config in candidates(surroundings)
        if config.recipe.quantise is not None and not config.recipe.quantise.floats and config.options == settings
    )


def measure(model: calls.Model, options: argparse.Namespace) -> dict[str, Any]:
    """The frontiers, the trials of all quantised configurations, and the comparison of those that agree."""
    request = Request(
        model=model.path, inputs=model.inputs, limits=Limits(min_parity=options.parity), seed=options.seed
    )
    with scratch_folder() as scratch, ArtefactCache(scratch / "artefacts") as cache:
        setup = set_up(request, scratch, cache, budget_s=2 * options.explore_s + options.confirm_s)
        base = run_stock(setup.rig, stock(setup.surroundings), setup.generator)
        try:
            say(f"looking at layers for about {options.explore_s:.0f} s")
            frontiers = explore(setup.rig, setup.surroundings, seconds=options.explore_s)
            mixed = tuple(TrialConfig(recipe=recipe) for recipe in offered(frontiers))
            trials = [
                tried(setup.rig, config, base.entrant, setup.generator)
                for config in (*mixed, *uniform(setup.surroundings))
            ]
        finally:
            base.entrant.worker.close()
        agreeing = {
            trial.config.key: trial.config
            for config_set in (mixed, uniform(setup.surroundings))
            for trial in fastest(trials, config_set)
        }
        say(f"confirming {', '.join(config.label for config in agreeing.values())}")
        confirmation = confirm(
            setup.rig,
            agreeing,
            base.result.config,
            generator=setup.generator,
            rounds=DEFAULT_ROUNDS,
            most=MOST_EPOCHS,
            fits=Budget(total_s=options.confirm_s).fits,
        )
    return document(frontiers, trials, confirmation, mixed=mixed)


def tried(rig: Any, config: TrialConfig, baseline: Any, generator: random.Random) -> Trial:
    """One trial, said as it comes."""
    trial = run_trial(rig, config, baseline, generator)
    say(f"  {config.label}: {_told(trial)}")
    return trial


def _told(trial: Trial) -> str:
    if isinstance(trial, TrialResult):
        return f"{_ratio(trial.log_ratio):.3g}x stock in a first look, agreement {trial.parity.score:.4f}"
    return trial.reason


def fastest(trials: Sequence[Trial], among: Sequence[TrialConfig]) -> list[TrialResult]:
    """The fastest of some configurations that agree, as a list of one; empty where none does."""
    ran = [trial for trial in trials if isinstance(trial, TrialResult) and trial.config in among]
    return sorted(ran, key=lambda trial: trial.log_ratio)[:1]


def document(
    frontiers: Sequence[Frontier], trials: Sequence[Trial], confirmation: Confirmation, *, mixed: Sequence[TrialConfig]
) -> dict[str, Any]:
    """Everything as plain types."""
    return {
        "frontiers": [
            {"label": frontier.recipe.label, "is_static": _is_static(frontier.recipe)} | asdict(frontier)
            for frontier in frontiers
        ],
        "trials": [
            {
                "label": trial.config.label,
                "is_mixed": trial.config in mixed,
                "score": None if trial.parity is None else trial.parity.score,
                "speedup_in_screen": _ratio(trial.log_ratio) if isinstance(trial, TrialResult) else None,
                "reason": None if isinstance(trial, TrialResult) else trial.reason,
            }
            for trial in trials
        ],
        "confirmed": [
            {"is_mixed": found.config in mixed, "label": found.config.label} | _compared(found)
            for found in confirmation.comparisons.values()
        ],
        "epochs": len(confirmation.epochs),
    }


def _is_static(recipe: Recipe) -> bool:
    return recipe.quantise is not None and recipe.quantise.is_static


def _compared(found: Comparison) -> dict[str, Any]:
    return {
        "verdict": str(found.verdict),
        "speedup": asdict(found.speedup),
        "remeasure": asdict(found.remeasure),
        "epochs": list(found.epochs),
    }


def _ratio(log_ratio: float) -> float:
    return math.exp(-log_ratio)


def targets_of(results: Mapping[str, Any], parity: float) -> list[Target]:
    """The model between must be proven faster than stock, and than whatever uniform quantisation agrees as well."""
    confirmed = results["confirmed"]
    mixed = next((one for one in confirmed if one["is_mixed"] and one["verdict"] == Verdict.FASTER), None)
    others = [one["speedup"]["value"] for one in confirmed if not one["is_mixed"]]
    best = max([1.0, *others])
    return [
        Target(
            name=f"speed-up of partly quantised over the best uniform one (or stock) at agreement {parity:g}",
            unit="times",
            measured=None if mixed is None else mixed["speedup"]["low"] / best,
            at_least=1.0,
        )
    ]


def draw(results: Mapping[str, Any], path: Path, parity: float) -> None:
    """The frontiers: agreement against the time that INT8 saves, every whole model a point.

    The scale of agreement is that of what is missing to 1: between 0.99 and 0.999 lies as much as between 0.9 and 0.99.
    Named are the whole of the model in INT8, and what saves most of that which agrees.
    """
    import matplotlib as mpl
    from benchmarks.simulation.pictures import BLUE, INK, ORANGE, PALE, STYLE

    with mpl.rc_context(STYLE):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10.0, 5.6), layout="constrained")
        axes: Axes = figure.add_subplot()
        axes.set_yscale("log")
        for number, frontier in enumerate(results["frontiers"]):
            points, colour, mark = frontier["points"], (BLUE, ORANGE)[number % 2], "os"[number % 2]
            places = [(100 * one["saved_ns"] / frontier["call_ns"], max(1 - one["score"], TINY)) for one in points]
            axes.plot(*zip(*places, strict=True), mark, color=colour, markersize=8, alpha=0.55, label=frontier["label"])
            named = {max(range(len(points)), key=lambda index: points[index]["layers"])}
            named |= set([index for index, one in enumerate(points) if one["passed"]][:1])
            for index in named:
                text = f"{points[index]['layers']} of {len(frontier['layers'])} layers: {points[index]['score']:.3f}"
                axes.annotate(text, places[index], xytext=(0, 10), textcoords="offset points", color=INK, ha="center")
        axes.axhline(1 - parity, color=PALE, linewidth=1.2)
        axes.annotate(f"above this line: agrees to {parity:g}", (0.995, 1 - parity), xycoords=("axes fraction", "data"),
                      xytext=(0, 5), textcoords="offset points", color=INK, size=11, ha="right")  # fmt: skip
        axes.invert_yaxis()
        ticks = (0.5, 0.1, 0.03, 0.01, 0.003, 0.001)
        axes.set_yticks(ticks, [f"{1 - tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.margins(x=0.12, y=0.15)
        axes.set_xlabel("what the layers in INT8 save of a call, by the runtime's profile, %")
        axes.set_ylabel("agreement with the float model")
        axes.set_title("Each point is a whole model with some of its layers in INT8", loc="left", fontsize=14)
        axes.legend(frameon=False, loc="lower left")
        figure.savefig(path, metadata={"Date": None})


def rows(results: Mapping[str, Any]) -> list[list[object]]:
    """A line a configuration: what was confirmed, and what was left out and why."""
    confirmed = {one["label"]: one for one in results["confirmed"]}
    lines = []
    for trial in results["trials"]:
        found = confirmed.get(trial["label"])
        speed = "" if found is None else "{value:.3f} [{low:.3f}, {high:.3f}]".format(**found["speedup"])
        lines.append([trial["label"], trial["score"], trial["speedup_in_screen"], speed, trial["reason"] or ""])
    return lines


def say(line: str) -> None:
    """Where it stands."""
    print(line, file=sys.stderr)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--model", default=MODEL, help=f"name in models/, or a path (default {MODEL})")
    parser.add_argument("--parity", type=float, default=0.99, help="agreement with stock that is asked for")
    parser.add_argument("--explore", default="3m", help="for looking at layers (default 3m)")
    parser.add_argument("--confirm", default="6m", help="for the comparison (default 6m)")
    parser.add_argument("--picture", type=Path, help="draw the frontier into this SVG")
    options = parser.parse_args(argv)
    options.explore_s, options.confirm_s = parse_duration(options.explore), parse_duration(options.confirm)
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    begun = record.begin(NAME, argv)
    (model,) = calls.models([options.model])
    results = measure(model, options)
    targets = targets_of(results, options.parity)
    begun.write(options.result, method=__doc__ or "", targets=targets, results=results, samples={})
    if options.picture is not None:
        draw(results, options.picture, options.parity)
    headings = ["configuration", "agreement", "x stock (first look)", "x stock, confirmed", "left out because"]
    return record.report(headings, rows(results), targets, options.result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
