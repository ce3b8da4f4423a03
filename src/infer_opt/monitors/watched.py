"""A command that is started in order to be watched."""

import os
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from infer_opt.errors import ConfigError, UnavailableError


class Watched:
    """A running command with the terminal, the input and the environment of whoever called infer-opt.

    Its own Ctrl-C reaches it from the terminal; `forward` hands on what does not.
    """

    def __init__(
        self, command: str, *, words: Sequence[str] | None = None, before: Callable[[], None] | None = None
    ) -> None:
        """Start `command`, split as a shell would, but by no shell: no pipes, no redirection, no variables.

        `words` are run in its place where it is started by another program; `before` is called in the new process.

        Raises:
            ConfigError: it is empty, or its quotes do not close.
            UnavailableError: there is no such program, or it may not be run.
        """
        self.text = command
        words = split(command) if words is None else words
        try:
            self._process = subprocess.Popen(words, preexec_fn=before)
        except OSError as error:
            hint = (
                f"for pipes and variables: --command \"sh -c '{command}'\"" if "|" in words or "&&" in words else None
            )
            raise UnavailableError(f"{words[0]!r} cannot be started: {error.strerror}", hint=hint) from error
        self._pidfd = _pidfd(self._process.pid)

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; 128 + the signal's number where one ended it, as shells say it."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def wait(self, timeout_s: float) -> int | None:
        """Sleep until it ends, but no longer than that; its exit code, or None."""
        if self.exit_code() is None and timeout_s > 0:
            if self._pidfd is None:
                time.sleep(timeout_s)
            else:
                select.select([self._pidfd], [], [], timeout_s)
        return self.exit_code()

    def forward(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal, unless it has ended."""
        if self.exit_code() is None:
            self._process.send_signal(number)

    def close(self) -> None:
        """Give back what is held for waiting. The command itself runs on. Safe to call twice."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def split(command: str) -> list[str]:
    """The words of a command, as a shell would split it.

    Raises:
        ConfigError: it is empty, or its quotes do not close.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"--command {command!r} cannot be split: {error}", hint="close its quotes") from error
    if not words:
        raise ConfigError("--command is empty", hint="such as --command 'python serve.py'")
    return words


def _pidfd(pid: int) -> int | None:
    """A file descriptor that becomes readable when the process ends; None where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
