"""MIG: the parts that a GPU is divided into, each of which is a device to NVML."""

from dataclasses import dataclass

from infer_opt.monitors.nvml_asking import Asker, Handle
from infer_opt.monitors.nvml_processes import Usage, computing


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One MIG instance. `gpu_instance` is NVML's number of the GPU instance around it; None where it is not told."""

    index: int
    handle: Handle
    gpu_instance: int | None
    usage: Usage


def is_divided(asker: Asker, device: Handle) -> bool:
    """Whether MIG is on: `nvidia-smi --query-gpu=mig.mode.current`."""
    modes = asker.ask("nvmlDeviceGetMigMode", device)
    return modes is not None and modes[0] == asker.nvml.NVML_DEVICE_MIG_ENABLE


def instances(asker: Asker, device: Handle) -> tuple[Instance, ...]:
    """The instances there are now, as `nvidia-smi -L` numbers them: they come and go while a GPU is up."""
    most = asker.ask("nvmlDeviceGetMaxMigDeviceCount", device) or 0
    found = []
    for index in range(most):
        handle = asker.ask("nvmlDeviceGetMigDeviceHandleByIndex", device, index)  # "not found" where none is
        if handle is not None:
            gpu_instance = asker.ask("nvmlDeviceGetGpuInstanceId", handle)
            usage = Usage(computing=computing(asker, handle))
            found.append(Instance(index=index, handle=handle, gpu_instance=gpu_instance, usage=usage))
    return tuple(found)
