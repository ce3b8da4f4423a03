"""How long calls take: the distribution of raw runs with its percentiles, and the runs themselves to take away."""

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from infer_opt.config import TrialConfig
from infer_opt.reports.html.layout import Cell, Download, Figure, Table
from infer_opt.reports.quantities import NOT_KNOWN, duration, time_unit
from infer_opt.results import Block, Quantile, TrialResult

QUANTILES = (0.5, 0.9, 0.95, 0.99)
_POINTS = 400  # of a curve: more than a screen can tell apart
MOST_RUNS = 60_000  # raw runs of each configuration that a page carries along
_TAIL = 0.995  # the axis ends a little beyond it, or one hiccup would press the curves against its beginning
_LOGARITHMIC = 4.0  # from so many times the shortest to the longest, the axis is logarithmic
_RAW_HEADINGS = ("configuration", "block", "run", "latency_ns")

Named = tuple[str, TrialResult]


def distribution(found: Sequence[Named]) -> Figure | None:
    """The share of calls that take no longer than a time, for each of up to two configurations."""
    seen = [(name, trial) for name, trial in found if any(block.latency_ns for block in trial.blocks)]
    if not seen:
        return None
    unit, scale = time_unit(trial.readings.quantile_ns(0.5) for _, trial in seen)
    curves = [_weighted(trial) for _, trial in seen]
    low = 0.98 * min(
        min(curve[0][0], *(quantile.low_ns or curve[0][0] for quantile in trial.readings.quantiles))
        for curve, (_, trial) in zip(curves, seen, strict=True)
    )
    high = 1.1 * max(
        max(
            _value_at(curve, _TAIL),
            *(quantile.value_ns or 0.0 for quantile in trial.readings.quantiles),
        )
        for curve, (_, trial) in zip(curves, seen, strict=True)
    )
    return Figure(
        identity="latency-distribution",
        kind="distribution",
        title="How long calls take",
        summary=" ".join(_sentence(name, trial) for name, trial in seen) + _beyond(seen, high),
        data={
            "unit": unit,
            "low": low / scale,
            "high": high / scale,
            "logarithmic": high / low > _LOGARITHMIC,
            "series": [
                {
                    "name": name,
                    "mark": _mark(place, len(seen)),
                    "points": [[value / scale, share] for value, share in _thinned(curve)],
                    "quantiles": [_quantile(quantile, scale) for quantile in _known(trial)],
                }
                for place, ((name, trial), curve) in enumerate(zip(seen, curves, strict=True))
            ],
        },
        tables=(percentiles(seen),),
        legend=(
            *((f"{_mark(place, len(seen))}-line", name) for place, (name, _) in enumerate(seen)),
            ("interval", "percentiles with their 95 % bands"),
        ),
    )


def percentiles(found: Sequence[Named]) -> Table:
    """p50 to p99 of each configuration with their bands, and how many runs they come from."""
    rows = tuple(
        (name, f"p{q * 100:.0f}", *_cells(trial, q), f"{sum(len(block.latency_ns) for block in trial.blocks):,}")
        for name, trial in found
        for q in QUANTILES
    )
    return Table(
        caption="Percentiles of the latency of a call, with 95 % bands",
        headings=("configuration", "percentile", "value", "from", "to", "raw runs"),
        rows=rows,
        texts=frozenset({0, 1}),
    )


def raw_runs(found: Sequence[Named], *, file: str) -> Download | None:
    """Every run in nanoseconds, in the order of the measurement; evenly thinned where there are very many."""
    series = [entry for name, trial in found if (entry := _raw(name, trial.config, trial.blocks))["blocks"]]
    if not series:
        return None
    every = max(entry["every"] for entry in series)
    words = "Raw run times (CSV)" if every == 1 else f"Raw run times, every {every}th (CSV)"
    return Download(file=file, words=words, kind="runs", content={"headings": _RAW_HEADINGS, "series": series})


def _raw(name: str, config: TrialConfig, blocks: Sequence[Block]) -> dict[str, Any]:
    total = sum(len(block.latency_ns) for block in blocks)
    every = -(-total // MOST_RUNS) or 1
    label = name if config.label == name else f"{name}: {config.label}"
    kept = [block.latency_ns[::every] for block in blocks]
    return {"name": label, "every": every, "blocks": kept if total else []}


def _weighted(trial: TrialResult) -> list[tuple[float, float]]:
    """(ns, share of calls that take no longer), ascending; runs of several shapes by the shares of their shapes."""
    weights = [one.shape.weight for one in trial.readings.shapes]
    runs = [
        (run, shape)
        for block in trial.blocks
        for run, shape in zip(block.latency_ns, block.shapes or (0,) * len(block.latency_ns), strict=True)
    ]
    counts = Counter(shape for _, shape in runs)
    weighted = [
        (float(run), weights[shape] / counts[shape] if shape < len(weights) else 1.0) for run, shape in sorted(runs)
    ]
    total = sum(weight for _, weight in weighted)
    shares = accumulate(weight / total for _, weight in weighted)
    return [(run, min(1.0, share)) for (run, _), share in zip(weighted, shares, strict=True)]


def _thinned(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The curve from a share of 0, by at most some hundred points, evenly spaced in rank."""
    count = min(len(curve), _POINTS)
    places = [round(place * (len(curve) - 1) / max(1, count - 1)) for place in range(count)]
    return [(curve[0][0], 0.0), *(curve[place] for place in dict.fromkeys(places))]


def _value_at(curve: Sequence[tuple[float, float]], share: float) -> float:
    return next((value for value, reached in curve if reached >= share), curve[-1][0])


def _mark(place: int, count: int) -> str:
    """The last one is what the page is about; the first of two is what it is compared with."""
    return "subject" if place == count - 1 else "reference"


def _known(trial: TrialResult) -> list[Quantile]:
    return [one for one in trial.readings.quantiles if one.q in QUANTILES and one.value_ns is not None]


def _quantile(found: Quantile, scale: float) -> dict[str, float | str | None]:
    low, high = found.low_ns, found.high_ns
    return {
        "name": f"p{found.q * 100:.0f}",
        "share": found.q,
        "value": (found.value_ns or 0.0) / scale,
        "low": None if low is None else low / scale,
        "high": None if high is None else high / scale,
    }


def _sentence(name: str, trial: TrialResult) -> str:
    words = [f"p{one.q * 100:.0f} {duration(one.value_ns)}" for one in _known(trial)]
    return f"{name}: {', '.join(words) or NOT_KNOWN}."


def _beyond(seen: Sequence[Named], high: float) -> str:
    count = sum(run > high for _, trial in seen for block in trial.blocks for run in block.latency_ns)
    return f" {count:,} runs beyond {duration(high)} are not drawn." if count else ""


def _cells(trial: TrialResult, q: float) -> tuple[Cell, Cell, Cell]:
    found = next((one for one in trial.readings.quantiles if one.q == q), Quantile(q=q, value_ns=None))
    if found.value_ns is None and found.missing_runs:
        return Cell(text=f"{NOT_KNOWN} (needs about {found.missing_runs:,} more runs)"), Cell(text=""), Cell(text="")
    value, low, high = (Cell(text=duration(one), order=one) for one in (found.value_ns, found.low_ns, found.high_ns))
    return value, low, high
