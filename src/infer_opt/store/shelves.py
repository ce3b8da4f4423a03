"""The samples of one recording in a bounded size: as they were for a while, then coarser and coarser."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, bindparam, select

from infer_opt.errors import StorageError
from infer_opt.readings.samples import Sample
from infer_opt.store import process_series
from infer_opt.store.chunks import Chunk, decode, encode
from infer_opt.store.database import Store
from infer_opt.store.folding import extend, fold
from infer_opt.store.process_series import keep_foremost
from infer_opt.store.tables import recording_chunks

PATIENCE_S = 0.5  # a monitor must not wait for somebody else's transaction

# Resolutions, by how many intervals a row covers, and the share of the bytes for each.
_RESOLUTIONS = ((10, 0.35), (60, 0.25))
_RAW_SHARE = 0.40
_ROWS = 60  # of a chunk at the most,
_CELLS = 20_000  # and rows times series: a machine of 500 CPUs must not fill the memory
_PROCESSES_HELD = 2 * process_series.MOST_PROCESSES

_ONE = (recording_chunks.c.recording_id == bindparam("of")) & (recording_chunks.c.position == bindparam("at"))
_TAKE = select(recording_chunks.c.body).where(_ONE)
_REMOVE = recording_chunks.delete().where(_ONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A chunk in the store that is not written any more."""

    position: int
    size: int
    width_s: float


@dataclass(slots=True, kw_only=True)
class _Shelf:
    """The chunks of one resolution: those that are complete, oldest first, and the one that grows."""

    width_s: float
    most_bytes: int
    sealed: list[_Stored] = field(default_factory=list)
    growing: Chunk = field(default_factory=Chunk)
    growing_size: int = 0

    @property
    def is_too_large(self) -> bool:
        return sum(chunk.size for chunk in self.sealed) + self.growing_size > self.most_bytes

    def seal_growing(self) -> None:
        """What grew is complete."""
        if self.growing.rows:
            position, width_s = self.growing.position, self.growing.width_s
            self.sealed.append(_Stored(position=position, size=self.growing_size, width_s=width_s))
            self.growing, self.growing_size = Chunk(position=position + self.growing.samples), 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwritten:
    """A chunk to be stored in the place of those at some positions."""

    chunk: Chunk
    body: bytes
    replaces: tuple[int, ...]


class Shelves:
    """Where the samples of one recording go: one shelf for each resolution, each with its share of `most_bytes`.

    What is in memory changes only after the transaction that stored it, so that a failed one may be tried again.
    """

    def __init__(self, store: Store, recording_id: str, *, interval_s: float, most_bytes: int) -> None:
        self._store = store
        self._id = recording_id
        self._raw = _Shelf(width_s=0.0, most_bytes=int(_RAW_SHARE * most_bytes))
        self._shelves = [self._raw] + [
            _Shelf(width_s=intervals * interval_s, most_bytes=int(share * most_bytes))
            for intervals, share in _RESOLUTIONS
        ]
        # The growing chunk of samples as they are is stored in parts, each once: it is the one that is written often.
        self._parts: list[int] = []
        self._complaints: list[str] = []
        self._written_rows = 0

    def append(self, sample: Sample) -> None:
        """Take one sample into memory."""
        growing = self._raw.growing
        growing.append(sample)
        process_series.append(growing, sample.processes)
        if len(growing.processes) > _PROCESSES_HELD:
            self._raw.growing = keep_foremost(growing)

    def is_full(self, *, times: int = 1) -> bool:
        """Whether as many samples are in memory as `times` chunks have."""
        return self._raw.growing.rows >= times * _most_rows(self._raw.growing)

    def unwritten(self) -> Unwritten:
        """What the store lacks: the samples since the last write, or all of a full chunk in the place of its parts."""
        growing = self._raw.growing
        if self.is_full():
            return Unwritten(
                chunk=growing, body=encode(keep_foremost(growing)), replaces=(growing.position, *self._parts)
            )
        part = growing.cut(self._written_rows, growing.rows)
        # It replaces itself: whether a transaction that failed at its very end went through, nobody knows.
        return Unwritten(chunk=part, body=encode(keep_foremost(part)), replaces=(part.position,))

    def write(self, connection: Connection, unwritten: Unwritten) -> None:
        """Store it; call `written` once the transaction is through."""
        self._replace(connection, unwritten.replaces, [(unwritten.chunk, unwritten.body)])

    def written(self, unwritten: Unwritten) -> None:
        """It is in the store: nothing more is added to a full chunk."""
        raw, chunk, size = self._raw, unwritten.chunk, len(unwritten.body)
        if chunk is raw.growing:
            raw.growing_size = size
            raw.seal_growing()
            self._parts, self._written_rows = [], 0
        else:
            raw.growing_size += size
            self._parts.append(chunk.position)
            self._written_rows = raw.growing.rows

    def make_room(self) -> bool:
        """One step towards the size allowed: move a chunk to the next resolution, or thin the coarsest out.

        Returns:
            Whether there was anything to do. A step takes some ten milliseconds, so a monitor takes one at a time.

        Raises:
            StorageError: the store cannot be written.
        """
        for shelf, coarser in pairwise(self._shelves):
            if shelf.is_too_large and shelf.sealed:
                self._move(shelf, coarser)
                return True
        coarsest = self._shelves[-1]
        if coarsest.is_too_large and len(coarsest.sealed) > 1:
            self._thin(coarsest)
            return True
        return False

    def complaints(self) -> list[str]:
        """What was found to be damaged since this was asked last, for the user."""
        complaints, self._complaints = self._complaints, []
        return complaints

    def _move(self, shelf: _Shelf, coarser: _Shelf) -> None:
        """Fold the oldest chunk of a shelf into the one that grows on the next."""
        with self._store.transaction(patience_s=PATIENCE_S) as connection:
            oldest = self._taken(connection, shelf, 0)
            if oldest is None:
                coarser.seal_growing()  # what comes after a gap begins at a place of its own
                return
            grown = extend(coarser.growing, oldest) if coarser.growing.rows else fold([oldest], coarser.width_s)
            pieces = list(_pieces(keep_foremost(grown)))
            bodies = [encode(piece) for piece in pieces]
            self._replace(connection, (oldest.position, grown.position), zip(pieces, bodies, strict=True))
        del shelf.sealed[0]
        coarser.growing = Chunk()  # the first piece is what has become of it
        for piece, body in zip(pieces, bodies, strict=True):
            coarser.seal_growing()
            coarser.growing, coarser.growing_size = piece, len(body)

    def _thin(self, shelf: _Shelf) -> None:
        """Make one of two neighbours, at twice the width: of the finest pairs the oldest."""
        chunks = shelf.sealed
        widths = [max(before.width_s, after.width_s) for before, after in pairwise(chunks)]
        first = widths.index(min(widths))
        with self._store.transaction(patience_s=PATIENCE_S) as connection:
            after, before = (self._taken(connection, shelf, place) for place in (first + 1, first))
            if before is None or after is None:
                return
            merged = keep_foremost(fold([before, after], 2 * widths[first]))
            body = encode(merged)
            self._replace(connection, (before.position, after.position), [(merged, body)])
        chunks[first : first + 2] = [_Stored(position=merged.position, size=len(body), width_s=merged.width_s)]

    def _taken(self, connection: Connection, shelf: _Shelf, place: int) -> Chunk | None:
        """A chunk from the store. One that is damaged stays there, and is left alone from now on."""
        position = shelf.sealed[place].position
        try:
            return decode(connection.execute(_TAKE, self._at(position)).scalar() or b"")
        except StorageError as error:
            del shelf.sealed[place]
            self._complaints.append(f"samples of the recording from the {position + 1}th on: {error.what}")
            return None

    def _replace(self, connection: Connection, positions: Iterable[int], pieces: Iterable[tuple[Chunk, bytes]]) -> None:
        if gone := [self._at(position) for position in positions]:
            connection.execute(_REMOVE, gone)
        rows = [
            {"recording_id": self._id, "position": chunk.position, "size": len(body), "body": body}
            for chunk, body in pieces
        ]
        connection.execute(recording_chunks.insert(), rows)

    def _at(self, position: int) -> dict[str, Any]:
        return {"of": self._id, "at": position}


def _most_rows(chunk: Chunk) -> int:
    return max(1, min(_ROWS, _CELLS // max(1, len(chunk.series))))


def _pieces(chunk: Chunk) -> Iterator[Chunk]:
    """The chunk in pieces of the usual size; the last one, which may still grow, is never empty."""
    rows = _most_rows(chunk)
    for start in range(0, chunk.rows, rows):
        yield chunk.cut(start, min(start + rows, chunk.rows))
