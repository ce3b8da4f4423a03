"""What a program takes while it runs, by the system's account: CPU time and resident memory, children included."""

from typing import Any


class Usage:
    """Looks when it is told to; a process that came and went between two looks is not seen."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu_s: dict[tuple[int, float], float] = {}
        self._rss_peak_bytes = 0

    def look(self) -> None:
        """Read all of its processes now."""
        import psutil

        try:
            root = psutil.Process(self._pid)
            found = [root, *root.children(recursive=True)]
        except psutil.Error:
            return
        resident = sum(self._read(process) for process in found)
        self._rss_peak_bytes = max(self._rss_peak_bytes, resident)

    @property
    def cpu_s(self) -> float | None:
        """User and system time of all processes that were seen; None where none was."""
        return sum(self._cpu_s.values()) if self._cpu_s else None

    @property
    def rss_peak_bytes(self) -> int | None:
        """The most that they held together at one look; None where none was seen."""
        return self._rss_peak_bytes or None

    @property
    def processes(self) -> int:
        """How many there have been."""
        return len(self._cpu_s)

    def _read(self, process: Any) -> int:
        import psutil

        try:
            with process.oneshot():
                times, resident = process.cpu_times(), int(process.memory_info().rss)
                self._cpu_s[process.pid, process.create_time()] = times.user + times.system
        except psutil.Error:  # it has just ended, or is another user's
            return 0
        return resident
