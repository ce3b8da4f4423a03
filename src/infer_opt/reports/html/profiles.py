"""A profile as the sections of a page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infer_opt.profiles.comparing import ProfileDifference
from infer_opt.profiles.documents import to_document
from infer_opt.profiles.nodes import DeviceActivity, NodeTimes
from infer_opt.profiles.profile import Profile
from infer_opt.reports import sentences
from infer_opt.reports.html import diagnoses, differences, groups, memories, rooflines, surroundings
from infer_opt.reports.html.layout import Cell, Download, Fact, Section, Table, pairs, paragraphs
from infer_opt.reports.html.markup import Markup
from infer_opt.reports.html.page import Page
from infer_opt.reports.profile import answer_lines
from infer_opt.reports.quantities import NOT_KNOWN, duration, number, percent, size

_MOST_NODES = 600  # rows of the table of nodes
_MOST_BYTES = 1_500_000  # of each file that a page carries along
_RAW, _TENSORS = ("raw_ns",), ("inputs", "outputs", "attributes", "origins")

_HOW = (
    "The model ran in fresh processes, with the runtime's profiler and without it in turn. Times of nodes are medians "
    "a call, with intervals over processes; shares are of the sum over all nodes. Memory of activations is computed "
    "from the executed graph and the shapes that were seen."
)


def page(profile: Profile, difference: ProfileDifference | None = None) -> Page:
    """The whole page of a profile: what it differs by from another, what would help, where the time goes, and why."""
    alerts = tuple(sentences.fallback_notes(profile.notes))
    found = [
        None if difference is None else differences.section(difference),
        diagnoses.section(profile.diagnoses, latency_ns=profile.call.latency.value, title="What would help"),
        Section(identity="time", title="Where the time goes", parts=(groups.figure(profile),))
        if profile.nodes
        else None,
        _roofline(profile),
        _nodes(profile) if profile.nodes else None,
        _memory(profile),
        _first(profile),
        None if profile.device is None else _device(profile.device),
        surroundings.section(profile.machine, profile.model),
        surroundings.cautions(profile.notes),
        Section(identity="measurement", title="How it was measured", parts=(_how(profile),)),
    ]
    return Page(
        kind="Profile",
        title=profile.subject,
        headline=headline(profile),
        alerts=alerts,
        lines=tuple(line for line in answer_lines(profile) if line not in alerts),
        facts=tuple(_facts(profile)),
        sections=tuple(section for section in found if section is not None),
        downloads=tuple(_downloads(profile)),
    )


def headline(profile: Profile) -> str:
    """What a call takes, where most of it goes, and how far that is from what the machine can do."""
    by_kind: dict[str, float] = {}
    for one in profile.nodes:
        by_kind[one.node.kind] = by_kind.get(one.node.kind, 0.0) + one.share
    words = f"A call takes {duration(profile.call.latency.value)}"
    if by_kind:
        kind, share = max(by_kind.items(), key=lambda pair: pair[1])
        words += f", {percent(share)} of its nodes' time in {sentences.one_line(kind)}"
    if profile.roofline is not None and profile.roofline.floor_ns:
        words += f"; its floor on this machine is {duration(profile.roofline.floor_ns)}"
    return words + "."


def _facts(profile: Profile) -> list[Fact]:
    call, memory = profile.call, profile.memory
    found = [
        Fact(
            value=duration(call.latency.value),
            name="median of a call",
            detail=f"{duration(call.latency.low)} to {duration(call.latency.high)}",
        )
    ]
    if profile.roofline is not None and profile.roofline.floor_ns:
        over = number(call.latency.value / profile.roofline.floor_ns)
        found.append(Fact(value=f"{over}x", name="of its floor", detail=f"floor {duration(profile.roofline.floor_ns)}"))
    found.append(
        Fact(value=duration(call.first_ns), name="first call", detail=f"after opening: {duration(call.open_ns)}")
    )
    if memory.alive_bytes:
        peak = size(memory.alive_bytes[memory.peak_index])
        found.append(Fact(value=peak, name="activations at the peak", detail=f"weights {size(memory.weight_bytes)}"))
    executed = f"{sum(count for _, count in profile.model.operators):,} in the model"
    found.append(Fact(value=f"{len(profile.nodes):,}", name="nodes executed", detail=executed))
    return found


def _roofline(profile: Profile) -> Section | None:
    figure = rooflines.figure(profile)
    return None if figure is None else Section(identity="floors", title="Roofline", parts=(figure,))


def _nodes(profile: Profile) -> Section:
    ranked = sorted(enumerate(profile.nodes), key=lambda pair: -pair[1].time.value)
    shown = ranked[:_MOST_NODES]
    table = Table(
        caption="Nodes as they are executed, the longest first",
        headings=("node", "operator", "order", "time a call", "from", "to", "share", "executions", "module"),
        rows=tuple(_node(place, one) for place, one in shown),
        texts=frozenset({0, 1, 8}),
        filtered=True,
    )
    left = len(ranked) - len(shown)
    return Section(
        identity="nodes",
        title="All nodes",
        parts=(table,),
        lead=f"The {left:,} shortest nodes are in the JSON alone." if left else "",
    )


def _node(place: int, one: NodeTimes) -> tuple[str | Cell, ...]:
    return (
        sentences.one_line(one.node.name) or "(no name)",
        one.node.kind,
        str(place + 1),
        *(Cell(text=duration(value), order=value) for value in (one.time.value, one.time.low, one.time.high)),
        Cell(text=percent(one.share), order=one.share),
        number(one.executions),
        sentences.one_line(one.node.module) or NOT_KNOWN,
    )


def _memory(profile: Profile) -> Section | None:
    figure = memories.course(profile)
    return None if figure is None else Section(identity="memory", title="Memory", parts=(figure,))


def _first(profile: Profile) -> Section | None:
    figure = memories.first_call(profile)
    return None if figure is None else Section(identity="first", title="The first call", parts=(figure,))


def _device(found: DeviceActivity) -> Section:
    facts = pairs(
        [
            ("kernels a call", number(found.launches)),
            ("kernels ran", duration(found.busy_ns)),
            ("gaps between them", duration(found.gaps_ns)),
            ("first to last kernel", duration(found.span_ns)),
        ]
    )
    copies = Table(
        caption="Copies between host and device, a call",
        headings=("copy", "how many", "size", "time"),
        rows=tuple(
            (sentences.one_line(name), str(count), size(moved), Cell(text=duration(time), order=time))
            for name, count, moved, time in found.copies
        ),
    )
    return Section(identity="device", title="The GPU in a call", parts=(facts, *([copies] if found.copies else [])))


def _how(profile: Profile) -> Markup:
    call = profile.call
    return paragraphs(
        [
            _HOW,
            f"{profile.processes} processes. A call takes {duration(call.latency.value)} without the profiler and "
            f"{duration(call.profiled.value)} with it; its nodes add up to {duration(call.nodes_ns)}.",
        ]
    )


def _downloads(profile: Profile) -> list[Download]:
    found = []
    for words, document in _documents(profile):
        if len(json.dumps(document)) <= _MOST_BYTES:
            found.append(Download(file="profile.json", words=words, kind="json", content=document))
            break
    trace = list(profile.trace)
    if trace and len(json.dumps(trace)) <= _MOST_BYTES:
        found.append(Download(file="trace.json", words="One call, for Perfetto (JSON)", kind="json", content=trace))
    return found


def _documents(profile: Profile) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The profile as JSON values, whole but for the trace, which is a file of its own; then with less and less."""
    document = to_document(profile)
    body: dict[str, Any] = {**document["profile"], "trace": []}
    yield "Everything (JSON)", {**document, "profile": body}
    for words, left_out in (("raw times", _RAW), ("raw times, shapes and attributes", (*_RAW, *_TENSORS))):
        nodes = [_without(one, left_out) for one in body["nodes"]]
        yield f"Without {words} of nodes (JSON)", {**document, "profile": {**body, "nodes": nodes}}


def _without(entry: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The entry with empty lists in those places, in it or in its node."""
    node = {name: [] if name in names else value for name, value in entry["node"].items()}
    return {**{name: [] if name in names else value for name, value in entry.items()}, "node": node}
