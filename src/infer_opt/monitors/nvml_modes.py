"""How GPUs may be used: by one process or several, and whether they are divided."""

from dataclasses import dataclass
from enum import StrEnum

from infer_opt.monitors.nvml_asking import Asker, Handle
from infer_opt.monitors.nvml_mig import instances, is_divided


class ComputeMode(StrEnum):
    """Who may compute on a GPU: `nvidia-smi --query-gpu=compute_mode`."""

    SHARED = "shared"
    ONE_PROCESS = "one process"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMode:
    """One GPU's compute mode (None where it is not told), whether MIG is on, and its instances."""

    index: int
    compute: ComputeMode | None = None
    is_divided: bool = False
    instances: int = 0


def mode_of(asker: Asker, device: Handle, index: int) -> GpuMode:
    """The modes of one GPU. The mode of one thread, which drivers of today know no more, is that of one process."""
    nvml = asker.nvml
    known = {
        nvml.NVML_COMPUTEMODE_DEFAULT: ComputeMode.SHARED,
        nvml.NVML_COMPUTEMODE_EXCLUSIVE_THREAD: ComputeMode.ONE_PROCESS,
        nvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS: ComputeMode.ONE_PROCESS,
        nvml.NVML_COMPUTEMODE_PROHIBITED: ComputeMode.NOBODY,
    }
    divided = is_divided(asker, device)
    return GpuMode(
        index=index,
        compute=known.get(asker.ask("nvmlDeviceGetComputeMode", device)),
        is_divided=divided,
        instances=len(instances(asker, device)) if divided else 0,
    )
