from pathlib import Path

import pytest

from infer_opt.errors import UnavailableError
from infer_opt.surrounding import recording
from infer_opt.surrounding.recording import Beginning, beginning_of, may_not_trace, needs_permission, py_spy


@pytest.mark.parametrize(
    ("said", "beginning"),
    [
        ("Error: Failed to find python version from target process", Beginning.NO_PYTHON),
        ("Error: No python processes found in process 11925 or any of its subprocesses", Beginning.NO_PYTHON),
        ("Permission Denied: Try running again with elevated permissions by going 'sudo env ...'",
         Beginning.NOT_ALLOWED),
        ("Error: Operation not permitted (os error 1)", Beginning.NOT_ALLOWED),
        ("This program requires root on OSX.", Beginning.NOT_ALLOWED),
        ("error: unexpected argument '--native' found", Beginning.NO_NATIVE),
        ("", Beginning.ENDED),
        ("Error: No such process (os error 3)", Beginning.ENDED),
    ],
)  # fmt: skip
def test_what_py_spy_says_tells_why_it_does_not_sample(said: str, beginning: Beginning) -> None:
    assert beginning_of(said) is beginning


@pytest.mark.parametrize(
    ("level", "hint"),
    [("0", "--cap-add SYS_PTRACE"), ("1", "sudo sysctl kernel.yama.ptrace_scope=0"), ("2", "sudo sysctl"),
     ("3", "until the next boot and for root too")],
)  # fmt: skip
def test_the_error_says_what_to_do_about_it_here(tmp_path: Path, level: str, hint: str) -> None:
    (tmp_path / "scope").write_text(f"{level}\n")

    assert hint in str(may_not_trace(tmp_path / "scope").hint)


def test_without_yama_a_container_is_what_forbids_it(tmp_path: Path) -> None:
    assert "SYS_PTRACE" in str(may_not_trace(tmp_path / "none").hint)
    assert not needs_permission(tmp_path / "none")


def test_a_program_allows_it_where_only_parents_may_and_nobody_is_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scope").write_text("1\n")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert needs_permission(tmp_path / "scope")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert not needs_permission(tmp_path / "scope")


def test_py_spy_that_is_not_installed_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UnavailableError) as error:
        py_spy()
    assert error.value.hint == "pip install 'infer-opt[profile]'"


def test_memray_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(UnavailableError) as error:
        recording.require_memray()
    assert error.value.hint == "pip install 'infer-opt[profile]'"
