"""What a worker does to itself before anything else, so that it can neither outlive nor outbid its tuner.

Standard library only: it runs before any import that takes time.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
EXPENDABLE = "1000"  # the kernel's highest score: short of memory, it kills the worker and not the tuner


def die_with(parent: int) -> None:
    """End this process when `parent` does, even by SIGKILL and even while this process is stopped.

    Source: prctl(2), PR_SET_PDEATHSIG. The signal is bound to the thread that made this process, so workers are made
    by the main thread alone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It died before the request above was made.
        os._exit(1)


def be_expendable() -> None:
    """Ask the kernel to end this process first when memory runs out. Source: proc(5), oom_score_adj."""
    try:
        Path("/proc/self/oom_score_adj").write_text(EXPENDABLE)
    except OSError:
        return  # not Linux, or not allowed to: the memory cap is then the only guard


def resident_bytes(pid: int) -> int | None:
    """What a process holds in memory now, in bytes; None when it is gone or not Linux. Source: proc(5), statm.

    Cheaper than `memory_bytes`: read after every answer.
    """
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory_bytes(pid: int, field: str) -> int | None:
    """VmRSS (now) or VmHWM (peak) of a process, in bytes; None when it is gone or not Linux. Source: proc(5)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith(f"{field}:")), None)
    return None if found is None else int(found.split()[1]) * 1024
