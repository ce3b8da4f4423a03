import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import registry
from sqlalchemy.schema import CreateTable

from infer_opt.store.database import Store
from infer_opt.store.schema import VERSION, VERSION_TABLE
from infer_opt.store.tables import metadata


def test_the_migrations_end_where_the_tables_are(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as store, store._engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_the_version_that_open_compares_with_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "infer_opt.store:migrations")

    assert ScriptDirectory.from_config(config).get_heads() == [VERSION]


@pytest.mark.parametrize(
    ("name", "column"),
    [("sqlite", "run_times BLOB"), ("postgresql", "run_times BYTEA"), ("mysql", "run_times LONGBLOB")],
)
def test_run_times_have_room_in_every_database(name: str, column: str) -> None:
    dialect = registry.load(name)()

    assert column in str(CreateTable(metadata.tables["infer_opt_trial"]).compile(dialect=dialect))


def test_an_up_to_date_store_opens_without_loading_alembic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    Store.open(url).close()
    monkeypatch.setitem(sys.modules, "alembic", None)

    Store.open(url).close()
