import errno
import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from infer_opt.config import Provider, Workload
from infer_opt.errors import ModelError, StorageError
from infer_opt.recipes import Calibration, GraphLevel, Quantisation, Recipe, Rewriter
from infer_opt.results import Changes
from infer_opt.transforms import cache as subject
from infer_opt.transforms.cache import ArtefactCache, artefact_key

WORKLOAD = Workload(dims=(("seq", 8),))
STATIC = Recipe(quantise=Quantisation(calibration=Calibration.MINMAX))


class Builder:
    """Writes a file of a given size, and counts how often it was asked to."""

    def __init__(self, size: int = 10) -> None:
        self.calls = 0
        self.size = size

    def __call__(self, folder: Path) -> Path:
        self.calls += 1
        (folder / "model.onnx").write_bytes(b"x" * self.size)
        return folder / "model.onnx"


def key(recipe: Recipe, *, workload: Workload = WORKLOAD, **more: str) -> str:
    return artefact_key("abc", recipe, workload=workload, **more)  # type: ignore[arg-type]


def test_an_artefact_is_paid_for_once(tmp_path: Path) -> None:
    build = Builder()

    paths = []
    for _ in range(2):
        with ArtefactCache(tmp_path / "cache") as cache:
            paths += [cache.get_or_build("a", build), cache.get_or_build("a", build)]

    assert build.calls == 1
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == b"x" * 10


def test_a_crash_in_the_middle_leaves_nothing_that_counts_as_finished(tmp_path: Path) -> None:
    def crash(folder: Path) -> Path:
        (folder / "model.onnx").write_bytes(b"half")
        os._exit(9)

    child = multiprocessing.get_context("fork").Process(target=lambda: ArtefactCache(tmp_path).get_or_build("a", crash))
    child.start()
    child.join(20)
    assert child.exitcode == 9
    assert list(tmp_path.glob("a.building-*"))

    with ArtefactCache(tmp_path) as cache:
        assert cache.get_or_build("a", Builder()).read_bytes() == b"x" * 10
    assert not list(tmp_path.glob("a.building-*"))


def test_two_tunings_at_once_build_one_artefact(tmp_path: Path) -> None:
    entered, results = threading.Barrier(2, timeout=10), []
    started = threading.Event()
    build = Builder()

    def slow(folder: Path) -> Path:
        started.set()
        entered.wait()  # the other one is on its way to the lock
        return build(folder)

    def first() -> None:
        results.append(ArtefactCache(tmp_path).get_or_build("a", slow))

    def second() -> None:
        started.wait(10)
        entered.wait()
        results.append(ArtefactCache(tmp_path).get_or_build("a", build))

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert build.calls == 1
    assert results[0] == results[1]


def test_a_recipe_that_does_not_suit_the_model_is_tried_once(tmp_path: Path) -> None:
    calls = []

    def refuse(folder: Path) -> Path:
        calls.append(folder)
        raise ModelError("nothing to fuse", hint="try vit")

    for _ in range(2):
        with pytest.raises(ModelError, match="nothing to fuse") as caught:
            ArtefactCache(tmp_path).get_or_build("a", refuse)
        assert caught.value.hint == "try vit"
    assert len(calls) == 1


def test_a_full_disk_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    def fill(folder: Path) -> Path:
        (folder / "model.onnx").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="No space left") as caught:
        ArtefactCache(tmp_path).get_or_build("a", fill)
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]

    with ArtefactCache(tmp_path) as cache:
        assert cache.get_or_build("a", Builder()).exists()


def test_a_cache_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="cannot be used"):
        ArtefactCache(tmp_path / "file" / "cache")


def test_pruning_takes_what_was_used_longest_ago(tmp_path: Path) -> None:
    with ArtefactCache(tmp_path) as cache:
        for index, name in enumerate("abc"):
            cache.get_or_build(name, Builder(size=1000))
            os.utime(tmp_path / name, (index, index))
    with ArtefactCache(tmp_path) as cache:
        cache.get_or_build("a", Builder())  # a is the latest now
    one = subject._folder_bytes(tmp_path / "a")

    freed = ArtefactCache(tmp_path).prune(2 * one)

    assert freed == one
    assert [name for name in "abc" if (tmp_path / name).exists()] == ["a", "c"]


def test_pruning_passes_over_what_is_in_use(tmp_path: Path) -> None:
    with ArtefactCache(tmp_path) as user:
        path = user.get_or_build("a", Builder())

        assert ArtefactCache(tmp_path).prune(0) == 0
        assert path.exists()

    assert ArtefactCache(tmp_path).prune(0) > 0
    assert not path.exists()


def test_pruning_sweeps_up_after_crashes_but_not_under_a_living_build(tmp_path: Path) -> None:
    stale = tmp_path / "dead.building-x"
    stale.mkdir()
    (stale / "model.onnx").write_bytes(b"x" * 100)
    seen = []

    def build(folder: Path) -> Path:
        path = Builder()(folder)
        ArtefactCache(tmp_path).prune(0)
        seen.append(path.exists())
        return path

    with ArtefactCache(tmp_path) as cache:
        cache.get_or_build("a", build)

    assert seen == [True]
    assert not stale.exists()


def test_sizes_count_where_shapes_are_fixed_and_nowhere_else() -> None:
    assert key(Recipe(normalise=True)) == key(Recipe(normalise=True), workload=Workload())
    assert key(Recipe(fixed_shapes=True)) != key(Recipe(fixed_shapes=True), workload=Workload())


def test_calibration_inputs_count_where_they_are_used() -> None:
    dynamic = Recipe(quantise=Quantisation())
    assert key(STATIC, calibration_hash="1") != key(STATIC, calibration_hash="2")
    assert key(dynamic, calibration_hash="1") == key(dynamic, calibration_hash="2")


def test_the_machine_counts_where_the_runtimes_layout_is_saved() -> None:
    saved = Recipe(saved_level=GraphLevel.ALL)
    assert key(saved, machine="m1") != key(saved, machine="m2")
    assert key(saved, provider=Provider.CPU) != key(saved, provider=Provider.CUDA)
    assert key(STATIC, machine="m1") == key(STATIC, machine="m2")


@pytest.mark.parametrize("change", [lambda old: old | {"onnxruntime": "9.9"}, lambda old: old | {"infer-opt": "9.9"}])
def test_another_release_builds_anew(
    change: Callable[[dict[str, str]], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key(Recipe(normalise=True))
    versions = subject.library_versions()
    assert {"onnx", "onnxruntime"} <= set(versions)

    monkeypatch.setattr(subject, "library_versions", lambda: change(versions))

    assert key(Recipe(normalise=True)) != before


def test_the_inputs_count_where_activations_are_smoothed_and_the_rewriters_where_one_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    smoothed = Recipe(quantise=Quantisation(smooth=0.5))
    rewritten, plain = Recipe(rewrite=Rewriter.ONNXSLIM), Recipe(normalise=True)

    def keys() -> tuple[str, ...]:
        return tuple(key(recipe) for recipe in (rewritten, plain))

    before = keys()
    real = subject.library_versions
    monkeypatch.setattr(
        subject,
        "library_versions",
        lambda names=subject._LIBRARIES: real(names) | ({"onnxslim": "99"} if "onnxslim" in names else {}),
    )

    assert key(smoothed, calibration_hash="a") != key(smoothed, calibration_hash="b")
    assert [was == now for was, now in zip(before, keys(), strict=True)] == [False, True]


def test_what_the_builder_says_of_an_artefact_stays_in_its_manifest(tmp_path: Path) -> None:
    def build(folder: Path) -> Path:
        (folder / subject.MANIFEST_NAME).write_text(
            '{"changes": {"operators_added": [["Mul", 2]], "added": 2, '
            '"operators_removed": [], "nodes_added": ["a", "b"], '
            '"nodes_removed": [], "nodes_changed": [], "besides": []}}'
        )
        return Builder()(folder)

    with ArtefactCache(tmp_path) as cache:
        found = subject.recorded_changes(cache.get_or_build("a", build))
        silent = subject.recorded_changes(cache.get_or_build("b", Builder()))

    assert found == Changes(operators_added=(("Mul", 2),), added=2, nodes_added=("a", "b"))
    assert silent is None
