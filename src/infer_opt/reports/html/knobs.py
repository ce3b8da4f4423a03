"""What each knob did, over all trials that ran: an additive model of ln(ratio to stock), level by level."""

import math
from collections.abc import Sequence
from dataclasses import replace

from infer_opt.config import TrialConfig
from infer_opt.recipes import Recipe
from infer_opt.reports.html.layout import Cell, Figure, Table
from infer_opt.reports.quantities import NOT_KNOWN, percent, ratio
from infer_opt.reports.sentences import one_line
from infer_opt.results import TrialResult
from infer_opt.stats.effects import Effect, Effects, main_effects

_FEWEST = 4  # trials: fewer tell nothing apart
_SHOWN = 40  # levels in the picture; all are in its table
_LOW, _HIGH = 1 / 64, 64.0  # an interval that reaches further is drawn as if it ended there


def levels(config: TrialConfig) -> dict[str, str]:
    """Knob -> level, in words; all configurations name the same knobs."""
    recipe, options = config.recipe, config.options
    named = {
        "batch": str(config.batch),
        "instances": str(config.instances),
        "runtime": config.runtime,
        "normalised": _yes(recipe.normalise),
        "fixed shapes": _yes(recipe.fixed_shapes),
        "rewritten by": _or_none(recipe.rewrite),
        "fused for": _or_none(recipe.fuse),
        **_precision(recipe, bf16=options.bf16),
        "saved graph": _or_none(recipe.saved_level),
        "padded": ", ".join(f"{name} to {'/'.join(map(str, sizes))}" for name, sizes in recipe.buckets) or "no",
        "provider": options.provider.value,
        "threads": str(options.intra_threads or "stock"),
        "inter-op threads": str(options.inter_threads or "stock"),
        "spinning": _or_stock(options.spin),
        "execution": "parallel" if options.parallel else "sequential",
        "memory pattern": _yes(options.memory_pattern),
        "arena": _yes(options.arena),
        "IO binding": _yes(options.io_binding),
        "graph level": _or_stock(options.graph_level),
        "flush denormals": _yes(options.flush_denormals),
        "CUDA graph": _yes(options.cuda_graph),
        "compiled": _or_none(options.compiled),
        "cuDNN search": _or_stock(options.cudnn_search),
        "TF32": _or_stock(options.tf32),
        "NHWC": _or_stock(options.nhwc),
    }
    return {name: one_line(level) for name, level in named.items()}


def effects(baseline: TrialConfig, trials: Sequence[TrialResult]) -> Effects | None:
    """What each level that was tried does to ln(ratio to stock); None where too few trials ran for any interval."""
    ran = [trial for trial in trials if math.isfinite(trial.log_ratio)]
    if len(ran) < _FEWEST:
        return None
    found = main_effects([levels(trial.config) for trial in ran], [trial.log_ratio for trial in ran], levels(baseline))
    return found if found.noise is not None and any(one.estimate is not None for one in found.effects) else None


def figure(found: Effects, *, gain: str) -> Figure:
    """A dot with its interval for each level; levels that cannot be told apart stand in the table alone.

    Arguments:
        gain: what a ratio above 1 means: `faster than stock`.
    """
    told = [one for one in found.effects if one.estimate is not None and math.isfinite(one.estimate.high)]
    told.sort(key=lambda one: one.estimate.value if one.estimate else 0.0)
    shown = told if len(told) <= _SHOWN else told[: _SHOWN // 2] + told[-_SHOWN // 2 :]
    return Figure(
        identity="knob-effects",
        kind="effects",
        title="Effect of each level, all others allowed for",
        summary=_summary(found, told, gain),
        data={
            "axis": f"times, {gain}",
            "rows": [
                {
                    "name": _name(one),
                    "trials": one.trials,
                    "value": math.exp(-one.estimate.value),
                    "low": max(_LOW, math.exp(-one.estimate.high)),
                    "high": min(_HIGH, math.exp(-one.estimate.low)),
                }
                for one in shown
                if one.estimate is not None
            ],
        },
        tables=(_table(found),),
        legend=(
            ("subject-dot", "clear of 1x: it matters"),
            ("hollow-dot", "not told apart from no effect"),
            ("interval", "95 % interval"),
        ),
    )


def _precision(recipe: Recipe, *, bf16: bool) -> dict[str, str]:
    """The way to quantise as a whole: its own knobs apply to some ways alone, so their effects would not add up."""
    plain = "fp16" if recipe.fp16 else "bf16" if bf16 else "float"
    quantise = recipe.quantise
    return {
        "precision": plain if quantise is None else replace(quantise, floats=()).label,
        "layers in float": "some" if quantise is not None and quantise.floats else "as they come",
    }


def _name(one: Effect) -> str:
    return " + ".join(f"{knob}: {level}" for knob, level in one.levels)


def _summary(found: Effects, told: Sequence[Effect], gain: str) -> str:
    clear = [one for one in told if one.estimate is not None and (one.estimate.high < 0 or one.estimate.low > 0)]
    words = [f"An additive model of the logarithm, by least squares over {found.trials} trials that ran"]
    words[0] += "." if found.explained is None else f", explains {percent(found.explained)} of its variance."
    if clear and clear[0].estimate is not None and clear[0].estimate.high < 0:
        best = clear[0]
        words.append(
            f"The most is won by {_name(best)}, {ratio(_gain(best))} {gain}"
            f" over {best.trials} trial{'s' * (best.trials != 1)}."
        )
    else:
        words.append("No single setting is clearly worth anything.")
    return " ".join(words)


def _table(found: Effects) -> Table:
    return Table(
        caption="Effect of each level as a ratio to the stock level; above 1 is better",
        headings=("knob and level", "trials", "effect", "from", "to"),
        rows=tuple((_name(one), str(one.trials), *_cells(one)) for one in found.effects),
    )


def _cells(one: Effect) -> tuple[Cell, Cell, Cell]:
    if one.estimate is None:
        return Cell(text="not told apart from others"), Cell(text=""), Cell(text="")
    if not math.isfinite(one.estimate.high):
        return Cell(text=ratio(_gain(one)), order=_gain(one)), Cell(text=NOT_KNOWN), Cell(text=NOT_KNOWN)
    ends = (one.estimate.value, one.estimate.high, one.estimate.low)
    value, low, high = (Cell(text=ratio(math.exp(-end)), order=math.exp(-end)) for end in ends)
    return value, low, high


def _gain(one: Effect) -> float:
    return math.exp(-one.estimate.value) if one.estimate is not None else math.nan


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


def _or_stock(value: object) -> str:
    return "stock" if value is None else str(value)
