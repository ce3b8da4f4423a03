"""What `profile` found: where a call's time and memory go, by operator, module, block or node."""

import json
import math
import re
from collections.abc import Sequence

from infer_opt.errors import ConfigError
from infer_opt.profiles.documents import to_document
from infer_opt.profiles.profile import Profile
from infer_opt.reports import By, Format, diagnoses, roofline, sentences
from infer_opt.reports.documents import to_json
from infer_opt.reports.node_table import end_of, node_page, node_table, runs
from infer_opt.reports.quantities import duration, size
from infer_opt.results import Estimate

NARROWEST, WIDEST = 60, 160
HOLDERS_SHOWN = 5
FARTHEST = 5  # nodes from their floors
TENSOR = 36  # characters of a tensor's or node's name in a sentence
_UNIT = re.compile(r"(\d) (ns|µs|ms|s|B|kB|MB|GB)\b")


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
    table = node_page(profile, by, top=top) if is_page else node_table(profile, by, top=top, width=width)
    cautions = [f"- {caution}" for caution in sentences.other_cautions(profile.notes)]
    if is_page:
        found = diagnoses.markdown(profile.diagnoses, latency_ns=profile.call.latency.value)
        pieces = (
            *answer_lines(profile),
            *roofline.lines(profile),
            table,
            *_floors(profile, None),
            *found,
            *_memory(profile),
        )
        return "\n\n".join(part for part in (*pieces, "\n".join(cautions)) if part)
    parts = [
        "\n".join(_wrapped([*answer_lines(profile), *roofline.lines(profile)], width)),
        table,
        "\n".join(_floors(profile, width)),
        "\n".join(diagnoses.table(profile.diagnoses, latency_ns=profile.call.latency.value, width=width)),
        "\n".join(_wrapped(_memory(profile), width)),
        "\n".join(["Cautions", *_wrapped(cautions, width)] if cautions else []),
    ]
    return "\n\n".join(part for part in parts if part)


def _floors(profile: Profile, width: int | None) -> list[str]:
    found = roofline.table(profile, top=FARTHEST, width=width)
    title = "Farthest from what the machine could do"
    return [title if width is not None else f"**{title}**", found] if found else []


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


def answer_lines(profile: Profile) -> list[str]:
    """What was found, sentence by sentence, the answer first."""
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
    count, executions = len(profile.nodes), sum(one.executions for one in profile.nodes)
    text = f"It executes {count:,} node{'s' * (count != 1)}"
    text += f" {runs(executions)} times" if runs(executions) != f"{count:,}" else ""
    if profile.call.unaccounted is None:
        text += f", which {'add up to' if count > 1 else 'takes'} {duration(profile.call.nodes_ns)}"
    added = profile.call.profiler_ns
    return text + (f"; {duration(added)} that the profiler adds each time are taken off" if added else "")


def _with_interval(time: Estimate) -> str:
    if not math.isfinite(time.high):
        return f"{duration(time.value)} [no interval from one process]"
    return f"{duration(time.value)} [{duration(time.low)} to {duration(time.high)}]"


def _memory(profile: Profile) -> list[str]:
    memory = profile.memory
    if not memory.alive_bytes:
        return []
    most = size(memory.alive_bytes[memory.peak_index])
    lines = [f"Memory: {size(memory.weight_bytes)} of weights, and {most} of activations where it is most."]
    held = [
        f"{end_of(sentences.one_line(holder.tensor), TENSOR) or 'a tensor without a name'}, {size(holder.bytes)} "
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
    begin = f"from {end_of(sentences.one_line(written_by), TENSOR)}" if written_by else "an input"
    return f"{begin} until {end_of(sentences.one_line(needed_by), TENSOR)}" if needed_by else f"{begin}, given back"
