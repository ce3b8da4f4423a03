import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from infer_opt.errors import ConfigError, StorageError, UnavailableError
from infer_opt.results import Block, FailureKind, Trial, TrialFailure, TrialResult
from infer_opt.store import engine, schema
from infer_opt.store.database import Store
from infer_opt.store.schema import VERSION_TABLE
from store_files.contents import FAILED, FULL, HUNG, REQUEST, REQUEST_KEY, RESULT, ROUND, STOCK, SUBJECT_KEY, TRIALS

FILES = Path(__file__).parents[2] / "store_files"

WRITER = """
import sys
from dataclasses import replace
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.store.database import Store
from store_files.contents import FULL

with Store.open(sys.argv[1]) as store:
    tuning = store.begin("writer", {})
    for count in range(1, int(sys.argv[2]) + 1):
        config = TrialConfig(options=SessionOptions(intra_threads=count))
        store.save_trial(tuning, replace(FULL, config=config), phase="screen")
        print(count, flush=True)
"""


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def writer(url: str, count: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(FILES.parent)},
    )


def test_everything_saved_comes_back_equal_and_in_order(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db")) as store:
        tuning = store.begin("k", REQUEST)
        for trial in TRIALS:
            store.save_trial(tuning, trial, phase="screen")
        store.save_trial(tuning, STOCK, phase="race")

    with Store.open(url_of(tmp_path / "a.db")) as store:
        assert store.trials(tuning, "screen") == TRIALS
        assert store.trials(tuning, "race") == (STOCK,)
        assert store.trials(tuning) == (*TRIALS, STOCK)
        assert store.trials("0" * 14) == ()


def test_a_configuration_measured_again_replaces_its_trial_in_that_phase_only(tmp_path: Path) -> None:
    failed = TrialFailure(config=FULL.config, kind=FailureKind.TIMEOUT, reason="hung")
    with Store.open(url_of(tmp_path / "a.db")) as store:
        tuning, other = store.begin("k", {}), store.begin("k", {})
        store.save_trial(tuning, failed, phase="screen")
        store.save_trial(tuning, failed, phase="race")
        store.save_trial(other, failed, phase="screen")

        store.save_trial(tuning, FULL, phase="screen")

        assert store.trials(tuning, "screen") == (FULL,)
        assert store.trials(tuning, "race") == (failed,)
        assert store.trials(other) == (failed,)


def test_the_newest_unfinished_tuning_of_the_same_request_is_the_one_to_resume(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db"), clock=lambda: 5) as store:  # a clock that stands still orders nothing
        assert store.unfinished("k") is None
        first, second, third = (store.begin("k", {}) for _ in range(3))
        store.begin("another", {})
        store.finish(third, {})

        assert store.unfinished("k") == second
        store.finish(second, {})
        assert store.unfinished("k") == first


def test_ids_sort_by_time(tmp_path: Path) -> None:
    times = iter(range(1_790_000_000_000_000_000, 1_790_000_000_100_000_000, 1_000_000))
    with Store.open(url_of(tmp_path / "a.db"), clock=lambda: next(times)) as store:
        ids = [store.begin("k", {}) for _ in range(20)]

    assert ids == sorted(ids)
    assert {len(name) for name in ids} == {14}


def test_earlier_tunings_of_the_same_subject_give_their_newest_trials(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db")) as store:
        old, new, this = (store.begin(key, {}, subject_key="model on machine") for key in ("a", "b", "c"))
        store.save_trial(old, replace(FULL, log_ratio=-0.1), phase="screen")
        store.save_trial(old, HUNG, phase="screen")
        store.save_trial(old, STOCK, phase="stock")
        store.save_trial(new, FULL, phase="screen")
        store.save_trial(this, FAILED, phase="screen")

        assert store.earlier("model on machine", phase="screen", but=this) == (FULL, HUNG)
        older = (FAILED, HUNG, replace(FULL, log_ratio=-0.1))
        assert store.earlier("model on machine", phase="screen", but=new) == older


def test_tunings_of_another_subject_or_of_none_tell_nothing(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db")) as store:
        store.save_trial(store.begin("a", {}, subject_key="another model"), FULL, phase="screen")
        store.save_trial(store.begin("a", {}), FULL, phase="screen")

        assert store.earlier("model on machine", phase="screen") == ()


def test_rounds_are_appended_and_never_replaced(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db")) as store:
        tuning = store.begin("k", {})
        store.save_rounds(tuning, "race", 0, {"values": (1.5, 2.5)})
        store.save_rounds(tuning, "race", 0, {"values": (3.5,)})
        store.save_rounds(tuning, "confirm", 1, ROUND)

        assert [record.payload for record in store.records(tuning, "race")] == [
            {"values": [1.5, 2.5]},
            {"values": [3.5]},
        ]
        assert [record.epoch for record in store.records(tuning)] == [0, 0, 1]


def test_the_result_is_none_until_it_is_finished(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db")) as store:
        tuning = store.begin("k", {})
        assert store.result(tuning) is None
        store.finish(tuning, RESULT)
        assert store.result(tuning) == RESULT


def test_the_history_is_listed_newest_first_with_its_number_of_trials(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db")) as store:
        old, new = store.begin("old", REQUEST), store.begin("new", {})
        store.save_trial(old, STOCK, phase="screen")
        store.save_trial(old, FAILED, phase="screen")
        store.finish(old, {})

        listed = store.tunings(10)

        assert [(line.id, line.trials, line.finished_ms is None) for line in listed] == [
            (new, 0, True),
            (old, 2, False),
        ]
        assert listed[1].request == REQUEST
        assert [line.id for line in store.tunings(1)] == [new]


def test_a_tuning_that_is_not_there_is_named(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db")) as store:
        with pytest.raises(StorageError, match="no tuning beef"):
            store.save_trial("beef", STOCK, phase="screen")
        with pytest.raises(StorageError, match="no tuning beef"):
            store.save_rounds("beef", "race", 0, {})
        with pytest.raises(StorageError, match="no tuning beef"):
            store.finish("beef", {})
        with pytest.raises(StorageError, match="no tuning beef"):
            store.result("beef")


def test_a_killed_writer_loses_no_trial_that_it_had_saved(tmp_path: Path) -> None:
    url = url_of(tmp_path / "a.db")
    process = writer(url, 100_000)
    assert process.stdout is not None
    saved = next(int(line) for line in process.stdout if int(line) >= 20)
    process.send_signal(signal.SIGKILL)
    process.wait()
    saved = max([saved, *(int(line) for line in process.stdout if line.endswith("\n"))])
    process.stdout.close()

    with Store.open(url) as store:
        tuning = store.unfinished("writer")
        assert tuning is not None
        kept = store.trials(tuning)

        assert saved <= len(kept) <= saved + 1  # it may die between saving and saying so
        assert all(isinstance(trial, TrialResult) and trial.blocks == FULL.blocks for trial in kept)
        store.save_trial(tuning, STOCK, phase="screen")
        assert store.trials(tuning)[-1] == STOCK


def test_two_tunings_write_at_once_into_a_store_that_neither_found(tmp_path: Path) -> None:
    url = url_of(tmp_path / "a.db")
    processes = [writer(url, 40) for _ in range(2)]

    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]

    with Store.open(url) as store:
        listed = store.tunings()
        assert [line.trials for line in listed] == [40, 40]
        for line in listed:
            threads = [trial.config.options.intra_threads for trial in store.trials(line.id)]
            assert threads == list(range(1, 41))


def test_of_two_that_open_a_new_store_one_makes_the_tables_and_the_other_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = url_of(tmp_path / "a.db")
    make_tables = schema._migrate
    monkeypatch.setattr(engine, "_BUSY_MS", 0)  # so that waiting shows as an error, at once

    def make_tables_while_another_opens(connection: Connection, found: str | None, shown_url: str) -> None:
        monkeypatch.setattr(schema, "_migrate", make_tables)
        with pytest.raises(StorageError, match="locked"):
            Store.open(url)
        make_tables(connection, found, shown_url)

    monkeypatch.setattr(schema, "_migrate", make_tables_while_another_opens)
    with Store.open(url) as store:
        assert store.tunings() == ()


def test_a_writer_waits_for_another_instead_of_failing(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db")) as store, store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() >= 10_000
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


def test_a_transaction_waits_for_another_as_long_as_it_has_patience_and_the_next_as_ever(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db")) as store:
        waits = []
        for patience_s in (0.25, None):
            with store.transaction(patience_s=patience_s) as connection:
                waits.append(connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one())

        assert waits == [250, 60_000]


@pytest.mark.parametrize(("name", "guides"), [("v1.db", ()), ("v2.db", (STOCK, HUNG, FAILED, FULL))])
def test_databases_of_earlier_releases_can_still_be_opened(
    tmp_path: Path, name: str, guides: tuple[Trial, ...]
) -> None:
    shutil.copy(FILES / name, tmp_path / name)

    with Store.open(url_of(tmp_path / name)) as store:
        assert store.earlier(SUBJECT_KEY, phase="screen") == guides
        cut_off, finished = store.tunings()

        assert store.trials(finished.id) == TRIALS
        assert store.result(finished.id) == RESULT
        assert store.records(finished.id, "race")[0].payload == ROUND
        assert store.unfinished(REQUEST_KEY) == cut_off.id
        assert finished.request == REQUEST
        store.save_trial(cut_off.id, FULL, phase="screen")
        assert store.trials(cut_off.id) == (STOCK, FULL)


def test_a_database_of_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    Store.open(url_of(path)).close()
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0999'")
    database.close()

    with pytest.raises(StorageError, match="0999") as refused:
        Store.open(url_of(path))

    assert refused.value.hint is not None and "upgrade infer-opt" in refused.value.hint
    with sqlite3.connect(path) as database:
        assert database.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall() == [("0999",)]
    database.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"my thesis, chapter one. " * 100)

    with pytest.raises(StorageError, match="not a database"):
        Store.open(url_of(path))

    assert path.read_bytes() == b"my thesis, chapter one. " * 100


def test_a_folder_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    # Permissions do not stop root; nobody makes files in /proc.
    url = url_of(folder / "a.db") if os.geteuid() else url_of(Path("/proc/infer-opt.db"))

    with pytest.raises(StorageError) as refused:
        Store.open(url)

    assert refused.value.hint is not None and "--store" in refused.value.hint


def test_a_database_that_is_only_readable_can_be_read_and_says_why_it_takes_nothing(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db")) as store:
        tuning = store.begin("k", {})
        store.save_trial(tuning, STOCK, phase="screen")

    with Store.open(f"sqlite:///file:{tmp_path / 'a.db'}?mode=ro&uri=true") as store:
        assert store.trials(tuning) == (STOCK,)
        with pytest.raises(StorageError, match="readonly") as refused:
            store.save_trial(tuning, FULL, phase="screen")

    assert refused.value.hint is not None and "not writable" in refused.value.hint


def test_a_full_disk_loses_the_new_trial_and_not_the_one_it_was_to_replace(tmp_path: Path) -> None:
    noise = random.Random(1)
    long = replace(STOCK, blocks=(Block(latency_ns=tuple(noise.getrandbits(62) for _ in range(20_000))),))
    with Store.open(url_of(tmp_path / "a.db")) as store:
        tuning = store.begin("k", {})
        store.save_trial(tuning, STOCK, phase="screen")
        with store._engine.connect() as connection:  # SQLite's own way to run out of space
            connection.exec_driver_sql("PRAGMA max_page_count = 1")

        with pytest.raises(StorageError, match="full") as refused:
            store.save_trial(tuning, long, phase="screen")

        assert refused.value.hint is not None and "space" in refused.value.hint
        assert store.trials(tuning) == (STOCK,)


def test_a_driver_that_is_not_installed_is_named() -> None:
    for url in ("postgresql+asyncpg9://host/db", "oracle+cx_oracle://user:secret@host/db"):
        with pytest.raises(UnavailableError) as refused:
            Store.open(url)
        assert "secret" not in str(refused.value)


def test_a_path_in_place_of_a_url_is_answered_with_the_url() -> None:
    with pytest.raises(ConfigError) as refused:
        Store.open("runs.db")

    assert refused.value.hint == "a file is written sqlite:///runs.db"


def test_without_a_url_the_store_is_in_the_users_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name: str(tmp_path / "data" / name))
    monkeypatch.delenv("INFER_OPT_STORE", raising=False)
    Store.open().close()
    assert (tmp_path / "data" / "infer-opt" / "infer-opt.db").is_file()

    monkeypatch.setenv("INFER_OPT_STORE", url_of(tmp_path / "elsewhere.db"))
    Store.open().close()
    assert (tmp_path / "elsewhere.db").is_file()


def test_a_data_directory_that_cannot_be_made_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name: str(tmp_path / "file" / name))
    monkeypatch.delenv("INFER_OPT_STORE", raising=False)

    with pytest.raises(StorageError, match="cannot be made"):
        Store.open()
