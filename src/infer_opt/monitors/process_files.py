"""What /proc says of one process.

/proc/PID/stat is all that is read of everybody; more is asked of the processes that were chosen, and their command line
and user once.
"""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Protocol

from infer_opt.monitors.files import PAGE_BYTES, beginning, content, integers, prefix, rows_named, table
from infer_opt.monitors.host import TICK_S

KERNEL_THREAD = 0x00200000  # PF_KTHREAD among a process's flags
LONGEST_COMMAND = 1024
MOST_THREADS = 512  # whose switches are counted: each is a file to read
STATES = {
    b"R": "running", b"S": "sleeping", b"D": "disk-sleep", b"T": "stopped", b"t": "tracing-stop", b"Z": "zombie",
    b"X": "dead", b"I": "idle",
}  # fmt: skip
# From /proc/PID/stat, counted after the name: ppid, flags, majflt, cmajflt, utime, stime, cutime, cstime, num_threads,
# starttime, rss. Source: proc_pid_stat(5).
FIELDS = itemgetter(1, 6, 9, 10, 11, 12, 13, 14, 17, 19, 21)
ENDED = frozenset({"zombie", "dead"})
IO = rows_named("read_bytes", "write_bytes")
SWITCHES = rows_named("nonvoluntary_ctxt_switches")
USER = re.compile(rb"^Uid:\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process as it stands. With its number, `start_s` (on the source's own scale) says which process it is.

    `reaped_s` and `reaped_faults` are those of the children that it has waited for. None is "not said".
    """

    pid: int
    parent_pid: int
    name: str
    state: str
    start_s: float
    cpu_s: float | None
    rss_bytes: int | None
    threads: int | None
    reaped_s: float | None = None
    faults: int | None = None
    reaped_faults: int | None = None
    is_kernel: bool = False

    @property
    def is_alive(self) -> bool:
        """False once it has ended and waits for its parent to notice."""
        return self.state not in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What only chosen processes are asked. None where that is not permitted.

    Bytes are since the start, those of the children that it has waited for among them. `switches` counts by thread.
    """

    read_bytes: int | None = None
    written_bytes: int | None = None
    switches: Mapping[int, int] | None = None
    open_files: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a process was started as, and by whom."""

    command: str | None
    user: str | None


class ProcessSource(Protocol):
    """Where processes are read. What has ended meanwhile is None, or has None in it."""

    def now_s(self) -> float:
        """Now, on the scale of `Process.start_s`."""

    def pids(self) -> list[int]:
        """All processes there are.

        Raises:
            OSError: they cannot be listed.
        """

    def process(self, pid: int) -> Process | None:
        """One process; None when it has ended."""

    def details(self, process: Process) -> Details:
        """What is read of chosen processes alone."""

    def identity(self, pid: int) -> Identity:
        """What is read once."""


class ProcessFiles:
    """Processes as /proc under `root` shows them; `start_s` counts from when the machine was started."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._prefix = prefix(root)
        self._proc = f"{self._prefix}/proc"
        # The kernel's clock of a process counts nanoseconds, but by numbers of this process's own namespace.
        self._has_clocks = not self._prefix and _own_number(self._proc) == os.getpid()
        self._users: dict[int, str] | None = None

    def now_s(self) -> float:
        """Seconds since the machine was started, sleep included."""
        if not self._prefix and hasattr(time, "CLOCK_BOOTTIME"):
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        words = (content(f"{self._proc}/uptime") or b"0").split()
        return float(words[0])

    def pids(self) -> list[int]:
        """All processes there are."""
        with os.scandir(self._proc) as entries:
            return [int(entry.name) for entry in entries if entry.name.isdigit()]

    def process(self, pid: int) -> Process | None:
        """One process, from its stat. The name may itself hold spaces and brackets: it ends at the last bracket."""
        before, _, after = (beginning(f"{self._proc}/{pid}/stat", 4096) or b"").rpartition(b")")
        words = after.split(None, 22)
        fields = integers(FIELDS(words)) if len(words) >= 22 else None
        if fields is None:
            return None
        parent, flags, faults, reaped_faults, user, system, reaped_user, reaped_system, threads, start, pages = fields
        state = STATES.get(words[0], "other")
        return Process(
            pid=pid,
            parent_pid=parent,
            name=before.partition(b"(")[2].decode(errors="replace"),
            state=state,
            start_s=start * TICK_S,
            cpu_s=self._cpu_s(pid, (user + system) * TICK_S, is_alive=state not in ENDED),
            rss_bytes=pages * PAGE_BYTES,
            threads=threads,
            reaped_s=(reaped_user + reaped_system) * TICK_S,
            faults=faults,
            reaped_faults=reaped_faults,
            is_kernel=bool(flags & KERNEL_THREAD),
        )

    def details(self, process: Process) -> Details:
        """Transfers, switches and open files of one process."""
        place = f"{self._proc}/{process.pid}"
        io = table(content(f"{place}/io"), IO)
        return Details(
            read_bytes=io.get("read_bytes"),
            written_bytes=io.get("write_bytes"),
            switches=_switches(f"{place}/task") if (process.threads or 0) <= MOST_THREADS else None,
            open_files=self._open_files(f"{place}/fd"),
        )

    def identity(self, pid: int) -> Identity:
        """Command line, cut at 1 kB, and user."""
        command = (beginning(f"{self._proc}/{pid}/cmdline", LONGEST_COMMAND) or b"").rstrip(b"\0")
        found = USER.search(content(f"{self._proc}/{pid}/status") or b"")
        return Identity(
            command=command.replace(b"\0", b" ").decode(errors="replace").strip() or None,
            user=None if found is None else self._user(int(found[1])),
        )

    def _cpu_s(self, pid: int, ticks_s: float, *, is_alive: bool) -> float:
        if self._has_clocks and is_alive:
            try:
                return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3) of glibc
            except (OSError, OverflowError):  # it just ended
                pass
        return ticks_s

    def _open_files(self, folder: str) -> int | None:
        try:
            # Since Linux 6.2 the size of the folder is the number of its entries; before it is 0.
            size = 0 if self._prefix else os.stat(folder).st_size  # noqa: PTH116 (six times as fast)
            if size:
                return size
            with os.scandir(folder) as entries:
                return sum(1 for _ in entries)
        except OSError:
            return None

    def _user(self, number: int) -> str:
        # The file and not the system's directory of users, which may be a server that does not answer.
        if self._users is None:
            self._users = {}
            for line in (content(f"{self._prefix}/etc/passwd") or b"").decode(errors="replace").splitlines():
                fields = line.split(":")
                if len(fields) > 2 and fields[2].isdigit():
                    self._users.setdefault(int(fields[2]), fields[0])
        return self._users.get(number, str(number))


def _own_number(proc: str) -> int | None:
    try:
        name = Path(f"{proc}/self").readlink().name
    except OSError:
        return None
    return int(name) if name.isdigit() else None


def _switches(tasks: str) -> dict[int, int] | None:
    """Involuntary switches by thread: /proc/PID/status has those of the first thread alone."""
    try:
        with os.scandir(tasks) as entries:
            threads = [entry.name for entry in entries]
    except OSError:
        return None
    counts = {}
    for thread in threads:
        for count in table(content(f"{tasks}/{thread}/status"), SWITCHES).values():
            counts[int(thread)] = count
    return counts
