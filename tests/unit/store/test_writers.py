import os
import subprocess
import sys
from pathlib import Path

from infer_opt.store.writers import is_running, this_process


def proc_at(root: Path, *, boot: str, stats: dict[int, str]) -> Path:
    """A /proc with these processes."""
    (root / "sys" / "kernel" / "random").mkdir(parents=True)
    (root / "sys" / "kernel" / "random" / "boot_id").write_text(f"{boot}\n")
    (root / "self" / "ns").mkdir(parents=True)
    (root / "self" / "ns" / "pid").symlink_to("pid:[1]")
    for pid, line in stats.items():
        (root / str(pid)).mkdir()
        (root / str(pid) / "stat").write_text(line)
    return root


def stat(pid: int, *, state: str = "S", started: int) -> str:
    return f"{pid} (a) b) {state} 1 1 1 0 -1 0 0 0 0 0 1 2 3 0 20 0 1 0 {started} 0 0\n"


def test_this_process_runs() -> None:
    assert is_running(this_process()) is True


def test_a_process_that_has_ended_does_not_run() -> None:
    script = "from infer_opt.store.writers import this_process; print(this_process())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() != this_process()
    assert is_running(done.stdout.strip()) is False


def test_another_process_of_the_same_number_is_not_the_writer(tmp_path: Path) -> None:
    proc = proc_at(tmp_path, boot="b", stats={7: stat(7, started=500), 8: stat(8, state="Z", started=600)})

    assert is_running("b-pid:[1]/7/500", proc=proc) is True
    assert is_running("b-pid:[1]/7/499", proc=proc) is False
    assert is_running("b-pid:[1]/8/600", proc=proc) is False
    assert is_running("b-pid:[1]/9/500", proc=proc) is False


def test_a_process_of_another_boot_container_or_machine_cannot_be_seen(tmp_path: Path) -> None:
    proc = proc_at(tmp_path, boot="b", stats={7: stat(7, started=500)})

    for writer in ("a-pid:[1]/7/500", "b-pid:[2]/7/500", "host/7/", "", f"{os.getpid()}"):
        assert is_running(writer, proc=proc) is None
    assert is_running("b-pid:[1]/7/500", proc=tmp_path / "nowhere") is None
