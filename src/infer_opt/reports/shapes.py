"""What calls of several shapes take, shape by shape: of stock, and of what is faster."""

from collections.abc import Sequence

from tabulate import tabulate

from infer_opt.reports.quantities import NOT_KNOWN, number, percent, ratio, time_unit
from infer_opt.results import Readings

TITLE = "Time by shape"
FOOTNOTE = (
    "p50 by shape, and the expected time a call: what was tuned for. First call: of that shape, in a process that has "
    "run others; of the first shape, the first call of all."
)


def table(one: Readings, other: Readings | None, *, layout: str, first: str = "stock", second: str = "winner") -> str:
    """A row for each shape with its share, p50 and first call, and the expected time; `other` beside it, if any.

    Arguments:
        layout: of tabulate, `simple` or `pipe`.
        first, second: what the two are called.
    """
    headings, lines = cells(one, other, first=first, second=second)
    aligned = ["left", *["right"] * (len(headings) - 1)]
    return tabulate(lines, headings, tablefmt=layout, disable_numparse=True, colalign=aligned)


def cells(
    one: Readings, other: Readings | None, *, first: str = "stock", second: str = "winner"
) -> tuple[list[str], list[list[str]]]:
    """The headings and rows of `table`."""
    found = [(first, one)] + ([(second, other)] if other is not None else [])
    unit, scale = time_unit(shape.median_ns for shape in one.shapes)
    headings = ["shape", "share", *(f"{name} {unit}" for name, _ in found)]
    headings += [f"x {first}"] * (other is not None) + [f"first call, {name} {unit}" for name, _ in found]
    lines = []
    for place, shape in enumerate(one.shapes):
        seen = [readings.shapes[place] for _, readings in found]
        times = [part.median_ns for part in seen]
        line = [shape.shape.label, percent(shape.shape.weight), *_compared(times, scale)]
        lines.append(line + [_scaled(part.first_seen_ns, scale) for part in seen])
    expected = _compared([readings.expected_ns for _, readings in found], scale)
    lines.append(["expected", percent(1.0), *expected, *[""] * len(found)])
    return headings, lines


def _compared(times_ns: Sequence[float | None], scale: float) -> list[str]:
    """The times, and of two of them how many times faster the second is."""
    shown = [_scaled(time, scale) for time in times_ns]
    if len(times_ns) < 2:
        return shown
    before, after = times_ns
    return [*shown, ratio(before / after) if before and after else NOT_KNOWN]


def _scaled(value_ns: float | None, scale: float) -> str:
    return number(None if value_ns is None else value_ns / scale)
