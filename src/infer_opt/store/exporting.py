"""A recording as a table for other programs: Parquet, or CSV."""

import csv
import gzip
import json
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Protocol

from infer_opt.errors import ConfigError, StorageError, UnavailableError
from infer_opt.readings.catalogue import quantity_of
from infer_opt.readings.samples import ProcessReading
from infer_opt.store.chunks import PRESENT, Chunk
from infer_opt.store.columns import Numbers
from infer_opt.store.process_series import processes_in
from infer_opt.store.recordings import Recording

SUFFIXES = (".parquet", ".csv", ".csv.gz")

_ROWS = 2000  # that are written at once
_EXTREMES = ("low", "high")

Value = float | int | str | bool | None


class Kind(StrEnum):
    """What stands in a column."""

    TIME = "time"
    NUMBER = "number"
    COUNT = "count"
    TEXT = "text"
    FLAG = "flag"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table, and what is to be said of it where the format has a place for that."""

    name: str
    kind: Kind
    about: Mapping[str, str] = field(default_factory=dict)


_TIMES = (
    Column(name="time", kind=Kind.TIME, about={"definition": "the middle of the time that the row covers, UTC"}),
    Column(
        name="resolution_seconds",
        kind=Kind.NUMBER,
        about={"unit": "seconds", "definition": "0: one sample; else all samples of so many seconds, as their mean"},
    ),
)
_SAMPLE = (*_TIMES, Column(name="number", kind=Kind.COUNT, about={"definition": "the row's last sample, counted"}))
_PROCESS = (
    *_TIMES,
    Column(name="pid", kind=Kind.COUNT),
    Column(name="name", kind=Kind.TEXT),
    Column(name="parent_pid", kind=Kind.COUNT),
    Column(name="command", kind=Kind.TEXT),
    Column(name="user", kind=Kind.TEXT),
    Column(name="state", kind=Kind.TEXT),
    Column(name="started", kind=Kind.TIME),
    Column(name="is_chosen", kind=Kind.FLAG),
    Column(name="cpu_cores", kind=Kind.NUMBER, about={"unit": "cores"}),
    Column(name="rss_bytes", kind=Kind.COUNT, about={"unit": "bytes"}),
    Column(name="threads", kind=Kind.COUNT),
    Column(name="read_bytes_per_second", kind=Kind.NUMBER, about={"unit": "bytes_per_second"}),
    Column(name="written_bytes_per_second", kind=Kind.NUMBER, about={"unit": "bytes_per_second"}),
    Column(name="gpu_memory_bytes", kind=Kind.COUNT, about={"unit": "bytes"}),
    Column(name="gpu_utilisation", kind=Kind.NUMBER, about={"unit": "ratio"}),
)


class _Table(Protocol):
    """A file of one format that takes rows."""

    def write(self, rows: Sequence[Sequence[Value]]) -> None: ...

    def close(self) -> None: ...


def export(recording: Recording, path: Path, *, force: bool = False, with_extremes: bool = False) -> tuple[Path, ...]:
    """Write a recording as one row a sample and one column a reading, and its processes, if any, as a second table.

    The suffix says how: `.parquet`, `.csv` or `.csv.gz`. What is not available, and a reading that did not exist yet,
    is null, an empty field in CSV. The second table lies beside the first: `name.processes.csv`. Both appear whole or
    not at all.

    Arguments:
        force: replace files that are there.
        with_extremes: two columns more a reading, `KEY.low` and `KEY.high`.

    Returns:
        The files written.

    Raises:
        ConfigError: a suffix that is none of these.
        UnavailableError: Parquet, and pyarrow is not installed.
        StorageError: a file is there, cannot be written, or the recording is damaged.
    """
    suffix = _suffix(path)
    paths = [path]
    if recording.has_processes():
        paths.append(path.with_name(path.name.removesuffix(suffix) + f".processes{suffix}"))
    if not force and (there := next((path for path in paths if path.exists()), None)):
        raise StorageError(f"the file {there} exists already", hint="name another one, or add --force to replace it")
    keys = recording.keys()
    columns = [_SAMPLE + _columns(keys, with_extremes=with_extremes), _PROCESS]
    with _drafts(paths) as drafts, ExitStack() as stack:
        tables = []
        for draft, shape in zip(drafts, columns, strict=False):
            tables.append(_opened(suffix, draft, shape, recording))
            stack.callback(tables[-1].close)
        for chunk in recording.chunks():
            tables[0].write(list(_sample_rows(chunk, keys, with_extremes=with_extremes)))
            if len(tables) > 1:
                tables[1].write(list(_process_rows(chunk)))
    return tuple(paths)


def _suffix(path: Path) -> str:
    found = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix) and path.name != suffix), None)
    if found is None:
        raise ConfigError(
            f"{path.name} does not say in which format to export", hint=f"let its name end in {', '.join(SUFFIXES)}"
        )
    return found


def _columns(keys: Sequence[str], *, with_extremes: bool) -> tuple[Column, ...]:
    columns = []
    for key in keys:
        about = _about(key)
        columns.append(Column(name=key, kind=Kind.NUMBER, about=about))
        if with_extremes:
            columns += [Column(name=f"{key}.{which}", kind=Kind.NUMBER, about=about) for which in _EXTREMES]
    return tuple(columns)


def _about(key: str) -> dict[str, str]:
    try:
        quantity = quantity_of(key)
    except ConfigError:  # another release may have recorded what this one does not know
        return {}
    return {"unit": quantity.unit.value, "definition": quantity.definition, "command": quantity.command}


def _sample_rows(chunk: Chunk, keys: Sequence[str], *, with_extremes: bool) -> Iterator[list[Value]]:
    columns: list[tuple[bytes | bytearray, Numbers]] = []
    for key in keys:
        series = chunk.series.get(key)
        states, means = (bytes(chunk.rows), array("d")) if series is None else (series.states, series.means)
        columns.append((states, means))
        if with_extremes:
            lows, highs = (None, None) if series is None else (series.lows, series.highs)
            columns += [(states, means if lows is None else lows), (states, means if highs is None else highs)]
    for row in range(chunk.rows):
        values = (column[row] if states[row] == PRESENT else None for states, column in columns)
        yield [chunk.at_s(row), chunk.width_s, int(chunk.numbers[row]), *values]


def _process_rows(chunk: Chunk) -> Iterator[list[Value]]:
    for row in range(chunk.rows):
        for process in processes_in(chunk, row):
            yield [chunk.at_s(row), chunk.width_s, *(_of_process(process, column.name) for column in _PROCESS[2:])]


def _of_process(process: ProcessReading, name: str) -> Value:
    value: Value = getattr(process, "started_s" if name == "started" else name)
    return value


@contextmanager
def _drafts(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Names to write under, beside their places; at the end they go there, after an error nowhere."""
    drafts = [path.with_name(f"{path.name}.{os.getpid()}.partial") for path in paths]
    try:
        yield drafts
        for draft, path in zip(drafts, paths, strict=True):
            draft.replace(path)
    except OSError as error:
        raise StorageError(
            f"{paths[0]} cannot be written: {error.strerror or error}",
            hint="does the folder exist, and is there room on its disk? else name another place",
        ) from error
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)


def _opened(suffix: str, path: Path, columns: Sequence[Column], recording: Recording) -> _Table:
    if suffix == ".parquet":
        return _ParquetTable(path, columns, recording)
    return _CsvTable(path, columns, is_packed=suffix == ".csv.gz")


class _CsvTable:
    """Times as ISO 8601 in UTC, whole numbers without a point, everything else with all its digits."""

    def __init__(self, path: Path, columns: Sequence[Column], *, is_packed: bool) -> None:
        # A process may be called by bytes that are no text; they are written as escapes.
        style: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
        self._stream: IO[str] = gzip.open(path, "wt", **style) if is_packed else path.open("w", **style)  # noqa: SIM115 (closed by `close`)
        self._rows = csv.writer(self._stream, lineterminator="\n")
        self._kinds = [column.kind for column in columns]
        self._rows.writerow(column.name for column in columns)

    def write(self, rows: Sequence[Sequence[Value]]) -> None:
        self._rows.writerows(map(_field, self._kinds, row) for row in rows)

    def close(self) -> None:
        self._stream.close()


def _field(kind: Kind, value: Value) -> Value:
    if value is None or isinstance(value, str):
        return value
    if kind is Kind.TIME:
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if kind is Kind.FLAG:
        return "true" if value else "false"
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


class _ParquetTable:
    """Times as timestamps in UTC; unit, definition and command of each column in its metadata."""

    def __init__(self, path: Path, columns: Sequence[Column], recording: Recording) -> None:
        self._arrow, parquet = _pyarrow()
        self._columns = columns
        types = {
            Kind.TIME: self._arrow.timestamp("us", tz="UTC"),
            Kind.NUMBER: self._arrow.float64(),
            Kind.COUNT: self._arrow.int64(),
            Kind.TEXT: self._arrow.string(),
            Kind.FLAG: self._arrow.bool_(),
        }
        fields = [self._arrow.field(column.name, types[column.kind], metadata=column.about) for column in columns]
        about = {"infer_opt.recording": recording.id, "infer_opt.about": json.dumps(recording.about)}
        self._schema = self._arrow.schema(fields, metadata=about)
        self._waiting: list[Sequence[Value]] = []
        self._stream = path.open("wb")
        self._file = parquet.ParquetWriter(self._stream, self._schema)

    def write(self, rows: Sequence[Sequence[Value]]) -> None:
        self._waiting += rows
        if len(self._waiting) >= _ROWS:
            self._flush()

    def close(self) -> None:
        with self._stream:
            self._flush()
            self._file.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        arrays = [
            self._arrow.array([_cell(column.kind, value) for value in values], type=entry.type)
            for column, entry, values in zip(self._columns, self._schema, zip(*self._waiting, strict=True), strict=True)
        ]
        self._file.write_batch(self._arrow.record_batch(arrays, schema=self._schema))
        self._waiting.clear()


def _cell(kind: Kind, value: Value) -> Value:
    if value is None:
        return None
    if kind is Kind.TIME and not isinstance(value, str):
        return round(value * 1e6)
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UnavailableError(
            f"Parquet needs pyarrow, which cannot be used: {error}",
            hint="pip install 'infer-opt[parquet]', or export to a name that ends in .csv",
        ) from error
    return pyarrow, pyarrow.parquet
