"""The columns of the trials, and which of them fit on a page."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from tabulate import SEPARATING_LINE, tabulate

from infer_opt.reports.quantities import NOT_KNOWN, agreement, number, ratio, time_unit
from infer_opt.reports.rows import Row
from infer_opt.reports.sentences import one_line

_LABEL_WIDTHS = (44, 34)
_NARROWEST_LABEL = 20
_DOT = " · "  # between recipe, options and batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its heading, what it shows of a row, and when it is given up for want of width (0: never)."""

    heading: str
    show: Callable[[Row], str]
    given_up: int = 0
    is_text: bool = False


def trial_columns(rows: Sequence[Row]) -> list[Column]:
    """All columns, times in one unit that fits them."""
    unit, scale = time_unit(row.quantile_ns(0.5) for row in rows)
    return [
        Column(heading="configuration", show=_label, is_text=True),
        *(
            Column(
                heading=f"p{q * 100:.0f}\n{unit}",
                show=lambda row, q=q: _scaled(row.quantile_ns(q), scale),  # type: ignore[misc]
                given_up=given_up,
            )
            for q, given_up in ((0.5, 0), (0.9, 4), (0.95, 1), (0.99, 6))
        ),
        Column(heading="items\n/s", show=lambda row: number(row.reading("items_per_s")), given_up=8),
        Column(heading="x stock\n(screen)", show=_speedup),
        Column(heading="parity", show=lambda row: agreement(row.parity_score)),
        Column(heading="peak\nMB", show=lambda row: _scaled(row.reading("peak_rss_bytes"), 1e6)),
        Column(heading="GPU\nMB", show=lambda row: _scaled(row.reading("device_memory_bytes"), 1e6), given_up=7),
        Column(heading="file\nMB", show=lambda row: _scaled(row.reading("artefact_bytes"), 1e6), given_up=2),
        Column(heading="cold\nms", show=lambda row: _scaled(row.cold_start_ns, 1e6), given_up=3),
        Column(heading="cores\nrun/after", show=_cores, given_up=5),
        Column(heading="fate", show=lambda row: one_line(row.fate), is_text=True),
    ]


def table(rows: Sequence[Row], *, width: int) -> tuple[str, list[str]]:
    """The trials as a table no wider than `width`, and the headings of the columns that found no room.

    Columns that are n/a in every row are left out first, then those that matter least.
    """
    columns = trial_columns(rows)
    known = [column for column in columns if not column.given_up or _is_known(column, rows)]
    for kept, label_width in _layouts(known):
        drawn = _draw(rows, kept, label_width)
        if max(len(line) for line in drawn.splitlines()) <= width:
            break
    return drawn, [column.heading.replace("\n", " ") for column in columns if column not in kept]


def markdown(rows: Sequence[Row]) -> str:
    """The trials as a Markdown table, all columns."""
    columns = trial_columns(rows)
    cells = [[escaped(column.show(row)) for column in columns] for row in rows]
    headings = [column.heading.replace("\n", " ") for column in columns]
    return tabulate(cells, headings, tablefmt="pipe", disable_numparse=True, colalign=_alignment(columns))


def escaped(text: str) -> str:
    """The text as Markdown shows it literally, in a table too."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _draw(rows: Sequence[Row], columns: Sequence[Column], label_width: int) -> str:
    cells = [
        [broken(column.show(row), label_width) if column.is_text else column.show(row) for column in columns]
        for row in rows
    ]
    # As the first row, and not as headers: tabulate makes headers wider than they are.
    lines = [[column.heading for column in columns], SEPARATING_LINE, *cells]
    return tabulate(lines, tablefmt="simple", disable_numparse=True, colalign=_alignment(columns))


def broken(text: str, width: int) -> str:
    """A label over several lines, parted at its dots where that is enough."""
    lines: list[str] = []
    for part in text.split(_DOT):
        if lines and len(lines[-1] + _DOT + part) <= width - 2:
            lines[-1] += _DOT + part
        else:
            lines += wrap(part, width - 2, break_on_hyphens=False)
    return "\n  ".join(lines)


def _alignment(columns: Sequence[Column]) -> list[str]:
    return ["left" if column.is_text else "right" for column in columns]


def _layouts(columns: Sequence[Column]) -> Iterator[tuple[list[Column], int]]:
    """From the roomiest to the narrowest: all columns, then ever fewer; labels are broken before a column goes."""
    by_worth = sorted((column.given_up for column in columns if column.given_up), reverse=True)
    for worth in range(len(by_worth), -1, -1):
        keep = {0, *by_worth[:worth]}
        for label_width in _LABEL_WIDTHS if keep != {0} else (*_LABEL_WIDTHS, _NARROWEST_LABEL):
            yield [column for column in columns if column.given_up in keep], label_width


def _is_known(column: Column, rows: Sequence[Row]) -> bool:
    return any(column.show(row) not in (NOT_KNOWN, f"{NOT_KNOWN}/{NOT_KNOWN}") for row in rows)


def _label(row: Row) -> str:
    return row.label + " *" * row.on_pareto_front


def _speedup(row: Row) -> str:
    return ratio(None if row.speedup is None else row.speedup.value)


def _cores(row: Row) -> str:
    running, after = (row.reading(name) for name in ("cpu_cores_running", "cpu_cores_after"))
    return "/".join(NOT_KNOWN if value is None else f"{value:.1f}" for value in (running, after))


def _scaled(value: float | None, scale: float) -> str:
    return number(None if value is None else value / scale)
