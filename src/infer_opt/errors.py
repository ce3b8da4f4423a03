"""Every failure a user can meet, and the exit code it leaves behind.

InferOptError            1
├── ConfigError          2   the request contradicts itself
├── ModelError           3   the model, its inputs or its evaluation cannot be read or run
├── UnavailableError     4   this machine lacks a library, provider or device
├── EvidenceError        5   too little evidence for an answer
├── StorageError         6   a file, folder, disk or database cannot be read or written
├── OverloadError        7   more is asked for at once than there is room for
├── AlertError           8   an alert fired that was told to end with an exit code
└── DeviceMemoryError    9   the device has too little memory for what was asked of it
"""


class InferOptError(Exception):
    """One sentence that says what happened, and one hint that says what helps.

    Errors cross processes by pickle, so no subclass may have an `__init__` of its own.
    """

    exit_code = 1

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what, hint)

    @property
    def what(self) -> str:
        """The sentence: holds the values that caused the failure."""
        return str(self.args[0])

    @property
    def hint(self) -> str | None:
        """The command, flag or change that helps; None when there is none."""
        return None if self.args[1] is None else str(self.args[1])

    def __str__(self) -> str:
        return self.what


class ConfigError(InferOptError):
    """The request contradicts itself."""

    exit_code = 2


class ModelError(InferOptError):
    """The model, its inputs or its evaluation cannot be read or run."""

    exit_code = 3


class UnavailableError(InferOptError):
    """This machine lacks a library, provider or device."""

    exit_code = 4


class EvidenceError(InferOptError):
    """There is too little evidence for an answer."""

    exit_code = 5


class StorageError(InferOptError):
    """A file, folder, disk or database cannot be read or written."""

    exit_code = 6


class OverloadError(InferOptError):
    """More is asked for at once than there is room for."""

    exit_code = 7


class AlertError(InferOptError):
    """An alert fired that was told to end with an exit code."""

    exit_code = 8


class DeviceMemoryError(InferOptError):
    """The device, a GPU or the host, has too little memory for what was asked of it."""

    exit_code = 9
