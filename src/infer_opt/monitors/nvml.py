"""NVIDIA devices, read through NVML (`nvidia-ml-py`, module `pynvml`).

NVML answers "not supported" for many readings on some devices (utilisation under MIG, power on small boards): None
here, never 0. A GPU that fell off the bus or has to be reset gives None for all of its readings, and the others go on.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

from infer_opt.errors import UnavailableError
from infer_opt.facts import Gpu
from infer_opt.monitors import nvml_processes
from infer_opt.monitors.nvml_asking import Asker, Nvml
from infer_opt.monitors.nvml_devices import THERMAL_BITS, Device, throttle_reasons
from infer_opt.monitors.nvml_modes import GpuMode, mode_of
from infer_opt.monitors.nvml_pcie import PcieWatch
from infer_opt.monitors.nvml_processes import Chosen
from infer_opt.readings.catalogue import key_of

NO_GPU_HINT = "see `nvidia-smi`; choose `--provider cpu` to run without an NVIDIA GPU"
GONE_HINT = "see `nvidia-smi`; after an update of the driver, reload its modules or restart the machine"


class NvmlMonitor:
    """Every NVIDIA GPU that this process may see.

    Readings are those of `readings.catalogue`, family `gpu`, with their units and the commands that show the same:
    `gpu[0].utilisation`, `gpu[1].power_watts`, and of MIG instances `gpu[0.mig1].memory_used_bytes`. How they are
    sampled, beyond what stands there:

    - Clocks, power, energy, heat, memory, utilisation and GPM are asked at every read. What changes slowly or takes
      milliseconds is asked once a second at most, and stands meanwhile: processes and what they hold, the fan, the
      power limit, errors, temperature of memory, generation and width of PCIe, encoders, which MIG instances exist.
    - The throughput of PCIe takes 20 ms for each direction. A thread asks, one GPU a second, and a read gives the last
      answer, None in the first.
    - GPM and the utilisation of processes need a read before: None in the first.

    With `detailed=False` nothing of this is done: a read gives `nvml_devices.LEAN`, asked anew each time, in as little
    time as can be. That is for whoever measures something else.

    Raises:
        UnavailableError: no NVML library, no driver, or no GPU that answers.
    """

    name = "nvml"

    def __init__(
        self,
        nvml: Nvml = None,
        *,
        detailed: bool = True,
        pid_exists: Callable[[int], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
        watch_pcie: Callable[[Nvml, Sequence[Device]], PcieWatch] = PcieWatch,
    ) -> None:
        self._nvml = _pynvml() if nvml is None else nvml
        self._pid_exists = _pid_exists if pid_exists is None else pid_exists
        self._clock, self._detailed = clock, detailed
        self._devices: tuple[Device, ...] = ()
        self._lost: dict[int, str] = {}
        self._open = False
        try:
            self._nvml.nvmlInit()
            self._open = True
            self._devices = self._connected()
        except self._nvml.NVMLError as error:
            self.close()
            raise UnavailableError(f"the NVIDIA driver does not answer: {error}", hint=NO_GPU_HINT) from error
        if not self._devices:
            self.close()
            raise UnavailableError("the NVIDIA driver lists no GPU", hint=NO_GPU_HINT)
        self._pcie = watch_pcie(self._nvml, self._devices)

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        """The readings above, for each GPU.

        Raises:
            UnavailableError: the driver does not answer any more, for no GPU. This monitor is closed then; open a new
                one once the driver is back.
        """
        if not self._open:
            raise UnavailableError("the NVIDIA driver does not answer any more: this monitor is closed", hint=GONE_HINT)
        asker, chosen = Asker(self._nvml), Chosen(pids=frozenset(pids), exists=self._pid_exists)
        now_s = self._clock()
        lost: dict[int, str] = {}
        readings: dict[str, float | None] = {}
        try:
            for device in self._devices:
                try:
                    found = device.read(asker, chosen, now_s)
                except asker.lost as error:
                    found, lost[device.index] = device.lose(), str(error)
                else:
                    if self._detailed:
                        found[str(device.index)] |= self._pcie.latest(device.index)
                for instance, values in found.items():
                    readings |= {key_of("gpu", name, instance): value for name, value in values.items()}
        except asker.gone as error:
            raise self._gone(error) from error
        if asker.unanswered is not None:
            raise self._gone(asker.unanswered)
        self._lost = lost
        return readings

    def lost(self) -> tuple[str, ...]:
        """One sentence for each GPU that was lost at the last read, the same one for as long as it is."""
        names = {device.index: f" ({device.name})" if device.name else "" for device in self._devices}
        return tuple(f"GPU {index}{names[index]} gives no readings: {why}" for index, why in self._lost.items())

    def by_process(self) -> Mapping[int, tuple[int | None, float | None]]:
        """Device memory in bytes and utilisation, 0 to 1, of every process that was on a GPU at the last read.

        Memory is summed over all GPUs, utilisation is that of the GPU which the process keeps busiest. Process numbers
        are the driver's: in a container they may be the host's.
        """
        return nvml_processes.by_process(device.usage for device in self._devices)

    def gpus(self) -> tuple[Gpu, ...]:
        """What the devices are. One that does not say its name or memory any more is left out.

        A device without memory of its own (NVML says "not supported") uses the host's, and that is what it is given.
        """
        found = []
        for device in self._devices:
            with contextlib.suppress(self._nvml.NVMLError):  # lost
                found.append(self._gpu(Asker(self._nvml), device))
        return tuple(gpu for gpu in found if gpu is not None)

    def modes(self) -> tuple[GpuMode, ...]:
        """Who may compute on each GPU, and which are divided (MIG). A lost one is left out."""
        asker, found = Asker(self._nvml), []
        for device in self._devices:
            with contextlib.suppress(self._nvml.NVMLError):
                if device.connect(asker):
                    found.append(mode_of(asker, device.handle, device.index))
        return tuple(found)

    def foreign_processes(self, pids: Sequence[int]) -> int | None:
        """Processes that compute on any of the GPUs and are not among `pids`; None where that cannot be told."""
        asker, chosen = Asker(self._nvml), Chosen(pids=frozenset(pids), exists=self._pid_exists)
        known: list[float | None] = []
        for device in self._devices:
            with contextlib.suppress(self._nvml.NVMLError):
                if device.connect(asker):
                    usage = nvml_processes.Usage(computing=nvml_processes.computing(asker, device.handle))
                    known.append(usage.foreign(chosen))
        counts = [int(count) for count in known if count is not None]
        return sum(counts) if counts else None

    def thermal_slowdown(self) -> bool | None:
        """Whether heat holds a clock down now; None where no device says.

        Source: `nvidia-smi
        --query-gpu=clocks_event_reasons.hw_thermal_slowdown,clocks_event_reasons.sw_thermal_slowdown`
        """
        asker = Asker(self._nvml)
        masks: list[int | None] = []
        for device in self._devices:
            with contextlib.suppress(self._nvml.NVMLError):
                if device.connect(asker):
                    masks.append(throttle_reasons(asker, device.handle))
        known = [mask for mask in masks if mask is not None]
        return any(mask & THERMAL_BITS for mask in known) if known else None

    def cuda_version(self) -> tuple[int, int] | None:
        """The newest CUDA (major, minor) that the driver can run; the "CUDA Version" in `nvidia-smi`'s heading."""
        try:
            found = int(self._nvml.nvmlSystemGetCudaDriverVersion())
        except self._nvml.NVMLError:
            return None
        return found // 1000, found % 1000 // 10

    def close(self) -> None:
        """Give NVML back. Safe to call twice.

        NVML begins anew, which it must after a driver came back, only once every monitor of this process is closed.
        """
        if not self._open:
            return
        self._open = False
        if self._devices and not self._pcie.close():
            return  # a question hangs in the driver, and so would this
        asker = Asker(self._nvml)
        for device in self._devices:
            with contextlib.suppress(self._nvml.NVMLError):  # the driver is gone, and so is all that it held for us
                device.close(asker)
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _connected(self) -> tuple[Device, ...]:
        """The GPUs that are ours to ask, lost ones among them.

        Raises:
            NVMLError: the driver is gone, or every GPU is lost.
        """
        asker = Asker(self._nvml)
        found: list[Device] = []
        losses: list[Exception] = []
        for index in range(self._nvml.nvmlDeviceGetCount()):
            device = Device(index, detailed=self._detailed)
            try:
                is_ours = device.connect(asker)
            except asker.lost as error:
                losses.append(error)
                is_ours = True
            if is_ours:
                found.append(device)
        if losses and len(losses) == len(found):
            raise losses[0]
        return tuple(found)

    def _gone(self, error: Exception) -> UnavailableError:
        self.close()
        return UnavailableError(f"the NVIDIA driver does not answer any more: {error}", hint=GONE_HINT)

    def _gpu(self, asker: Asker, device: Device) -> Gpu | None:
        if not device.connect(asker):
            return None
        name = asker.ask("nvmlDeviceGetName", device.handle)
        driver = asker.ask("nvmlSystemGetDriverVersion")
        capability = asker.ask("nvmlDeviceGetCudaComputeCapability", device.handle)
        memory_bytes = self._memory_bytes(device)
        if name is None or memory_bytes is None:
            return None
        return Gpu(
            index=device.index,
            name=name,
            memory_bytes=memory_bytes,
            driver=driver or "unknown",
            compute_capability=None if capability is None else ".".join(map(str, capability)),
        )

    def _memory_bytes(self, device: Device) -> int | None:
        try:
            return int(self._nvml.nvmlDeviceGetMemoryInfo(device.handle, self._nvml.nvmlMemory_v2).total)
        except self._nvml.NVMLError_NotSupported:
            import psutil

            return int(psutil.virtual_memory().total)
        except self._nvml.NVMLError:
            return None


def gpus(nvml: Nvml = None) -> tuple[Gpu, ...]:
    """The NVIDIA GPUs of this machine; empty when there is none, or no driver that answers."""
    try:
        monitor = NvmlMonitor(nvml, detailed=False)
    except UnavailableError:
        return ()
    try:
        return monitor.gpus()
    finally:
        monitor.close()


def _pynvml() -> Nvml:
    try:
        import pynvml
    except ImportError as error:
        raise UnavailableError("the NVML bindings are not installed", hint="pip install nvidia-ml-py") from error
    return pynvml


def _pid_exists(pid: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(pid))
