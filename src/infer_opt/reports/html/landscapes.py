"""All trials that ran, by what they cost: time against memory, and time against how far the outputs stray."""

from collections.abc import Sequence
from typing import Any

from infer_opt.reports.html.layout import Cell, Figure, Table
from infer_opt.reports.quantities import agreement, duration, number, size, time_unit
from infer_opt.reports.rows import Row
from infer_opt.reports.sentences import one_line

_MOST = 500  # points, the fastest; stock is always among them, and what else is on the front as far as twice as many
_LEAST_LOSS = 1e-7  # what two steps of a 32-bit float come to: no nearer can outputs be seen to be
_LEGEND = (
    ("subject-star", "winner"),
    ("reference-square", "stock"),
    ("subject-dot", "on the Pareto front"),
    ("hollow-dot", "another one is clearly better on some count, and worse on none"),
)


def figures(rows: Sequence[Row]) -> list[Figure]:
    """The Pareto front from its two sides; a side that is not known of any two trials is left out."""
    ran = [row for row in rows if not row.failed and row.quantile_ns(0.5) is not None]
    ran = [
        row
        for place, row in enumerate(ran)
        if place < _MOST or (place < 2 * _MOST and row.on_pareto_front) or row.is_baseline
    ]
    unit, scale = time_unit(_item_ns(row) for row in ran)
    memory = [row for row in ran if row.reading("peak_rss_bytes") is not None]
    parity = [row for row in ran if row.parity_score is not None and row.trial.parity and row.trial.parity.samples]
    found = []
    if len(memory) > 1:
        points = [_point(row, scale, (row.reading("peak_rss_bytes") or 0) / 1e6) for row in memory]
        found.append(
            _figure("pareto-memory", "Time against memory", memory, points, unit, "peak memory of the process, MB")
        )
    if len(parity) > 1:
        points = [_point(row, scale, max(_LEAST_LOSS, 1 - (row.parity_score or 0))) for row in parity]
        axis = "1 − parity: lower is nearer to stock"
        found.append(
            _figure("pareto-parity", "Time against parity", parity, points, unit, axis, logarithmic=True, least=True)
        )
    return found


def _item_ns(row: Row) -> float:
    return (row.quantile_ns(0.5) or 0.0) / row.config.batch


def _point(row: Row, scale: float, y: float) -> dict[str, Any]:
    mark = "winner" if row.is_winner else "stock" if row.is_baseline else "front" if row.on_pareto_front else "other"
    return {
        "x": _item_ns(row) / scale,
        "y": y,
        "mark": mark,
        "name": row.label,
        "detail": f"{duration(_item_ns(row))} an item · {size(row.reading('peak_rss_bytes'))} · parity "
        f"{agreement(row.parity_score)} · {one_line(row.fate)}",
    }


def _figure(
    identity: str, title: str, rows: Sequence[Row], points: Sequence[dict[str, Any]], unit: str, axis: str, *,
    logarithmic: bool = False, least: bool = False,
) -> Figure:  # fmt: skip
    on_front = sum(row.on_pareto_front for row in rows)
    return Figure(
        identity=identity,
        kind="landscape",
        title=title,
        summary=f"{len(rows)} configurations that ran; {on_front} are on the Pareto front of time, memory and parity "
        "together: nothing else is better on one count without being worse on another.",
        data={
            "x_axis": f"median time an item, {unit}",
            "y_axis": axis,
            "logarithmic": logarithmic,
            "least": _LEAST_LOSS if least else None,
            "points": points,
        },
        tables=(_table(title, rows),),
        legend=_LEGEND,
    )


def _table(title: str, rows: Sequence[Row]) -> Table:
    return Table(
        caption=f"{title}: every configuration that ran",
        headings=("configuration", "time an item", "peak memory", "parity", "items/s", "Pareto front", "fate"),
        rows=tuple(
            (
                row.label,
                Cell(text=duration(_item_ns(row)), order=_item_ns(row)),
                Cell(text=size(row.reading("peak_rss_bytes")), order=row.reading("peak_rss_bytes")),
                Cell(text=agreement(row.parity_score), order=row.parity_score),
                number(row.reading("items_per_s")),
                "yes" if row.on_pareto_front else "no",
                one_line(row.fate),
            )
            for row in rows
        ),
        texts=frozenset({0, 5, 6}),
    )
