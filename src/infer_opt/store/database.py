"""Opening a store, and everything that a tuning writes to it and reads back."""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import platformdirs
from sqlalchemy import ColumnElement, Connection, Engine, Row, func, select
from sqlalchemy.exc import IntegrityError

from infer_opt.errors import StorageError
from infer_opt.results import Trial
from infer_opt.store.codec import decode, encode, from_text, to_text
from infer_opt.store.engine import begun, connect, shown, storage_errors
from infer_opt.store.schema import bring_up_to_date
from infer_opt.store.tables import records, trials, tunings

STORE_VARIABLE = "INFER_OPT_STORE"
MOST_EARLIER = 2000  # trials of earlier tunings that are looked through: as many as a space has configurations


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One round of a race or one epoch of a confirmation, as plain JSON values (a saved tuple is a list here)."""

    epoch: int
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTuning:
    """One line of the history. Times in ms since 1970; `finished_ms` is None while it runs, or after it was cut off."""

    id: str
    request_key: str
    request: Mapping[str, Any]
    started_ms: int
    finished_ms: int | None
    trials: int


class Store:
    """The database of everything measured. Each call is one transaction, committed before it returns.

    Safe from several processes at once, and after the death of any of them.
    """

    def __init__(self, engine: Engine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    @classmethod
    def open(cls, url: str | None = None, *, clock: Callable[[], int] = time.time_ns) -> Self:
        """The store at `url`, made or migrated when need be.

        Without a URL: INFER_OPT_STORE, and without that `infer-opt.db` in the user's data directory. `clock` gives ns
        since 1970.

        Raises:
            ConfigError: `url` is not a URL.
            UnavailableError: the URL names a database whose driver is not installed.
            StorageError: not a database, of a newer schema, not writable, or out of space.
        """
        engine = connect(url or os.environ.get(STORE_VARIABLE) or _default_url())
        try:
            with storage_errors(shown(engine.url)):
                bring_up_to_date(engine, shown(engine.url))
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, clock)

    @property
    def url(self) -> str:
        """Where it is, without the password."""
        return shown(self._engine.url)

    def close(self) -> None:
        """Give back the connections. Safe to call twice."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self, request_key: str, request: Mapping[str, Any], *, subject_key: str | None = None) -> str:
        """Enter a new tuning; its id is 14 hex digits that sort by time.

        `request_key` is equal for calls that can go on where another was cut off, `subject_key` for those whose trials
        tell of each other: the same model on the same machine, however much was tried.

        Raises:
            StorageError: the database cannot be written.
        """
        now = self.now_ms()
        tuning_id = new_id(now)
        with self._writing() as connection:
            connection.execute(
                tunings.insert().values(
                    id=tuning_id,
                    request_key=request_key,
                    subject_key=subject_key,
                    request=to_text(request),
                    started_ms=now,
                )
            )
        return tuning_id

    def unfinished(self, request_key: str) -> str | None:
        """The newest tuning of this request that was begun and not finished.

        Raises:
            StorageError: the database cannot be read.
        """
        query = (
            select(tunings.c.id)
            .where(tunings.c.request_key == request_key, tunings.c.finished_ms.is_(None))
            .order_by(tunings.c.number.desc())
            .limit(1)
        )
        found = self.rows(query)
        return str(found[0].id) if found else None

    def save_trial(self, tuning_id: str, trial: Trial, *, phase: str) -> None:
        """Keep one finished trial; a configuration measured again in the same phase replaces its earlier trial.

        Raises:
            StorageError: the database cannot be written, or knows no such tuning.
        """
        body, run_times = encode(trial)
        same = (trials.c.tuning_id == tuning_id) & (trials.c.phase == phase) & (trials.c.config_key == trial.config.key)
        with self._writing(tuning_id) as connection:
            connection.execute(trials.delete().where(same))
            connection.execute(
                trials.insert().values(
                    tuning_id=tuning_id,
                    phase=phase,
                    config_key=trial.config.key,
                    saved_ms=self.now_ms(),
                    body=body,
                    run_times=run_times,
                )
            )

    def trials(self, tuning_id: str, phase: str | None = None) -> tuple[Trial, ...]:
        """The saved trials of one phase or of all, in the order they were saved, equal to what was saved.

        Raises:
            StorageError: the database cannot be read, or a trial in it is damaged or of another release.
        """
        query = (
            select(trials.c.body, trials.c.run_times).where(*_of(trials.c, tuning_id, phase)).order_by(trials.c.number)
        )
        return tuple(decode(row.body, row.run_times) for row in self.rows(query))

    def earlier(self, subject_key: str, *, phase: str, but: str = "") -> tuple[Trial, ...]:
        """The trials of one phase in other tunings of the same subject, the newest of each configuration, newest first.

        Arguments:
            but: the tuning that asks.

        Raises:
            StorageError: the database cannot be read, or a trial in it is damaged or of another release.
        """
        query = (
            select(trials.c.config_key, trials.c.body, trials.c.run_times)
            .join(tunings, tunings.c.id == trials.c.tuning_id)
            .where(tunings.c.subject_key == subject_key, tunings.c.id != but, trials.c.phase == phase)
            .order_by(trials.c.number.desc())
            .limit(MOST_EARLIER)
        )
        newest: dict[str, Any] = {}
        for row in self.rows(query):
            newest.setdefault(row.config_key, row)
        return tuple(decode(row.body, row.run_times) for row in newest.values())

    def save_rounds(self, tuning_id: str, phase: str, epoch: int, payload: Mapping[str, Any]) -> None:
        """Append what one round of a race or one epoch of a confirmation gave.

        Raises:
            StorageError: the database cannot be written, or knows no such tuning.
        """
        with self._writing(tuning_id) as connection:
            connection.execute(
                records.insert().values(
                    tuning_id=tuning_id, phase=phase, epoch=epoch, saved_ms=self.now_ms(), payload=to_text(payload)
                )
            )

    def records(self, tuning_id: str, phase: str | None = None) -> tuple[Record, ...]:
        """What `save_rounds` appended, in that order.

        Raises:
            StorageError: the database cannot be read.
        """
        query = (
            select(records.c.epoch, records.c.payload)
            .where(*_of(records.c, tuning_id, phase))
            .order_by(records.c.number)
        )
        return tuple(Record(epoch=row.epoch, payload=from_text(row.payload)) for row in self.rows(query))

    def finish(self, tuning_id: str, result: Mapping[str, Any]) -> None:
        """Close a tuning with its result: `unfinished` no longer gives it.

        Raises:
            StorageError: the database cannot be written, or knows no such tuning.
        """
        with self._writing(tuning_id) as connection:
            done = connection.execute(
                tunings.update()
                .where(tunings.c.id == tuning_id)
                .values(finished_ms=self.now_ms(), result=to_text(result))
            )
            if done.rowcount == 0:
                raise _no_such_tuning(tuning_id, self.url)

    def result(self, tuning_id: str) -> Mapping[str, Any] | None:
        """What the tuning was finished with, as plain JSON values; None when it was not.

        Raises:
            StorageError: the database cannot be read, or knows no such tuning.
        """
        found = self.rows(select(tunings.c.result).where(tunings.c.id == tuning_id))
        if not found:
            raise _no_such_tuning(tuning_id, self.url)
        text = found[0].result
        return None if text is None else dict(from_text(text))

    def tunings(self, limit: int = 20) -> tuple[StoredTuning, ...]:
        """The latest tunings, newest first.

        Raises:
            StorageError: the database cannot be read.
        """
        count = (
            select(func.count()).where(trials.c.tuning_id == tunings.c.id).correlate(tunings).scalar_subquery()
        ).label("trials")
        query = select(tunings, count).order_by(tunings.c.number.desc()).limit(limit)
        return tuple(
            StoredTuning(
                id=row.id,
                request_key=row.request_key,
                request=from_text(row.request),
                started_ms=row.started_ms,
                finished_ms=row.finished_ms,
                trials=row.trials,
            )
            for row in self.rows(query)
        )

    def now_ms(self) -> int:
        """The time, in ms since 1970, by the store's clock."""
        return self._clock() // 1_000_000

    def rows(self, query: Any) -> list[Row[Any]]:
        """What a query of this package gives, in a transaction of its own.

        Raises:
            StorageError: the database cannot be read.
        """
        with storage_errors(self.url), self._engine.begin() as connection:
            return list(connection.execute(query).all())

    @contextmanager
    def transaction(self, *, patience_s: float | None = None) -> Iterator[Connection]:
        """One transaction, for the other modules of this package: committed at the end, undone by any error.

        Arguments:
            patience_s: how long to wait for the transactions of others, where a minute is too long.

        Raises:
            StorageError: the database cannot be written.
        """
        with storage_errors(self.url), begun(self._engine, patience_s) as connection:
            yield connection

    @contextmanager
    def _writing(self, tuning_id: str | None = None) -> Iterator[Any]:
        """One transaction, on behalf of a tuning that must exist when it is named."""
        with storage_errors(self.url):
            try:
                with self._engine.begin() as connection:
                    yield connection
            except IntegrityError as error:
                if tuning_id is None:
                    raise
                raise _no_such_tuning(tuning_id, self.url) from error


def new_id(now_ms: int) -> str:
    """14 hex digits that sort by time."""
    return f"{now_ms:011x}{secrets.token_hex(2)[:3]}"


def _of(columns: Any, tuning_id: str, phase: str | None) -> list[ColumnElement[bool]]:
    return [columns.tuning_id == tuning_id] + ([] if phase is None else [columns.phase == phase])


def _no_such_tuning(tuning_id: str, url: str) -> StorageError:
    return StorageError(f"the store {url} has no tuning {tuning_id}")


def _default_url() -> str:
    folder = Path(platformdirs.user_data_dir("infer-opt"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the folder of the store, {folder}, cannot be made: {error.strerror}",
            hint="name a place that is writable: --store sqlite:////path/to/file.db",
        ) from error
    return f"sqlite:///{folder / 'infer-opt.db'}"
