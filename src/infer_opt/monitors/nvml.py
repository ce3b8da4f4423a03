"""NVIDIA devices, read through NVML (`nvidia-ml-py`, module `pynvml`).

NVML answers "not supported" for many readings on some devices (utilisation under MIG, power on small boards) and "GPU
is lost" once a device fell off the bus. Either is None here, never 0, and the other readings go on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infer_opt.errors import UnavailableError
from infer_opt.facts import Gpu

Nvml = Any  # the module pynvml, or the tests' double with the same names
Handle = Any

NO_GPU_HINT = "see `nvidia-smi`; choose `--provider cpu` to run without an NVIDIA GPU"
# Bits of the clock event reasons that mean heat: software and hardware thermal slowdown. `HwSlowdown` is left out: it
# is also set by the power brake, which is not heat.
THERMAL_BITS = 0x20 | 0x40


class NvmlMonitor:
    """Every NVIDIA GPU that this process may see.

    Readings are named `gpu0.utilisation`, `gpu1.power_watts` and so on. None where the device does not say:

    `utilisation`          share of the driver's last sampling period (1/6 to 1 s) in which some kernel ran, 0 to 1;
                           None under MIG; `nvidia-smi --query-gpu=utilization.gpu`
    `memory_used_bytes`    held by all processes, without what the driver keeps to itself; `--query-gpu=memory.used`
    `memory_total_bytes`   `--query-gpu=memory.total`
    `power_watts`          board power, averaged over about a second on Ampere and later; `--query-gpu=power.draw`
    `temperature_celsius`  of the chip; `--query-gpu=temperature.gpu`
    `sm_clock_mhz`         clock of the multiprocessors now; `--query-gpu=clocks.sm`
    `throttle_reasons`     bit mask of why the clock is not higher; `--query-gpu=clocks_event_reasons.active`
    `energy_joules`        used since the driver was loaded, so take differences; `dcgmi dmon -e 156` (mJ)
    `process_memory_bytes` held by the given processes; `nvidia-smi --query-compute-apps=pid,used_memory`
    `foreign_processes`    processes that compute there and are not given ones; the same query

    Raises:
        UnavailableError: no NVML library, no driver, or no GPU that answers.
    """

    name = "nvml"

    def __init__(self, nvml: Nvml = None, *, pid_exists: Callable[[int], bool] | None = None) -> None:
        self._nvml = _pynvml() if nvml is None else nvml
        self._pid_exists = _pid_exists if pid_exists is None else pid_exists
        self._open = False
        try:
            self._nvml.nvmlInit()
            self._open = True
            count = self._nvml.nvmlDeviceGetCount()
            self._handles = tuple(self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count))
        except self._nvml.NVMLError as error:
            self.close()
            raise UnavailableError(f"the NVIDIA driver does not answer: {error}", hint=NO_GPU_HINT) from error
        if not self._handles:
            self.close()
            raise UnavailableError("the NVIDIA driver lists no GPU", hint=NO_GPU_HINT)

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        """The readings above, for each GPU."""
        readings: dict[str, float | None] = {}
        for index, handle in enumerate(self._handles):
            for key, value in {**self._device(handle), **self._processes(handle, pids)}.items():
                readings[f"gpu{index}.{key}"] = value
        return readings

    def gpus(self) -> tuple[Gpu, ...]:
        """What the devices are. One that does not say its name or memory any more is left out.

        A device without memory of its own (NVML says "not supported") uses the host's, and that is what it is given.
        """
        found = (self._gpu(index, handle) for index, handle in enumerate(self._handles))
        return tuple(gpu for gpu in found if gpu is not None)

    def foreign_processes(self, pids: Sequence[int]) -> int | None:
        """Processes that compute on any of the GPUs and are not among `pids`; None where that cannot be told."""
        counts = [self._processes(handle, pids)["foreign_processes"] for handle in self._handles]
        known = [int(count) for count in counts if count is not None]
        return sum(known) if known else None

    def thermal_slowdown(self) -> bool | None:
        """Whether heat holds a clock down now; None where no device says.

        Source: `nvidia-smi
        --query-gpu=clocks_event_reasons.hw_thermal_slowdown,clocks_event_reasons.sw_thermal_slowdown`
        """
        masks = [self._ask("nvmlDeviceGetCurrentClocksEventReasons", handle) for handle in self._handles]
        known = [int(mask) for mask in masks if mask is not None]
        return any(mask & THERMAL_BITS for mask in known) if known else None

    def cuda_version(self) -> tuple[int, int] | None:
        """The newest CUDA (major, minor) that the driver can run; the "CUDA Version" in `nvidia-smi`'s heading."""
        found = self._ask("nvmlSystemGetCudaDriverVersion")
        return None if found is None else (int(found) // 1000, int(found) % 1000 // 10)

    def close(self) -> None:
        """Give NVML back. Safe to call twice."""
        if self._open:
            self._open = False
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                return  # the driver is gone already, and so is all that it held for us

    def _ask(self, function: str, *arguments: Any) -> Any:
        """What NVML answers; None when the device, or this version of the driver, does not say."""
        try:
            return getattr(self._nvml, function)(*arguments)
        except self._nvml.NVMLError:
            return None

    def _device(self, handle: Handle) -> dict[str, float | None]:
        nvml = self._nvml
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle, nvml.nvmlMemory_v2)
        utilisation = self._ask("nvmlDeviceGetUtilizationRates", handle)
        return {
            "utilisation": None if utilisation is None else utilisation.gpu / 100,
            "memory_used_bytes": None if memory is None else float(memory.used),
            "memory_total_bytes": None if memory is None else float(memory.total),
            "power_watts": _scaled(self._ask("nvmlDeviceGetPowerUsage", handle), 1e-3),
            "temperature_celsius": _scaled(
                self._ask("nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU), 1.0
            ),
            "sm_clock_mhz": _scaled(self._ask("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_SM), 1.0),
            "throttle_reasons": _scaled(self._ask("nvmlDeviceGetCurrentClocksEventReasons", handle), 1.0),
            "energy_joules": _scaled(self._ask("nvmlDeviceGetTotalEnergyConsumption", handle), 1e-3),
        }

    def _processes(self, handle: Handle, pids: Sequence[int]) -> dict[str, float | None]:
        listed = self._ask("nvmlDeviceGetComputeRunningProcesses", handle)
        if listed is None:
            return {"process_memory_bytes": None, "foreign_processes": None}
        own = [process for process in listed if process.pid in pids]
        held = [process.usedGpuMemory for process in own]
        memory = None if not held or None in held else float(sum(held))
        return {"process_memory_bytes": memory, "foreign_processes": self._foreign(listed, own, pids)}

    def _foreign(self, listed: Sequence[Any], own: Sequence[Any], pids: Sequence[int]) -> float | None:
        others = len({process.pid for process in listed} - {process.pid for process in own})
        # In a container NVML may give the host's process numbers: then none of ours is listed under the number that we
        # know, and one that we cannot see may be our own.
        ambiguous = bool(pids) and not own and not all(self._pid_exists(process.pid) for process in listed)
        return None if ambiguous else float(others)

    def _gpu(self, index: int, handle: Handle) -> Gpu | None:
        name = self._ask("nvmlDeviceGetName", handle)
        driver = self._ask("nvmlSystemGetDriverVersion")
        capability = self._ask("nvmlDeviceGetCudaComputeCapability", handle)
        memory_bytes = self._memory_bytes(handle)
        if name is None or memory_bytes is None:
            return None
        return Gpu(
            index=index,
            name=name,
            memory_bytes=memory_bytes,
            driver=driver or "unknown",
            compute_capability=None if capability is None else ".".join(map(str, capability)),
        )

    def _memory_bytes(self, handle: Handle) -> int | None:
        try:
            return int(self._nvml.nvmlDeviceGetMemoryInfo(handle, self._nvml.nvmlMemory_v2).total)
        except self._nvml.NVMLError_NotSupported:
            import psutil

            return int(psutil.virtual_memory().total)
        except self._nvml.NVMLError:
            return None


def gpus(nvml: Nvml = None) -> tuple[Gpu, ...]:
    """The NVIDIA GPUs of this machine; empty when there is none, or no driver that answers."""
    try:
        monitor = NvmlMonitor(nvml)
    except UnavailableError:
        return ()
    try:
        return monitor.gpus()
    finally:
        monitor.close()


def _scaled(value: Any, factor: float) -> float | None:
    return None if value is None else float(value) * factor


def _pynvml() -> Nvml:
    try:
        import pynvml
    except ImportError as error:
        raise UnavailableError("the NVML bindings are not installed", hint="pip install nvidia-ml-py") from error
    return pynvml


def _pid_exists(pid: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(pid))
