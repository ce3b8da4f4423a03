"""Writing a bundle: whole or not at all, and over nothing that is none."""

import errno
import os
import shutil
from pathlib import Path

import pytest

import infer_opt
from infer_opt.bundle import check_target, is_bundle, read, write
from infer_opt.config import TrialConfig
from infer_opt.errors import InferOptError, StorageError
from made_bundles import ONE_THREAD, X, contents, leftovers

# Writing


@pytest.mark.parametrize("failing", ["copyfile", "write_text", "rename", "interrupt"])
def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    full: BaseException = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt if failing == "interrupt" else full

    owner, name = (Path, failing) if failing in ("write_text", "rename") else (shutil, "copyfile")
    monkeypatch.setattr(owner, name, fail)

    with pytest.raises((StorageError, KeyboardInterrupt)) as caught:
        write(tmp_path / "out", contents(source))

    if isinstance(caught.value, InferOptError):
        assert "No space left on device" in caught.value.what
        assert "--resume" in str(caught.value.hint)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_a_bundle_that_is_there_is_replaced_whole(made: Path, source: Path) -> None:
    (made / "stray.txt").write_text("from before")

    write(made, contents(source, config=TrialConfig()))

    assert read(made).config == TrialConfig()
    assert not (made / "stray.txt").exists()
    assert leftovers(made.parent) == []


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), KeyboardInterrupt()])
def test_a_bundle_that_is_there_stays_when_its_successor_cannot_take_its_place(
    made: Path, source: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    rename = Path.rename
    calls: list[Path] = []

    def second_fails(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == 2:
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises((StorageError, KeyboardInterrupt)):
        write(made, contents(source, config=TrialConfig()))
    monkeypatch.undo()

    assert read(made).config == ONE_THREAD
    with infer_opt.load(made) as session:
        assert session.run({"x": X})["scores"].shape == (5, 3)
    assert leftovers(made.parent) == []


def test_a_parent_that_is_not_there_is_an_error_of_storage(tmp_path: Path, source: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written") as caught:
        write(tmp_path / "nowhere" / "out", contents(source))

    assert caught.value.hint == "choose another --out"


def test_others_may_read_a_bundle(made: Path) -> None:
    assert made.stat().st_mode & 0o777 == 0o755


# Targets


def test_a_new_target_is_fine_and_its_parents_are_made(tmp_path: Path) -> None:
    check_target(tmp_path / "a" / "b" / "out", force=False)

    assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a" / "b" / "out").exists()
    assert leftovers(tmp_path / "a" / "b") == []


def test_an_empty_folder_may_be_filled(tmp_path: Path, source: Path) -> None:
    (tmp_path / "out").mkdir()

    check_target(tmp_path / "out", force=False)
    write(tmp_path / "out", contents(source))

    assert is_bundle(tmp_path / "out")


def test_a_bundle_is_replaced_only_by_force(made: Path) -> None:
    with pytest.raises(StorageError, match="exists already") as caught:
        check_target(made, force=False)
    assert caught.value.hint == "add --force to replace it"

    check_target(made, force=True)


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_bundle_is_never_replaced(tmp_path: Path, force: bool) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("...")
    (tmp_path / "file").write_text("...")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    for name in ("thesis", "file", "link"):
        with pytest.raises(StorageError, match="exists and is not a bundle"):
            check_target(tmp_path / name, force=force)


def test_a_parent_that_cannot_be_a_folder_is_an_error_of_storage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("...")

    with pytest.raises(StorageError, match="cannot be written"):
        check_target(tmp_path / "file" / "out", force=False)
