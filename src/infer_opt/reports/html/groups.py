"""Where the time of a call goes: by operator, module, layer, fused block, and node by node."""

import math
import re
from collections.abc import Sequence
from typing import Any

from infer_opt.profiles.nodes import NodeTimes
from infer_opt.profiles.profile import Profile
from infer_opt.reports import By
from infer_opt.reports.html.layout import Cell, Figure, Table
from infer_opt.reports.node_groups import NO_MODULE, Group, groups, together
from infer_opt.reports.quantities import NOT_KNOWN, duration, number, percent, time_unit
from infer_opt.reports.sentences import one_line

_BARS = 30  # of a chart; what is left is one bar more
_MOST_ROWS = 300  # of a table
LAYER = "layer"


def layer(module: str) -> str:
    """The module down to its first number: `encoder.layer.0` of `encoder.layer.0.attention.query`."""
    parts = re.split(r"[./]", module.strip("/."))
    first = next((place for place, part in enumerate(parts) if re.fullmatch(r"\w*?\d+", part)), 0)
    return ".".join(parts[: first + 1]) or NO_MODULE


def figure(profile: Profile) -> Figure:
    """Bars of time a call, of one grouping at a time; where floors are known, a mark says how short a bar could be."""
    floors = _floors(profile)
    unit, scale = time_unit([profile.call.latency.value])
    grouped = {by.value: groups(profile, by) for by in By}
    grouped[LAYER] = _layers(profile.nodes)
    # One group alone shows nothing, and as many as there are nodes are the nodes again.
    told = {
        name: rows
        for name in (By.OPERATOR.value, By.MODULE.value, LAYER, By.BLOCK.value, By.NODE.value)
        if len(rows := grouped[name]) > 1 or name in (By.OPERATOR.value, By.NODE.value)
    }
    top = grouped[By.OPERATOR.value][0]
    return Figure(
        identity="time-by-group",
        kind="bars",
        title="Where the time of a call goes",
        summary=f"{percent(top.share)} of the nodes' time is in {one_line(top.name)} ({len(top.nodes)} of "
        f"{len(profile.nodes)} nodes)." + (" Each bar's mark is its floor." if floors else ""),
        data={
            "axis": f"time a call, {unit}",
            "scale": scale,
            "groups": [{"name": f"by {name}", "rows": _drawn(rows, floors)} for name, rows in told.items()],
        },
        tables=tuple(_table(name, rows, floors) for name, rows in told.items() if name != By.NODE.value),
        legend=(("subject-bar", "time a call"),) + ((("floor", "its floor on this machine"),) if floors else ()),
    )


def _layers(nodes: Sequence[NodeTimes]) -> tuple[Group, ...]:
    found: dict[str, list[NodeTimes]] = {}
    for one in nodes:
        found.setdefault(layer(one.node.module), []).append(one)
    return tuple(sorted((together(name, group) for name, group in found.items()), key=lambda group: -group.time.value))


def _floors(profile: Profile) -> dict[int, float]:
    """The floor of each node, ns, by the identity of its times; empty where there is no roofline of these nodes."""
    roofline = profile.roofline
    if roofline is None or len(roofline.nodes) != len(profile.nodes):
        return {}
    return {id(node): floor.floor_ns for node, floor in zip(profile.nodes, roofline.nodes, strict=True)}


def _floor(group: Sequence[NodeTimes], floors: dict[int, float]) -> float | None:
    return sum(floors[id(node)] for node in group) if floors else None


def _drawn(rows: Sequence[Group], floors: dict[int, float]) -> list[dict[str, Any]]:
    shown = [_row(one_line(row.name), row, floors) for row in rows[:_BARS]]
    rest = [node for row in rows[_BARS:] for node in row.nodes]
    if rest:
        count = len(rows) - _BARS
        shown.append(_row(f"{count} other{'s' * (count > 1)}", together("", rest), floors))
    return shown


def _row(name: str, group: Group, floors: dict[int, float]) -> dict[str, Any]:
    return {
        "name": name,
        "time_ns": group.time.value,
        "share": group.share,
        "nodes": len(group.nodes),
        "floor_ns": _floor(group.nodes, floors),
    }


def _table(name: str, rows: Sequence[Group], floors: dict[int, float]) -> Table:
    kept = rows[:_MOST_ROWS]
    left = f", the {len(kept)} longest of {len(rows):,}" if len(kept) < len(rows) else ""
    headings = (name, "nodes", "time a call", "from", "to", "share") + (("floor", "x floor") if floors else ())
    return Table(
        caption=f"Time a call by {name}{left}",
        headings=headings,
        rows=tuple((*_cells(row), *(_floor_cells(row, floors) if floors else ())) for row in kept),
    )


def _cells(row: Group) -> tuple[str | Cell, ...]:
    ends = (row.time.low, row.time.high) if math.isfinite(row.time.high) else (None, None)
    return (
        one_line(row.name),
        str(len(row.nodes)),
        *(Cell(text=duration(value), order=value) for value in (row.time.value, *ends)),
        Cell(text=percent(row.share), order=row.share),
    )


def _floor_cells(row: Group, floors: dict[int, float]) -> tuple[Cell, Cell]:
    floor = _floor(row.nodes, floors)
    if not floor:
        return Cell(text=NOT_KNOWN), Cell(text=NOT_KNOWN)
    over = row.time.value / floor
    return Cell(text=duration(floor), order=floor), Cell(text=number(over), order=over)
