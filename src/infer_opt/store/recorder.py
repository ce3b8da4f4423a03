"""Recording a monitor, whatever happens to the store or to the monitor."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Connection

from infer_opt.errors import ConfigError, StorageError
from infer_opt.readings.samples import Observation, Sample
from infer_opt.store.codec import to_text
from infer_opt.store.database import Store, new_id
from infer_opt.store.shelves import PATIENCE_S, Shelves
from infer_opt.store.tables import recording_events, recordings
from infer_opt.store.writers import this_process

MOST_BYTES = 3_600_000  # of a recording's samples; with what the database adds about 4 MB of its file
SAVE_EVERY_S = 10.0
MOST_EVENTS = 500  # findings, alerts and notices, of each; the newest are kept
FINDING, ALERT, NOTICE = "finding", "alert", "notice"

_CHUNKS_HELD = 8  # while the store cannot be written
_EVENTS_HELD = 200
_LAST_PATIENCE_S = 5.0
_RETRY_S = 10.0


@dataclass(slots=True, kw_only=True)
class _Outage:
    """The store cannot be written: since when (Unix time), when to try again, and what was lost by then."""

    since_s: float
    retry_clock_s: float
    lost_samples: int = 0
    lost_events: int = 0


class Recorder:
    """Writes one recording. Not for several threads.

    Samples wait at most `save_every_s` before they are in the store, which is what a killed process loses; what was
    found in them is stored at once. However long it records, samples never take more than `most_bytes`: the oldest
    become means, lowest and highest values of 10 intervals, those in turn of 60, and of these the oldest of twice as
    many, again and again.
    """

    def __init__(
        self, store: Store, recording_id: str, *, interval_s: float, most_bytes: int, save_every_s: float
    ) -> None:
        self._store = store
        self._id = recording_id
        self._interval_s = interval_s
        self._save_every_s = save_every_s
        self._shelves = Shelves(store, recording_id, interval_s=interval_s, most_bytes=most_bytes)
        self._unsaved_clock_s: float | None = None  # when the first sample was taken that the store lacks
        self._last_at_s = 0.0
        self._is_crowded = False  # perhaps: there is room to be made, a step with each sample
        self._samples = 0
        self._lost = 0
        self._events: list[dict[str, Any]] = []
        self._sequences: Counter[str] = Counter()
        self._outage: _Outage | None = None

    @classmethod
    def begin(
        cls,
        store: Store,
        about: Mapping[str, Any],
        *,
        interval_s: float,
        most_bytes: int = MOST_BYTES,
        save_every_s: float = SAVE_EVERY_S,
    ) -> Self:
        """Enter a new recording; its id is 14 hex digits that sort by time.

        Arguments:
            about: what is recorded, and how: plain JSON values.
            interval_s: the time between two samples.
            most_bytes: room for samples.

        Raises:
            ConfigError: an interval or a room that is not above 0.
            StorageError: the database cannot be written.
        """
        if interval_s <= 0 or most_bytes <= 0:
            raise ConfigError(
                f"a recording needs an interval and some room, got {interval_s} s and {most_bytes} bytes",
                hint="name an interval above 0",
            )
        now = store.now_ms()
        recording_id = new_id(now)
        with store.transaction() as connection:
            connection.execute(
                recordings.insert().values(
                    id=recording_id,
                    about=to_text(about),
                    interval_us=round(interval_s * 1e6),
                    writer=this_process(),
                    started_ms=now,
                    saved_ms=now,
                    samples=0,
                    lost=0,
                )
            )
        return cls(store, recording_id, interval_s=interval_s, most_bytes=most_bytes, save_every_s=save_every_s)

    @property
    def id(self) -> str:
        """The recording's."""
        return self._id

    def add(self, observation: Observation) -> str | None:
        """Keep one step of the monitor; mostly in memory, and now and then what has come together in the store.

        An error says that the store cannot be written. It is raised once and harms nothing: each further call goes on
        as usual, samples wait in memory (480 at the most), and the store is tried again every 10 s.

        Returns:
            Mostly None. A sentence for the user when the store can be written again: how long it could not, and what
            was lost; or when an earlier part of the recording turns out to be damaged.

        Raises:
            StorageError: the store cannot be written; not raised again before it could be in between.
        """
        sample = observation.sample
        self._last_at_s = sample.at_s
        self._note(observation)
        if self._outage is not None and self._shelves.is_full(times=_CHUNKS_HELD):
            self._outage.lost_samples += 1
            self._lost += 1
        else:
            self._keep(sample)
        is_due = self._is_due(sample)
        if not is_due and (self._outage is not None or not self._is_crowded):
            return None
        try:
            if is_due:
                self._save(PATIENCE_S)
            if self._is_crowded:
                self._is_crowded = self._shelves.make_room()
        except StorageError:
            retry_clock_s = sample.clock_s + _RETRY_S
            if self._outage is not None:
                self._outage.retry_clock_s = retry_clock_s
                return None
            self._outage = _Outage(since_s=sample.at_s, retry_clock_s=retry_clock_s)
            raise
        return self._told()

    def finish(self, summary: Mapping[str, Any]) -> str | None:
        """Store what is left, and close the recording with a summary of plain JSON values. Nothing is added after it.

        Returns:
            What `add` returns when the store can be written again.

        Raises:
            StorageError: the store cannot be written; the recording stays as it is, and counts as cut off.
        """
        told = self._told()
        self._save(_LAST_PATIENCE_S)
        while self._shelves.make_room():
            pass
        now = self._store.now_ms()
        with self._store.transaction(patience_s=_LAST_PATIENCE_S) as connection:
            self._update(connection, finished_ms=now, summary=to_text(summary))
        return told

    def _keep(self, sample: Sample) -> None:
        self._shelves.append(sample)
        self._samples += 1
        if self._unsaved_clock_s is None:
            self._unsaved_clock_s = sample.clock_s

    def _note(self, observation: Observation) -> None:
        """What was found in the sample that is kept next."""
        kinds = ((FINDING, observation.findings), (ALERT, observation.alerts), (NOTICE, observation.notices))
        for kind, found in kinds:
            for body in found:
                self._note_one(kind, body)

    def _note_one(self, kind: str, body: object) -> None:
        if self._outage is not None and len(self._events) >= _EVENTS_HELD:
            self._outage.lost_events += 1
            return
        self._events.append(
            {
                "recording_id": self._id,
                "kind": kind,
                "sequence": self._sequences[kind],
                "position": self._samples,
                "body": to_text(body),
            }
        )
        self._sequences[kind] += 1

    def _is_due(self, sample: Sample) -> bool:
        if self._outage is not None:
            return sample.clock_s >= self._outage.retry_clock_s
        if self._events or self._unsaved_clock_s is None or self._shelves.is_full():
            return True
        return sample.clock_s + self._interval_s >= self._unsaved_clock_s + self._save_every_s

    def _told(self) -> str | None:
        """What the user is to know, of which the recording keeps what concerns its samples."""
        told = self._shelves.complaints()
        outage, self._outage = self._outage, None
        if outage is not None and (outage.lost_samples or outage.lost_events):
            lost = [f"{outage.lost_samples} samples"] if outage.lost_samples else []
            lost += [f"{outage.lost_events} findings, alerts or notices"] if outage.lost_events else []
            told.append(f"{_over(outage, self._last_at_s)}, and {' and '.join(lost)} were lost")
        for text in told:
            self._note_one(NOTICE, text)
        if outage is not None and not (outage.lost_samples or outage.lost_events):
            told.append(f"{_over(outage, self._last_at_s)}, and nothing was lost")
        return "; ".join(told) or None

    def _save(self, patience_s: float) -> None:
        """Write what the store lacks, in one transaction."""
        unwritten = None if self._unsaved_clock_s is None else self._shelves.unwritten()
        with self._store.transaction(patience_s=patience_s) as connection:
            self._update(connection, samples=self._samples, lost=self._lost)
            if self._events:
                self._insert_events(connection)
            if unwritten is not None:
                self._shelves.write(connection, unwritten)
        self._events.clear()
        if unwritten is not None:
            self._unsaved_clock_s = None
            self._shelves.written(unwritten)
            self._is_crowded = True

    def _update(self, connection: Connection, **values: object) -> None:
        done = connection.execute(
            recordings.update().where(recordings.c.id == self._id).values(saved_ms=self._store.now_ms(), **values)
        )
        if done.rowcount == 0:
            raise StorageError(f"the recording {self._id} is no longer in the store {self._store.url}")

    def _insert_events(self, connection: Connection) -> None:
        column = recording_events.c
        for kind in {event["kind"] for event in self._events}:
            first = min(event["sequence"] for event in self._events if event["kind"] == kind)
            # Of a transaction that failed at its very end nobody knows whether it went through.
            is_old, is_there = column.sequence < self._sequences[kind] - MOST_EVENTS, column.sequence >= first
            connection.execute(
                recording_events.delete().where(column.recording_id == self._id, column.kind == kind, is_old | is_there)
            )
        connection.execute(recording_events.insert(), self._events)


def _over(outage: _Outage, at_s: float) -> str:
    since = datetime.fromtimestamp(outage.since_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"the recording goes on: the store could not be written for {at_s - outage.since_s:.0f} s from {since} on"
