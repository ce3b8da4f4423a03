"""The table of processes as data: columns, order, filter and tree, from readings and what the user chose."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from infer_opt.readings.samples import ProcessReading
from infer_opt.terminal.inks import Ink, Line, Span, fitted, plain
from infer_opt.terminal.texts import clean, count, fit, percent_of_a_core, rate, share, size

_TREE_WIDTH = 14  # that a name gets more while processes are shown as a tree
_LEAST_COMMAND = 14


class Column(StrEnum):
    """What can stand in a column, and be sorted by."""

    PID = "pid"
    USER = "user"
    NAME = "name"
    CPU = "cpu"
    MEMORY = "memory"
    THREADS = "threads"
    DISK = "disk"
    GPU_MEMORY = "gpu memory"
    GPU = "gpu"
    COMMAND = "command"


Key = float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How a column looks and sorts: `value` gives None where it is not available, which sorts last in any order."""

    heading: str
    width: int
    value: Callable[[ProcessReading], Key | None]
    is_right: bool = True
    falls: bool = True  # sorted from the largest down, unless reversed


def _disk(process: ProcessReading) -> float | None:
    read, written = process.read_bytes_per_second, process.written_bytes_per_second
    return None if read is None and written is None else (read or 0.0) + (written or 0.0)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


KINDS = {
    Column.PID: _Kind(heading="PID", width=7, value=lambda process: process.pid, falls=False),
    Column.USER: _Kind(
        heading="USER", width=9, value=lambda process: _lower(process.user), is_right=False, falls=False
    ),
    Column.NAME: _Kind(
        heading="NAME", width=16, value=lambda process: _lower(process.name), is_right=False, falls=False
    ),
    Column.CPU: _Kind(heading="CPU %", width=7, value=lambda process: process.cpu_cores),
    Column.MEMORY: _Kind(heading="MEMORY", width=9, value=lambda process: process.rss_bytes),
    Column.THREADS: _Kind(heading="THR", width=5, value=lambda process: process.threads),
    Column.DISK: _Kind(heading="DISK", width=10, value=_disk),
    Column.GPU_MEMORY: _Kind(heading="GPU MEM", width=9, value=lambda process: process.gpu_memory_bytes),
    Column.GPU: _Kind(heading="GPU %", width=7, value=lambda process: process.gpu_utilisation),
    Column.COMMAND: _Kind(
        heading="COMMAND",
        width=_LEAST_COMMAND,
        value=lambda process: _lower(process.command),
        is_right=False,
        falls=False,
    ),
}

_ALWAYS = (Column.PID, Column.NAME, Column.CPU, Column.MEMORY)
_IF_ROOM = (Column.GPU_MEMORY, Column.GPU, Column.USER, Column.COMMAND, Column.DISK, Column.THREADS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How the user wants the table."""

    sort: Column = Column.CPU
    is_reversed: bool = False
    pattern: str = ""
    is_tree: bool = False
    only_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A process, and what stands before its name where it is a branch of a tree."""

    process: ProcessReading
    branch: str = ""


def columns_for(width: int, *, has_gpus: bool, is_tree: bool = False) -> dict[Column, int]:
    """Columns and their widths, in the order of the table: the more room, the more of them; a blank parts them."""
    left = width - 1 - sum(KINDS[column].width + 1 for column in _ALWAYS)
    taken = set(_ALWAYS)
    for column in _IF_ROOM:
        needed = KINDS[column].width + 1
        if needed <= left and (has_gpus or column not in (Column.GPU_MEMORY, Column.GPU)):
            taken.add(column)
            left -= needed
    widths = {column: KINDS[column].width for column in Column if column in taken}
    if is_tree:
        more = min(_TREE_WIDTH, max(0, left))
        widths[Column.NAME] += more
        left -= more
    last = Column.COMMAND if Column.COMMAND in widths else Column.NAME
    widths[last] = max(4, widths[last] + left)
    return widths


def rows_of(processes: Sequence[ProcessReading], choice: Choice) -> list[Row]:
    """The rows of the table: chosen, filtered and sorted, or as a tree whose siblings are sorted."""
    shown = [process for process in processes if process.is_chosen] if choice.only_chosen else list(processes)
    matches = matcher(choice.pattern)
    if choice.is_tree:
        return list(_tree(shown, {process.pid for process in shown if matches(process)}, choice))
    return [Row(process) for process in _sorted([process for process in shown if matches(process)], choice)]


def matcher(pattern: str) -> Callable[[ProcessReading], bool]:
    """Whether a process is meant by the pattern: a regular expression, or plain text where it is none."""
    if not pattern:
        return lambda process: True
    try:
        search = re.compile(pattern, re.IGNORECASE).search
    except re.error:
        search = re.compile(re.escape(pattern), re.IGNORECASE).search
    return lambda process: bool(search(_searched(process)))


def _searched(process: ProcessReading) -> str:
    return f"{process.pid} {process.name} {process.user or ''} {process.command or ''}"


def _sorted(processes: list[ProcessReading], choice: Choice) -> list[ProcessReading]:
    if len(processes) < 2:  # most branches of a tree
        return processes
    kind = KINDS[choice.sort]
    known = [process for process in processes if kind.value(process) is not None]
    rest = [process for process in processes if kind.value(process) is None]
    known.sort(key=lambda process: process.pid)  # equals do not change places from sample to sample
    known.sort(key=kind.value, reverse=kind.falls != choice.is_reversed)  # type: ignore[arg-type]
    rest.sort(key=lambda process: process.pid)
    return known + rest


def _tree(processes: list[ProcessReading], meant: set[int], choice: Choice) -> Iterator[Row]:
    """Depth first, without recursion: trees of processes may be deep. Ancestors of what is meant stay."""
    by_pid = {process.pid: process for process in processes}
    kept = _with_ancestors(meant, by_pid)
    children: dict[int | None, list[ProcessReading]] = {}
    for process in processes:
        if process.pid in kept:
            parent = process.parent_pid if process.parent_pid in kept and process.parent_pid != process.pid else None
            children.setdefault(parent, []).append(process)
    stack = [(process, "", "") for process in reversed(_sorted(children.get(None, []), choice))]
    left = set(kept)
    while stack:
        process, branch, below = stack.pop()
        left.discard(process.pid)
        yield Row(process, branch)
        own = _sorted(children.get(process.pid, []), choice)
        for number, child in reversed(list(enumerate(own))):
            is_last = number == len(own) - 1
            stack.append((child, below + ("└─" if is_last else "├─"), below + ("  " if is_last else "│ ")))
    # Numbers that were given out anew while the sample was taken may make two processes each other's parent.
    yield from (Row(process) for process in _sorted([by_pid[pid] for pid in left], choice))


def _with_ancestors(meant: Iterable[int], by_pid: dict[int, ProcessReading]) -> set[int]:
    kept: set[int] = set()
    for pid in meant:
        current: int | None = pid
        while current is not None and current in by_pid and current not in kept:
            kept.add(current)
            current = by_pid[current].parent_pid
    return kept


def headings(widths: dict[Column, int], choice: Choice) -> Line:
    """The line of headings, with an arrow at the one that is sorted by."""
    spans: list[Span] = [(" ", Ink.TEXT)]
    for column, width in widths.items():
        kind = KINDS[column]
        text = kind.heading
        if column is choice.sort:
            text += "▼" if kind.falls != choice.is_reversed else "▲"
        spans.append((fit(text, width, is_right=kind.is_right), Ink.KEY if column is choice.sort else Ink.BOLD))
        spans.append((" ", Ink.TEXT))
    return tuple(spans)


def column_at(x: int, widths: dict[Column, int]) -> Column | None:
    """The column whose heading stands there, for clicks."""
    start = 1
    for column, width in widths.items():
        if start <= x <= start + width:
            return column
        start += width + 1
    return None


def row_line(row: Row, widths: dict[Column, int], *, width: int, is_selected: bool = False) -> Line:
    """One process as a line of exactly `width` cells."""
    process = row.process
    spans: list[Span] = [("●" if process.is_chosen else " ", Ink.CHOSEN)]
    for column, cell_width in widths.items():
        branch = row.branch[: cell_width - 1] if column is Column.NAME else ""
        text, ink = _cell(row.process, column)
        if branch:
            spans.append((branch, Ink.DIM))
        spans.append((fit(text, cell_width - len(branch), is_right=KINDS[column].is_right) + " ", ink))
    line = fitted(tuple(spans), width)
    return ((plain(line), Ink.SELECTED),) if is_selected else line


def _cell(process: ProcessReading, column: Column) -> tuple[str, Ink]:
    if column is Column.NAME:
        return clean(process.name), Ink.CHOSEN if process.is_chosen else Ink.TEXT
    if column is Column.COMMAND:
        return _text(process.command), Ink.DIM
    if column is Column.USER:
        return _text(process.user), Ink.TEXT
    value = KINDS[column].value(process)
    if value is None or isinstance(value, str):
        return _NUMBERS[column](None), Ink.DIM
    if column is Column.CPU:
        return percent_of_a_core(value), _cpu_ink(value)
    return _NUMBERS[column](value), Ink.TEXT if value else Ink.DIM


def _cpu_ink(cores: float) -> Ink:
    """Dim what does nothing; a busy core is worth a colour, and no alarm."""
    if cores < 0.0005:
        return Ink.DIM
    return Ink.TEXT if cores < 0.1 else Ink.LEVEL_1 if cores < 0.5 else Ink.LEVEL_3 if cores < 1 else Ink.LEVEL_4


def _text(value: str | None) -> str:
    return "n/a" if value is None else clean(value)


_NUMBERS: dict[Column, Callable[[float | None], str]] = {
    Column.PID: lambda value: f"{value:.0f}",
    Column.CPU: percent_of_a_core,
    Column.MEMORY: size,
    Column.THREADS: count,
    Column.DISK: rate,
    Column.GPU_MEMORY: size,
    Column.GPU: share,
}
