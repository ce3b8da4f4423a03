"""Memory over a call, what holds it at the peak, and what the first call takes beside a steady one."""

from infer_opt.profiles.profile import Profile
from infer_opt.reports.html.layout import Cell, Figure, Table
from infer_opt.reports.quantities import NOT_KNOWN, duration, number, size, size_unit, time_unit
from infer_opt.reports.sentences import one_line

_STEPS = 1200  # of the course that are drawn; of more, the highest of each stretch
_NODES = 20


def course(profile: Profile) -> Figure | None:
    """Bytes of activations that are alive while each node runs."""
    memory = profile.memory
    alive = memory.alive_bytes
    if not alive:
        return None
    every = -(-len(alive) // _STEPS)
    names = [one_line(one.node.name or one.node.kind) for one in profile.nodes]
    peak = alive[memory.peak_index]
    unit, scale = size_unit(peak)
    return Figure(
        identity="memory-course",
        kind="course",
        title="Memory of activations over a call",
        summary=f"At most {size(peak)} of activations are alive, while {_named(names, memory.peak_index)} runs; "
        f"{size(memory.weight_bytes)} of weights come on top.{_process(profile)}",
        data={
            "x_axis": "node, in the order of execution",
            "y_axis": f"alive, {unit}",
            "unit": unit,
            "points": [
                {"x": start, "y": max(alive[start : start + every]) / scale, "name": _named(names, start)}
                for start in range(0, len(alive), every)
            ],
            "peak": {"x": memory.peak_index, "y": peak / scale, "name": size(peak)},
        },
        tables=(_holders(profile), _course_table(alive, names, every)),
        legend=(("subject-area", "activations that are alive"), ("subject-star", "the peak")),
    )


def first_call(profile: Profile) -> Figure | None:
    """The nodes whose first call costs the most beyond a steady one."""
    known = [one for one in profile.nodes if one.first_ns is not None]
    if not known:
        return None
    known.sort(key=lambda one: one.time.value - (one.first_ns or 0.0))
    shown = known[:_NODES]
    unit, scale = time_unit([one.first_ns for one in shown])
    call = profile.call
    return Figure(
        identity="first-call",
        kind="pairs",
        title="The first call against a steady one",
        summary=f"Opening the session takes {duration(call.open_ns)} and its first call {duration(call.first_ns)}, "
        f"where a steady one takes {duration(call.latency.value)}. The nodes that the first call costs the most:",
        data={
            "axis": f"time, {unit}",
            "rows": [
                {
                    "name": one_line(one.node.name or one.node.kind),
                    "first": (one.first_ns or 0.0) / scale,
                    "steady": one.time.value / scale,
                }
                for one in shown
            ],
        },
        tables=(
            Table(
                caption="The first call against a steady one, node by node",
                headings=("node", "first call", "steady call", "times"),
                rows=tuple(
                    (
                        one_line(one.node.name or one.node.kind),
                        Cell(text=duration(one.first_ns), order=one.first_ns),
                        Cell(text=duration(one.time.value), order=one.time.value),
                        NOT_KNOWN if not one.time.value else number((one.first_ns or 0.0) / one.time.value),
                    )
                    for one in shown
                ),
            ),
        ),
        legend=(("hollow-dot", "first call"), ("subject-dot", "steady call")),
    )


def _named(names: list[str], place: int) -> str:
    return names[place] if place < len(names) else f"node {place + 1}"


def _process(profile: Profile) -> str:
    memory = profile.memory
    if memory.rss_peak_bytes is None:
        return ""
    opened = "" if memory.rss_opened_bytes is None else f", {size(memory.rss_opened_bytes)} once the session is open"
    return f" The process takes {size(memory.rss_peak_bytes)} at the most{opened}."


def _holders(profile: Profile) -> Table:
    return Table(
        caption="What is in memory at the peak",
        headings=("tensor", "size", "written by", "needed until"),
        rows=tuple(
            (
                one_line(one.tensor),
                Cell(text=size(one.bytes), order=one.bytes),
                one_line(one.written_by) or "the caller",
                one_line(one.needed_by) or "the end",
            )
            for one in profile.memory.holders
        ),
        texts=frozenset({0, 2, 3}),
    )


def _course_table(alive: tuple[int, ...], names: list[str], every: int) -> Table:
    return Table(
        caption="Activations alive while each node runs" + f", the most of {every} nodes each" * (every > 1),
        headings=("node", "order", "alive"),
        rows=tuple(
            (
                _named(names, start),
                str(start + 1),
                Cell(text=size(max(alive[start : start + every])), order=max(alive[start : start + every])),
            )
            for start in range(0, len(alive), every)
        ),
    )
