"""The schema of a database: which it has, and how it gets to this release's."""

from sqlalchemy import Connection, Engine, inspect, text

from infer_opt.errors import StorageError

VERSION = "0004"  # the newest file in migrations/versions; a test holds the two together
VERSION_TABLE = "infer_opt_schema"  # not Alembic's own name, which other applications use in a shared database


def bring_up_to_date(engine: Engine, shown_url: str) -> None:
    """Make the tables, or migrate them, in one transaction; a database that is up to date is only read.

    Raises:
        StorageError: the database was written by a newer release.
    """
    with engine.begin() as connection:
        found = _version(connection)
        if found == VERSION:
            return
        _migrate(connection, found, shown_url)


def _version(connection: Connection) -> str | None:
    """The revision that the database says it has; None for a database without our tables."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 (a constant)
    return None if found is None else str(found)


def _migrate(connection: Connection, found: str | None, shown_url: str) -> None:
    from alembic import command  # costs more than everything else here, and is seldom needed
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "infer_opt.store:migrations")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StorageError(
            f"the store {shown_url} has schema {found}, and this release of infer-opt knows none after {VERSION}",
            hint="upgrade infer-opt, or name another --store",
        )
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    command.upgrade(config, "head")
