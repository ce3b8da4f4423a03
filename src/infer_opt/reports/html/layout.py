"""What a page is made of: sections, figures with a summary and their data as a table, tables, facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infer_opt.reports.html.markup import Markup, element, escaped, joined


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell: what it shows, and the number or text that it is sorted by where that is something else."""

    text: str
    order: float | str | None = None
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: its caption, headings, and rows of texts or cells. The first column names the row.

    `texts` are the columns, counted from 0, that hold words and stand on the left; all others are numbers.
    `row_tones` are a class for each row. With `filtered`, a reader can filter its rows by words.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    texts: frozenset[int] = frozenset({0})
    row_tones: tuple[str, ...] = ()
    filtered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart: how it is drawn (`kind`, a function of assets/charts.js), from what, what it says, and its data.

    `legend` are (mark, words): the marks are classes of assets/report.css.
    """

    identity: str
    kind: str
    title: str
    summary: str
    data: Mapping[str, Any]
    tables: tuple[Table, ...]
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page with a heading of its own; what it holds, in order, and one sentence about it all."""

    identity: str
    title: str
    parts: tuple[Figure | Table | Markup, ...]
    lead: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One number that stands large at the top: `2.31x`, what it is, and how sure."""

    value: str
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file that the page can save from its own data: JSON from a plain value, CSV from a text or from raw runs."""

    file: str
    words: str
    kind: str
    content: Any = field(repr=False)


def section(found: Section) -> Markup:
    """A section with its heading, as HTML."""
    lead = element("p", found.lead, class_="lead") if found.lead else None
    return element(
        "section",
        element("h2", found.title, id=f"{found.identity}-title"),
        lead,
        *(drawn(part) for part in found.parts),
        id=found.identity,
        aria_labelledby=f"{found.identity}-title",
    )


def drawn(part: Figure | Table | Markup) -> Markup:
    """One part of a section as HTML."""
    if isinstance(part, Figure):
        return figure(part)
    return table(part) if isinstance(part, Table) else part


def figure(found: Figure) -> Markup:
    """A chart's place with its title, summary, legend and data; assets/charts.js draws into it."""
    identity = found.identity
    keys = [element("li", words, class_=f"key key-{mark}") for mark, words in found.legend]
    return element(
        "figure",
        element(
            "figcaption",
            element("h3", found.title, id=f"{identity}-title"),
            element("p", found.summary, id=f"{identity}-summary"),
        ),
        element("ul", *keys, class_="legend", aria_label="Legend") if keys else None,
        element("div", class_="plot", id=f"{identity}-plot"),
        element(
            "details",
            element("summary", "Data of this chart as a table"),
            *(table(one) for one in found.tables),
        ),
        class_="chart",
        id=identity,
        data_kind=found.kind,
        aria_labelledby=f"{identity}-title",
    )


def table(found: Table) -> Markup:
    """A table that can be sorted by each of its columns, in a frame that scrolls where it is too wide."""
    heads = [
        element("th", element("button", heading, type="button"), scope="col", class_=_side(found, place))
        for place, heading in enumerate(found.headings)
    ]
    tones = found.row_tones or ("",) * len(found.rows)
    rows = [
        element("tr", *(_cell(found, place, cell) for place, cell in enumerate(row)), class_=tone or None)
        for row, tone in zip(found.rows, tones, strict=True)
    ]
    drawn_table = element(
        "table",
        element("caption", found.caption),
        element("thead", element("tr", *heads)),
        element("tbody", *rows),
        class_="sortable",
        data_filtered=found.filtered,
    )
    frame = element("div", drawn_table, class_="scroll", role="region", tabindex="0", aria_label=found.caption)
    return element("div", frame, class_="table")


def facts(found: Sequence[Fact]) -> Markup | None:
    """The numbers at the top as a list of terms."""
    if not found:
        return None
    tiles = [
        element(
            "div",
            element("dt", fact.name),
            element(
                "dd", element("span", fact.value, class_="value"), " ", element("span", fact.detail, class_="detail")
            ),
        )
        for fact in found
    ]
    return element("dl", *tiles, class_="facts")


def pairs(found: Sequence[tuple[str, object]]) -> Markup:
    """Names with what they stand for, side by side."""
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in found),
        class_="pairs",
    )


def items(lines: Sequence[object], *, ordered: bool = False, class_: str | None = None) -> Markup:
    """A list."""
    return element("ol" if ordered else "ul", *(element("li", line) for line in lines), class_=class_)


def paragraphs(lines: Sequence[str]) -> Markup:
    """A paragraph a line."""
    return joined(element("p", line) for line in lines)


def _cell(found: Table, place: int, cell: str | Cell) -> Markup:
    shown = cell if isinstance(cell, Cell) else Cell(text=cell)
    classes = " ".join(word for word in (_side(found, place), shown.tone) if word)
    name = "th" if place == 0 else "td"
    return element(
        name,
        escaped(shown.text),
        scope="row" if place == 0 else None,
        class_=classes or None,
        data_order=f"{shown.order:.9g}" if isinstance(shown.order, float) else shown.order,
    )


def _side(found: Table, place: int) -> str:
    return "words" if place in found.texts else "number"
