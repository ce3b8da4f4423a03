import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from golden.tunings import ALONE, BENCHMARK, BY_SHAPE, FASTER, PADDED
from infer_opt.errors import ConfigError, StorageError
from infer_opt.profiles.profile import Profile
from infer_opt.reports.documents import tuning_document
from infer_opt.results import Benchmark, Block
from infer_opt.store.database import Store
from infer_opt.store.kept_results import Kind, keep, kept, named, prune, read
from made_profiles import made_profile

FILES = Path(__file__).parents[2] / "store_files"
NOW_MS = 1_790_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}", clock=lambda: NOW_MS * 1_000_000) as store:
        yield store


def kept_one(store: Store, place: int = 0, found: Benchmark | Profile = ALONE) -> str:
    return keep(store, found, verdict="median 26.4 ms", started_ms=NOW_MS + 1000 * place)


def tuned(store: Store, *, finished: bool = True) -> str:
    identity = store.begin("k", {"model": "minilm.onnx"})
    if finished:
        store.finish(identity, tuning_document(FASTER))
    return identity


@pytest.mark.parametrize(
    "build",
    [
        lambda: BENCHMARK,
        lambda: ALONE,
        lambda: replace(BENCHMARK, trial=replace(PADDED, blocks=(Block(latency_ns=(7, 9), shapes=(0, 2)),))),
        lambda: replace(BENCHMARK, reference_trial=BY_SHAPE.baseline),
        made_profile,
    ],
)
def test_a_result_comes_back_equal_with_every_run_of_it(store: Store, build: Callable[[], Benchmark | Profile]) -> None:
    found = build()

    assert read(store, kept_one(store, found=found)) == found


def test_the_list_has_results_of_every_kind_newest_first(store: Store) -> None:
    tuning = tuned(store)
    bench, profile = kept_one(store, 1), kept_one(store, 2, made_profile())

    lines = kept(store)

    assert [(line.id, line.kind) for line in lines] == [
        (profile, Kind.PROFILE), (bench, Kind.BENCH), (tuning, Kind.TUNE),
    ]  # fmt: skip
    assert [line.subject for line in lines] == ["net.onnx", "minilm.onnx", "minilm.onnx"]
    assert [line.verdict for line in lines] == ["median 26.4 ms", "median 26.4 ms", "faster 2.31x"]
    assert lines[2].fingerprint == FASTER.machine.fingerprint
    assert [line.id for line in kept(store, 1)] == [profile]


def test_the_beginning_of_an_id_is_enough_where_no_other_begins_so(store: Store) -> None:
    first, second = kept_one(store), kept_one(store, 10**6)

    assert named(store, second[:6]).id == second
    assert named(store, first).id == first
    assert named(store, "last").id == second
    with pytest.raises(ConfigError, match="several results begin with '1'") as refused:
        named(store, "1")
    assert refused.value.hint is not None and first in refused.value.hint and second in refused.value.hint


@pytest.mark.parametrize("name", ["ffff", "%", "LAST", "no such thing", "", "0" * 40])
def test_a_name_that_nothing_has_is_refused_with_the_names_there_are(store: Store, name: str) -> None:
    with pytest.raises(ConfigError, match="has no result") as refused:
        named(store, name)
    assert refused.value.hint == "there is none yet: tune, bench and profile keep one each"

    identity = kept_one(store)
    with pytest.raises(ConfigError, match="has no result") as refused:
        named(store, name)
    assert refused.value.hint == f"the newest are {identity}"


def test_a_tuning_that_was_cut_off_is_not_listed_and_says_so_when_it_is_named(store: Store) -> None:
    identity = tuned(store, finished=False)

    assert kept(store) == ()
    with pytest.raises(ConfigError, match=f"the tuning {identity} was cut off") as refused:
        named(store, identity)
    assert refused.value.hint is not None and "--resume" in refused.value.hint


def test_the_oldest_make_room_and_tunings_stay(store: Store) -> None:
    tuning = tuned(store)
    ids = [kept_one(store, place) for place in range(1, 7)]
    one = kept(store)[0].size_bytes or 0

    assert prune(store) == ()
    assert prune(store, most=5) == (ids[0],)
    assert prune(store, most_bytes=2 * one + one // 2) == (ids[3], ids[2], ids[1])
    assert prune(store, most=0) == (ids[4],), "the newest stays"
    assert [line.id for line in kept(store)] == [ids[5], tuning]


def test_a_damaged_result_is_named(store: Store, tmp_path: Path) -> None:
    identity = kept_one(store)
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("UPDATE infer_opt_result SET document = x'00'")
    database.close()

    with pytest.raises(StorageError, match=f"result {identity} cannot be read: it is damaged"):
        read(store, identity)


def test_a_result_of_a_newer_release_is_refused_and_not_half_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infer_opt.store.kept_results.plain_value", lambda found: {**PLAIN, "colour": "blue"})
    identity = kept_one(store)
    monkeypatch.undo()

    with pytest.raises(StorageError, match="a field that this release lacks: colour"):
        read(store, identity)


def test_a_result_that_is_not_there_is_an_error(store: Store) -> None:
    with pytest.raises(StorageError, match="no result f00"):
        read(store, "f00")


@pytest.mark.parametrize("name", ["v1.db", "v2.db", "v3.db"])
def test_a_store_of_an_earlier_release_keeps_results_from_now_on(tmp_path: Path, name: str) -> None:
    shutil.copy(FILES / name, tmp_path / name)

    with Store.open(f"sqlite:///{tmp_path / name}") as store:
        before = kept(store)
        identity = keep(store, BENCHMARK, verdict="faster 2.25x", started_ms=store.now_ms())

        assert {line.kind for line in before} == {Kind.TUNE}
        assert read(store, identity) == BENCHMARK
        assert kept(store)[0].id == identity


def plain() -> dict[str, object]:
    from infer_opt.store.codec import plain_value

    found: dict[str, object] = plain_value(ALONE)
    return found


PLAIN = plain()
