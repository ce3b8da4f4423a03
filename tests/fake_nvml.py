"""A double of the module `pynvml`, under its own names; tests check that pynvml has every one of them, alike.

Its errors and structures are pynvml's own, so that what is made of them is what would be made of the driver's.
"""

import ctypes
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pynvml

from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.monitors.nvml_pcie import PcieWatch

Answer = TypeVar("Answer")

GPM_METRICS = {1: 80.0, 2: 64.0, 3: 25.0, 5: 12.5, 10: 50.0}  # pynvml's number of the metric -> percent


@dataclass(kw_only=True, eq=False)
class FakeMig:
    """One MIG instance; bytes."""

    memory_total: int = 10 << 30
    memory_used: int = 1 << 30
    processes: list[tuple[int, int | None]] | None = field(default_factory=list)
    gpu_instance: int | None = 1
    gpm: dict[int, float] = field(default_factory=lambda: dict(GPM_METRICS))


@dataclass(kw_only=True, eq=False)
class FakeGpu:
    """One device; None is "not supported". NVML's own units: percent, bytes, milliwatts, degrees, MHz, millijoules.

    `samples` are (process, microseconds, percent). `mig` are the places for instances, None an empty one; no list is a
    GPU that is not divided. `errors` are what functions raise, by name. It is lost for good once it was asked
    `lost_after` questions.
    """

    name: str = "NVIDIA Fake 80GB"
    memory_total: int | None = 80 << 30
    memory_used: int = 3 << 30
    memory_reserved: int = 1 << 29
    utilisation: int | None = 37
    memory_utilisation: int = 21
    power_mw: int | None = 250_500
    power_limit_mw: int | None = 700_000
    temperature: int | None = 61
    memory_temperature: int | None = 72
    sm_clock: int | None = 1980
    sm_clock_most: int | None = 2010
    memory_clock: int | None = 2619
    reasons: int | None = 0
    energy_mj: int | None = 12_345_678
    fan: int | None = 30
    state: int | None = 0
    pcie_generation: int | None = 5
    pcie_width: int | None = 16
    pcie_generation_most: int | None = 5
    pcie_width_most: int | None = 16
    pcie_kb: tuple[int, int] | None = (1200, 3400)  # received, sent
    encoder: int | None = 7
    decoder: int | None = 8
    uncorrected: int | None = 0
    compute_mode: int | None = 0
    processes: list[tuple[int, int | None]] | None = field(default_factory=list)
    drawing: list[tuple[int, int | None]] | None = field(default_factory=list)
    samples: list[tuple[int, int, int]] | None = field(default_factory=list)
    mig: list[FakeMig | None] | None = None
    gpm: dict[int, float] | None = field(default_factory=lambda: dict(GPM_METRICS))
    errors: dict[str, Exception] = field(default_factory=dict)
    lost: bool = False
    lost_error: Callable[[], Exception] = pynvml.NVMLError_GpuIsLost
    lost_after: int | None = None
    asked: int = 0


@dataclass(frozen=True, eq=False)
class MigHandle:
    """The handle of a MIG instance."""

    gpu: FakeGpu
    mig: FakeMig


Device = FakeGpu | MigHandle


class FakeDriver:
    """The driver under NVML, which can go away and come back.

    What was opened before stays dead, though: NVML begins anew only when nobody has it open.
    """

    def __init__(self) -> None:
        self.is_loaded = True
        self.error: Exception | None = None

    def die(self, error: Exception) -> None:
        self.is_loaded, self.error = False, error

    def come_back(self) -> None:
        self.is_loaded = True


class FakeNvml:
    """NVML on a machine with these devices. `users` have it open, `samples` are allocated and not yet freed."""

    NVMLError = pynvml.NVMLError
    NVMLError_NotSupported = pynvml.NVMLError_NotSupported
    NVMLError_NotFound = pynvml.NVMLError_NotFound
    NVMLError_FunctionNotFound = pynvml.NVMLError_FunctionNotFound
    NVMLError_GpuIsLost = pynvml.NVMLError_GpuIsLost
    NVMLError_ResetRequired = pynvml.NVMLError_ResetRequired
    NVMLError_LibraryNotFound = pynvml.NVMLError_LibraryNotFound
    NVMLError_DriverNotLoaded = pynvml.NVMLError_DriverNotLoaded
    NVMLError_Uninitialized = pynvml.NVMLError_Uninitialized
    NVMLError_LibRmVersionMismatch = pynvml.NVMLError_LibRmVersionMismatch
    NVMLError_Unknown = pynvml.NVMLError_Unknown
    NVML_SUCCESS = 0
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_PSTATE_UNKNOWN = 32
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_VOLATILE_ECC = 0
    NVML_PCIE_UTIL_TX_BYTES = 0
    NVML_PCIE_UTIL_RX_BYTES = 1
    NVML_FI_DEV_MEMORY_TEMP = 82
    NVML_VALUE_TYPE_DOUBLE = 0
    NVML_VALUE_TYPE_UNSIGNED_INT = 1
    NVML_VALUE_TYPE_UNSIGNED_LONG = 2
    NVML_VALUE_TYPE_UNSIGNED_LONG_LONG = 3
    NVML_VALUE_TYPE_SIGNED_LONG_LONG = 4
    NVML_VALUE_TYPE_SIGNED_INT = 5
    NVML_VALUE_TYPE_UNSIGNED_SHORT = 6
    NVML_DEVICE_MIG_ENABLE = 1
    NVML_COMPUTEMODE_DEFAULT = 0
    NVML_COMPUTEMODE_EXCLUSIVE_THREAD = 1
    NVML_COMPUTEMODE_PROHIBITED = 2
    NVML_COMPUTEMODE_EXCLUSIVE_PROCESS = 3
    NVML_GPM_METRICS_GET_VERSION = 1
    NVML_GPM_METRIC_GRAPHICS_UTIL = 1
    NVML_GPM_METRIC_SM_UTIL = 2
    NVML_GPM_METRIC_SM_OCCUPANCY = 3
    NVML_GPM_METRIC_ANY_TENSOR_UTIL = 5
    NVML_GPM_METRIC_DRAM_BW_UTIL = 10
    nvmlMemory_v2 = 0x02000028
    c_nvmlGpmMetricsGet_t = pynvml.c_nvmlGpmMetricsGet_t

    def __init__(
        self, *devices: FakeGpu, init_error: Exception | None = None, version: str = "570.10", cuda: int = 12080
    ) -> None:
        self._devices, self._init_error, self._version, self._cuda = devices, init_error, version, cuda
        self.driver = FakeDriver()
        self.users = 0
        self.calls: Counter[str] = Counter()
        self.samples: dict[int, tuple[int, dict[int, float]]] = {}  # address -> when taken, metrics
        self.on_pcie: Callable[[], None] = lambda: None
        self._moments = 0
        self._allocated = 0

    # The driver

    def nvmlInit(self) -> None:
        if self._init_error is not None:
            raise self._init_error
        if self.users == 0:
            if not self.driver.is_loaded:
                raise pynvml.NVMLError_DriverNotLoaded()
            self.driver.error = None
        self.users += 1

    def nvmlShutdown(self) -> None:
        if self.users == 0:
            raise pynvml.NVMLError_Uninitialized()
        self.users -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        self._require_driver()
        return self._version

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        self._require_driver()
        return self._cuda

    def nvmlDeviceGetCount(self) -> int:
        self._require_driver()
        return len(self._devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        return self._answer("nvmlDeviceGetHandleByIndex", self._devices[index], self._devices[index])

    # What a device is and does

    def nvmlDeviceGetName(self, handle: FakeGpu) -> str:
        return self._answer("nvmlDeviceGetName", handle, handle.name)

    def nvmlDeviceGetCudaComputeCapability(self, handle: FakeGpu) -> tuple[int, int]:
        return self._answer("nvmlDeviceGetCudaComputeCapability", handle, (9, 0))

    def nvmlDeviceGetMemoryInfo(self, handle: Device, version: int | None = None) -> Any:
        assert version == self.nvmlMemory_v2  # the older structure counts what the driver keeps as used
        device = handle.mig if isinstance(handle, MigHandle) else handle
        total = self._answer("nvmlDeviceGetMemoryInfo", handle, device.memory_total)
        reserved = device.memory_reserved if isinstance(device, FakeGpu) else 0
        free = total - device.memory_used - reserved
        return pynvml.c_nvmlMemory_v2_t(total=total, reserved=reserved, free=free, used=device.memory_used)

    def nvmlDeviceGetUtilizationRates(self, handle: FakeGpu) -> Any:
        busy = self._answer("nvmlDeviceGetUtilizationRates", handle, handle.utilisation)
        return pynvml.c_nvmlUtilization_t(gpu=busy, memory=handle.memory_utilisation)

    def nvmlDeviceGetPowerUsage(self, handle: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetPowerUsage", handle, handle.power_mw)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetEnforcedPowerLimit", handle, handle.power_limit_mw)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetTotalEnergyConsumption", handle, handle.energy_mj)

    def nvmlDeviceGetTemperature(self, handle: FakeGpu, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._answer("nvmlDeviceGetTemperature", handle, handle.temperature)

    def nvmlDeviceGetFieldValues(self, handle: FakeGpu, fieldIds: Sequence[int]) -> Any:
        self._answer("nvmlDeviceGetFieldValues", handle, fieldIds)
        assert list(fieldIds) == [self.NVML_FI_DEV_MEMORY_TEMP]
        values = (pynvml.c_nvmlFieldValue_t * 1)()
        values[0].fieldId = fieldIds[0]
        if handle.memory_temperature is None:
            values[0].nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED
        else:
            values[0].valueType = self.NVML_VALUE_TYPE_UNSIGNED_INT
            values[0].value.uiVal = handle.memory_temperature
        return values

    def nvmlDeviceGetClockInfo(self, handle: FakeGpu, type: int) -> int:  # noqa: A002  (its name in pynvml)
        clock = {self.NVML_CLOCK_SM: handle.sm_clock, self.NVML_CLOCK_MEM: handle.memory_clock}[type]
        return self._answer("nvmlDeviceGetClockInfo", handle, clock)

    def nvmlDeviceGetMaxClockInfo(self, handle: FakeGpu, type: int) -> int:  # noqa: A002
        assert type == self.NVML_CLOCK_SM
        return self._answer("nvmlDeviceGetMaxClockInfo", handle, handle.sm_clock_most)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetCurrentClocksEventReasons", handle, handle.reasons)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetCurrentClocksThrottleReasons", handle, handle.reasons)

    def nvmlDeviceGetPerformanceState(self, handle: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetPerformanceState", handle, handle.state)

    def nvmlDeviceGetFanSpeed(self, handle: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetFanSpeed", handle, handle.fan)

    def nvmlDeviceGetCurrPcieLinkGeneration(self, handle: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetCurrPcieLinkGeneration", handle, handle.pcie_generation)

    def nvmlDeviceGetCurrPcieLinkWidth(self, handle: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetCurrPcieLinkWidth", handle, handle.pcie_width)

    def nvmlDeviceGetMaxPcieLinkGeneration(self, handle: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetMaxPcieLinkGeneration", handle, handle.pcie_generation_most)

    def nvmlDeviceGetMaxPcieLinkWidth(self, handle: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetMaxPcieLinkWidth", handle, handle.pcie_width_most)

    def nvmlDeviceGetPcieThroughput(self, device: FakeGpu, counter: int) -> int:
        self.on_pcie()
        received, sent = self._answer("nvmlDeviceGetPcieThroughput", device, device.pcie_kb)
        return {self.NVML_PCIE_UTIL_RX_BYTES: received, self.NVML_PCIE_UTIL_TX_BYTES: sent}[counter]

    def nvmlDeviceGetEncoderUtilization(self, handle: FakeGpu) -> list[int]:
        return [self._answer("nvmlDeviceGetEncoderUtilization", handle, handle.encoder), 167_000]

    def nvmlDeviceGetDecoderUtilization(self, handle: FakeGpu) -> list[int]:
        return [self._answer("nvmlDeviceGetDecoderUtilization", handle, handle.decoder), 167_000]

    def nvmlDeviceGetTotalEccErrors(self, handle: FakeGpu, errorType: int, counterType: int) -> int:
        assert (errorType, counterType) == (self.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, self.NVML_VOLATILE_ECC)
        return self._answer("nvmlDeviceGetTotalEccErrors", handle, handle.uncorrected)

    def nvmlDeviceGetComputeMode(self, handle: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetComputeMode", handle, handle.compute_mode)

    # Processes

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Device) -> list[Any]:
        device = handle.mig if isinstance(handle, MigHandle) else handle
        return _processes(self._answer("nvmlDeviceGetComputeRunningProcesses_v3", handle, device.processes))

    def nvmlDeviceGetGraphicsRunningProcesses_v3(self, handle: FakeGpu) -> list[Any]:
        return _processes(self._answer("nvmlDeviceGetGraphicsRunningProcesses_v3", handle, handle.drawing))

    def nvmlDeviceGetProcessUtilization(self, handle: FakeGpu, timeStamp: int) -> list[Any]:
        samples = self._answer("nvmlDeviceGetProcessUtilization", handle, handle.samples)
        newer = [sample for sample in samples if sample[1] > timeStamp]
        if not newer:
            raise pynvml.NVMLError_NotFound()
        return [
            pynvml.c_nvmlProcessUtilizationSample_t(pid=pid, timeStamp=at_us, smUtil=percent)
            for pid, at_us, percent in newer
        ]

    # MIG

    def nvmlDeviceGetMigMode(self, device: FakeGpu) -> list[int]:
        is_divided = self._answer("nvmlDeviceGetMigMode", device, device.mig is not None)
        return [int(is_divided), int(is_divided)]

    def nvmlDeviceGetMaxMigDeviceCount(self, device: FakeGpu) -> int:
        return self._answer("nvmlDeviceGetMaxMigDeviceCount", device, len(device.mig or ()))

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: FakeGpu, index: int) -> MigHandle:
        mig = self._answer("nvmlDeviceGetMigDeviceHandleByIndex", device, device.mig)[index]
        if mig is None:
            raise pynvml.NVMLError_NotFound()
        return MigHandle(device, mig)

    def nvmlDeviceGetGpuInstanceId(self, device: MigHandle) -> int:
        return self._answer("nvmlDeviceGetGpuInstanceId", device, device.mig.gpu_instance)

    # GPM

    def nvmlGpmQueryDeviceSupport(self, device: FakeGpu) -> Any:
        is_supported = self._answer("nvmlGpmQueryDeviceSupport", device, device.gpm is not None)
        return pynvml.c_nvmlGpmSupport_t(version=1, isSupportedDevice=int(is_supported))

    def nvmlGpmSampleAlloc(self) -> Any:
        self._require_driver()
        self._allocated += 1
        address = self._allocated * 0x1000  # never looked at: the structure behind it is NVML's own secret
        self.samples[address] = (0, {})
        return ctypes.cast(ctypes.c_void_p(address), pynvml.c_nvmlGpmSample_t)

    def nvmlGpmSampleFree(self, gpmSample: Any) -> None:
        self._require_driver()
        del self.samples[_address(gpmSample)]

    def nvmlGpmSampleGet(self, device: FakeGpu, gpmSample: Any) -> Any:
        self._take(gpmSample, self._answer("nvmlGpmSampleGet", device, device.gpm))
        return gpmSample

    def nvmlGpmMigSampleGet(self, device: FakeGpu, gpuInstanceId: int, gpmSample: Any) -> Any:
        parts = self._answer("nvmlGpmMigSampleGet", device, device.mig)
        gpm = next(mig.gpm for mig in parts if mig is not None and mig.gpu_instance == gpuInstanceId)
        self._take(gpmSample, gpm)  # instances in one GPU instance share its counters
        return gpmSample

    def nvmlGpmMetricsGet(self, metricsGet: Any) -> Any:
        self._require_driver()
        before, _ = self.samples[_address(metricsGet.sample1)]
        after, metrics = self.samples[_address(metricsGet.sample2)]
        assert metricsGet.version == self.NVML_GPM_METRICS_GET_VERSION
        assert 0 < before < after
        for place in range(metricsGet.numMetrics):
            metric = metricsGet.metrics[place]
            if metric.metricId in metrics:
                metric.nvmlReturn, metric.value = self.NVML_SUCCESS, metrics[metric.metricId]
            else:
                metric.nvmlReturn, metric.value = pynvml.NVML_ERROR_NOT_SUPPORTED, 99.0
        return metricsGet

    # The double's own

    def _take(self, sample: Any, metrics: dict[int, float]) -> None:
        self._moments += 1
        assert _address(sample) in self.samples
        self.samples[_address(sample)] = (self._moments, dict(metrics))

    def _require_driver(self) -> None:
        if self.users == 0:
            raise pynvml.NVMLError_Uninitialized()
        if self.driver.error is not None:
            raise self.driver.error

    def _answer(self, function: str, handle: Device, value: Answer | None) -> Answer:
        self.calls[function] += 1
        self._require_driver()
        gpu = handle.gpu if isinstance(handle, MigHandle) else handle
        gpu.asked += 1
        gpu.lost = gpu.lost or (gpu.lost_after is not None and gpu.asked > gpu.lost_after)
        if gpu.lost:
            raise gpu.lost_error()
        if function in gpu.errors:
            raise gpu.errors[function]
        if value is None:
            raise pynvml.NVMLError_NotSupported()
        return value


def _processes(listed: list[tuple[int, int | None]]) -> list[Any]:
    processes = [pynvml.nvmlStructToFriendlyObject(pynvml.c_nvmlProcessInfo_v3_t(pid=pid)) for pid, _ in listed]
    for process, (_, held) in zip(processes, listed, strict=True):
        process.usedGpuMemory = held  # pynvml puts None in the place of "not available"
    return processes


def _address(sample: Any) -> int:
    return ctypes.cast(sample, ctypes.c_void_p).value or 0


class AskedAtOnce(PcieWatch):
    """PCIe throughput without a thread: a look asks."""

    def latest(self, index: int) -> dict[str, float | None]:
        for device in self._devices:
            if device.index == index:
                self.ask(device)
        return dict(self._latest[index])


class StillClock:
    """The monotonic clock, which stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def open_fake(
    *devices: FakeGpu, nvml: FakeNvml | None = None, clock: StillClock | None = None, **settings: Any
) -> NvmlMonitor:
    """A monitor of these devices, or of those of `nvml`, that starts no thread and keeps no time of its own."""
    driver = FakeNvml(*devices) if nvml is None else nvml
    return NvmlMonitor(driver, clock=clock or StillClock(), watch_pcie=AskedAtOnce, **settings)
