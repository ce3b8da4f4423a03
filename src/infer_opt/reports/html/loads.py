"""Throughput against latency, batch by batch, and the plan that comes of it."""

from infer_opt.plans import LoadPoint, Plan
from infer_opt.reports import loads
from infer_opt.reports.html.layout import Cell, Figure, Table
from infer_opt.reports.quantities import duration, number, ratio, time_unit
from infer_opt.reports.sentences import one_line


def figure(plan: Plan) -> Figure | None:
    """A line for each configuration through its batch sizes; None where there is nothing to choose between."""
    points = [point for point in plan.points if point.p50_ns is not None]
    if len(points) < loads.FEWEST:
        return None
    unit, scale = time_unit(point.p50_ns for point in points)
    names = list(dict.fromkeys(point.name for point in points))
    return Figure(
        identity="load",
        kind="load",
        title=loads.TITLE,
        summary=" ".join(line[:1].upper() + line[1:] for line in loads.words(plan)),
        data={
            "x_axis": f"median latency of a call, {unit}",
            "y_axis": "items a second",
            "series": [
                {
                    "name": one_line(name),
                    "mark": _mark([point for point in points if point.name == name]),
                    "points": [
                        {
                            "x": (point.p50_ns or 0.0) / scale,
                            "y": point.items_per_s,
                            "batch": point.batch,
                            "note": loads.marks(point),
                            "knee": point.is_knee,
                            "limit": point.limit is not None,
                        }
                        for point in points
                        if point.name == name
                    ],
                }
                for name in names
            ],
        },
        tables=(_table(plan),),
        legend=(
            ("subject-line", "the configuration that was chosen"),
            ("reference-line", "stock"),
            ("hollow-dot", "others"),
            ("subject-star", "the knee: twice that batch gains less than 5 %"),
            ("cross", "beyond a limit"),
        ),
    )


def _mark(points: list[LoadPoint]) -> str:
    if any(point.is_chosen and not point.is_stock for point in points):
        return "subject"
    return "reference" if any(point.is_stock for point in points) else "other"


def _table(plan: Plan) -> Table:
    return Table(
        caption="Throughput against latency, batch by batch",
        headings=("configuration", "batch", "items/s", "x stock", "p50", "p99", "what it is"),
        rows=tuple(
            (
                one_line(point.name),
                str(point.batch),
                number(point.items_per_s),
                ratio(point.speedup),
                Cell(text=duration(point.p50_ns), order=point.p50_ns),
                Cell(text=duration(point.p99_ns), order=point.p99_ns),
                loads.marks(point),
            )
            for point in plan.points
        ),
        texts=frozenset({0, 6}),
    )
