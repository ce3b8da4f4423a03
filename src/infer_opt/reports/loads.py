"""Throughput against latency: what each batch size of a few configurations gave, and how to serve by it."""

from collections.abc import Sequence

from tabulate import SEPARATING_LINE, tabulate

from infer_opt.plans import LoadPoint, Plan
from infer_opt.reports.columns import broken, escaped
from infer_opt.reports.quantities import NOT_KNOWN, duration, number, ratio, time_unit
from infer_opt.reports.sentences import one_line, wrapped

TITLE = "Throughput against latency"
_LABEL_WIDTH = 44
FEWEST = 2  # points: one alone shows no trade


def table(plan: Plan | None, *, width: int) -> list[str]:
    """For a terminal; empty where there is nothing to choose between."""
    if plan is None or len(plan.points) < FEWEST:
        return []
    headings = _headings(plan.points)
    rows = [[broken(row[0], _LABEL_WIDTH), *row[1:]] for row in _rows(plan.points)]
    drawn = tabulate(
        [headings, SEPARATING_LINE, *rows], tablefmt="simple", disable_numparse=True, colalign=_alignment(headings)
    )
    return [TITLE, drawn, *(piece for line in words(plan) for piece in wrapped(line, width))]


def markdown(plan: Plan | None) -> list[str]:
    """For a page: a heading, a table, and the words below it."""
    if plan is None or len(plan.points) < FEWEST:
        return []
    headings = _headings(plan.points)
    cells = [[escaped(cell) for cell in row] for row in _rows(plan.points)]
    drawn = tabulate(cells, headings, tablefmt="pipe", disable_numparse=True, colalign=_alignment(headings))
    return [f"## {TITLE}", drawn, " ".join(words(plan))]


def _headings(points: Sequence[LoadPoint]) -> list[str]:
    unit, _ = time_unit(point.p50_ns for point in points)
    return ["configuration", "batch", "items/s", "x stock", f"p50 {unit}", f"p99 {unit}", ""]


def _rows(points: Sequence[LoadPoint]) -> list[list[str]]:
    """The name of a configuration stands in its first line alone."""
    _, scale = time_unit(point.p50_ns for point in points)
    rows, name = [], None
    for point in points:
        rows.append(
            [
                "" if point.name == name else one_line(point.name),
                str(point.batch),
                number(point.items_per_s),
                ratio(point.speedup),
                *(NOT_KNOWN if value is None else number(value / scale) for value in (point.p50_ns, point.p99_ns)),
                marks(point),
            ]
        )
        name = point.name
    return rows


def marks(point: LoadPoint) -> str:
    """What is to be said of one point: `stock`, `chosen`, `knee`, `beyond the limit`."""
    found = ["stock"] * point.is_stock + ["chosen"] * (point.is_chosen and not point.is_stock)
    return ", ".join([*found, *["knee"] * point.is_knee, *["beyond the limit"] * (point.limit is not None)])


def words(plan: Plan) -> list[str]:
    """What a knee is, and how the bundle serves."""
    lines = [
        "knee: the batch beyond which doubling it gains less than 5 % while calls take longer; not all were tried."
    ]
    if plan.instances > 1:
        cores = "; ".join(",".join(map(str, one)) for one in plan.cores)
        where = f" on the processors {cores}" if cores else ""
        each = f"{plan.threads} thread{'s' * (plan.threads != 1)} each"
        lines.append(f"The bundle opens {plan.instances} sessions with {each}{where}.")
    if plan.max_batch is not None and plan.max_wait_s is not None:
        wait = "without waiting" if not plan.max_wait_s else f"waiting at most {duration(plan.max_wait_s * 1e9)}"
        lines.append(f"Its submit makes batches of up to {plan.max_batch} items, {wait} for others.")
    return lines


def _alignment(headings: Sequence[str]) -> list[str]:
    return ["left", *["right"] * (len(headings) - 2), "left"]
