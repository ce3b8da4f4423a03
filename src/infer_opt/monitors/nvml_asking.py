"""Questions to NVML, and the kinds of silence that it answers with.

"Not supported", "no permission" and the like say that a reading does not exist here: None, and no more about it. A GPU
that fell off the bus or has to be reset fails every question, and so does a driver that went away; those two are not
the absence of one reading, so their errors are let through.
"""

from typing import Any

Nvml = Any  # the module pynvml, or the tests' double with the same names
Handle = Any

# Newer names of functions that older drivers know by another one: before 535, events were called throttling.
OLDER_NAMES = {"nvmlDeviceGetCurrentClocksEventReasons": "nvmlDeviceGetCurrentClocksThrottleReasons"}


class Asker:
    """One round of questions to NVML: make a new one for each.

    `lost` are the errors of a GPU that does not answer any more while others may, `gone` those of a driver that does
    not. `ask` and `ask_list` let both through.
    """

    def __init__(self, nvml: Nvml) -> None:
        self.nvml = nvml
        self.lost: tuple[type[Exception], ...] = (nvml.NVMLError_GpuIsLost, nvml.NVMLError_ResetRequired)
        self.gone: tuple[type[Exception], ...] = (
            nvml.NVMLError_Uninitialized,
            nvml.NVMLError_DriverNotLoaded,
            nvml.NVMLError_LibRmVersionMismatch,
        )
        self._answers = 0
        self._unknown: Exception | None = None

    def ask(self, function: str, *arguments: Any) -> Any:
        """What NVML answers; None where the device, or this version of the driver, does not say."""
        try:
            answer = getattr(self.nvml, function)(*arguments)
        except self.nvml.NVMLError_FunctionNotFound:
            older = OLDER_NAMES.get(function)
            return None if older is None else self.ask(older, *arguments)
        except self.nvml.NVMLError as error:
            self._silence(error)
            return None
        self._answers += 1
        return answer

    def ask_list(self, function: str, *arguments: Any) -> list[Any] | None:
        """The same for a function that may find nothing: an empty list then, and None only where it is not supported.

        NVML says "not found"; and where it says "success, none", pynvml raises that success as an error.
        """
        try:
            answer = list(getattr(self.nvml, function)(*arguments))
        except self.nvml.NVMLError_NotFound:
            answer = []
        except self.nvml.NVMLError as error:
            if getattr(error, "value", None) != self.nvml.NVML_SUCCESS:
                self._silence(error)
                return None
            answer = []
        self._answers += 1
        return answer

    @property
    def unanswered(self) -> Exception | None:
        """The error, where not one question was answered and the reason is unknown; else None.

        A single unknown error is one reading that fails. When all do, the driver is gone: that is how NVML puts it
        after a container's devices were taken from it.
        """
        return None if self._answers else self._unknown

    def _silence(self, error: Exception) -> None:
        if isinstance(error, (*self.lost, *self.gone)):
            raise error
        if isinstance(error, self.nvml.NVMLError_Unknown):
            self._unknown = error


def share(percent: float | None) -> float | None:
    """Percent as a share, 0 to 1."""
    return None if percent is None else percent / 100


def scaled(value: Any, factor: float) -> float | None:
    """A value of NVML's in another unit."""
    return None if value is None else float(value) * factor
