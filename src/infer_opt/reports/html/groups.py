"""Where the time of a call goes: by operator, by module, by block of modules, and node by node."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from infer_opt.profiles.nodes import NodeTimes
from infer_opt.profiles.profile import Profile
from infer_opt.reports.html.layout import Cell, Figure, Table
from infer_opt.reports.quantities import NOT_KNOWN, duration, number, percent, time_unit
from infer_opt.reports.sentences import one_line

_BARS = 30  # of a chart; what is left is one bar more
_UNNAMED = "(no module)"


def block(module: str) -> str:
    """The module down to its first number: `encoder.layer.0` of `encoder.layer.0.attention.query`."""
    parts = re.split(r"[./]", module.strip("/."))
    first = next((place for place, part in enumerate(parts) if re.fullmatch(r"\w*?\d+", part)), 0)
    return ".".join(parts[: first + 1]) or _UNNAMED


_GROUPINGS: dict[str, Callable[[NodeTimes], str]] = {
    "operator": lambda one: one.node.kind,
    "module": lambda one: one.node.module or _UNNAMED,
    "block": lambda one: block(one.node.module),
    "node": lambda one: one.node.name or one.node.kind,
}


def figure(profile: Profile) -> Figure:
    """Bars of time a call, of one grouping at a time; where floors are known, a mark says how short a bar could be."""
    floors = _floors(profile)
    unit, scale = time_unit([profile.call.latency.value])
    grouped = {name: _rows(profile.nodes, key, floors) for name, key in _GROUPINGS.items()}
    # One group alone, or the same groups as another grouping has, shows nothing.
    told = {name: rows for name, rows in grouped.items() if name in ("operator", "node") or len(rows) > 1}
    top = grouped["operator"][0]
    return Figure(
        identity="time-by-group",
        kind="bars",
        title="Where the time of a call goes",
        summary=f"{percent(top['share'])} of the nodes' time is in {top['name']} ({top['nodes']} of "
        f"{len(profile.nodes)} nodes)." + (" Each bar's mark is its floor." if floors else ""),
        data={
            "axis": f"time a call, {unit}",
            "scale": scale,
            "groups": [{"name": f"by {name}", "rows": _drawn(rows)} for name, rows in told.items()],
        },
        tables=tuple(_table(name, rows) for name, rows in told.items() if name != "node"),
        legend=(("subject-bar", "time a call"),) + ((("floor", "its floor on this machine"),) if floors else ()),
    )


def _floors(profile: Profile) -> tuple[float, ...]:
    """The floor of each node in the order of execution, ns; empty where there is no roofline of these nodes."""
    roofline = profile.roofline
    if roofline is None or len(roofline.nodes) != len(profile.nodes):
        return ()
    return tuple(one.floor_ns for one in roofline.nodes)


def _rows(nodes: Sequence[NodeTimes], key: Callable[[NodeTimes], str], floors: Sequence[float]) -> list[dict[str, Any]]:
    """The groups, the longest first."""
    found: dict[str, dict[str, Any]] = {}
    for place, one in enumerate(nodes):
        group = found.setdefault(
            one_line(key(one)), {"time_ns": 0.0, "share": 0.0, "nodes": 0, "floor_ns": 0.0 if floors else None}
        )
        group["time_ns"] += one.time.value
        group["share"] += one.share
        group["nodes"] += 1
        if floors:
            group["floor_ns"] += floors[place]
    return sorted(({"name": name, **group} for name, group in found.items()), key=lambda group: -group["time_ns"])


def _drawn(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    shown, rest = list(rows[:_BARS]), rows[_BARS:]
    if rest:
        floors = [row["floor_ns"] for row in rest]
        shown.append(
            {
                "name": f"{len(rest)} others",
                "time_ns": sum(row["time_ns"] for row in rest),
                "share": sum(row["share"] for row in rest),
                "nodes": sum(row["nodes"] for row in rest),
                "floor_ns": None if None in floors else sum(floors),
            }
        )
    return shown


def _table(name: str, rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        caption=f"Time a call by {name}",
        headings=(name, "nodes", "time a call", "share", "floor", "x floor"),
        rows=tuple(
            (
                row["name"],
                str(row["nodes"]),
                Cell(text=duration(row["time_ns"]), order=row["time_ns"]),
                Cell(text=percent(row["share"]), order=row["share"]),
                Cell(text=duration(row["floor_ns"]), order=row["floor_ns"]),
                _over(row["time_ns"], row["floor_ns"]),
            )
            for row in rows
        ),
    )


def _over(time_ns: float, floor_ns: float | None) -> Cell:
    return Cell(text=NOT_KNOWN) if not floor_ns else Cell(text=number(time_ns / floor_ns), order=time_ns / floor_ns)
