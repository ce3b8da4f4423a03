"""What `profile` found: where a call's time and memory go, by operator, module, block or node."""

import json
import math
import re
from collections.abc import Sequence

from tabulate import SEPARATING_LINE, tabulate

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
NARROWEST_NAME, NARROWEST_SHAPES = 16, 14
FIGURES = ("time a call", "share", "", "runs", "on")
BAR = 12  # characters for all of a call
HOLDERS_SHOWN = 5
_UNIT = re.compile(r"(\d) (ns|µs|ms|s|B|kB|MB|GB)\b")
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
    """Lines of at most `width`; a number and its unit stay together."""
    bound = [_UNIT.sub("\\1\u00a0\\2", line) for line in lines]
    return [piece.replace("\u00a0", " ") for line in bound for piece in sentences.wrapped(line, width, indent="  ")]


def _answer(profile: Profile) -> list[str]:
    call = profile.call
    lines = sentences.fallback_notes(profile.notes)
    lines.append(
        f"A call takes {_with_interval(call.latency)}, over {profile.processes} fresh process"
        f"{'es' * (profile.processes != 1)}; the first one {duration(call.first_ns)}, after {duration(call.open_ns)} "
        "for opening."
    )
    lines.append(f"{_nodes(profile)}.")
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


def _nodes(profile: Profile) -> str:
    """How many nodes there are, what they add up to, and what was taken off for the profiler."""
    count, runs = len(profile.nodes), sum(one.executions for one in profile.nodes)
    text = f"Its {count:,} nodes are" if count > 1 else "Its node is"
    text += " executed once" if count == 1 and runs == 1 else f" executed {_runs(runs)} times"
    if profile.call.unaccounted is None:
        text += f" and {'add up to' if count > 1 else 'takes'} {duration(profile.call.nodes_ns)}"
    added = profile.call.profiler_ns
    return text + (f"; {duration(added)} that the profiler adds each time are taken off" if added else "")


def _with_interval(time: Estimate) -> str:
    if not math.isfinite(time.high):
        return f"{duration(time.value)} [no interval from one process]"
    return f"{duration(time.value)} [{duration(time.low)} to {duration(time.high)}]"


def _table(profile: Profile, by: By, top: int, *, width: int | None) -> str:
    found = groups(profile, by)
    shown, rest = list(found[:top]), found[top:]
    if rest:
        shown.append(together(f"{len(rest):,} more", [one for group in rest for one in group.nodes]))
    names = [_name(group, by) for group in shown]
    shapes = ["" if rest and group is shown[-1] else _shapes(group.heaviest) for group in shown]
    figures = [_figures(group) for group in shown]
    headings = [str(by), *FIGURES, "shapes" if by is By.NODE else "shapes of the heaviest"]
    alignment = ["left", "right", "right", "left", "right", "left", "left"]
    if width is None:
        rows = [
            [escaped(name), *texts, escaped(shape)] for name, texts, shape in zip(names, figures, shapes, strict=True)
        ]
        return tabulate(rows, headings, tablefmt="pipe", colalign=alignment, disable_numparse=True)
    widths = [2 + max(map(len, column)) for column in zip(FIGURES, *figures, strict=True)]
    bar = FIGURES.index("")
    if sum(widths) + NARROWEST_NAME > width:  # no room for bars
        del headings[1 + bar], alignment[1 + bar], widths[bar]
        figures = [[*texts[:bar], *texts[bar + 1 :]] for texts in figures]
    taken = sum(widths)
    widest = max(len(by), *map(len, names))
    for_names = max(NARROWEST_NAME, min(widest, width - taken - 2 - NARROWEST_SHAPES))
    for_shapes = width - taken - 2 - for_names
    keep = len(headings) if for_shapes >= NARROWEST_SHAPES else len(headings) - 1
    rows = [
        [_end_of(name, for_names), *texts, _beginning_of(shape, for_shapes)][:keep]
        for name, texts, shape in zip(names, figures, shapes, strict=True)
    ]
    # As the first row, and not as headers: tabulate makes headers wider than they are.
    lines = [[_beginning_of(heading, for_shapes) for heading in headings[:keep]], SEPARATING_LINE, *rows]
    return tabulate(lines, tablefmt="simple", colalign=alignment[:keep], disable_numparse=True)


def _name(group: Group, by: By) -> str:
    name = sentences.one_line(group.name)
    return f"{name} ×{len(group.nodes)}" if by is not By.NODE and len(group.nodes) > 1 else name


def _figures(group: Group) -> list[str]:
    runs = group.executions
    return [
        _time(group.time),
        percent(group.share),
        _bar(group.share),
        _runs(runs),
        group.providers,
    ]


def _runs(runs: float) -> str:
    return f"{round(runs):,}" if abs(runs - round(runs)) < 0.01 else number(runs)


def _time(time: Estimate) -> str:
    """`81.2 µs ± 3.1 %`: half of the interval's width."""
    if not math.isfinite(time.high):
        return duration(time.value)
    half = (time.high - time.low) / 2 / time.value
    return f"{duration(time.value)} ± {percent(half) if half < 1 else '>100 %'}"


def _bar(share: float) -> str:
    eighths = round(min(1.0, share) * BAR * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def _end_of(text: str, room: int) -> str:
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
