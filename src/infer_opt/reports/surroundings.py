"""What was seen of the process around a model: a table, a Markdown page, or JSON."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from tabulate import SEPARATING_LINE, tabulate

from infer_opt.errors import ConfigError
from infer_opt.profiles.surrounding import Stack, SurroundingProfile
from infer_opt.reports import Format, sentences
from infer_opt.reports.documents import SCHEMA_VERSION, to_json
from infer_opt.reports.quantities import NOT_KNOWN, elapsed, number, percent, size

KIND = "infer-opt surrounding profile"
WIDTH, NARROWEST = 120, 50
MOST_ROWS = 10
_LINE = re.compile(r":\d+\)$")
_PLUMBING = ("<frozen importlib", "(threading.py", "<frozen runpy>")


def render(profile: SurroundingProfile, format: Format | str = Format.TABLE, *, width: int = WIDTH) -> str:  # noqa: A002 (the word on the command line)
    """The profile as a table, a Markdown page or JSON, without a line break at the end.

    Raises:
        ConfigError: another format.
    """
    if format == Format.JSON:
        return to_json(document(profile))
    if format not in (Format.TABLE, Format.MARKDOWN):
        raise ConfigError(
            f"a profile of a process cannot be written as {format}", hint="--format table, markdown or json"
        )
    layout = "pipe" if format == Format.MARKDOWN else "simple"
    room = max(width, NARROWEST)
    tables = [
        _shares(profile, layout, room),
        _functions(profile, layout, room),
        _waiting(profile, layout, room),
        _threads(profile, layout),
        _memory(profile, layout, room),
    ]
    parts = [_head(profile, room), *(table for table in tables if table)]
    if profile.notes:
        notes = [f"- {note}" for note in profile.notes]
        if layout == "simple":
            notes = [piece for note in notes for piece in sentences.wrapped(note, room, indent="  ")]
        parts.append("\n".join(["Notes", *notes] if layout == "simple" else notes))
    return "\n\n".join(parts)


def document(profile: SurroundingProfile) -> dict[str, Any]:
    """The profile as JSON values: docs/json.md describes them."""
    return {"schema_version": SCHEMA_VERSION, "kind": KIND, "profile": msgspec.to_builtins(profile)}


def total(stacks: Sequence[Stack] | None) -> int | None:
    """All samples (or bytes) of some stacks; None where there are none to be had."""
    return None if stacks is None else sum(stack.samples for stack in stacks)


def function_of(frame: str) -> str:
    """A frame without its line: `function (file)`."""
    return _LINE.sub(")", frame)


def by_function(stacks: Sequence[Stack]) -> dict[str, tuple[int, int]]:
    """Function -> (samples in which it was the innermost, samples in which it was anywhere), the most first.

    A function that calls itself counts once in a sample.
    """
    own, whole = Counter[str](), Counter[str]()
    for stack in stacks:
        names = [function_of(frame) for frame in stack.frames]
        if names:
            own[names[-1]] += stack.samples
        for name in set(names):
            whole[name] += stack.samples
    return {name: (own[name], count) for name, count in sorted(whole.items(), key=lambda item: (-item[1], item[0]))}


def gil_held(profile: SurroundingProfile) -> float | None:
    """The share of the time in which some thread held the GIL, over all processes; above 1 where several did."""
    held = total(profile.holding)
    moments = profile.seconds * profile.rate_hz
    return None if held is None or moments <= 0 else held / moments


def gil_wanted(profile: SurroundingProfile) -> float | None:
    """Of the time in which threads wanted to go on, the share in which they waited for the GIL."""
    waited, ran = total(profile.waiting_for_gil), total(profile.stacks) or 0
    return None if waited is None or waited + ran == 0 else waited / (waited + ran)


def _head(profile: SurroundingProfile, width: int) -> str:
    ran = total(profile.stacks) or 0
    lines = [
        f"{sentences.one_line(profile.subject)}: {elapsed(profile.seconds)} sampled, {profile.rate_hz} times a second."
        if profile.seconds
        else f"{sentences.one_line(profile.subject)}: not sampled.",
        f"CPU time {NOT_KNOWN if profile.cpu_s is None else elapsed(profile.cpu_s)}"
        + (f" in {profile.processes} processes" if profile.processes > 1 else "")
        + f", most resident memory {size(profile.rss_peak_bytes)}, {_ending(profile)}.",
    ]
    if ran:
        waited = total(profile.waiting)
        idle = "" if waited is None else f", waiting in {waited:,}"
        lines.append(f"Threads were running or ready to run in {ran:,} samples{idle}. {_gil(profile)}".rstrip())
    return "\n".join(piece for line in lines for piece in sentences.wrapped(line, width))


def _ending(profile: SurroundingProfile) -> str:
    if profile.exit_code is None:
        return "still running"
    return f"exit code {profile.exit_code}"


def _gil(profile: SurroundingProfile) -> str:
    held, wanted = gil_held(profile), gil_wanted(profile)
    over = f" over {profile.processes} processes" if profile.processes > 1 else ""
    said = (
        [] if held is None else [f"the GIL was held {percent(min(held, float(profile.processes)))} of the time{over}"]
    )
    if wanted is not None:
        said.append(f"threads that wanted to go on waited for it {percent(wanted)} of theirs")
    sentence = ", and ".join(said)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def _shares(profile: SurroundingProfile, layout: str, width: int) -> str:
    if not profile.shares:
        return ""
    ran = total(profile.stacks) or 0
    rows = [[_cut(name, width - 24), percent(share), _seconds(share * ran, profile)] for name, share in profile.shares]
    kept, rest = rows[:MOST_ROWS], profile.shares[MOST_ROWS:]
    if rest:
        share = sum(found for _, found in rest)
        kept.append([f"{len(rest)} others", percent(share), _seconds(share * ran, profile)])
    return _drawn(kept, ["spent on", "share", "time"], layout)


def _functions(profile: SurroundingProfile, layout: str, width: int) -> str:
    ran = total(profile.stacks) or 0
    if not ran:
        return ""
    counted = by_function(profile.stacks)
    own = sorted(((found[0], name) for name, found in counted.items() if found[0]), key=lambda row: (-row[0], row[1]))
    python = {function_of(frame) for stack in profile.stacks for frame in stack.frames if _LINE.search(frame)}
    whole = [
        (found[1], name)
        for name, found in counted.items()
        if name in python and not any(word in name for word in _PLUMBING)
    ]
    return "\n\n".join(
        _drawn(
            [
                [percent(count / ran), _seconds(count, profile), _cut(name, width - 23)]
                for count, name in rows[:MOST_ROWS]
            ],
            ["share", "time", heading],
            layout,
            text=(2,),
        )
        for rows, heading in ((own, "function, by its own time"), (whole, "function, with all that it calls"))
    )


def _waiting(profile: SurroundingProfile, layout: str, width: int) -> str:
    """Where threads waited for the GIL, and who held it."""
    waited, held = total(profile.waiting_for_gil), total(profile.holding)
    if not waited or not held or profile.holding is None or profile.waiting_for_gil is None:
        return ""
    tables = []
    for stacks, whole, heading in (
        (profile.holding, held, "held the GIL"),
        (profile.waiting_for_gil, waited, "waited for the GIL"),
    ):
        found = Counter[str]()
        for stack in stacks:
            python = [frame for frame in stack.frames if _LINE.search(frame)]
            found[function_of(python[-1] if python else "(no Python frame)")] += stack.samples
        rows = [[percent(count / whole), _cut(name, width - 12)] for name, count in found.most_common(MOST_ROWS // 2)]
        tables.append(_drawn(rows, ["share", heading], layout, text=(1,)))
    return "\n\n".join(tables)


def _threads(profile: SurroundingProfile, layout: str) -> str:
    if len(profile.threads) < 2:
        return ""
    ran = total(profile.stacks) or 1
    rows = [[name, percent(count / ran), _seconds(count, profile)] for name, count in profile.threads[:MOST_ROWS]]
    if len(profile.threads) > MOST_ROWS:
        count = sum(found for _, found in profile.threads[MOST_ROWS:])
        rows.append([f"{len(profile.threads) - MOST_ROWS} others", percent(count / ran), _seconds(count, profile)])
    return _drawn(rows, ["thread", "share", "time"], layout)


def _memory(profile: SurroundingProfile, layout: str, width: int) -> str:
    if profile.memory is None or not profile.peak_bytes:
        return ""
    held = Counter[str]()
    for stack in profile.memory:
        held[_holder(stack)] += stack.samples
    rows = [
        [percent(count / profile.peak_bytes), size(count), _cut(name, width - 23)]
        for name, count in held.most_common(MOST_ROWS)
    ]
    table = _drawn(rows, ["share", "bytes", "held at the peak, allocated by"], layout, text=(2,))
    return f"Most memory allocated at once: {size(profile.peak_bytes)}.\n\n{table}"


def _holder(stack: Stack) -> str:
    """The innermost function that is no part of importing a module, and whoever called it."""
    frames = [frame for frame in stack.frames if not any(word in frame for word in _PLUMBING)] or list(stack.frames)
    return " < ".join(function_of(frame) for frame in reversed(frames[-2:]))


def _seconds(samples: float, profile: SurroundingProfile) -> str:
    return f"{number(samples / profile.rate_hz)} s"


def _cut(text: str, room: int) -> str:
    """The text with its middle left out where it is too long: a function's name and its file are both at an end."""
    text = sentences.one_line(text)
    if len(text) <= room:
        return text
    front = (room - 1) // 2
    return f"{text[:front]}…{text[-(room - 1 - front) :]}"


def _drawn(rows: Sequence[Sequence[str]], headings: Sequence[str], layout: str, *, text: Sequence[int] = (0,)) -> str:
    aligned = ["left" if place in text else "right" for place in range(len(headings))]
    if layout == "simple":
        # As the first row, and not as headers: tabulate makes headers wider than they are.
        lines = [list(headings), SEPARATING_LINE, *rows]
        drawn = tabulate(lines, tablefmt="simple", disable_numparse=True, colalign=aligned)
        return "\n".join(drawn.splitlines()[1:-1])  # without the rules above and below
    cells = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in rows]
    return tabulate(cells, headings, tablefmt=layout, disable_numparse=True, colalign=aligned)
