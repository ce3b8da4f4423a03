"""What two profiles differ by: the groups that account for it, each with its interval."""

import math
from collections.abc import Sequence
from typing import Any

from infer_opt.profiles.comparing import OperatorDifference, ProfileDifference
from infer_opt.reports import By
from infer_opt.reports.differences import answer_lines
from infer_opt.reports.html.layout import Cell, Figure, Section, Table
from infer_opt.reports.quantities import NOT_KNOWN, duration, percent, time_unit
from infer_opt.reports.sentences import one_line
from infer_opt.results import Estimate

_ROWS = 25  # of a chart
_MOST_ROWS = 300  # of a table


def section(found: ProfileDifference) -> Section:
    """The difference by operator, by module and by node, as far as each is known."""
    known = [(by, rows) for by, rows in _groupings(found) if rows]
    lead = " ".join(answer_lines(found, By.OPERATOR))
    return Section(
        identity="difference",
        title="What differs",
        parts=(_figure(known),) if known else (),
        lead=lead,
    )


def _groupings(found: ProfileDifference) -> list[tuple[By, Sequence[OperatorDifference]]]:
    return [(By.OPERATOR, found.operators), (By.MODULE, found.modules), (By.NODE, found.nodes)]


def _figure(known: Sequence[tuple[By, Sequence[OperatorDifference]]]) -> Figure:
    unit, scale = time_unit([abs(known[0][1][0].difference.value)])
    return Figure(
        identity="difference-by-group",
        kind="differences",
        title="Time a call, beside the reference",
        summary="To the right, a group takes longer than in the reference; to the left, less. Intervals allow for how "
        "many groups were looked at.",
        data={
            "axis": f"difference a call, {unit}",
            "groups": [
                {"name": f"by {by.value}", "rows": [_row(one, scale) for one in rows[:_ROWS]]} for by, rows in known
            ],
        },
        tables=tuple(_table(by, rows) for by, rows in known),
        legend=(
            ("subject-dot", "told from noise"),
            ("hollow-dot", "not told from noise"),
            ("interval", "its interval"),
        ),
    )


def _row(one: OperatorDifference, scale: float) -> dict[str, Any]:
    ends = [one.difference.low, one.difference.high]
    low, high = (end / scale if math.isfinite(end) else None for end in ends)
    return {
        "name": one_line(one.name),
        "value": one.difference.value / scale,
        "low": low,
        "high": high,
        "clear": one.is_clear,
    }


def _table(by: By, rows: Sequence[OperatorDifference]) -> Table:
    kept = rows[:_MOST_ROWS]
    return Table(
        caption=f"What differs by {by.value}" + f", the {len(kept)} largest of {len(rows):,}" * (len(kept) < len(rows)),
        headings=(by.value, "difference", "from", "to", "subject", "reference", "of the whole", "told from noise"),
        rows=tuple(
            (
                one_line(one.name),
                *(_time(value) for value in (one.difference.value, one.difference.low, one.difference.high)),
                _side(one.subject),
                _side(one.reference),
                NOT_KNOWN if one.share is None else percent(one.share),
                "yes" if one.is_clear else "no",
            )
            for one in kept
        ),
        texts=frozenset({0, 7}),
    )


def _time(value_ns: float) -> Cell:
    return Cell(text=duration(value_ns), order=value_ns) if math.isfinite(value_ns) else Cell(text=NOT_KNOWN)


def _side(found: Estimate | None) -> Cell:
    return Cell(text=NOT_KNOWN) if found is None else _time(found.value)
