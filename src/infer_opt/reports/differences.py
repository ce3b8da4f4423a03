"""Two profiles side by side: what a call takes more or less, and which operators, modules or nodes account for it."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from tabulate import tabulate

from infer_opt.errors import ConfigError
from infer_opt.profiles.comparing import OperatorDifference, ProfileDifference
from infer_opt.reports import By, Format, sentences
from infer_opt.reports.columns import escaped
from infer_opt.reports.documents import SCHEMA_VERSION, to_json
from infer_opt.reports.quantities import NOT_KNOWN, duration, percent
from infer_opt.results import Estimate

KIND = "infer-opt profile difference"
NARROWEST, WIDEST = 60, 160
STAR = "*"
_FIXED, _SIDES = 72, 22  # characters for all columns but the name, and for what either side took
_NARROW = 96


def render(
    found: ProfileDifference, format: Format | str = Format.TABLE, *,  # noqa: A002 (the word on the command line)
    by: By = By.OPERATOR, top: int = 20, width: int = 120,
) -> str:  # fmt: skip
    """The difference as a table, a Markdown page or JSON, without a line break at the end.

    Raises:
        ConfigError: another format, or a grouping that differences are not known for.
    """
    if format == Format.JSON:
        return to_json(document(found))
    if format not in (Format.TABLE, Format.MARKDOWN):
        raise ConfigError(f"a difference cannot be written as {format}", hint="--format table, json or markdown")
    rows = _rows(found, by)
    is_page = format == Format.MARKDOWN
    width = min(max(width, NARROWEST), WIDEST)
    answer = answer_lines(found, by)
    table = _table(rows, by, top, width=None if is_page else width)
    cautions = [f"- {caution}" for caution in sentences.other_cautions(found.notes)]
    if is_page:
        return "\n\n".join(part for part in (*answer, table, "\n".join(cautions)) if part)
    wrapped = [piece for line in answer for piece in sentences.wrapped(line, width, indent="  ")]
    lines = [piece for caution in cautions for piece in sentences.wrapped(caution, width, indent="  ")]
    parts = ["\n".join(wrapped), table, "\n".join(["Cautions", *lines] if lines else [])]
    return "\n\n".join(part for part in parts if part)


def document(found: ProfileDifference) -> dict[str, Any]:
    """The difference as JSON values: docs/json.md describes them. Each row says whether it `is_clear`."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    for kind in ("operators", "modules", "nodes"):
        rows: tuple[OperatorDifference, ...] = getattr(found, kind)
        plain[kind] = [{"is_clear": row.is_clear, **written} for row, written in zip(rows, plain[kind], strict=True)]
    return {"schema_version": SCHEMA_VERSION, "kind": KIND, "difference": {"is_clear": found.is_clear, **plain}}


def _rows(found: ProfileDifference, by: By) -> Sequence[OperatorDifference]:
    rows = {By.OPERATOR: found.operators, By.MODULE: found.modules, By.NODE: found.nodes}
    if by not in rows:
        raise ConfigError(f"profiles are not compared by {by}", hint="--by operator, module or node")
    return rows[by]


def answer_lines(found: ProfileDifference, by: By) -> list[str]:
    """What was found, sentence by sentence, the answer first."""
    rows = _rows(found, by)
    subject, reference = (sentences.one_line(name) for name in (found.subject, found.reference))
    total, latency = found.total, found.reference_latency
    if found.is_clear:
        more = "more" if total.value > 0 else "less"
        relative = "" if latency is None or latency.value <= 0 else f", {percent(abs(total.value) / latency.value)}"
        lines = [
            f"A call of {subject} takes {_latency(found.subject_latency)}, {duration(abs(total.value))} {more} than "
            f"one of {reference} ({_latency(latency)}){relative}: {_interval(total)}."
        ]
    else:
        lines = [
            f"A call of {subject} takes {_latency(found.subject_latency)}, one of {reference} {_latency(latency)}: "
            f"the difference cannot be told from noise, {_interval(total)}."
        ]
    clear = [row for row in rows if row.is_clear]
    if not rows:
        lines.append(f"Nothing can be compared by {by}: {_WHY_NOT[by]}.")
    elif not clear:
        lines.append(f"None of the {len(rows)} {by}s differs by more than noise.")
    elif found.is_clear:
        explained = sum(row.difference.value for row in clear) / total.value
        lines.append(
            f"{_named(clear, by)} account{'s' * (len(clear) == 1)} for {percent(explained)} of the difference; what "
            f"the others do cannot be told from noise. {_outside(found)}".rstrip()
        )
    else:
        lines.append(f"{_named(clear, by)} differ{'s' * (len(clear) == 1)}, which the latencies do not show.")
    return [*lines, _provenance(found)]


_WHY_NOT = {
    By.OPERATOR: "neither executes anything",
    By.MODULE: "the names of their nodes say nothing of modules",
    By.NODE: "no node is in both by its name, or by the nodes of the model that it does the work of",
}


def _named(clear: Sequence[OperatorDifference], by: By) -> str:
    names = [sentences.one_line(row.name) for row in clear[:3]]
    if len(clear) > len(names):
        return f"{', '.join(names)} and {len(clear) - len(names)} other {by}{'s' * (len(clear) - len(names) > 1)}"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _outside(found: ProfileDifference) -> str:
    """What lies between and around nodes, where that is more than noise."""
    outside = found.outside
    if outside is None or outside.low <= 0.0 <= outside.high:
        return ""
    more = "more" if outside.value > 0 else "less"
    return f"Outside of nodes, a call takes {duration(abs(outside.value))} {more}: {_interval(outside)}."


def _provenance(found: ProfileDifference) -> str:
    """How the two were measured, which decides what an interval is worth."""
    runtimes = {found.subject_runtime, found.reference_runtime} - {""}
    versions = " and ".join(sorted(runtimes))
    if found.paired:
        return (
            f"Measured in turn in {found.subject_processes} pair{'s' * (found.subject_processes != 1)} of fresh "
            f"processes with ONNX Runtime {versions}, on {found.subject_machine}. Intervals are Student's over the "
            f"pairs; those of the table allow for how many rows there are (Holm), and {STAR} marks the rows whose "
            "interval excludes 0."
        )
    machines = (
        f"on {found.subject_machine}"
        if found.is_same_machine
        else f"on {found.subject_machine}, and on another machine: {found.reference_machine}"
    )
    return (
        f"NOT measured in turn: {found.subject_processes} and {found.reference_processes} fresh processes with ONNX "
        f"Runtime {versions}, {machines}. Intervals are Welch's over processes, allow for how many rows there are "
        f"(Holm), and know nothing of what the machine did in between; {STAR} marks the rows whose interval excludes 0."
    )


def _table(rows: Sequence[OperatorDifference], by: By, top: int, *, width: int | None) -> str:
    if not rows:
        return ""
    is_narrow = width is not None and width < _NARROW
    room = None if width is None else max(16, width - (_FIXED - _SIDES * is_narrow))
    cells = [
        [
            STAR if row.is_clear else "",
            _name(row, room),
            _side(row.subject),
            _side(row.reference),
            _signed(row.difference.value),
            _bounds(row.difference),
            percent(row.share) if row.is_clear and row.share is not None else "",
        ]
        for row in rows[:top]
    ]
    if len(rows) > top:
        value = sum(row.difference.value for row in rows[top:])
        cells.append(["", f"{len(rows) - top:,} more", "", "", _signed(value), "", ""])
    columns = [
        ("", "left"), (str(by), "left"), ("subject", "right"), ("reference", "right"), ("difference", "right"),
        ("interval", "left"), ("explains", "right"),
    ]  # fmt: skip
    # Without room, what a row took on either side goes: the difference is what was asked for, and JSON has all.
    kept = [place for place in range(len(columns)) if not (is_narrow and place in (2, 3))]
    return tabulate(
        [[row[place] for place in kept] for row in cells],
        [columns[place][0] for place in kept],
        tablefmt="pipe" if width is None else "simple",
        disable_numparse=True,
        colalign=[columns[place][1] for place in kept],
    )


def _name(row: OperatorDifference, room: int | None) -> str:
    subject, reference = row.subject_nodes, row.reference_nodes
    counts = "" if subject == reference == 1 else f" ×{subject}" if subject == reference else f" ×{subject}/{reference}"
    name = sentences.one_line(row.name)
    if room is None:
        return escaped(name) + counts
    left = room - len(counts)
    return (name if len(name) <= left else f"…{name[len(name) - left + 1 :]}") + counts


def _side(time: Estimate | None) -> str:
    return "none" if time is None else duration(time.value)


def _latency(time: Estimate | None) -> str:
    return NOT_KNOWN if time is None else duration(time.value)


def _signed(value: float) -> str:
    return duration(0.0) if value == 0 else f"{'+' if value > 0 else '-'}{duration(abs(value))}"


def _bounds(estimate: Estimate) -> str:
    if not math.isfinite(estimate.low) or not math.isfinite(estimate.high):
        return "none yet"
    return f"{_signed(estimate.low)} to {_signed(estimate.high)}"


def _interval(estimate: Estimate) -> str:
    if not math.isfinite(estimate.low) or not math.isfinite(estimate.high):
        return "one process a side gives no interval"
    return f"{_bounds(estimate)} ({percent(estimate.confidence)} interval)"
