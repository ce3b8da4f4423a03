import csv
import dataclasses
import gzip
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infer_opt.errors import ConfigError, StorageError, UnavailableError
from infer_opt.readings.samples import Observation
from infer_opt.store import exporting
from infer_opt.store.database import Store
from infer_opt.store.exporting import export
from infer_opt.store.recorder import Recorder
from infer_opt.store.recordings import Recording, recording
from made_recordings import BEGAN_S, process, record, sample, url_of

ROWS: tuple[dict[str, float | None], ...] = (
    {"cpu.busy": 0.1, "memory.used_bytes": 8e9},
    {"cpu.busy": None, "memory.used_bytes": 8e9 + 4096, "made.up": 1.5},
    {"cpu.busy": 1 / 3},
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(url_of(tmp_path / "a.db")) as opened:
        yield opened


@pytest.fixture
def plain(store: Store) -> Recording:
    recorder = Recorder.begin(store, {"command": "monitor"}, interval_s=1.0)
    record(recorder, (sample(number, values) for number, values in enumerate(ROWS)))
    recorder.finish({})
    return recording(store, recorder.id)


@pytest.fixture
def crowded(store: Store) -> Recording:
    recorder = Recorder.begin(store, {}, interval_s=1.0)
    odd = dataclasses.replace(process(3, cpu=None), name='tab\t, "quote" and \udce9', state=None, started_s=None)
    recorder.add(Observation(sample=sample(0, {"cpu.busy": 0.5}, processes=(process(2, cpu=1.5, chosen=True), odd))))
    recorder.add(Observation(sample=sample(1, {"cpu.busy": 0.5}, processes=(process(2, cpu=1.25, chosen=True),))))
    recorder.finish({})
    return recording(store, recorder.id)


@pytest.fixture
def long(store: Store) -> Recording:
    """With rows of every resolution."""
    recorder = Recorder.begin(store, {}, interval_s=1.0, most_bytes=9000, save_every_s=1e9)
    record(recorder, (sample(number, {"cpu.busy": number % 97 / 97}) for number in range(9000)))
    recorder.finish({})
    return recording(store, recorder.id)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def parquet(path: Path) -> Any:
    pq = pytest.importorskip("pyarrow.parquet")
    return pq.read_table(path)


def test_csv_has_one_row_a_sample_and_one_column_a_reading(plain: Recording, tmp_path: Path) -> None:
    assert export(plain, tmp_path / "out.csv") == (tmp_path / "out.csv",)

    assert table(tmp_path / "out.csv") == [
        {"time": "2026-09-21T14:13:20.000000Z", "resolution_seconds": "0", "number": "0", "cpu.busy": "0.1",
         "memory.used_bytes": "8000000000", "made.up": ""},
        {"time": "2026-09-21T14:13:21.000000Z", "resolution_seconds": "0", "number": "1", "cpu.busy": "",
         "memory.used_bytes": "8000004096", "made.up": "1.5"},
        {"time": "2026-09-21T14:13:22.000000Z", "resolution_seconds": "0", "number": "2",
         "cpu.busy": "0.3333333333333333", "memory.used_bytes": "", "made.up": ""},
    ]  # fmt: skip


def test_packed_csv_holds_the_same(plain: Recording, tmp_path: Path) -> None:
    export(plain, tmp_path / "out.csv")
    export(plain, tmp_path / "out.csv.gz")

    with gzip.open(tmp_path / "out.csv.gz") as stream:
        assert stream.read() == (tmp_path / "out.csv").read_bytes()


def test_parquet_has_values_times_and_what_each_column_means(plain: Recording, tmp_path: Path) -> None:
    export(plain, tmp_path / "out.parquet")

    read = parquet(tmp_path / "out.parquet")
    assert read.column("cpu.busy").to_pylist() == [0.1, None, 1 / 3]
    assert read.column("memory.used_bytes").to_pylist() == [8e9, 8e9 + 4096, None]
    assert read.column("number").to_pylist() == [0, 1, 2]
    assert read.column("time").to_pylist()[0] == datetime.fromtimestamp(BEGAN_S, UTC)
    assert str(read.schema.field("time").type) == "timestamp[us, tz=UTC]"
    about = read.schema.field("memory.used_bytes").metadata
    assert (about[b"unit"], about[b"definition"]) == (b"bytes", b"total less available")
    assert read.schema.metadata[b"infer_opt.recording"].decode() == plain.id
    assert read.schema.metadata[b"infer_opt.about"] == b'{"command": "monitor"}'


def test_processes_become_a_second_table(crowded: Recording, tmp_path: Path) -> None:
    written = export(crowded, tmp_path / "out.csv")

    assert written == (tmp_path / "out.csv", tmp_path / "out.processes.csv")
    first, odd, last = table(tmp_path / "out.processes.csv")
    assert (first["pid"], first["name"], first["is_chosen"], first["cpu_cores"]) == ("2", "worker-2", "true", "1.5")
    assert (first["started"], first["state"], first["rss_bytes"]) == (
        "2026-09-21T14:13:18.000000Z",
        "running",
        "1000000",
    )
    assert odd["name"] == 'tab\t, "quote" and \\udce9'
    assert (odd["cpu_cores"], odd["started"], odd["state"], odd["is_chosen"]) == ("", "", "", "false")
    assert (last["time"], last["cpu_cores"]) == ("2026-09-21T14:13:21.000000Z", "1.25")


def test_processes_become_a_second_file_of_parquet_and_of_packed_csv(crowded: Recording, tmp_path: Path) -> None:
    export(crowded, tmp_path / "out.csv.gz")
    _, path = export(crowded, tmp_path / "out.parquet")

    assert (tmp_path / "out.processes.csv.gz").is_file()
    read = parquet(path)
    assert path.name == "out.processes.parquet"
    assert read.column("pid").to_pylist() == [2, 3, 2]
    assert read.column("is_chosen").to_pylist() == [True, False, True]
    assert read.column("name").to_pylist()[1] == 'tab\t, "quote" and \\udce9'
    assert read.column("rss_bytes").to_pylist() == [1_000_000] * 3


def test_rows_of_several_samples_say_so_and_keep_their_extremes(long: Recording, tmp_path: Path) -> None:
    export(long, tmp_path / "out.csv", with_extremes=True)
    export(long, tmp_path / "out.parquet", with_extremes=True)

    rows = table(tmp_path / "out.csv")
    assert {row["resolution_seconds"] for row in rows} >= {"60", "10", "0"}
    for row in rows:
        low, mean, high = (float(row[f"cpu.busy{end}"]) for end in (".low", "", ".high"))
        assert low <= mean <= high
        assert (low == high) == (row["resolution_seconds"] == "0")
    read = parquet(tmp_path / "out.parquet")
    assert read.num_rows == len(rows)
    assert read.column("cpu.busy.high").to_pylist() == [float(row["cpu.busy.high"]) for row in rows]


def test_rows_are_written_before_all_of_them_are_read(
    long: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_ROWS", 100)
    export(long, tmp_path / "out.parquet")

    pq = pytest.importorskip("pyarrow.parquet")
    with pq.ParquetFile(tmp_path / "out.parquet") as file:
        groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert len(groups) > 3
    assert max(groups) < 300


def test_a_recording_without_a_sample_gives_an_empty_table(store: Store, tmp_path: Path) -> None:
    found = recording(store, Recorder.begin(store, {}, interval_s=1.0).id)

    for name in ("out.csv", "out.parquet"):
        export(found, tmp_path / name)
    assert table(tmp_path / "out.csv") == []
    assert parquet(tmp_path / "out.parquet").num_rows == 0


def test_a_file_that_is_there_is_replaced_only_by_force(crowded: Recording, tmp_path: Path) -> None:
    for name in ("out.csv", "other.processes.csv"):
        (tmp_path / name).write_text("mine")

    for name in ("out.csv", "other.csv"):
        with pytest.raises(StorageError, match="exists already"):
            export(crowded, tmp_path / name)
    assert sorted(path.read_text() for path in tmp_path.glob("*.csv")) == ["mine", "mine"]

    export(crowded, tmp_path / "out.csv", force=True)
    assert len(table(tmp_path / "out.csv")) == 2


@pytest.mark.parametrize("name", ["out", "out.json", "csv", ".csv", "out.csv.zip"])
def test_a_suffix_that_says_nothing_is_refused(plain: Recording, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        export(plain, tmp_path / name)

    assert refused.value.hint is not None and ".parquet, .csv, .csv.gz" in refused.value.hint


def test_a_folder_that_is_not_there_is_an_error_with_a_hint(plain: Recording, tmp_path: Path) -> None:
    for name in ("out.csv", "out.parquet"):
        with pytest.raises(StorageError, match="No such file") as refused:
            export(plain, tmp_path / "nowhere" / name)
        assert refused.value.hint is not None


def test_without_pyarrow_the_hint_says_what_to_install(
    plain: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(UnavailableError) as refused:
        export(plain, tmp_path / "out.parquet")

    assert refused.value.hint is not None and "pip install 'infer-opt[parquet]'" in refused.value.hint
    assert list(tmp_path.glob("out*")) == []


def test_a_damaged_recording_leaves_no_file_behind(store: Store, long: Recording, tmp_path: Path) -> None:
    with store.transaction() as connection:
        connection.exec_driver_sql(
            "UPDATE infer_opt_recording_chunk SET body = substr(body, 1, length(body) - 9) "
            "WHERE position = (SELECT max(position) FROM infer_opt_recording_chunk)"
        )
    damaged = recording(store, long.id)

    for name in ("out.csv", "out.parquet"):
        with pytest.raises(StorageError, match=long.id):
            export(damaged, tmp_path / name)
    assert list(tmp_path.glob("out*")) == []


def test_a_disk_that_fills_up_leaves_no_file_behind(
    plain: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting._CsvTable, "write", full)

    with pytest.raises(StorageError, match="No space left") as refused:
        export(plain, tmp_path / "out.csv")

    assert refused.value.hint is not None and "room" in refused.value.hint
    assert list(tmp_path.glob("out*")) == []
