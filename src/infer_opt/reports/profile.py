"""What `profile` found: where a call's time and memory go, by operator, module, block or node."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from infer_opt.errors import ConfigError
from infer_opt.profiles.documents import to_document
from infer_opt.profiles.nodes import Node, Tensor
from infer_opt.profiles.profile import Profile
from infer_opt.reports import By, Format, sentences
from infer_opt.reports.columns import escaped
from infer_opt.reports.documents import to_json
from infer_opt.reports.node_groups import Group, groups, together
from infer_opt.reports.quantities import duration, number, percent, size
from infer_opt.results import Estimate

NARROWEST, WIDEST = 60, 160
BAR = 12  # characters for all of a call
HOLDERS_SHOWN = 5
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def render(
    profile: Profile, format: Format | str = Format.TABLE, *, by: By = By.OPERATOR, top: int = 20, width: int = 120  # noqa: A002 (the word on the command line)
) -> str:  # fmt: skip
    """The profile as a table, a Markdown page or JSON, without a line break at the end.

    Arguments:
        by: what nodes are added up by; JSON has every node.
        top: how many groups are shown; the others are added up in a last line.

    Raises:
        ConfigError: another format.
    """
    if format == Format.JSON:
        return to_json(to_document(profile))
    if format not in (Format.TABLE, Format.MARKDOWN):
        raise ConfigError(f"a profile cannot be written as {format}", hint="--format table, json or markdown")
    is_page = format == Format.MARKDOWN
    width = min(max(width, NARROWEST), WIDEST)
    table = _table(profile, by, top, width=None if is_page else width)
    cautions = [f"- {caution}" for caution in sentences.other_cautions(profile.notes)]
    if is_page:
        return "\n\n".join(part for part in (*_answer(profile), table, *_memory(profile), "\n".join(cautions)) if part)
    parts = [
        "\n".join(_wrapped(_answer(profile), width)),
        table,
        "\n".join(_wrapped(_memory(profile), width)),
        "\n".join(["Cautions", *_wrapped(cautions, width)] if cautions else []),
    ]
    return "\n\n".join(part for part in parts if part)


def trace_document(profile: Profile) -> str:
    """One call as chrome://tracing and Perfetto read it, each node with the module that it came from."""
    modules = {one.node.name: one.node.module for one in profile.nodes}
    events = [_with_module(event, modules) for event in profile.trace]
    about = {"model": profile.subject, "configuration": profile.config.label}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns", "otherData": about}, ensure_ascii=False)


def _with_module(event: dict[str, object], modules: dict[str, str]) -> dict[str, object]:
    found, module = event.get("args"), modules.get(str(event.get("name")))
    return event | {"args": found | {"module": module}} if isinstance(found, dict) and module else event


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    return [piece for line in lines for piece in sentences.wrapped(line, width, indent="  ")]


def _answer(profile: Profile) -> list[str]:
    call = profile.call
    lines = sentences.fallback_notes(profile.notes)
    lines.append(
        f"A call takes {_with_interval(call.latency)}, over {profile.processes} fresh process"
        f"{'es' * (profile.processes != 1)}; the first one {duration(call.first_ns)}, after {duration(call.open_ns)} "
        "for opening."
    )
    executions = sum(one.executions for one in profile.nodes)
    lines.append(
        f"Its {len(profile.nodes):,} nodes add up to {duration(call.nodes_ns)}"
        + (f", in {number(executions)} executions." if round(executions) != len(profile.nodes) else ".")
    )
    if call.unaccounted is not None:
        lines.append(f"{call.unaccounted[0].upper()}{call.unaccounted[1:]}.")
    if profile.device is not None:
        device = profile.device
        lines.append(
            f"The GPU runs {device.launches:,} kernels a call, busy for {duration(device.busy_ns)} of "
            f"{duration(device.span_ns)}; {duration(device.gaps_ns)} lie in gaps between them."
        )
        lines += [
            f"Copied {name}: {count:,} times, {size(count_bytes)}, {duration(spent)}."
            for name, count, count_bytes, spent in device.copies
        ]
    if profile.placement is not None and len(profile.placement.nodes) > 1:
        where = ", ".join(f"{count} on {provider}" for provider, count in profile.placement.nodes)
        lines.append(f"Nodes: {where}.")
    what = f"{sentences.one_line(profile.subject)} ({profile.config.label})"
    return [
        *lines, f"{what} with ONNX Runtime {profile.runtime_version} on {sentences.machine_sentence(profile.machine)}."
    ]  # fmt: skip


def _with_interval(time: Estimate) -> str:
    if not math.isfinite(time.high):
        return f"{duration(time.value)} [no interval from one process]"
    return f"{duration(time.value)} [{duration(time.low)} to {duration(time.high)}]"


def _table(profile: Profile, by: By, top: int, *, width: int | None) -> str:
    found = groups(profile, by)
    shown, rest = list(found[:top]), found[top:]
    if rest:
        shown.append(together(f"{len(rest):,} more", [one for group in rest for one in group.nodes]))
    room = None if width is None else _room(width)
    rows = [_row(group, by, room, is_rest=bool(rest) and group is shown[-1]) for group in shown]
    shapes = "shapes" if by is By.NODE else "shapes of the heaviest"
    headings = [str(by), "time a call", "share", "", "runs", "on", shapes]
    if room is not None and room.shapes < _NARROW:
        rows, headings = [row[:-1] for row in rows], headings[:-1]
    layout = "pipe" if width is None else "simple"
    align = ("left", "right", "right", "left", "right", "left", "left")[: len(headings)]
    return tabulate(rows, headings, tablefmt=layout, colalign=align, disable_numparse=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """Characters for names and for shapes."""

    names: int
    shapes: int


_FIXED = 28 + 7 + BAR + 7 + 6 + 12  # times, shares, bars, counts, providers, and what lies between columns
_NARROW = 12  # characters that are no room for shapes


def _room(width: int) -> _Room:
    left = width - _FIXED
    names = max(16, min(44, left if left < 16 + _NARROW else left * 2 // 5))
    return _Room(names=names, shapes=left - names)


def _row(group: Group, by: By, room: _Room | None, *, is_rest: bool) -> list[str]:
    name, shapes = sentences.one_line(group.name), "" if is_rest else _shapes(group.heaviest)
    if by is not By.NODE and not is_rest and len(group.nodes) > 1:
        name += f" ×{len(group.nodes)}"
    return [
        escaped(name) if room is None else _shortened(name, room.names),
        _time(group.time),
        percent(group.share),
        _bar(group.share),
        number(group.executions) if group.executions != round(group.executions) else f"{round(group.executions):,}",
        group.providers,
        shapes if room is None else _shortened(shapes, room.shapes, keep_end=False),
    ]


def _time(time: Estimate) -> str:
    """`81.2 µs ± 3.1 %`: half of the interval's width."""
    if not math.isfinite(time.high):
        return duration(time.value)
    return f"{duration(time.value)} ± {percent((time.high - time.low) / 2 / time.value)}"


def _bar(share: float) -> str:
    eighths = round(min(1.0, share) * BAR * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def _shortened(text: str, room: int, *, keep_end: bool = True) -> str:
    """At most `room` characters: of a path the end tells more than the beginning."""
    if len(text) <= room:
        return text
    return f"…{text[len(text) - room + 1 :]}" if keep_end else f"{text[: max(0, room - 1)]}…"


def _shapes(node: Node) -> str:
    """`1x512 · 512x512 → 1x512`, weights included."""
    read = " · ".join(_shape(tensor) for tensor in node.inputs if tensor is not None)
    written = " · ".join(_shape(tensor) for tensor in node.outputs)
    return f"{read} → {written}" if written else read


def _shape(tensor: Tensor) -> str:
    text = "x".join(map(str, tensor.shape)) or "scalar"
    return text if tensor.dtype in ("float32", "int64") else f"{tensor.dtype} {text}"


def _memory(profile: Profile) -> list[str]:
    memory = profile.memory
    if not memory.alive_bytes:
        return []
    most = size(memory.alive_bytes[memory.peak_index])
    lines = [f"Memory: {size(memory.weight_bytes)} of weights, and {most} of activations where it is most."]
    held = [
        f"{sentences.one_line(holder.tensor) or 'a tensor without a name'}, {size(holder.bytes)} "
        f"({_life(holder.written_by, holder.needed_by)})"
        for holder in memory.holders[:HOLDERS_SHOWN]
    ]
    more = len(memory.holders) - HOLDERS_SHOWN
    if held:
        lines.append(f"There it holds {'; '.join(held)}" + (f"; and {more} more." if more > 0 else "."))
    if memory.rss_opened_bytes is not None and memory.rss_before_bytes is not None:
        lines.append(
            f"The process took {size(memory.rss_before_bytes)} before the session was opened, "
            f"{size(memory.rss_opened_bytes)} after, and {size(memory.rss_peak_bytes)} at the most in calls."
        )
    return lines


def _life(written_by: str, needed_by: str) -> str:
    """`from MatMul_1 until Add_3`."""
    begin = f"from {sentences.one_line(written_by)}" if written_by else "an input"
    return f"{begin} until {sentences.one_line(needed_by)}" if needed_by else f"{begin}, given back"
