import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infer_opt.errors import ConfigError, StorageError
from infer_opt.readings.samples import Observation, Sample
from infer_opt.store import shelves
from infer_opt.store.database import Store
from infer_opt.store.recorder import MOST_EVENTS, Recorder
from infer_opt.store.recordings import Recording, RecordingState, recording, recordings
from made_recordings import ALERT, BEGAN_S, FINDING, noisy, process, record, sample, step, url_of

TESTS = Path(__file__).parents[2]

WRITER = """
import sys
from infer_opt.store.database import Store
from infer_opt.store.recorder import Recorder
from made_recordings import step

with Store.open(sys.argv[1]) as store:
    recorder = Recorder.begin(store, {"writer": sys.argv[2]}, interval_s=1.0)
    for number in range(int(sys.argv[2])):
        recorder.add(step(number, {"cpu.busy": number / 7}))
        print(number, flush=True)
    recorder.finish({})
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(url_of(tmp_path / "a.db")) as opened:
        yield opened


def writer(url: str, count: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), os.environ.get("PYTHONPATH", "")))},
    )


def samples_of(found: Recording) -> list[Sample]:
    return [observation.sample for observation in found.observations()]


def quickly(store: Store) -> None:
    """Wait for no disk: thousands of transactions take long on a slow one."""
    with store._engine.connect() as connection:
        connection.connection.execute("PRAGMA synchronous = OFF")


def in_full(store: Store, *, pages: int) -> None:
    """SQLite's own way to run out of space, and to have it again."""
    with store._engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


# What is kept


def test_samples_come_back_equal_and_in_order(store: Store) -> None:
    samples = [
        replace(one, processes=(process(2, cpu=one.number / 3), process(3, cpu=0.0))) for one in noisy(300, "abcdef")
    ]
    samples[5] = sample(5, {"a": None, "later": 1.5})
    recorder = Recorder.begin(store, {"command": "monitor"}, interval_s=1.0)
    record(recorder, samples)
    recorder.finish({"samples": 300})

    found = recording(store, recorder.id)

    back = samples_of(found)
    assert [one.values for one in back] == [one.values for one in samples]
    assert [sorted(one.processes, key=lambda found: found.pid) for one in back] == [
        list(one.processes) for one in samples
    ]
    assert [(one.number, one.at_s, one.clock_s) for one in back] == [
        (one.number, one.at_s, one.clock_s) for one in samples
    ]
    assert (found.about, found.summary, found.interval_s) == ({"command": "monitor"}, {"samples": 300}, 1.0)


def test_what_was_found_stands_with_its_sample(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=1.0)
    for number in range(30):
        extra = (
            {"findings": (FINDING,), "alerts": (ALERT,), "notices": ("one GPU is gone",)} if number in {12, 13} else {}
        )
        recorder.add(Observation(sample=sample(number, {"a": 1.0}), **extra))  # type: ignore[arg-type]
    recorder.finish({})

    found = recording(store, recorder.id)

    assert found.findings == (FINDING, FINDING)
    assert found.alerts == (ALERT, ALERT)
    assert found.notices == ("one GPU is gone",) * 2
    told = [one for one in found.observations() if one.findings or one.alerts or one.notices]
    assert [(one.sample.number, one.findings, one.alerts, one.notices) for one in told] == [
        (number, (FINDING,), (ALERT,), ("one GPU is gone",)) for number in (12, 13)
    ]


def test_what_was_found_is_in_the_store_at_once_and_samples_within_ten_seconds(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=1.0)
    waiting = []
    for number in range(25):
        recorder.add(step(number, {"a": 1.0}))
        waiting.append(number + 1 - recordings(store)[0].samples)
    assert max(waiting) == 9

    recorder.add(Observation(sample=sample(25, {"a": 1.0}), findings=(FINDING,)))

    assert recording(store, recorder.id).findings == (FINDING,)


def test_samples_that_come_seldom_are_stored_one_by_one(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=30.0)
    for number in range(3):
        recorder.add(step(number, {"a": 1.0}, interval_s=30.0))

        assert recordings(store)[0].samples == number + 1


def test_only_the_newest_findings_are_kept(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=1.0)
    many = tuple(replace(FINDING, name=f"finding-{number}") for number in range(MOST_EVENTS))
    recorder.add(Observation(sample=sample(0, {"a": 1.0}), findings=many))
    recorder.add(Observation(sample=sample(1, {"a": 1.0}), findings=many[:20], notices=("kept",)))

    found = recording(store, recorder.id)

    assert [one.name for one in found.findings] == [one.name for one in many[20:] + many[:20]]
    assert found.notices == ("kept",)


def test_two_recorders_write_into_one_store_without_disturbing_each_other(store: Store, tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db")) as other:
        pair = [Recorder.begin(place, {}, interval_s=1.0, most_bytes=6000) for place in (store, other)]
        every = [noisy(700, "abc", seed=seed) for seed in (1, 2)]
        for both in zip(*every, strict=True):
            for recorder, one in zip(pair, both, strict=True):
                recorder.add(Observation(sample=one))
        for recorder, samples in zip(pair, every, strict=True):
            recorder.finish({})
            back = samples_of(recording(store, recorder.id))
            raw = [one for one in back if one.number >= 690]
            assert [one.values for one in raw] == [one.values for one in samples[690:]]


# Its size


def test_an_interval_or_a_room_of_nothing_is_refused(store: Store) -> None:
    for interval_s, most_bytes in ((0.0, 1000), (1.0, 0)):
        with pytest.raises(ConfigError):
            Recorder.begin(store, {}, interval_s=interval_s, most_bytes=most_bytes)


@pytest.mark.parametrize(
    ("count", "interval_s"), [(86_400, 1.0), (72_000, 0.05)], ids=["a day every second", "an hour at 20 Hz"]
)
def test_a_long_session_stays_within_its_size_and_keeps_its_peaks(
    store: Store, monkeypatch: pytest.MonkeyPatch, count: int, interval_s: float
) -> None:
    quickly(store)
    monkeypatch.setattr(shelves, "_ROWS", 200)
    most_bytes = 60_000
    recorder = Recorder.begin(store, {}, interval_s=interval_s, most_bytes=most_bytes, save_every_s=1e9)
    total = 0.0
    for number in range(count):
        value = 5e6 if number == count // 7 else float(number * number % 1013)
        total += value
        recorder.add(step(number, {"memory.used_bytes": value}, interval_s=interval_s))
        if number % 10_000 == 0:
            assert recordings(store)[0].size_bytes <= 1.1 * most_bytes
    recorder.finish({})

    assert recordings(store)[0].size_bytes <= most_bytes
    found = recording(store, recorder.id)
    widths = [round(stretch.width_s / interval_s) for stretch in found.resolutions()]
    assert widths == sorted(widths, reverse=True)
    assert widths[-3:] == [60, 10, 0]
    assert sum(stretch.samples for stretch in found.resolutions()) == count
    assert max(point.high or 0.0 for point in found.points("memory.used_bytes")) == 5e6
    weighted = sum(
        mean * samples
        for chunk in found.chunks()
        for mean, samples in zip(chunk.series["memory.used_bytes"].means, chunk.counts, strict=True)
    )
    assert weighted == pytest.approx(total, rel=1e-6)


def test_what_is_too_long_even_for_the_coarsest_resolution_is_thinned_out_again_and_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickly(store)
    monkeypatch.setattr(shelves, "_ROWS", 12)
    recorder = Recorder.begin(store, {}, interval_s=1.0, most_bytes=5_000, save_every_s=1e9)
    record(recorder, (sample(number, {"a": number % 97 / 7}) for number in range(8_000)))
    recorder.finish({})

    found = recording(store, recorder.id)

    widths = [stretch.width_s for stretch in found.resolutions()]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] >= 240
    assert recordings(store)[0].size_bytes <= 5_000
    times = [one.at_s for one in samples_of(found)]
    assert times == sorted(times)
    assert (found.resolutions()[0].from_s, times[-1]) == (BEGAN_S, BEGAN_S + 7_999)


def test_a_chunk_of_a_machine_with_very_many_readings_has_fewer_samples(store: Store) -> None:
    names = [f"cpu[{number}].busy" for number in range(2000)]
    recorder = Recorder.begin(store, {}, interval_s=1.0)
    record(recorder, (sample(number, dict.fromkeys(names, 0.5)) for number in range(45)))
    recorder.finish({})

    assert [chunk.rows for chunk in recording(store, recorder.id).chunks()] == [10, 10, 10, 10, 5]


def test_processes_that_come_and_go_take_bounded_room(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=1.0)
    for number in range(240):
        crowd = tuple(process(100 + 9 * number + pid, cpu=0.01) for pid in range(9))
        recorder.add(
            Observation(sample=replace(sample(number, {"a": 1.0}), processes=(process(1, chosen=True), *crowd)))
        )
        assert len(recorder._shelves._raw.growing.processes) <= 16
    recorder.finish({})

    for chunk in recording(store, recorder.id).chunks():
        assert len(chunk.processes) == 8
        assert sum(1 for key in chunk.series if key.startswith("1@") and key.endswith("#cpu_cores")) == 1


# When something goes wrong


def test_a_killed_recorder_loses_ten_seconds_at_the_most(tmp_path: Path) -> None:
    url = url_of(tmp_path / "a.db")
    killed = writer(url, 1_000_000)
    assert killed.stdout is not None
    added = next(int(line) for line in killed.stdout if int(line) >= 400)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    added = max([added, *(int(line) for line in killed.stdout if line.endswith("\n"))])
    killed.stdout.close()

    with Store.open(url) as store:
        found = recording(store, "last")

        assert found.was_cut_off
        assert recordings(store)[0].state is RecordingState.CUT_OFF
        back = samples_of(found)
        assert added + 1 - 10 <= len(back)
        assert [(one.number, one.values) for one in back] == [
            (number, {"cpu.busy": number / 7}) for number in range(len(back))
        ]


def test_two_processes_record_at_once_into_a_store_that_neither_found(tmp_path: Path) -> None:
    url = url_of(tmp_path / "a.db")
    processes = [writer(url, count) for count in (150, 151)]
    for one in processes:
        one.communicate()
    assert [one.returncode for one in processes] == [0, 0]

    with Store.open(url) as store:
        assert {line.about["writer"]: line.samples for line in recordings(store)} == {"150": 150, "151": 151}


def test_a_full_disk_is_told_once_and_the_recording_goes_on_when_there_is_room(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=1.0)
    samples = noisy(260, [f"disk[{number}].busy" for number in range(90)])
    told, errors = [], []
    for one in samples:
        if one.number in {100, 200}:
            in_full(store, pages=1 if one.number == 100 else 1_000_000)
        try:
            told.append(recorder.add(Observation(sample=one)))
        except StorageError as error:
            errors.append(error)
    recorder.finish({})

    # What is freed by the way may do for a while: then the disk is full a second time.
    texts = [text for text in told if text is not None]
    assert 1 <= len(errors) == len(texts) <= 3
    assert all("full" in error.what and error.hint is not None and "space" in error.hint for error in errors)
    assert all(
        re.search(r"could not be written for \d+ s from .* UTC on, and nothing was lost", text) for text in texts
    )
    assert [one.values for one in samples_of(recording(store, recorder.id))] == [one.values for one in samples]
    assert recordings(store)[0].lost == 0


def test_what_a_long_outage_loses_is_told_and_stands_in_the_recording(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=1.0)
    record(recorder, (sample(number, {"a": number / 3}) for number in range(120)))
    in_full(store, pages=1)
    told, errors = [], 0
    for number in range(120, 1000):
        if number == 900:
            in_full(store, pages=1_000_000)
        findings = (FINDING,) if number < 600 else ()
        try:
            told.append(recorder.add(Observation(sample=sample(number, {"a": number / 3}), findings=findings)))
        except StorageError:
            errors += 1
    recorder.finish({})

    (text,) = [text for text in told if text is not None]
    lost = int(re.findall(r"(\d+) samples", text)[0])
    found = recording(store, recorder.id)
    back = [one.number for one in samples_of(found)]
    assert errors == 1
    assert 250 < lost < 400
    assert "findings" in text
    assert back == [*range(600), *range(600 + lost, 1000)]
    assert recordings(store)[0].lost == lost
    assert found.notices == (text,)


def test_a_store_that_another_process_holds_does_not_hold_up_the_monitor(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infer_opt.store.recorder.PATIENCE_S", 0.0)
    recorder = Recorder.begin(store, {}, interval_s=1.0)
    holder = sqlite3.connect(tmp_path / "a.db")
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(StorageError, match="locked"):
        record(recorder, (sample(number, {"a": 1.0}) for number in range(10)))
    holder.close()
    told = [recorder.add(step(number, {"a": 1.0})) for number in range(10, 40)]

    assert next(text for text in told if text is not None).endswith("and nothing was lost")
    assert [one.number for one in samples_of(recording(store, recorder.id))] == list(range(40))


def test_what_is_left_at_the_end_is_told_when_it_cannot_be_stored(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=1.0)
    record(recorder, noisy(9, [f"disk[{number}].busy" for number in range(900)]))
    in_full(store, pages=1)

    with pytest.raises(StorageError, match="full"):
        recorder.finish({})

    assert recordings(store)[0].state is RecordingState.RECORDING  # by this very process


def test_a_recording_that_was_removed_under_its_recorder_is_named(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=30.0)
    with store.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM infer_opt_recording")

    with pytest.raises(StorageError, match=f"{recorder.id} is no longer in the store"):
        recorder.add(step(0, {"a": 1.0}))


def test_a_chunk_that_is_damaged_meanwhile_is_named_once_and_left_alone(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=1.0, most_bytes=3000)
    record(recorder, (sample(number, {"a": number % 31 / 7}) for number in range(660)))
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE infer_opt_recording_chunk SET body = x'00' WHERE position = 600")

    told = [recorder.add(step(number, {"a": number % 31 / 7})) for number in range(660, 3000)]
    recorder.finish({})

    (text,) = [text for text in told if text is not None]
    assert text.startswith("samples of the recording from the 601th on: a part of it is damaged")
    with store.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM infer_opt_recording_chunk WHERE body = x'00'")
    found = recording(store, recorder.id)
    assert found.notices == (text,)
    assert sum(stretch.samples for stretch in found.resolutions()) == 3000 - 60


def test_recording_needs_neither_numpy_nor_alembic(tmp_path: Path) -> None:
    url = url_of(tmp_path / "a.db")
    Store.open(url).close()
    loaded = "import sys; print([name for name in ('numpy', 'scipy', 'alembic', 'pyarrow') if name in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", WRITER + loaded, url, "3"],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), os.environ.get("PYTHONPATH", "")))},
    )  # fmt: skip

    assert done.stdout.splitlines()[-1] == "[]"


def test_shelves_share_out_the_room_that_a_recording_has() -> None:
    shares = shelves._RAW_SHARE + sum(share for _, share in shelves._RESOLUTIONS)

    assert shares == pytest.approx(1.0)
