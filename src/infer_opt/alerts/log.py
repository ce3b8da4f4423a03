"""The alert log: one line for each alert that begins or ends."""

import os
from collections.abc import Callable

from infer_opt.alerts.documents import as_line
from infer_opt.alerts.plan import LogTarget
from infer_opt.errors import StorageError
from infer_opt.readings.findings import AlertEvent


class AlertLog:
    """A file that lines are appended to. It is opened for each, so it may be moved away at any time (logrotate).

    Raises:
        StorageError: it cannot be opened now.
    """

    def __init__(self, target: LogTarget, *, write: Callable[[int, bytes], int] = os.write) -> None:
        self._path = target.path
        self._format = target.format
        self._write = write
        self._lost = 0
        self._is_torn = False
        try:
            os.close(self._open())
        except OSError as error:
            raise StorageError(
                f"the alert log {self._path} cannot be written: {error.strerror or error}",
                hint="name another file under actions: log: path:",
            ) from error

    def append(self, event: AlertEvent) -> str | None:
        """Write the line of `event`. What is to be said about it, when that begins or ends to fail: once each."""
        line = as_line(event, self._format).encode("utf-8", "replace") + b"\n"
        try:
            descriptor = self._open()
            try:
                self._append(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._lost += 1
            if self._lost > 1:
                return None
            why = error.strerror or error
            return f"the alert log {self._path} cannot be written: {why}; lines are lost until it can"
        if not self._lost:
            return None
        lost, self._lost = self._lost, 0
        return f"the alert log {self._path} can be written again; {lost} {'line' if lost == 1 else 'lines'} were lost"

    def _open(self) -> int:
        # Without waiting: a pipe that nobody reads is an error and not a monitor that stands still.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self._path, flags, 0o644)

    def _append(self, descriptor: int, line: bytes) -> None:
        """In one piece, as far as the disk takes it: a line that was cut off is ended before the next begins."""
        content = b"\n" + line if self._is_torn else line
        written = self._write(descriptor, content)
        if written < len(content):
            self._is_torn = written > 0 or self._is_torn
            raise OSError("the disk is full")
        self._is_torn = False
