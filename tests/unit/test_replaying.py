from pathlib import Path

import pytest

from infer_opt.replaying import FASTEST_S, Replay, listing
from infer_opt.store.database import Store
from infer_opt.store.recorder import Recorder
from infer_opt.store.recordings import recording, recordings
from made_recordings import step, url_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(url_of(tmp_path / "store.db"))


def recorded(store: Store, samples: int, *, is_finished: bool = True) -> str:
    about = {"title": "a machine · python serve.py", "command": "python serve.py"}
    recorder = Recorder.begin(store, about, interval_s=1.0, save_every_s=0.0)
    for number in range(samples):
        recorder.add(step(number, {"cpu.busy": number / 10, "cpu.steal": None}))
    if is_finished:
        recorder.finish({"exit_code": 3})
    return recorder.id


def test_a_replay_gives_what_was_recorded_and_then_is_over(store: Store) -> None:
    replay = Replay(recording(store, recorded(store, 4)))

    seen = [observation.sample.values["cpu.busy"] for observation in replay.observations()]

    assert seen == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert replay.next() is None


def test_its_summary_is_that_of_the_session(store: Store) -> None:
    replay = Replay(recording(store, recorded(store, 4)))
    list(replay.observations())

    session = replay.session()

    assert (session.samples, session.seconds) == (4, 3.0)
    assert session.courses["cpu.busy"].mean == pytest.approx(0.15)
    assert "cpu.steal" not in session.courses
    assert (session.command, session.exit_code) == ("python serve.py", 3)


def test_on_a_screen_it_runs_as_much_faster_as_asked_but_no_faster_than_a_screen_can(store: Store) -> None:
    found = recording(store, recorded(store, 1))

    assert Replay(found, speed=10).interval_s == 0.1
    assert Replay(found, speed=1e6).interval_s == FASTEST_S


def test_nothing_is_stopped_by_a_replay(store: Store) -> None:
    replay = Replay(recording(store, recorded(store, 1)))

    assert "not ended" in replay.stop(1)
    assert replay.recording is None
    assert replay.title.endswith("python serve.py")


def test_recordings_are_listed_with_the_newest_first(store: Store) -> None:
    first, second = recorded(store, 2), recorded(store, 3)

    lines = listing(recordings(store)).splitlines()

    assert [line.split()[0] for line in lines[2:]] == [second, first]
    assert "finished" in lines[2]


def test_where_nothing_is_recorded_the_list_says_how_to() -> None:
    assert "--record" in listing(())
