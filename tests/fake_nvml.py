"""A double of the module `pynvml`, under its own names; a test checks that pynvml has every one of them."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TypeVar

Answer = TypeVar("Answer")


class NVMLError(Exception):
    def __init__(self, text: str = "Unknown Error") -> None:
        super().__init__(text)


class NVMLError_NotSupported(NVMLError):
    def __init__(self) -> None:
        super().__init__("Not Supported")


class NVMLError_GpuIsLost(NVMLError):
    def __init__(self) -> None:
        super().__init__("GPU is lost")


class NVMLError_LibraryNotFound(NVMLError):
    def __init__(self) -> None:
        super().__init__("NVML Shared Library Not Found")


class NVMLError_DriverNotLoaded(NVMLError):
    def __init__(self) -> None:
        super().__init__("Driver Not Loaded")


@dataclass(kw_only=True)
class FakeGpu:
    """One device; None is "not supported". NVML's own units: percent, bytes, milliwatts, degrees, MHz, millijoules."""

    name: str = "NVIDIA Fake 80GB"
    memory_total: int | None = 80 << 30
    memory_used: int = 3 << 30
    utilisation: int | None = 37
    power_mw: int | None = 250_500
    temperature: int | None = 61
    sm_clock: int | None = 1980
    reasons: int | None = 0
    energy_mj: int | None = 12_345_678
    processes: list[tuple[int, int | None]] = field(default_factory=list)
    lost: bool = False


class FakeNvml:
    NVMLError = NVMLError
    NVMLError_NotSupported = NVMLError_NotSupported
    NVMLError_GpuIsLost = NVMLError_GpuIsLost
    NVMLError_LibraryNotFound = NVMLError_LibraryNotFound
    NVMLError_DriverNotLoaded = NVMLError_DriverNotLoaded
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1
    nvmlMemory_v2 = 0x02000028

    def __init__(
        self, *devices: FakeGpu, init_error: Exception | None = None, driver: str = "570.10", cuda: int = 12080
    ) -> None:
        self._devices, self._init_error, self._driver, self._cuda = devices, init_error, driver, cuda
        self.users = 0

    def nvmlInit(self) -> None:
        if self._init_error is not None:
            raise self._init_error
        self.users += 1

    def nvmlShutdown(self) -> None:
        if self.users == 0:
            raise NVMLError("Uninitialized")
        self.users -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self._devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        return self._answer(self._devices[index], self._devices[index])

    def nvmlSystemGetDriverVersion(self) -> str:
        return self._driver

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return self._cuda

    def nvmlDeviceGetName(self, handle: FakeGpu) -> str:
        return self._answer(handle, handle.name)

    def nvmlDeviceGetCudaComputeCapability(self, handle: FakeGpu) -> tuple[int, int]:
        return self._answer(handle, (9, 0))

    def nvmlDeviceGetMemoryInfo(self, handle: FakeGpu, version: int) -> SimpleNamespace:
        return SimpleNamespace(total=self._answer(handle, handle.memory_total), used=handle.memory_used)

    def nvmlDeviceGetUtilizationRates(self, handle: FakeGpu) -> SimpleNamespace:
        return SimpleNamespace(gpu=self._answer(handle, handle.utilisation), memory=0)

    def nvmlDeviceGetPowerUsage(self, handle: FakeGpu) -> int:
        return self._answer(handle, handle.power_mw)

    def nvmlDeviceGetTemperature(self, handle: FakeGpu, sensor: int) -> int:
        return self._answer(handle, handle.temperature)

    def nvmlDeviceGetClockInfo(self, handle: FakeGpu, clock: int) -> int:
        return self._answer(handle, handle.sm_clock)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: FakeGpu) -> int:
        return self._answer(handle, handle.reasons)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: FakeGpu) -> int:
        return self._answer(handle, handle.energy_mj)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: FakeGpu) -> list[SimpleNamespace]:
        listed = [SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in handle.processes]
        return self._answer(handle, listed)

    def _answer(self, handle: FakeGpu, value: Answer | None) -> Answer:
        if handle.lost:
            raise NVMLError_GpuIsLost
        if value is None:
            raise NVMLError_NotSupported
        return value
