import sys
from pathlib import Path

import pytest

from infer_opt.errors import UnavailableError
from infer_opt.surrounding.memory import read_capture, require_there, under_memray

CAPTURE = Path("memory.bin")
WRAPPING = ["-m", "memray", "run", "--quiet", "--force", "--output", "memory.bin"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([sys.executable, "app.py", "-x"], [sys.executable, *WRAPPING, "app.py", "-x"]),
        ([sys.executable, "-u", "-X", "dev", "-m", "app", "-u"],
         [sys.executable, "-u", "-X", "dev", *WRAPPING, "-m", "app", "-u"]),
        ([sys.executable, "-c", "pass"], [sys.executable, *WRAPPING, "-c", "pass"]),
    ],
)  # fmt: skip
def test_a_python_program_is_started_under_memray_with_its_own_options(words: list[str], expected: list[str]) -> None:
    assert under_memray(words, CAPTURE) == expected


def test_a_script_is_run_by_the_python_that_it_names(tmp_path: Path) -> None:
    script = tmp_path / "serve"
    script.write_text(f"#!{sys.executable}\nprint(1)\n")
    script.chmod(0o755)

    assert under_memray([str(script), "--port", "1"], CAPTURE) == [
        sys.executable, *WRAPPING, str(script), "--port", "1"
    ]  # fmt: skip
    script.write_text("#!/usr/bin/env python3\n")
    assert under_memray([str(script)], CAPTURE) == ["python3", *WRAPPING, str(script)]


@pytest.mark.parametrize("words", [["sleep", "1"], ["no-such-program"], [sys.executable], [sys.executable, "-"]])
def test_what_memray_cannot_start_is_none_of_its_programs(words: list[str]) -> None:
    assert under_memray(words, CAPTURE) is None


def test_nothing_recorded_is_nothing_read(tmp_path: Path) -> None:
    assert read_capture(tmp_path / "none.bin") is None
    (tmp_path / "empty.bin").touch()
    assert read_capture(tmp_path / "empty.bin") is None


def test_a_python_without_memray_is_told_before_the_program_starts(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'memray'\" >&2\nexit 1\n")
    other.chmod(0o755)

    with pytest.raises(UnavailableError, match="cannot load memray: ModuleNotFoundError") as error:
        require_there(str(other))
    assert f"{other} -m pip install memray==" in str(error.value.hint)
