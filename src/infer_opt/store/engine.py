"""Connections to a database, and its errors in our words."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from infer_opt.errors import ConfigError, StorageError, UnavailableError

_BUSY_MS = 60_000  # longer than any transaction of another tuning: each writes one row

# What SQLite says -> what helps.
_HINTS = {
    "file is not a database": "the file is something else or damaged: name another --store",
    "unable to open database file": "does the folder exist, and may you write to it? --store names another place",
    "readonly": "the file or its folder is not writable: name another --store",
    "disk I/O error": "is the disk full? free some space, or name a --store on another disk",
    "full": "free some space, or name a --store on another disk",
    "locked": "another process holds it: end that one, or name another --store",
}


def connect(url: str) -> Engine:
    """An engine for `url`; nothing is opened yet.

    Raises:
        ConfigError: `url` is not a URL.
        UnavailableError: the driver that it names is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(
            f"the store {url!r} is not a database URL", hint=f"a file is written sqlite:///{url}"
        ) from error
    try:
        engine = create_engine(parsed)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise UnavailableError(
            f"the store {shown(parsed)} needs a driver that is not installed: {error}",
            hint=f"install the Python driver for {parsed.get_backend_name()}, or use a file: --store sqlite:///runs.db",
        ) from error
    if _is_sqlite(engine):
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def shown(url: URL) -> str:
    """The URL for people, without its password."""
    return url.render_as_string(hide_password=True)


@contextmanager
def storage_errors(shown_url: str) -> Iterator[None]:
    """Whatever the database refuses inside becomes a StorageError with one sentence."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = str(error.orig if isinstance(error, DBAPIError) else error).strip().splitlines()[0]
        hint = next((hint for words, hint in _HINTS.items() if words in cause), None)
        raise StorageError(f"the store {shown_url} cannot be used: {cause}", hint=hint) from error


@contextmanager
def begun(engine: Engine, patience_s: float | None = None) -> Iterator[Connection]:
    """One transaction; with `patience_s`, SQLite waits no longer than that for those of others."""
    with engine.connect() as connection:
        driver = connection.connection.driver_connection if patience_s is not None and _is_sqlite(engine) else None
        if driver is not None and patience_s is not None:
            driver.execute(f"PRAGMA busy_timeout = {round(1000 * patience_s)}")
        try:
            with connection.begin():
                yield connection
        finally:
            if driver is not None:
                driver.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")


def _is_sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Python's sqlite3 begins transactions late and never before DDL; `_begin_immediate` begins them all.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    _switch_to_wal(connection)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Let readers go on while another tuning writes. The mode stays with the file, so it is changed once."""
    deadline = time.monotonic() + _BUSY_MS / 1000
    while connection.execute("PRAGMA journal_mode").fetchone() == ("delete",):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # Of two that switch a new file at once, SQLite refuses one without regard to busy_timeout.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads first and then writes fails at once when another wrote in between, whatever the
    # time-out. Taking the write lock at the start makes it wait instead; ours last milliseconds.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
