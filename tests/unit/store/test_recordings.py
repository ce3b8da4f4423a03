import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from infer_opt.errors import ConfigError, StorageError
from infer_opt.readings.samples import Observation
from infer_opt.store.database import Store
from infer_opt.store.recorder import Recorder
from infer_opt.store.recordings import Point, RecordingState, delete, prune, recording, recordings
from infer_opt.store.writers import this_process
from made_recordings import BEGAN_S, FINDING, noisy, process, record, sample, url_of

FILES = Path(__file__).parents[2] / "store_files"
DEAD = "another-boot-pid:[1]/4/5"


class Clock:
    """Time of day in ns, moved by hand."""

    def __init__(self) -> None:
        self.now_ms = 1_790_000_000_000

    def __call__(self) -> int:
        self.now_ms += 1
        return self.now_ms * 1_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with Store.open(url_of(tmp_path / "a.db"), clock=clock) as opened:
        yield opened


def recorded(store: Store, *, samples: int = 3, finished: bool = True, writer: str | None = None) -> str:
    """A recording of so many samples; of another process with `writer`."""
    recorder = Recorder.begin(store, {"samples": samples}, interval_s=1.0)
    record(recorder, noisy(samples, "abcdef"))
    recorder.add(Observation(sample=sample(samples, {"a": 1.0}), findings=(FINDING,)))
    if finished:
        recorder.finish({"fine": True})
    if writer is not None:
        set_writer(store, recorder.id, writer)
    return recorder.id


def set_writer(store: Store, recording_id: str, writer: str) -> None:
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE infer_opt_recording SET writer = ? WHERE id = ?", (writer, recording_id))


# Listed and found


def test_recordings_are_listed_newest_first(store: Store) -> None:
    old, new = recorded(store), recorded(store, samples=130, finished=False)

    listed = recordings(store)

    assert [(line.id, line.samples, line.lost) for line in listed] == [(new, 131, 0), (old, 4, 0)]
    assert [line.about for line in listed] == [{"samples": 130}, {"samples": 3}]
    assert [line.summary for line in listed] == [None, {"fine": True}]
    assert [line.state for line in listed] == [RecordingState.RECORDING, RecordingState.FINISHED]
    assert listed[0].size_bytes > listed[1].size_bytes > 100
    assert [line.id for line in recordings(store, limit=1)] == [new]


def test_ids_sort_by_time(store: Store) -> None:
    ids = [recorded(store) for _ in range(5)]

    assert ids == sorted(ids)
    assert {len(name) for name in ids} == {14}


def test_a_recording_is_found_by_its_id_by_the_beginning_of_it_and_as_the_last(store: Store, clock: Clock) -> None:
    old = recorded(store)
    clock.now_ms += 10_000_000
    new = recorded(store)

    assert [recording(store, name).id for name in (old, new, old[:9], "last")] == [old, new, old, new]


def test_a_name_that_is_nobodys_is_answered_with_those_there_are(store: Store) -> None:
    with pytest.raises(ConfigError, match="no recording 'beef'") as refused:
        recording(store, "beef")
    assert refused.value.hint is not None and "there is none yet" in refused.value.hint
    ids = [recorded(store) for _ in range(7)]

    for name in ("beef", "", "%", ids[0] + "0", "LAST"):
        with pytest.raises(ConfigError, match="no recording") as refused:
            recording(store, name)
        assert refused.value.hint is not None
        assert ids[-1] in refused.value.hint and ids[0] not in refused.value.hint


def test_a_beginning_that_several_share_is_answered_with_these(store: Store) -> None:
    ids = [recorded(store) for _ in range(2)]

    with pytest.raises(ConfigError, match="several") as refused:
        recording(store, ids[0][:6])

    assert refused.value.hint is not None and all(name in refused.value.hint for name in ids)


# How it ended


def test_a_recording_whose_process_is_gone_was_cut_off_and_opens_as_it_is(store: Store) -> None:
    place, _, _ = this_process().rpartition("/")
    name = recorded(store, finished=False, writer=f"{place}/1")  # this number, but of another process

    found = recording(store, name)

    assert found.was_cut_off
    assert found.summary is None
    assert [one.sample.number for one in found.observations()] == [0, 1, 2, 3]


def test_a_process_that_cannot_be_seen_from_here_lives_while_it_writes(store: Store, clock: Clock) -> None:
    name = recorded(store, finished=False, writer=DEAD)
    assert not recording(store, name).was_cut_off

    clock.now_ms += 61_000

    assert recording(store, name).was_cut_off


def test_a_finished_recording_was_not_cut_off_whatever_became_of_its_process(store: Store, clock: Clock) -> None:
    name = recorded(store, writer=DEAD)
    clock.now_ms += 1_000_000

    assert not recording(store, name).was_cut_off


# Read back


def test_points_have_a_gap_where_the_reading_is_not_available_and_none_where_it_is_absent(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=1.0)
    rows: tuple[dict[str, float | None], ...] = ({}, {"a": 2.5}, {"a": None}, {"b": 1.0})
    record(recorder, (sample(number, values) for number, values in enumerate(rows)))
    recorder.finish({})

    found = recording(store, recorder.id)

    assert list(found.points("a")) == [
        Point(at_s=BEGAN_S + 1, mean=2.5, low=2.5, high=2.5),
        Point(at_s=BEGAN_S + 2, mean=None, low=None, high=None),
    ]
    assert list(found.points("nothing")) == []
    assert found.keys() == ("a", "b")
    assert not found.has_processes()


def test_rows_of_several_samples_become_samples_in_the_middle_of_their_time(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=1.0, most_bytes=4000)
    values = [float(number % 53) / 7 for number in range(1200)]
    for number, value in enumerate(values):
        findings = (FINDING,) if number == 25 else ()
        recorder.add(Observation(sample=sample(number, {"a": value}), findings=findings))
    recorder.finish({})

    found = recording(store, recorder.id)
    first = next(found.observations())
    width = int(found.resolutions()[0].width_s)
    point = next(found.points("a"))

    assert width in {10, 60}
    assert (first.sample.number, first.sample.at_s) == (width - 1, BEGAN_S + (width - 1) / 2)
    assert first.sample.values["a"] == pytest.approx(sum(values[:width]) / width)
    assert (point.low, point.high) == pytest.approx((min(values[:width]), max(values[:width])), rel=1e-6)
    (told,) = [one for one in found.observations() if one.findings]
    assert told.sample.number == (25 // width + 1) * width - 1


def test_what_was_found_in_a_sample_that_was_lost_stands_with_the_last(store: Store) -> None:
    name = recorded(store, finished=False)
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE infer_opt_recording_event SET position = 99")

    assert [one.findings for one in recording(store, name).observations()] == [(), (), (), (FINDING,)]


def test_a_recording_without_a_sample_is_empty(store: Store) -> None:
    name = Recorder.begin(store, {}, interval_s=1.0).id

    found = recording(store, name)

    assert (list(found.observations()), found.keys(), found.resolutions()) == ([], (), ())


def test_a_damaged_part_is_named_with_its_recording_and_what_comes_before_it_can_be_read(store: Store) -> None:
    name = recorded(store, samples=300)
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE infer_opt_recording_chunk SET body = x'789c' WHERE position = 240")
    found = recording(store, name)

    steps = found.observations()
    assert [next(steps).sample.number for _ in range(240)] == list(range(240))
    with pytest.raises(StorageError, match=f"recording {name}: a part of it is damaged"):
        next(steps)
    with pytest.raises(StorageError, match=name):
        found.keys()


def test_a_finding_that_this_release_does_not_understand_is_refused(store: Store) -> None:
    name = recorded(store)
    with store.transaction() as connection:
        connection.exec_driver_sql('UPDATE infer_opt_recording_event SET body = \'{"kind": "prophecy"}\'')

    with pytest.raises(StorageError, match=f"recording {name}") as refused:
        recording(store, name)

    assert refused.value.hint is not None and "another release" in refused.value.hint


def test_a_recording_is_read_on_when_its_store_is_closed(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "a.db")) as store:
        found = recording(store, recorded(store))
    (tmp_path / "a.db").unlink()

    assert len(list(found.observations())) == 4


@pytest.mark.parametrize("name", ["v1.db", "v2.db"])
def test_a_store_of_an_earlier_release_takes_recordings(tmp_path: Path, name: str) -> None:
    shutil.copy(FILES / name, tmp_path / name)

    with Store.open(url_of(tmp_path / name)) as store:
        assert recordings(store) == ()
        assert recording(store, recorded(store)).findings == (FINDING,)
        assert len(store.tunings()) == 2


# Removed


def test_a_removed_recording_leaves_nothing_behind(store: Store) -> None:
    gone, stays = recorded(store), recorded(store)

    assert delete(store, gone) == gone

    assert [line.id for line in recordings(store)] == [stays]
    with store.transaction() as connection:
        for table in ("infer_opt_recording_chunk", "infer_opt_recording_event"):
            found = connection.exec_driver_sql(f"SELECT DISTINCT recording_id FROM {table}").scalars().all()
            assert found == [stays]
    with pytest.raises(ConfigError, match="no recording"):
        delete(store, gone)


def test_a_recording_that_is_being_written_is_not_removed(store: Store) -> None:
    name = recorded(store, finished=False)

    with pytest.raises(ConfigError, match=f"{name} is being written"):
        delete(store, name)

    assert prune(store, most=0) == ()
    assert len(recordings(store)) == 1


def test_pruning_removes_the_oldest_until_both_bounds_hold(store: Store) -> None:
    live = recorded(store, finished=False)
    ids = [recorded(store, samples=200) for _ in range(6)]
    one = recordings(store)[0].size_bytes

    assert prune(store) == ()
    assert prune(store, most=5) == tuple(ids[:2])
    assert prune(store, most_bytes=2 * one + recordings(store)[-1].size_bytes) == tuple(ids[2:4])
    assert [line.id for line in recordings(store)] == [ids[5], ids[4], live]


def test_pruning_removes_what_was_cut_off_too(store: Store, clock: Clock) -> None:
    dead = recorded(store, finished=False, writer=DEAD)
    new = recorded(store)
    clock.now_ms += 100_000

    assert prune(store, most=1) == (dead,)
    assert [line.id for line in recordings(store)] == [new]


def test_processes_are_in_the_samples_of_a_replay(store: Store) -> None:
    recorder = Recorder.begin(store, {}, interval_s=1.0)
    both = (process(4, cpu=2.0, chosen=True), process(5))
    recorder.add(Observation(sample=dataclasses.replace(sample(0, {"a": 1.0}), processes=both)))
    recorder.finish({})

    found = recording(store, recorder.id)

    assert found.has_processes()
    assert found.keys() == ("a",)
    assert next(found.observations()).sample.processes == both
