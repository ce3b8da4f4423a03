"""Processes on systems without /proc, as psutil sees them."""

import time
from typing import Any

from infer_opt.monitors.process_files import Details, Identity, Process


class PsutilProcesses:
    """Processes by psutil; `start_s` is Unix time.

    Not said: page faults, switches, what was read and written (not told apart from the network's), and what children
    that ended had used.
    """

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil

    def now_s(self) -> float:
        """Unix time."""
        return time.time()

    def pids(self) -> list[int]:
        """All processes there are."""
        return list(self._psutil.pids())

    def process(self, pid: int) -> Process | None:
        """One process; what belongs to somebody else may say little more than its name."""
        found = self._ask(pid, "ppid", "name", "status", "create_time", "cpu_times", "memory_info", "num_threads")
        if found.get("create_time") is None:
            return None
        times, memory = found.get("cpu_times"), found.get("memory_info")
        return Process(
            pid=pid,
            parent_pid=found.get("ppid") or 0,
            name=found.get("name") or "",
            state=found.get("status") or "other",
            start_s=found["create_time"],
            cpu_s=None if times is None else times.user + times.system,
            rss_bytes=None if memory is None else memory.rss,
            threads=found.get("num_threads"),
        )

    def details(self, process: Process) -> Details:
        """Open files, where the system counts them."""
        return Details(open_files=self._ask(process.pid, "num_fds").get("num_fds"))

    def identity(self, pid: int) -> Identity:
        """Command line and user."""
        found = self._ask(pid, "cmdline", "username")
        return Identity(command=" ".join(found.get("cmdline") or ()) or None, user=found.get("username"))

    def _ask(self, pid: int, *names: str) -> dict[str, Any]:
        try:
            process = self._psutil.Process(pid)
            there = [name for name in names if hasattr(process, name)]
            answers: dict[str, Any] = process.as_dict(there, ad_value=None)
        except (self._psutil.Error, OSError):
            return {}
        return answers
