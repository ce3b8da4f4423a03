"""`infer-opt profile --command` and `--function` as a user calls them, with py-spy and memray themselves."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from infer_opt.errors import UnavailableError
from infer_opt.sampling import Sampling, SamplingRequest
from infer_opt.surrounding import recording

INFER_OPT = (sys.executable, "-m", "infer_opt", "profile")
PROGRAM = """\
import sys, threading, time

def spin(until):
    while time.monotonic() < until:
        for i in range(2000):
            i * i

def rest(until):
    time.sleep(max(0.0, until - time.monotonic()))

until = time.monotonic() + float(sys.argv[1])
threads = [threading.Thread(target=each, args=(until,), name=each.__name__) for each in (spin, spin, rest)]
for each in threads:
    each.start()
print("the program's own output")
for each in threads:
    each.join()
sys.exit(int(sys.argv[2]))
"""
FUNCTIONS = """\
import json

def work():
    for _ in range(20):
        json.loads(json.dumps(list(range(500))))

def grab():
    kept = bytearray(30_000_000)
    work()
    return len(kept)

def fail():
    raise ValueError("its own error")
"""


def may_trace() -> str | None:
    """Why py-spy cannot look into a process of ours here; None where it can."""
    try:
        spy = recording.py_spy()
    except UnavailableError as error:
        return error.what
    with subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(30)"],
                          stdout=subprocess.PIPE) as child:  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        done = subprocess.run(
            [spy, "dump", "--native", "--pid", str(child.pid)], capture_output=True, text=True, check=False
        )
        child.kill()
    return None if done.returncode == 0 else f"py-spy may not look into processes: {done.stderr.strip()[:200]}"


REASON = may_trace()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    return tmp_path


def profile(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*INFER_OPT, *map(str, words)], capture_output=True, text=True, check=False, timeout=60)


def sampled(**wanted: Any) -> Any:
    return Sampling(SamplingRequest(**wanted)).profile()


def programs(folder: Path) -> list[psutil.Process]:
    """Programs of this test that still run."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if process.info["cwd"] == str(folder) and "program.py" in (process.info["cmdline"] or [])
    ]


def test_a_program_is_sampled_and_its_output_and_exit_code_are_its_own(folder: Path) -> None:
    found = profile("--command", f"{sys.executable} program.py 1.2 3", "--flame", "flame.html")

    assert found.returncode == 3, found.stderr
    assert found.stdout == "the program's own output\n"
    assert "spin (program.py)" in found.stderr
    assert "waited for the GIL" in found.stderr
    assert "exit code 3" in found.stderr
    assert (folder / "flame.html").read_text().count("spin (program.py") > 0
    again = profile("--command", "true", "--flame", "flame.html")
    assert again.returncode == 2 and "exists already" in again.stderr


def test_who_runs_waits_and_wants_the_lock_is_told_apart(folder: Path) -> None:
    found = sampled(command=f"{sys.executable} program.py 1.2 0")

    assert dict(found.threads).get("spin", 0) > 0.8 * sum(stack.samples for stack in found.stacks)
    assert found.waiting is not None and found.waiting_for_gil is not None and found.holding is not None
    assert any("rest (program.py" in frame for stack in found.waiting for frame in stack.frames)
    wanting = {stack.frames[-2].partition(" ")[0] for stack in found.waiting_for_gil if len(stack.frames) > 1}
    assert "spin" in wanting
    assert any("spin" in frame for frame in found.holding[0].frames)
    assert not any("rest (program.py" in frame for stack in found.stacks for frame in stack.frames[-1:])


def test_a_function_is_called_as_long_as_asked_and_its_memory_is_told(folder: Path) -> None:
    found = profile("--function", "functions.py:grab", "--for", "1s", "--memory", "--format", "json", "--out", "x.json")

    assert found.returncode == 0, found.stderr
    body = json.loads((folder / "x.json").read_text())["profile"]
    assert body["peak_bytes"] >= 30_000_000
    assert any("grab (functions.py" in frame for frame in body["memory"][0]["frames"])
    assert body["memory"][0]["samples"] >= 30_000_000
    assert "Python itself" in {name for name, _ in body["shares"]}
    assert all("calling.py" not in frame for stack in body["stacks"] for frame in stack["frames"])


def test_a_function_that_fails_shows_its_own_error(folder: Path) -> None:
    found = profile("--function", "functions.py:fail")

    assert found.returncode == 1
    assert "ValueError: its own error" in found.stderr


def test_a_function_that_is_not_there_is_one_sentence(folder: Path) -> None:
    found = profile("--function", "functions.py:nowhere")

    assert found.returncode == 3
    assert "Traceback" not in found.stderr and "no attribute 'nowhere'" in found.stderr


def test_a_program_without_python_ends_with_its_code_and_one_sentence(folder: Path) -> None:
    found = sampled(command="sh -c 'sleep 0.3; exit 4'")

    assert found.exit_code == 4
    assert found.stacks == () and found.waiting is None
    assert "No Python was seen in sh -c 'sleep 0.3; exit 4'" in found.notes[0]


def test_a_program_that_crashes_ends_as_a_shell_would_say(folder: Path) -> None:
    assert profile("--command", f"{sys.executable} -c 'import os; os.abort()'").returncode == 128 + signal.SIGABRT


def test_children_are_sampled_too_and_for_ends_them(folder: Path) -> None:
    found = sampled(
        command=f"sh -c '{sys.executable} program.py 30 0 & {sys.executable} program.py 30 0; wait'", for_s=1.2
    )

    assert found.processes >= 3
    assert any("spin" in stack.frames[-1] for stack in found.stacks)
    assert found.exit_code == 128 + signal.SIGTERM
    for process in programs(folder):  # a shell that is asked to end leaves what it started to itself
        process.kill()


def test_an_interrupt_ends_the_program_and_still_reports(folder: Path) -> None:
    with subprocess.Popen(
        [*INFER_OPT, "--command", f"{sys.executable} program.py 30 0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)

    assert process.returncode == 128 + signal.SIGTERM
    assert "Ending the program" in said and "spin (program.py)" in said
    assert programs(folder) == []


def spy_that_says(text: str, folder: Path) -> Path:
    spy = folder / "spy"
    spy.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit 1\n")
    spy.chmod(0o755)
    return spy


def test_where_nobody_may_look_the_program_is_ended_and_the_error_says_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = spy_that_says("Permission Denied: Try running again with elevated permissions", folder)
    monkeypatch.setattr(recording, "py_spy", lambda: spy)

    with pytest.raises(UnavailableError, match="does not let py-spy look into") as error:
        sampled(command=f"{sys.executable} program.py 30 0")
    assert error.value.hint
    assert programs(folder) == []


def test_where_native_code_cannot_be_followed_who_waits_is_not_known(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, spy = recording.py_spy(), folder / "spy"
    refusal = "error: unexpected argument '--native' found"
    spy.write_text(f'#!/bin/sh\ncase "$*" in *--native*) echo "{refusal}" >&2; exit 2;; esac\nexec {real} "$@"\n')
    spy.chmod(0o755)
    monkeypatch.setattr(recording, "py_spy", lambda: spy)

    found = sampled(command=f"{sys.executable} program.py 1 0")

    assert found.waiting is None and found.waiting_for_gil is None
    assert dict(found.threads).get("spin", 0) > 20 and found.holding
    assert any("cannot follow native code" in note for note in found.notes)


def test_a_command_that_does_not_exist_is_one_sentence(folder: Path) -> None:
    found = profile("--command", "no-such-program --now")

    assert found.returncode == 4
    assert "'no-such-program' cannot be started" in found.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["functions.py", "program.py"]
