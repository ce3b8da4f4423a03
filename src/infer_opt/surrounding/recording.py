"""py-spy, started beside a running program to sample it from outside, and asked to write what it saw."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from infer_opt.errors import UnavailableError

LOOK_EVERY_S = 0.02
BEGINNING_BYTES = 1 << 14
READY_S = 10.0  # how long the program may take until its Python is there to be seen
WRITING_S = 30.0  # for a long recording to be put into order and written
INSTALL = "pip install 'infer-opt[profile]'"
_NO_PYTHON = ("find python version", "No python processes found", "Failed to find python", "unable to find python")
_NOT_ALLOWED = ("Permission denied", "Permission Denied", "Operation not permitted", "EPERM", "EACCES", "requires root")
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")


class Looking(StrEnum):
    """What a recorder looks at."""

    ALL = "all"  # every thread, idle ones too, down into native code; each look stops the program for a moment
    RUNNING = "running"  # threads that run, Python's frames alone; the program is not stopped
    HOLDING = "holding"  # threads that hold the GIL; the program is not stopped


_FLAGS = {
    Looking.ALL: ("--idle", "--native"),
    Looking.RUNNING: ("--nonblocking",),
    Looking.HOLDING: ("--gil", "--nonblocking"),
}


class Beginning(StrEnum):
    """How the start of a recorder came out."""

    SAMPLING = "sampling"
    NO_PYTHON = "no-python"
    NOT_ALLOWED = "not-allowed"
    NO_NATIVE = "no-native"
    ENDED = "ended"


class Recorder:
    """One py-spy process that samples a process and all that descend from it. Safe to close twice."""

    def __init__(self, program: Path, *, pid: int, looking: Looking, rate_hz: int, folder: Path) -> None:
        self.looking, self.rate_hz, self._pid = looking, rate_hz, pid
        self._program, self._out = program, folder / f"{looking}.txt"
        self._log = (folder / f"{looking}.log").open("w+b")
        self._process = self._start()
        self.began_s: float | None = None
        self.was_late = False  # by a second or more, known once it is finished

    def wait(self, deadline_s: float, *, is_over: Callable[[], bool]) -> Beginning:
        """Sleep until it samples or cannot, the program `is_over`, or the monotonic clock shows `deadline_s`.

        While there is no Python in the program yet, it looks again and again: an interpreter takes its time to start.
        """
        while True:
            code, said = self._process.poll(), self._said()
            if "Sampling process" in said:
                self.began_s = time.monotonic()
                return Beginning.SAMPLING
            is_late = time.monotonic() >= deadline_s
            if is_over() or (code is None and is_late):
                self.close()
                return Beginning.NO_PYTHON if is_late else Beginning.ENDED
            if code is not None:
                found = beginning_of(said)
                if found is not Beginning.NO_PYTHON or is_late:
                    return found
                self._process = self._start()
            time.sleep(LOOK_EVERY_S)

    def finish(self) -> str:
        """End it, and what it wrote; empty where it saw nothing."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # which it takes for the end of a recording
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(WRITING_S)
        self.was_late = "behind in sampling" in self._said(whole=True)
        self.close()
        try:
            return self._out.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        """End it whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> "subprocess.Popen[bytes]":
        self._log.seek(0)
        self._log.truncate()
        words = [str(self._program), "record", "--pid", str(self._pid), "--rate", str(self.rate_hz)]
        words += ["--subprocesses", "--threads", "--full-filenames", "--format", "raw", "--output", str(self._out)]
        return subprocess.Popen(
            [*words, *_FLAGS[self.looking]],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            # A Ctrl-C at the terminal is for the program; the recorder writes what it has when it is told to.
            start_new_session=True,
        )

    def _said(self, *, whole: bool = False) -> str:
        """The beginning of its log, or all of it."""
        if self._log.closed:
            return ""
        length = os.fstat(self._log.fileno()).st_size if whole else BEGINNING_BYTES
        return os.pread(self._log.fileno(), length, 0).decode(errors="replace")


def beginning_of(said: str) -> Beginning:
    """What a recorder that ended at once had to say."""
    if any(text in said for text in _NOT_ALLOWED):
        return Beginning.NOT_ALLOWED
    if any(text in said for text in _NO_PYTHON):
        return Beginning.NO_PYTHON
    if "--native" in said:  # builds for other systems do not know the option
        return Beginning.NO_NATIVE
    return Beginning.ENDED


def py_spy() -> Path:
    """The program of the package py-spy: beside this interpreter, or on the search path.

    Raises:
        UnavailableError: it is not installed.
    """
    beside = Path(sys.executable).parent / ("py-spy.exe" if os.name == "nt" else "py-spy")
    found = str(beside) if beside.is_file() else shutil.which("py-spy")
    if found is None:
        raise UnavailableError("py-spy, which samples the process, is not installed", hint=INSTALL)
    return Path(found)


def require_memray() -> None:
    """Nothing, where memray can be imported here.

    Raises:
        UnavailableError: it is not installed.
    """
    if importlib.util.find_spec("memray") is None:
        raise UnavailableError("memray, which records memory, is not installed", hint=INSTALL)


def may_not_trace(scope: Path = YAMA) -> UnavailableError:
    """The error for a system that lets nobody look into another process, with what would help here.

    Source: ptrace(2), "/proc/sys/kernel/yama/ptrace_scope".
    """
    try:
        level = int(scope.read_text())
    except (OSError, ValueError):
        level = 0
    hint = "run it as root; in a container, start that with --cap-add SYS_PTRACE"
    if level in (1, 2):
        hint = (
            f"run it as root, or allow it until the next boot: sudo sysctl kernel.yama.ptrace_scope=0 (it is {level})"
        )
    if level >= 3:
        hint = "kernel.yama.ptrace_scope is 3, which holds until the next boot and for root too: start without it"
    return UnavailableError("this system does not let py-spy look into the process", hint=hint)


def needs_permission(scope: Path = YAMA) -> bool:
    """Whether a program must allow its own sampling before another user's process than its parent may look into it."""
    try:
        return os.geteuid() != 0 and int(scope.read_text()) == 1
    except (OSError, ValueError, AttributeError):
        return False


def allow_tracing() -> None:
    """In the program's process, before it begins: any process of the same user may look into it.

    Source: prctl(2), PR_SET_PTRACER; it survives the start of another program in the same process.
    """
    import ctypes

    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
