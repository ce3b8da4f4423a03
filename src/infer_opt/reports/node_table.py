"""The nodes of a profile as a table: what takes most first, in as much room as there is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tabulate import SEPARATING_LINE, tabulate

from infer_opt.profiles.nodes import Node, Tensor
from infer_opt.profiles.profile import Profile
from infer_opt.reports import By, sentences
from infer_opt.reports.columns import escaped
from infer_opt.reports.node_groups import Group, groups, together
from infer_opt.reports.quantities import duration, number, percent
from infer_opt.results import Estimate

BAR = 12  # characters for all of a call
NARROWEST_NAME, NARROWEST_SHAPES = 16, 14
_EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A heading and what stands below it."""

    heading: str
    texts: tuple[str, ...]
    side: str = "left"

    @property
    def width(self) -> int:
        """Characters, those between it and the next one included."""
        return 2 + max(map(len, (self.heading, *self.texts)))


def node_table(profile: Profile, by: By, *, top: int, width: int) -> str:
    """A table no wider than `width`, where that is 60 or more: bars, then shapes are given up for want of room."""
    names, *figures, shapes = _columns(profile, by, top)
    taken = sum(column.width for column in figures)
    if taken + NARROWEST_NAME > width:
        figures = [column for column in figures if column.heading]
        taken = sum(column.width for column in figures)
    room = max(NARROWEST_NAME, min(names.width - 2, width - taken - 2 - NARROWEST_SHAPES))
    left = width - taken - 2 - room
    names = replace(names, texts=tuple(end_of(text, room) for text in names.texts))
    columns = [names, *figures]
    if left >= NARROWEST_SHAPES:
        heading, *texts = (_beginning_of(text, left) for text in (shapes.heading, *shapes.texts))
        columns.append(replace(shapes, heading=heading, texts=tuple(texts)))
    # As the first row, and not as headers: tabulate makes headers wider than they are.
    rows = [[column.heading for column in columns], SEPARATING_LINE, *_rows(columns)]
    sides = [column.side for column in columns]
    return tabulate(rows, tablefmt="simple", colalign=sides, disable_numparse=True)


def node_page(profile: Profile, by: By, *, top: int) -> str:
    """The same as Markdown, nothing left out."""
    columns = _columns(profile, by, top)
    rows = [[escaped(text) for text in row] for row in _rows(columns)]
    headings, sides = [column.heading for column in columns], [column.side for column in columns]
    return tabulate(rows, headings, tablefmt="pipe", colalign=sides, disable_numparse=True)


def _rows(columns: Sequence[_Column]) -> list[list[str]]:
    return [list(row) for row in zip(*(column.texts for column in columns), strict=True)]


def _columns(profile: Profile, by: By, top: int) -> list[_Column]:
    """Names, figures, shapes."""
    found = groups(profile, by)
    shown, rest = found[:top], found[top:]
    shapes = [_shapes(group.heaviest) for group in shown]
    if rest:
        shown = (*shown, together(f"{len(rest):,} more", [one for group in rest for one in group.nodes]))
        shapes.append("")
    return [
        _Column(heading=str(by), texts=tuple(_name(group, by) for group in shown)),
        _Column(heading="time a call", texts=tuple(_time(group.time) for group in shown), side="right"),
        _Column(heading="share", texts=tuple(percent(group.share) for group in shown), side="right"),
        _Column(heading="", texts=tuple(_bar(group.share) for group in shown)),
        _Column(heading="runs", texts=tuple(runs(group.executions) for group in shown), side="right"),
        _Column(heading="on", texts=tuple(group.providers for group in shown)),
        _Column(heading="shapes" if by is By.NODE else "shapes of the heaviest", texts=tuple(shapes)),
    ]


def _name(group: Group, by: By) -> str:
    name = sentences.one_line(group.name)
    return f"{name} ×{len(group.nodes)}" if by is not By.NODE and len(group.nodes) > 1 else name


def runs(executions: float) -> str:
    """How often a node is executed in a call: `5`, `0.44`."""
    return f"{round(executions):,}" if abs(executions - round(executions)) < 0.01 else number(executions)


def _time(time: Estimate) -> str:
    """`81.2 µs ± 3.1 %`: half of the interval's width."""
    if not math.isfinite(time.high):
        return duration(time.value)
    half = (time.high - time.low) / 2 / time.value
    return f"{duration(time.value)} ± {percent(half) if half < 1 else '>100 %'}"


def _bar(share: float) -> str:
    eighths = round(min(1.0, share) * BAR * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def end_of(text: str, room: int) -> str:
    """At most `room` characters: of a path the end tells more."""
    return text if len(text) <= room else f"…{text[len(text) - room + 1 :]}"


def _beginning_of(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(0, room - 1)]}…"


def _shapes(node: Node) -> str:
    """`1x512 · 512x512 → 1x512`, weights included."""
    read = " · ".join(_shape(tensor) for tensor in node.inputs if tensor is not None)
    written = " · ".join(_shape(tensor) for tensor in node.outputs)
    return f"{read} → {written}" if written else read


def _shape(tensor: Tensor) -> str:
    text = "x".join(map(str, tensor.shape)) or "scalar"
    return text if tensor.dtype in ("float32", "int64") else f"{tensor.dtype} {text}"
