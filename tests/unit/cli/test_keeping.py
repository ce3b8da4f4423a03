import os
import subprocess
import sys
from pathlib import Path

import pytest

from golden.tunings import ALONE
from infer_opt.cli.keeping import keep, require_place, write_page
from infer_opt.cli.writing import write_text
from infer_opt.errors import ConfigError, StorageError


def test_a_page_replaces_the_one_that_was_there_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    write_text(path, "new", option="--report")

    assert path.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_disk_that_is_full_leaves_the_old_page_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageError, match=r"report\.html cannot be written: No space left on device"):
        write_text(path, "new", option="--report")

    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_a_place_where_no_page_can_be_is_refused_before_any_work(tmp_path: Path) -> None:
    require_place(None)
    require_place(tmp_path / "report.html")
    with pytest.raises(ConfigError, match="is a directory"):
        require_place(tmp_path)
    with pytest.raises(StorageError, match="nowhere does not exist"):
        require_place(tmp_path / "nowhere" / "report.html")


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere

    with pytest.raises(StorageError, match="cannot be written"):
        require_place(tmp_path / "report.html")


def test_no_page_is_written_where_none_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_page(None, ALONE, measured_ms=0, kept_as=None)
    write_page(tmp_path / "a.html", ALONE, measured_ms=0, kept_as="f00")

    assert "result f00" in (tmp_path / "a.html").read_text()
    assert capsys.readouterr().err == f"Report: {tmp_path / 'a.html'}\n"


def test_a_usual_store_that_cannot_be_used_spoils_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.db"
    broken.write_text("this is no database at all, whatever its name says")
    monkeypatch.setenv("INFER_OPT_STORE", f"sqlite:///{broken}")

    assert keep(ALONE, url=None, started_ms=0) is None

    assert capsys.readouterr().err.startswith("Not kept: the store sqlite:///")


def test_a_store_that_was_named_must_work(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        keep(ALONE, url=f"sqlite:///{tmp_path / 'nowhere' / 'a.db'}", started_ms=0)
    assert keep(ALONE, url=f"sqlite:///{tmp_path / 'a.db'}", started_ms=0) is not None


TWICE = """
import pathlib, sys
from infer_opt.cli.keeping import say, say_kept

say("a line\\n" * 100_000)
say_kept("19c2")
say("more")
pathlib.Path(sys.argv[1]).write_text("written")
"""


def test_a_reader_who_has_seen_enough_costs_nothing_that_comes_after(tmp_path: Path) -> None:
    done = tmp_path / "done"
    reading, writing = os.pipe()
    os.close(reading)

    ended = subprocess.run([sys.executable, "-c", TWICE, str(done)], stdout=writing, stderr=writing, check=False)
    os.close(writing)

    assert ended.returncode == 0
    assert done.read_text() == "written"
