"""Who writes a recording: a name for this process, and whether the process of such a name still runs."""

import os
import socket
from pathlib import Path

_PROC = Path("/proc")


def this_process() -> str:
    """A name that no other process has, here or on another machine, now or after the next boot."""
    place = _place(_PROC)
    return f"{place or socket.gethostname()[:100]}/{os.getpid()}/{_started(os.getpid(), _PROC) or ''}"


def is_running(writer: str, *, proc: Path = _PROC) -> bool | None:
    """Whether the process of that name runs; None where it cannot be seen from here: in another container, say."""
    place, _, rest = writer.partition("/")
    pid, _, started = rest.partition("/")
    if not started or place != _place(proc) or not pid.isdecimal():
        return None
    return _started(int(pid), proc) == started


def _place(proc: Path) -> str | None:
    """The boot of this machine and the space in which process numbers count; None where /proc does not say."""
    try:
        boot = (proc / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
        return f"{boot}-{(proc / 'self' / 'ns' / 'pid').readlink()}"
    except OSError:
        return None


def _started(pid: int, proc: Path) -> str | None:
    """Clock ticks from boot to when the process began; None where there is none, or only what is left of it."""
    try:
        _, _, fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return None
    state, *others = fields.split()
    return None if state in "ZX" else others[18]
