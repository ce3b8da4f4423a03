import signal

import pytest

from infer_opt.results import FailureKind
from infer_opt.workers.process import WorkerError, explain_exit

TRACEBACK = "Traceback (most recent call last):\n  File ...\nValueError: the shapes do not match"


@pytest.mark.parametrize(
    ("code", "tail", "kind", "what"),
    [
        (-signal.SIGSEGV, "", FailureKind.CRASH, "the worker crashed with SIGSEGV"),
        (-signal.SIGABRT, "a line\nassertion failed\n", FailureKind.CRASH, "crashed with SIGABRT: assertion failed"),
        (-signal.SIGILL, "", FailureKind.CRASH, "the worker crashed with SIGILL"),
        (-signal.SIGFPE, "", FailureKind.CRASH, "the worker crashed with SIGFPE"),
        (1, TRACEBACK, FailureKind.CRASH, "exit code 1: ValueError: the shapes do not match"),
        (3, "", FailureKind.CRASH, "the worker ended with exit code 3"),
        (0, "", FailureKind.CRASH, "the worker ended with exit code 0"),
        (-signal.SIGKILL, "", FailureKind.MEMORY, "SIGKILL), which is what the kernel does when memory runs out"),
        (-signal.SIGABRT, "what():  std::bad_alloc", FailureKind.MEMORY, "ran out of memory: what():  std::bad_alloc"),
        (1, "numpy...MemoryError: Unable to allocate 9 GiB", FailureKind.MEMORY, "ran out of memory"),
        # Only the last line tells what it died of.
        (1, "MemoryError: earlier, and dealt with\nKeyError: 'x'", FailureKind.CRASH, "exit code 1: KeyError: 'x'"),
    ],
)
def test_the_end_of_a_worker_is_explained(code: int, tail: str, kind: FailureKind, what: str) -> None:
    error = explain_exit(code, tail)

    assert isinstance(error, WorkerError)
    assert error.kind is kind
    assert what in error.what


def test_a_last_line_without_end_is_cut() -> None:
    assert len(explain_exit(1, "x" * 5000).what) < 400


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    # Between SIGRTMIN and SIGRTMAX, signals have none.
    assert "37" in explain_exit(-37, "").what
