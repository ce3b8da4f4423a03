from pathlib import Path

import pytest

from file_tree import write
from infer_opt.monitors.files import beginning, content, elsewhere, integer, integers, prefix, rows_named, table


def test_a_file_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert content(f"{tmp_path}/nothing") is None
    assert beginning(f"{tmp_path}/nothing", 10) is None
    assert content(str(tmp_path)) is None
    assert beginning(str(tmp_path), 10) is None


def test_a_file_is_read_whole_or_its_beginning(tmp_path: Path) -> None:
    write(tmp_path, {"long": "x" * 200_000})

    assert content(f"{tmp_path}/long") == b"x" * 200_000
    assert beginning(f"{tmp_path}/long", 10) == b"x" * 10


def test_what_is_no_integer_is_none() -> None:
    assert integer(b" 5\n") == 5
    assert integer(b"max") is None
    assert integer(b"") is None
    assert integer(None) is None
    assert integers([b"1", b"-2"]) == [1, -2]
    assert integers([b"1", b"two"]) is None


def test_rows_are_found_by_their_whole_name() -> None:
    rows = rows_named("Cached", "oom_kill")

    assert table(b"SwapCached: 9 kB\nCached:   5 kB\noom_kill 2\noom_kill_disable 1\n", rows) == {
        "Cached": 5,
        "oom_kill": 2,
    }
    assert table(b"Cached: many kB\n", rows) == {}
    assert table(None, rows) == {}


@pytest.mark.parametrize(("root", "expected"), [(Path("/"), ""), (Path("/somewhere"), "/somewhere")])
def test_the_root_of_the_machine_needs_no_prefix(root: Path, expected: str) -> None:
    assert prefix(root) == expected


def test_a_tree_of_a_test_stands_for_proc(tmp_path: Path) -> None:
    assert elsewhere(tmp_path) is None
