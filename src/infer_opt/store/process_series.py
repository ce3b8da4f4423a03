"""Processes in a chunk: each reading of each process is a series of its own, beside those of the machine."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import Any

from infer_opt.readings.samples import ProcessReading
from infer_opt.store.chunks import ABSENT, PRESENT, Chunk

MOST_PROCESSES = 8  # in a chunk: the busiest and the largest of its time, chosen ones first

_FACTS = ("pid", "name", "parent_pid", "command", "user", "started_s", "is_chosen")
_WHOLE = ("rss_bytes", "threads", "gpu_memory_bytes")
_FIELDS = (*_WHOLE, "cpu_cores", "read_bytes_per_second", "written_bytes_per_second", "gpu_utilisation")
_STATE = "state"  # the place of its word; rows of several samples have none
_LONGEST = 500  # characters of a command that are kept


def is_process_key(key: str) -> bool:
    """Whether that series is a reading of a process; no key of the catalogue looks like it."""
    return "#" in key


def is_state_key(key: str) -> bool:
    """Whether that series is the state of a process, which has no mean."""
    return key.endswith(f"#{_STATE}")


def append(chunk: Chunk, processes: Iterable[ProcessReading]) -> None:
    """Add the processes of the sample that was appended last."""
    row = chunk.rows - 1
    for process in processes:
        # A number is given to another process once its owner has ended; the start tells the two apart.
        identity = f"{process.pid}@{process.started_s}"
        facts = {name: getattr(process, name) for name in _FACTS}
        chunk.processes[identity] = facts | {"command": process.command and process.command[:_LONGEST]}
        for name in _FIELDS:
            chunk.put(f"{identity}#{name}", row, getattr(process, name))
        chunk.put(f"{identity}#{_STATE}", row, _place(chunk.words, process.state))


def processes_in(chunk: Chunk, row: int) -> tuple[ProcessReading, ...]:
    """The processes of a row, the busiest first."""
    found = (_process(chunk, identity, row) for identity in chunk.processes)
    there = [process for process in found if process is not None]
    return tuple(sorted(there, key=lambda process: (-(process.cpu_cores or 0.0), process.pid)))


def keep_foremost(chunk: Chunk, most: int = MOST_PROCESSES) -> Chunk:
    """The chunk with `most` of its processes at the most: in turn the busiest and the largest, chosen ones before all
    others. It shares its columns with the one given."""
    if len(chunk.processes) <= most:
        return chunk
    cpu = {identity: _total(chunk, f"{identity}#cpu_cores") for identity in chunk.processes}
    memory = {identity: _highest(chunk, f"{identity}#rss_bytes") for identity in chunk.processes}
    orders = (
        sorted(chunk.processes, key=lambda identity: (not chunk.processes[identity]["is_chosen"], -size[identity]))
        for size in (cpu, memory)
    )
    kept = set(list(dict.fromkeys(chain.from_iterable(zip(*orders, strict=True))))[:most])
    return replace(
        chunk,
        series={
            key: series
            for key, series in chunk.series.items()
            if not is_process_key(key) or key.partition("#")[0] in kept
        },
        processes={identity: facts for identity, facts in chunk.processes.items() if identity in kept},
    )


def _place(words: list[str], word: str | None) -> int | None:
    if word is None:
        return None
    if word not in words:
        words.append(word)
    return words.index(word)


def _process(chunk: Chunk, identity: str, row: int) -> ProcessReading | None:
    readings: dict[str, Any] = {}
    for name in (*_FIELDS, _STATE):
        series = chunk.series.get(f"{identity}#{name}")
        if series is None or len(series.states) <= row or series.states[row] == ABSENT:
            continue
        value = series.means[row] if series.states[row] == PRESENT else None
        readings[name] = round(value) if value is not None and name in _WHOLE else value
    if not readings:
        return None
    place = readings.pop(_STATE, None)
    state = None if place is None else chunk.words[int(place)]
    return ProcessReading(**chunk.processes[identity], **readings, state=state)


def _total(chunk: Chunk, key: str) -> float:
    series = chunk.series.get(key)
    if series is None:
        return 0.0
    counts = chunk.counts if series.counts is None else series.counts
    return sum(mean * count for mean, count in zip(series.means, counts, strict=False))


def _highest(chunk: Chunk, key: str) -> float:
    series = chunk.series.get(key)
    if series is None:
        return 0.0
    return max(series.means if series.highs is None else series.highs, default=0.0)
