"""What a claim rests on: each epoch of fresh processes, the interval, the margin, and stock against itself."""

import math

from infer_opt.config import Objective
from infer_opt.reports.html.layout import Cell, Figure, Table
from infer_opt.reports.quantities import percent, ratio
from infer_opt.reports.sentences import evidence
from infer_opt.results import Comparison, Estimate

CLONE = "a copy of stock"


def figure(comparison: Comparison, *, name: str, reference: str, objective: Objective) -> Figure:
    """One dot an epoch, of the subject and of the clone, on an axis of ratios to the reference."""
    speedup, again = comparison.speedup, comparison.remeasure
    rows = [("subject", name, comparison.epochs), ("clone", CLONE, comparison.clone_epochs)]
    return Figure(
        identity="epochs",
        kind="epochs",
        title=f"{_capital(name)} against {reference}, epoch by epoch",
        summary=evidence(comparison),
        data={
            "axis": f"times, {objective.gain if reference == 'stock' else f'{objective.better} than {reference}'}",
            "margin": comparison.margin,
            "speedup": _ends(speedup),
            "remeasure": _ends(again),
            "rows": [
                {"mark": mark, "name": label, "epoch": number, "value": math.exp(-value)}
                for mark, label, values in rows
                for number, value in enumerate(values, start=1)
            ],
            "names": [name, CLONE],
        },
        tables=(_table(comparison, name),),
        legend=(
            ("subject-dot", f"an epoch of {name}"),
            ("hollow-dot", f"an epoch of {CLONE}: what no difference looks like"),
            ("interval", f"{percent(speedup.confidence)} interval; thin: where a new measurement falls"),
            ("zone", f"within {percent(comparison.margin)} of 1x nothing is claimed"),
        ),
    )


def _ends(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _table(comparison: Comparison, name: str) -> Table:
    clones = dict(enumerate(comparison.clone_epochs))
    rows = tuple(
        (str(place + 1), _ratio(value), _ratio(clones[place]) if place in clones else Cell(text=""))
        for place, value in enumerate(comparison.epochs)
    )
    return Table(
        caption="Ratio to stock of each epoch; above 1x is better",
        headings=("epoch", name, CLONE),
        rows=rows,
        texts=frozenset(),
    )


def _ratio(log_value: float) -> Cell:
    value = math.exp(-log_value)
    return Cell(text=f"{value:.4f}x" if 0.1 <= value < 10 else ratio(value), order=value)
