"""The roofline: how much of what the machine can do each node does, by its operations a byte."""

from typing import Any

from infer_opt.profiles.nodes import NodeTimes
from infer_opt.profiles.profile import Profile
from infer_opt.profiles.roofline import NodeFloor, Roofline
from infer_opt.reports.html.layout import Cell, Figure, Table
from infer_opt.reports.quantities import NOT_KNOWN, duration, number, size
from infer_opt.reports.roofline import lines
from infer_opt.reports.sentences import one_line

_POINTS = 800  # nodes that are drawn, and stand in its table: those that take the most time


def figure(profile: Profile) -> Figure | None:
    """Nodes as points, ceilings as lines, both axes logarithmic; None where no node's work is counted."""
    roofline = profile.roofline
    if roofline is None or len(roofline.nodes) != len(profile.nodes):
        return None
    pairs = list(zip(profile.nodes, roofline.nodes, strict=True))
    counted = [
        (node, floor)
        for node, floor in pairs
        if floor.work is not None and floor.work.operations and floor.work.moved_bytes and node.time.value
    ]
    if not counted:
        return None
    counted.sort(key=lambda pair: -pair[0].time.value)
    return Figure(
        identity="roofline",
        kind="roofline",
        title="How far the nodes are from what this machine can do",
        summary=" ".join(lines(profile)),
        data={
            "x_axis": "operations a byte",
            "y_axis": "operations a second",
            "compute": [
                {"name": precision, "value": found.value}
                for precision, found in roofline.ceilings.operations_per_s
                if found.value > 0
            ],
            "bandwidths": [
                {"name": one.level, "value": one.bytes_per_s.value}
                for one in roofline.ceilings.bandwidths
                if one.bytes_per_s.value > 0
            ],
            "points": [_point(node, floor) for node, floor in counted[:_POINTS]],
        },
        tables=(_ceilings(roofline), _nodes(counted[:_POINTS])),
        legend=(("subject-dot", "a node; the larger, the more time it takes"), ("ceiling", "a ceiling, as measured")),
    )


def _point(node: NodeTimes, floor: NodeFloor) -> dict[str, Any]:
    work = floor.work
    intensity, operations = (work.intensity, work.operations) if work is not None else (0.0, 0)
    return {
        "x": intensity,
        "y": operations / node.time.value * 1e9,
        "share": node.share,
        "name": one_line(node.node.name or node.node.kind),
        "detail": f"{node.node.kind} · {duration(node.time.value)}, floor {duration(floor.floor_ns)} ({floor.bound})",
    }


def _ceilings(roofline: Roofline) -> Table:
    found = roofline.ceilings
    rates = [
        (f"arithmetic, {name}", f"{number(one.value / 1e9)}", f"{number(one.low / 1e9)} to {number(one.high / 1e9)}",
         "G operations/s")
        for name, one in found.operations_per_s
    ]  # fmt: skip
    flows = [
        (f"traffic, {one.level}" + ("" if one.capacity_bytes is None else f" (up to {size(one.capacity_bytes)})"),
         f"{number(one.bytes_per_s.value / 1e9)}",
         f"{number(one.bytes_per_s.low / 1e9)} to {number(one.bytes_per_s.high / 1e9)}", "GB/s")
        for one in found.bandwidths
    ]  # fmt: skip
    launch = ("starting a node", number(found.launch.value / 1e3),
              f"{number(found.launch.low / 1e3)} to {number(found.launch.high / 1e3)}", "µs")  # fmt: skip
    threads = f", {found.threads} thread{'s' * (found.threads != 1)}" if found.threads else ""
    return Table(
        caption=f"Ceilings of this machine, as measured: {found.provider}{threads}",
        headings=("ceiling", "value", "95 % interval", "unit"),
        rows=(*rates, *flows, launch),
        texts=frozenset({0, 3}),
    )


def _nodes(counted: list[tuple[NodeTimes, NodeFloor]]) -> Table:
    rows = []
    for node, floor in counted:
        work = floor.work
        rate = None if work is None else work.operations / node.time.value
        rows.append(
            (
                one_line(node.node.name),
                node.node.kind,
                NOT_KNOWN if work is None else number(work.intensity),
                Cell(text=number(rate), order=rate),
                Cell(text=duration(node.time.value), order=node.time.value),
                Cell(text=duration(floor.floor_ns), order=floor.floor_ns),
                floor.bound.value,
            )
        )
    return Table(
        caption="Nodes whose work is counted",
        headings=("node", "operator", "operations a byte", "G operations/s", "time a call", "floor", "bound by"),
        rows=tuple(rows),
        texts=frozenset({0, 1, 6}),
    )
