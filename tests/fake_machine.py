"""A machine of files: a clock that is set by hand, lines of /proc, and psutil on a system without it."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from file_tree import write

Answer = TypeVar("Answer")


class SetClock:
    """Seconds; they pass when a test says so."""

    def __init__(self, now_s: float = 100.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def process_files(
    pid: int,
    *,
    parent: int = 1,
    name: str = "work",
    state: str = "S",
    start: int = 500,
    ticks: int = 0,
    reaped: int = 0,
    pages: int = 100,
    threads: int = 1,
    faults: int = 0,
    reaped_faults: int = 0,
    flags: int = 0,
    command: str | None = "work --hard",
    user: int = 1000,
    io: tuple[int, int] | None = None,
    switches: Mapping[int, int] | None = None,
) -> dict[str, str]:
    """The files of one process below /proc; `start` and `ticks` in ticks, `switches` by thread."""
    stat = (
        f"{pid} ({name}) {state} {parent} 1 1 0 -1 {flags} 7 7 {faults} {reaped_faults} {ticks} 0 {reaped} 0"
        f" 20 0 {threads} 0 {start} 9999 {pages} 18446744073709551615 1 1\n"
    )
    files = {f"proc/{pid}/stat": stat, f"proc/{pid}/status": f"Name:\t{name}\nUid:\t{user}\t{user}\t{user}\t{user}\n"}
    if command is not None:
        files[f"proc/{pid}/cmdline"] = command.replace(" ", "\0") + "\0"
    if io is not None:
        files[f"proc/{pid}/io"] = (
            f"rchar: 5\nwchar: 5\nread_bytes: {io[0]}\nwrite_bytes: {io[1]}\ncancelled_write_bytes: 9\n"
        )
    for thread, count in (switches or {}).items():
        files[f"proc/{pid}/task/{thread}/status"] = f"voluntary_ctxt_switches: 8\nnonvoluntary_ctxt_switches: {count}\n"
    return files


def machine_files(*, uptime_s: float, processes: Mapping[str, str]) -> dict[str, str]:
    """A /proc of the given processes, on a machine that runs for so long."""
    users = "root:x:0:0:root:/root:/bin/sh\nana:x:1000:1000::/home/ana:/bin/sh\n"
    return {"proc/uptime": f"{uptime_s} 1.0\n", "etc/passwd": users, **processes}


def replace(root: Path, files: Mapping[str, str]) -> Path:
    """The tree with these files and no others."""
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    return write(root, files)


class PsutilError(Exception):
    pass


class FakePsutil:
    """A double of the module psutil; a test checks that psutil has each of its names. None: the call fails."""

    Error = PsutilError

    def __init__(self, processes: Mapping[int, "FakeProcess"] | None = None, *, works: bool = True) -> None:
        self.processes, self.works = dict(processes or {}), works
        self.switches, self.received, self.swapped_in, self.read_bytes = 1000, 500, 0, 0
        self.idle_s, self.user_s = 50.0, 10.0

    def cpu_times(self, percpu: bool) -> list[SimpleNamespace]:
        return self._answer([SimpleNamespace(user=self.user_s, system=5.0, idle=self.idle_s, nice=0.0)])

    def cpu_stats(self) -> SimpleNamespace:
        return self._answer(SimpleNamespace(ctx_switches=self.switches))

    def getloadavg(self) -> tuple[float, float, float]:
        return self._answer((0.5, 0.25, 0.125))

    def virtual_memory(self) -> SimpleNamespace:
        return self._answer(SimpleNamespace(total=16 << 30, available=12 << 30))

    def swap_memory(self) -> SimpleNamespace:
        return self._answer(SimpleNamespace(total=1 << 30, used=1 << 20, sin=self.swapped_in, sout=0))

    def disk_io_counters(self, perdisk: bool) -> dict[str, SimpleNamespace]:
        row = SimpleNamespace(read_bytes=self.read_bytes, write_bytes=0, read_count=0, write_count=0)
        return self._answer({"disk0": row})

    def disk_usage(self, path: str) -> SimpleNamespace:
        return self._answer(SimpleNamespace(total=1000, free=400))

    def net_io_counters(self, pernic: bool) -> dict[str, SimpleNamespace]:
        row = SimpleNamespace(
            bytes_recv=self.received,
            bytes_sent=0,
            packets_recv=0,
            packets_sent=0,
            errin=0,
            errout=0,
            dropin=0,
            dropout=0,
        )
        return self._answer({"en0": row, "lo0": row})

    def pids(self) -> list[int]:
        return list(self.processes)

    def Process(self, pid: int) -> "FakeProcess":
        if pid not in self.processes:
            raise PsutilError(f"no process {pid}")
        return self.processes[pid]

    def _answer(self, value: Answer) -> Answer:
        if not self.works:
            raise PsutilError("access denied")
        return value


class FakeProcess:
    """A double of psutil.Process; attributes that are not given are not on this system."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        for name in answers:
            setattr(self, name, None)

    def as_dict(self, attrs: list[str], ad_value: Any) -> dict[str, Any]:
        return {name: self.answers[name] for name in attrs}
