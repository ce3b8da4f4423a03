import sys
from pathlib import Path

import pytest

from infer_opt.errors import ConfigError, UnavailableError
from infer_opt.workers.environments import environment, interpreter_of


def python_that_says(prefix: Path, answer: str) -> Path:
    """An environment whose interpreter answers the question of what is there by `answer`."""
    (prefix / "bin").mkdir(parents=True)
    python = prefix / "bin" / "python"
    python.write_text(f"#!/bin/sh\ncat <<'E'\n{answer}\nE\n")
    python.chmod(0o755)
    return prefix


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def test_this_environment_would_do_and_only_the_source_is_lent(folder: Path) -> None:
    found = environment(Path(sys.prefix), folder)

    assert found.python == Path(sys.prefix) / "bin" / "python"
    assert found.runtime_version.count(".") == 2
    assert [path.name for path in folder.iterdir()] == ["infer_opt"]
    assert found.variables["PYTHONPATH"] == str(folder)


def test_an_older_runtime_borrows_what_is_no_library_of_models(tmp_path: Path, folder: Path) -> None:
    tag = sys.implementation.cache_tag
    answer = (
        f'{{"version": [3, 11], "tag": "{tag}", "found": {{"numpy": "2.0", "onnx": "1.20", "onnxruntime": "1.23.2"}}}}'
    )

    found = environment(python_that_says(tmp_path / "old", answer), folder)

    assert found.runtime_version == "1.23.2"
    assert {path.name for path in folder.iterdir()} == {"infer_opt", "msgspec"}


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ('{"version": [3, 9], "tag": "cpython-39", "found": {}}', "has Python 3.9, and a worker needs 3.11 or newer"),
        ('{"version": [3, 12], "tag": "cpython-312", "found": {"onnx": "1", "onnxruntime": "1.2", "msgspec": "1",'
         ' "numpy!": "ImportError: libfoo is missing"}}', r"lacks numpy \(ImportError: libfoo is missing\)"),
        ('{"version": [3, 13], "tag": "cpython-313", "found": {"numpy": "2", "onnx": "1", "onnxruntime": "1"}}',
         "lacks msgspec"),
        ("no JSON", "does not run"),
    ],
)  # fmt: skip
def test_what_is_missing_is_one_sentence(tmp_path: Path, folder: Path, answer: str, what: str) -> None:
    with pytest.raises(UnavailableError, match=what) as error:
        environment(python_that_says(tmp_path / "env", answer), folder)
    assert error.value.hint


def test_a_folder_without_python_is_no_environment(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no bin/python"):
        interpreter_of(tmp_path)


def test_an_interpreter_is_taken_for_its_environment(tmp_path: Path) -> None:
    prefix = python_that_says(tmp_path / "env", "{}")

    assert interpreter_of(prefix / "bin" / "python") == interpreter_of(prefix)
