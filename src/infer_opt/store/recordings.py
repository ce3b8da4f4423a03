"""Recordings that are in the store: listed, read back, and removed. `recorder` writes them."""

import re
from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, select

from infer_opt.errors import ConfigError, StorageError
from infer_opt.readings.findings import AlertEvent, Finding
from infer_opt.readings.samples import Observation, Sample
from infer_opt.store.chunks import ABSENT, PRESENT, Chunk, Contents, contents, decode
from infer_opt.store.codec import from_text
from infer_opt.store.database import Store
from infer_opt.store.process_series import is_process_key, processes_in
from infer_opt.store.recorder import ALERT, FINDING, NOTICE
from infer_opt.store.tables import recording_chunks, recording_events
from infer_opt.store.tables import recordings as recordings_table
from infer_opt.store.writers import is_running

MOST_RECORDINGS = 100
MOST_BYTES = 200_000_000
LAST = "last"  # in the place of an id: the newest recording

_SILENT_MS = 60_000  # a writer that cannot be seen from here is taken for dead after so long, or three intervals
_NAMED = 5  # newest recordings in the hint of an error


class RecordingState(StrEnum):
    """It is being written, was finished, or was cut off: its process ended, or its store was full, before its end."""

    RECORDING = "recording"
    FINISHED = "finished"
    CUT_OFF = "cut off"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecording:
    """One line of the list of recordings. Times in ms since 1970.

    `saved_ms` is when it was written last, `finished_ms` is None unless it was finished, `samples` how many were taken
    into it, at whatever resolution they are kept by now, `lost` how many more could not be stored, and `size_bytes`
    what its samples take.
    """

    id: str
    about: Mapping[str, Any]
    interval_s: float
    started_ms: int
    saved_ms: int
    finished_ms: int | None
    samples: int
    lost: int
    size_bytes: int
    state: RecordingState
    summary: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One reading at one time (Unix time): its mean, lowest and highest. All three are equal where the sample is kept
    as it was, and None where it was not available."""

    at_s: float
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """A stretch of a recording, by Unix time, whose samples lie in rows of `width_s` seconds; 0: each in its own."""

    from_s: float
    to_s: float
    width_s: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    kind: str
    position: int
    body: str


class Recording:
    """A recording as it was when it was read: in memory, compressed; a part at a time is unpacked."""

    def __init__(self, stored: StoredRecording, bodies: Sequence[bytes], events: Sequence[_Event]) -> None:
        self.stored = stored
        self._bodies = bodies
        # What was found in samples that were lost stands with the next one, or with the last.
        last = max(0, stored.samples - 1)
        self._found = [(min(event.position, last), _found(event, stored.id)) for event in events]

    @property
    def id(self) -> str:
        """14 hex digits."""
        return self.stored.id

    @property
    def about(self) -> Mapping[str, Any]:
        """What it was begun with, as plain JSON values."""
        return self.stored.about

    @property
    def interval_s(self) -> float:
        """The time that was planned between two samples."""
        return self.stored.interval_s

    @property
    def was_cut_off(self) -> bool:
        """Whether it ends where its process did, and not where it was finished."""
        return self.stored.state is RecordingState.CUT_OFF

    @property
    def summary(self) -> Mapping[str, Any] | None:
        """What it was finished with; None when it was not."""
        return self.stored.summary

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The newest 500, in the order in which they were found."""
        return tuple(body for _, body in self._found if isinstance(body, Finding))

    @property
    def alerts(self) -> tuple[AlertEvent, ...]:
        """The newest 500, in the order in which they began and ended."""
        return tuple(body for _, body in self._found if isinstance(body, AlertEvent))

    @property
    def notices(self) -> tuple[str, ...]:
        """The newest 500, in order."""
        return tuple(body for _, body in self._found if isinstance(body, str))

    def keys(self) -> tuple[str, ...]:
        """The readings in it, by their first appearance.

        Raises:
            StorageError: a part of it is damaged.
        """
        found = (key for part in self._contents() for key in part.keys)
        return tuple(dict.fromkeys(key for key in found if not is_process_key(key)))

    def has_processes(self) -> bool:
        """Whether processes stand in some of its samples.

        Raises:
            StorageError: a part of it is damaged.
        """
        return any(part.has_processes for part in self._contents())

    def resolutions(self) -> tuple[Resolution, ...]:
        """How closely its samples are kept, in order of time: neighbours of the same width are one stretch.

        Raises:
            StorageError: a part of it is damaged.
        """
        found: list[Resolution] = []
        for chunk in self.chunks(only=()):
            start, samples = chunk.first_at[0], chunk.samples
            if found and found[-1].width_s == chunk.width_s:
                before = found.pop()
                start, samples = before.from_s, before.samples + samples
            found.append(Resolution(from_s=start, to_s=chunk.last_at[-1], width_s=chunk.width_s, samples=samples))
        return tuple(found)

    def observations(self) -> Iterator[Observation]:
        """Every row as a sample, in order of time, with what was found then.

        A row of several samples becomes one in the middle of its time, with the number of its last. The processes are
        the foremost eight of the minutes around it.

        Raises:
            StorageError: a part of it is damaged; what comes before was given by then.
        """
        waiting = deque(self._found)
        for chunk in self.chunks():
            taken = chunk.position
            for row in range(chunk.rows):
                taken += int(chunk.counts[row])
                found = []
                while waiting and waiting[0][0] < taken:
                    found.append(waiting.popleft()[1])
                yield _observation(chunk, row, found)

    def points(self, key: str) -> Iterator[Point]:
        """One reading in order of time; nothing where it did not exist.

        Raises:
            StorageError: a part of it is damaged; what comes before was given by then.
        """
        for chunk in self.chunks(only=(key,)):
            if (series := chunk.series.get(key)) is None:
                continue
            lows = series.means if series.lows is None else series.lows
            highs = series.means if series.highs is None else series.highs
            for row, state in enumerate(series.states):
                if state == PRESENT:
                    yield Point(at_s=chunk.at_s(row), mean=series.means[row], low=lows[row], high=highs[row])
                elif state != ABSENT:
                    yield Point(at_s=chunk.at_s(row), mean=None, low=None, high=None)

    def chunks(self, *, only: Container[str] | None = None) -> Iterator[Chunk]:
        """Its parts in order of time, for whoever writes all of it elsewhere; with `only`, with these series alone.

        Raises:
            StorageError: a part of it is damaged; what comes before was given by then.
        """
        for body in self._bodies:
            with self._named():
                chunk = decode(body, only=only)
            yield chunk

    def _contents(self) -> Iterator[Contents]:
        for body in self._bodies:
            with self._named():
                found = contents(body)
            yield found

    @contextmanager
    def _named(self) -> Iterator[None]:
        """An error names this recording."""
        try:
            yield
        except StorageError as error:
            raise StorageError(f"recording {self.id}: {error.what}", hint=error.hint) from error


def recordings(store: Store, limit: int = 20) -> tuple[StoredRecording, ...]:
    """The latest recordings, newest first.

    Raises:
        StorageError: the database cannot be read.
    """
    return tuple(_line(row, store) for row in store.rows(_LINES.limit(limit)))


def recording(store: Store, name: str) -> Recording:
    """One recording, by its id, by the beginning of it where no other begins like that, or the newest by "last".

    Raises:
        ConfigError: there is none of that name, or several.
        StorageError: the database cannot be read, or what was found is damaged.
    """
    with store.transaction() as connection:
        row = _one(connection, name, store.url)
        bodies = connection.execute(
            select(recording_chunks.c.body)
            .where(recording_chunks.c.recording_id == row.id)
            .order_by(recording_chunks.c.position)
        ).scalars()
        events = connection.execute(
            select(recording_events)
            .where(recording_events.c.recording_id == row.id)
            .order_by(recording_events.c.number)
        )
        return Recording(
            _line(row, store),
            [bytes(body) for body in bodies],
            [_Event(kind=event.kind, position=event.position, body=event.body) for event in events],
        )


def delete(store: Store, name: str) -> str:
    """Remove one recording, named as for `recording`, and give back its id. Later recordings take up its room.

    Raises:
        ConfigError: there is none of that name, there are several, or it is being written.
        StorageError: the database cannot be written.
    """
    with store.transaction() as connection:
        row = _one(connection, name, store.url)
        if _state(row, store.now_ms()) is RecordingState.RECORDING:
            raise ConfigError(f"the recording {row.id} is being written", hint="end its monitor first")
        _remove(connection, row.id)
        return str(row.id)


def prune(store: Store, *, most: int = MOST_RECORDINGS, most_bytes: int = MOST_BYTES) -> tuple[str, ...]:
    """Remove the oldest recordings until `most` are left, with samples of `most_bytes` together; the ids removed.

    Those that are being written count, and stay.

    Raises:
        StorageError: the database cannot be written.
    """
    removed = []
    with store.transaction() as connection:
        lines = [_line(row, store) for row in connection.execute(_LINES)]
        left, left_bytes = len(lines), sum(line.size_bytes for line in lines)
        for line in reversed(lines):
            if left <= most and left_bytes <= most_bytes:
                break
            if line.state is RecordingState.RECORDING:
                continue
            _remove(connection, line.id)
            removed.append(line.id)
            left, left_bytes = left - 1, left_bytes - line.size_bytes
    return tuple(removed)


_SIZE = (
    select(func.coalesce(func.sum(recording_chunks.c.size), 0))
    .where(recording_chunks.c.recording_id == recordings_table.c.id)
    .correlate(recordings_table)
    .scalar_subquery()
    .label("size_bytes")
)
_LINES = select(recordings_table, _SIZE).order_by(recordings_table.c.number.desc())


def _one(connection: Connection, name: str, url: str) -> Row[Any]:
    query = _LINES
    if name != LAST:
        # Whatever is no id is given as one that is nobody's, so that the answer names those there are.
        query = query.where(recordings_table.c.id.startswith(name if re.fullmatch("[0-9a-f]+", name) else "-"))
    found = connection.execute(query.limit(1 if name == LAST else _NAMED)).all()
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"several recordings begin with {name!r}", hint="choose from " + _ids(found))
    newest = connection.execute(_LINES.limit(_NAMED)).all()
    hint = f"the newest are {_ids(newest)}" if newest else "there is none yet: record one first"
    raise ConfigError(f"the store {url} has no recording {name!r}", hint=hint)


def _ids(rows: Sequence[Row[Any]]) -> str:
    return ", ".join(str(row.id) for row in rows)


def _remove(connection: Connection, recording_id: str) -> None:
    for table in (recording_chunks, recording_events):
        connection.execute(table.delete().where(table.c.recording_id == recording_id))
    connection.execute(recordings_table.delete().where(recordings_table.c.id == recording_id))


def _line(row: Row[Any], store: Store) -> StoredRecording:
    return StoredRecording(
        id=row.id,
        about=from_text(row.about),
        interval_s=row.interval_us / 1e6,
        started_ms=row.started_ms,
        saved_ms=row.saved_ms,
        finished_ms=row.finished_ms,
        samples=row.samples,
        lost=row.lost,
        size_bytes=int(row.size_bytes),
        state=_state(row, store.now_ms()),
        summary=None if row.summary is None else from_text(row.summary),
    )


def _state(row: Row[Any], now_ms: int) -> RecordingState:
    if row.finished_ms is not None:
        return RecordingState.FINISHED
    runs = is_running(row.writer)
    if runs is None:
        runs = now_ms - row.saved_ms <= max(_SILENT_MS, 3 * row.interval_us / 1000)
    return RecordingState.RECORDING if runs else RecordingState.CUT_OFF


def _found(event: _Event, recording_id: str) -> Finding | AlertEvent | str:
    kinds: dict[str, type[Finding] | type[AlertEvent] | type[str]] = {FINDING: Finding, ALERT: AlertEvent, NOTICE: str}
    try:
        return msgspec.convert(from_text(event.body), type=kinds[event.kind], strict=True)
    except (KeyError, msgspec.ValidationError) as error:
        raise StorageError(
            f"recording {recording_id}: what was found in it cannot be read: {error}",
            hint="it was written by another release of infer-opt; upgrade it",
        ) from error


def _observation(chunk: Chunk, row: int, found: Sequence[Finding | AlertEvent | str]) -> Observation:
    values = {
        key: series.means[row] if series.states[row] == PRESENT else None
        for key, series in chunk.series.items()
        if series.states[row] != ABSENT and not is_process_key(key)
    }
    sample = Sample(
        number=int(chunk.numbers[row]),
        at_s=chunk.at_s(row),
        clock_s=chunk.clock_s(row),
        values=values,
        processes=processes_in(chunk, row),
    )
    return Observation(
        sample=sample,
        findings=tuple(body for body in found if isinstance(body, Finding)),
        alerts=tuple(body for body in found if isinstance(body, AlertEvent)),
        notices=tuple(body for body in found if isinstance(body, str)),
    )
