"""A stretch of samples as columns, at one resolution, and its bytes."""

import json
import math
import struct
import zlib
from array import array
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any

from infer_opt.errors import StorageError
from infer_opt.readings.samples import Sample
from infer_opt.store.columns import Numbers, packed, unpacked

# A reading in a row: there is no such thing (yet, or any more), it is not available, or it has a value.
ABSENT, MISSING, PRESENT = range(3)

_FORMAT = 1
_FRAME = struct.Struct("<I")


def _column() -> Numbers:
    return array("d")


@dataclass(slots=True, kw_only=True)
class Series:
    """One reading over the rows of a chunk: its state in each, and its value where the state is PRESENT, else 0.

    Rows that stand for several samples have their mean, the lowest and the highest, and how many samples had a value.
    Where rows are samples themselves, these three are None.
    """

    states: bytearray = field(default_factory=bytearray)
    means: Numbers = field(default_factory=_column)
    lows: Numbers | None = None
    highs: Numbers | None = None
    counts: Numbers | None = None

    def put(self, row: int, value: float | None) -> None:
        """Append what it is in that row; in rows left out before it, it is absent. Not finite is not available."""
        self.pad(row)
        if value is None or not math.isfinite(value):
            self.states.append(MISSING)
            self.means.append(0.0)
        else:
            self.states.append(PRESENT)
            self.means.append(value)

    def pad(self, rows: int) -> None:
        """Make it as long as the chunk: it is absent from there on."""
        if (missing := rows - len(self.states)) > 0:
            self.states.extend(bytes(missing))
            for column in (self.means, self.lows, self.highs, self.counts):
                if column is not None:
                    column.extend([0.0] * missing)

    def cut(self, start: int, stop: int) -> "Series":
        """The rows from `start` up to `stop`."""
        return Series(
            states=self.states[start:stop],
            means=self.means[start:stop],
            lows=None if self.lows is None else self.lows[start:stop],
            highs=None if self.highs is None else self.highs[start:stop],
            counts=None if self.counts is None else self.counts[start:stop],
        )


@dataclass(slots=True, kw_only=True)
class Chunk:
    """Rows in order of time, each of one sample (`width_s` 0) or of all that lie in the same `width_s` seconds.

    `position` is how many samples of the recording came before it. For each row: the number of its last sample, when
    its first and its last were taken, by the time of day and by the monotonic clock, and how many they are.
    `processes` holds what does not change of each process; its readings are series (see `process_series`). `words` are
    those that a series gives by their place in it.
    """

    position: int = 0
    width_s: float = 0.0
    numbers: Numbers = field(default_factory=_column)
    first_at: Numbers = field(default_factory=_column)
    last_at: Numbers = field(default_factory=_column)
    first_clock: Numbers = field(default_factory=_column)
    last_clock: Numbers = field(default_factory=_column)
    counts: Numbers = field(default_factory=_column)
    series: dict[str, Series] = field(default_factory=dict)
    processes: dict[str, dict[str, Any]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.numbers)

    @property
    def samples(self) -> int:
        """How many samples its rows stand for."""
        return int(sum(self.counts))

    def at_s(self, row: int) -> float:
        """The middle of the time that a row covers (Unix time)."""
        first, last = self.first_at[row], self.last_at[row]
        return first if first == last else first + (last - first) / 2

    def clock_s(self, row: int) -> float:
        """The same by the monotonic clock."""
        first, last = self.first_clock[row], self.last_clock[row]
        return first if first == last else first + (last - first) / 2

    def append(self, sample: Sample) -> None:
        """One sample as a row of its own, without its processes."""
        row = self.rows
        self.numbers.append(sample.number)
        self.first_at.append(sample.at_s)
        self.last_at.append(sample.at_s)
        self.first_clock.append(sample.clock_s)
        self.last_clock.append(sample.clock_s)
        self.counts.append(1)
        for key, value in sample.values.items():
            self.put(key, row, value)

    def put(self, key: str, row: int, value: float | None) -> None:
        """What a reading is in a row; it need not have been there before."""
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = Series()
        series.put(row, value)

    def cut(self, start: int, stop: int) -> "Chunk":
        """The rows from `start` up to `stop`, with the readings and processes that are there in some of them."""
        series = {key: series.cut(start, stop) for key, series in self.series.items()}
        series = {key: part for key, part in series.items() if any(part.states)}
        there = {key.partition("#")[0] for key in series}
        return Chunk(
            position=self.position + int(sum(self.counts[:start])),
            width_s=self.width_s,
            numbers=self.numbers[start:stop],
            first_at=self.first_at[start:stop],
            last_at=self.last_at[start:stop],
            first_clock=self.first_clock[start:stop],
            last_clock=self.last_clock[start:stop],
            counts=self.counts[start:stop],
            series=series,
            processes={identity: facts for identity, facts in self.processes.items() if identity in there},
            words=list(self.words),
        )


def encode(chunk: Chunk) -> bytes:
    """The chunk's bytes, for `decode`."""
    for series in chunk.series.values():
        series.pad(chunk.rows)
    there = {key: series for key, series in chunk.series.items() if any(series.states)}
    header = {
        "format": _FORMAT,
        "position": chunk.position,
        "width_s": chunk.width_s,
        "rows": chunk.rows,
        "keys": list(there),
        "processes": chunk.processes,
        "words": chunk.words,
    }
    frames = [json.dumps(header, separators=(",", ":")).encode()]
    frames += [packed(chunk.numbers), packed(chunk.first_at), packed(chunk.last_at, like=chunk.first_at)]
    frames += [packed(chunk.first_clock), packed(chunk.last_clock, like=chunk.first_clock), packed(chunk.counts)]
    for series in there.values():
        frames += _encode_series(series, chunk)
    return zlib.compress(b"".join(_FRAME.pack(len(frame)) + frame for frame in frames))


def decode(body: bytes, *, only: Container[str] | None = None) -> Chunk:
    """The chunk that `encode` was given; with `only`, with these series alone.

    Raises:
        StorageError: the bytes are damaged, or of a newer release.
    """
    try:
        header, frame = _opened(body)
        rows = int(header["rows"])
        numbers, first_at = unpacked(frame(), rows), unpacked(frame(), rows)
        last_at, first_clock = unpacked(frame(), rows, like=first_at), unpacked(frame(), rows)
        last_clock, counts = unpacked(frame(), rows, like=first_clock), unpacked(frame(), rows)
        chunk = Chunk(
            position=int(header["position"]),
            width_s=float(header["width_s"]),
            numbers=numbers,
            first_at=first_at,
            last_at=last_at,
            first_clock=first_clock,
            last_clock=last_clock,
            counts=counts,
            processes=dict(header["processes"]),
            words=list(header["words"]),
        )
        for key in header["keys"]:
            frames = [frame() for _ in range(5 if chunk.width_s else 2)]
            if only is None or key in only:
                chunk.series[key] = _decode_series(frames, chunk)
    except (zlib.error, struct.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise _damaged(error) from error
    return chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a chunk is about, without its numbers."""

    width_s: float
    keys: tuple[str, ...]
    has_processes: bool


def contents(body: bytes) -> Contents:
    """What lies in the chunk of these bytes; costs far less than `decode`.

    Raises:
        StorageError: the bytes are damaged, or of a newer release.
    """
    try:
        header, _ = _opened(body)
        keys = tuple(str(key) for key in header["keys"])
        return Contents(width_s=float(header["width_s"]), keys=keys, has_processes=bool(header["processes"]))
    except (zlib.error, struct.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise _damaged(error) from error


def _opened(body: bytes) -> tuple[dict[str, Any], Callable[[], bytes]]:
    """The header, and what gives the next frame after it at each call."""
    data = zlib.decompress(body)
    place = 0

    def frame() -> bytes:
        nonlocal place
        (length,) = _FRAME.unpack_from(data, place)
        start, place = place + _FRAME.size, place + _FRAME.size + length
        if place > len(data):
            raise ValueError("it ends too early")
        return data[start:place]

    header = json.loads(frame())
    if header["format"] != _FORMAT:
        raise StorageError(
            f"it is written in format {header['format']}, and this release reads {_FORMAT}", hint="upgrade infer-opt"
        )
    return header, frame


def _damaged(error: Exception) -> StorageError:
    return StorageError(f"a part of it is damaged: {error}", hint="what came before it can still be replayed")


def _encode_series(series: Series, chunk: Chunk) -> list[bytes]:
    states = bytes(series.states)
    frames = [states[:1] if states.count(states[0]) == len(states) else states]
    means = _at_present(series.means, states)
    frames.append(packed(means, single=chunk.width_s > 0))
    if chunk.width_s:
        for extreme in (series.lows, series.highs):
            column = series.means if extreme is None else extreme
            frames.append(packed(_at_present(column, states), like=means, single=True))
        counts = _at_present(chunk.counts if series.counts is None else series.counts, states)
        frames.append(packed(counts, like=_at_present(chunk.counts, states)))
    return frames


def _decode_series(frames: list[bytes], chunk: Chunk) -> Series:
    states = frames[0] * chunk.rows if len(frames[0]) == 1 else frames[0]
    if len(states) != chunk.rows or max(states, default=0) > PRESENT:
        raise ValueError("the states of a reading are not those of its rows")
    count, single = states.count(PRESENT), chunk.width_s > 0
    means = unpacked(frames[1], count, single=single)
    series = Series(states=bytearray(states), means=_spread(means, states))
    if chunk.width_s:
        series.lows, series.highs = (
            _spread(unpacked(frame, count, like=means, single=True), states) for frame in frames[2:4]
        )
        like = _at_present(chunk.counts, states)
        series.counts = _spread(unpacked(frames[4], count, like=like), states)
    return series


def _at_present(column: Numbers, states: bytes) -> Numbers:
    if states.count(PRESENT) == len(states):
        return column
    return array("d", (value for value, state in zip(column, states, strict=True) if state == PRESENT))


def _spread(values: Numbers, states: bytes) -> Numbers:
    """Values for the rows that have one, with 0 in the others."""
    if len(values) == len(states):
        return values
    given = iter(values)
    return array("d", (next(given) if state == PRESENT else 0.0 for state in states))
