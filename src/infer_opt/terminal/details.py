"""The sheet of one process: what is known of it, and its course."""

from collections.abc import Sequence
from dataclasses import dataclass

from infer_opt.readings.samples import ProcessReading
from infer_opt.terminal.graphs import graph, largest, nice_top
from infer_opt.terminal.inks import Ink, Line, Room, fitted, rule
from infer_opt.terminal.seen import ProcessHistory, Seen, is_same
from infer_opt.terminal.texts import (
    NOT_KNOWN,
    about,
    clean,
    count,
    decimal,
    percent_of_a_core,
    rate,
    share,
    size,
    time_of_day,
    wrap,
)

_LABEL_WIDTH = 10
_COMMAND_LINES = 4
_HIGHEST_GRAPH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """One graph of a sheet."""

    title: str
    right: str
    values: Sequence[float]
    top: float
    ink: Ink | None = None


class ProcessSheet:
    """Draws one process from what was seen; once it has ended, what was seen of it last."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._process: ProcessReading | None = None
        self._history: ProcessHistory | None = None

    def draw(self, seen: Seen, room: Room) -> list[Line]:
        """Lines of the room's width; graphs take the height that texts leave."""
        now = next((process for process in seen.processes if process.pid == self.pid), None)
        if now is not None and self._process is not None and not is_same(self._process.started_s, now.started_s):
            now = None  # another process was given the number
        if now is not None:
            self._process, self._history = now, seen.history(self.pid)
        if self._process is None:
            return [(("it has ended", Ink.WARNING),)]
        lines = _facts(self._process, seen.at_s, room.width, has_ended=now is None)
        courses = [] if self._history is None else _courses(self._process, self._history)
        height = min(_HIGHEST_GRAPH, (room.height - len(lines)) // max(1, len(courses)) - 1)
        for course in courses if height > 0 else ():
            lines.append(rule(room.width, title=course.title, right=((course.right, Ink.TEXT),)))
            lines += graph(course.values, width=room.width, height=height, top=course.top, ink=course.ink)
        return lines


def _courses(process: ProcessReading, history: ProcessHistory) -> list[_Course]:
    cores, memory = history.cpu_cores.values, history.rss_bytes.values
    top = nice_top(cores)
    courses = [
        _Course(
            title=f"CPU %, to {top * 100:.0f}",
            right=f"now {percent_of_a_core(process.cpu_cores)}  most {percent_of_a_core(largest(cores))}",
            values=cores,
            top=top,
        ),
        _of_memory("Memory", process.rss_bytes, memory),
    ]
    if history.gpu_memory_bytes is not None:
        courses.append(_of_memory("GPU memory", process.gpu_memory_bytes, history.gpu_memory_bytes.values))
    return courses


def _of_memory(title: str, now: float | None, values: Sequence[float]) -> _Course:
    top = _binary_top(largest(values))
    return _Course(
        title=f"{title}, to {size(top)}",
        right=f"now {size(now)}  most {size(largest(values))}",
        values=values,
        top=top,
        ink=Ink.MEMORY,
    )


def _binary_top(most: float) -> float:
    """A scale for memory: a power of two, or one and a half of it."""
    top = float(1 << 20)
    while top < most:
        top *= 2
    return top * 0.75 if top * 0.75 >= most else top


def _facts(process: ProcessReading, at_s: float | None, width: int, *, has_ended: bool) -> list[Line]:
    lines: list[Line] = [(("it has ended; this is what was seen last", Ink.WARNING),)] if has_ended else []
    started = NOT_KNOWN
    if process.started_s is not None:
        age = "" if at_s is None else f", {about(max(0.0, at_s - process.started_s))} ago"
        started = f"{time_of_day(process.started_s)}{age}"
    facts = (
        ("user", process.user or NOT_KNOWN),
        ("state", process.state or NOT_KNOWN),
        ("parent", NOT_KNOWN if process.parent_pid is None else str(process.parent_pid)),
        ("started", started),
        ("cores", decimal(process.cpu_cores)),
        ("memory", size(process.rss_bytes)),
        ("threads", count(process.threads)),
        ("read", rate(process.read_bytes_per_second)),
        ("written", rate(process.written_bytes_per_second)),
        ("GPU", f"{share(process.gpu_utilisation)}, {size(process.gpu_memory_bytes)}"),
    )
    lines += _in_columns(facts, width)
    command = wrap(NOT_KNOWN if process.command is None else clean(process.command), max(10, width - _LABEL_WIDTH))
    for number, row in enumerate(command[:_COMMAND_LINES]):
        cut = "…" if number == _COMMAND_LINES - 1 and len(command) > _COMMAND_LINES else ""
        label = "command" if number == 0 else ""
        lines.append(((f"{label:<{_LABEL_WIDTH}}", Ink.LABEL), (row + cut, Ink.TEXT)))
    return lines


def _in_columns(facts: Sequence[tuple[str, str]], width: int) -> list[Line]:
    """Two columns where there is room for them."""
    columns = 2 if width >= 64 else 1
    rows = -(-len(facts) // columns)
    each = width // columns
    lines: list[Line] = []
    for row in range(rows):
        line: Line = ()
        for label, value in facts[row::rows]:
            line += fitted(((f"{label:<{_LABEL_WIDTH}}", Ink.LABEL), (clean(value), Ink.TEXT)), each)
        lines.append(line)
    return lines
