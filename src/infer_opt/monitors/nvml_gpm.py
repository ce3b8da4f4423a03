"""GPM: how busy the parts of a GPU are, from the counters that Hopper and later have in hardware."""

import math
from typing import Any

from infer_opt.monitors.nvml_asking import Asker, Handle, share

# Our name -> pynvml's name for the number of the metric. All are percent.
METRICS = {
    "graphics_active": "NVML_GPM_METRIC_GRAPHICS_UTIL",
    "sm_active": "NVML_GPM_METRIC_SM_UTIL",
    "sm_occupancy": "NVML_GPM_METRIC_SM_OCCUPANCY",
    "tensor_active": "NVML_GPM_METRIC_ANY_TENSOR_UTIL",
    "dram_active": "NVML_GPM_METRIC_DRAM_BW_UTIL",
}


class Gpm:
    """What one GPU, or one of its MIG instances, did between a read and the read before.

    `gpu_instance` is the number of the MIG GPU instance; None is the whole device. Two samples are kept, which take
    turns; `close` frees them.
    """

    def __init__(self, gpu_instance: int | None = None) -> None:
        self._gpu_instance = gpu_instance
        self._samples: list[Any] = []  # the last one taken, and the one to be taken next
        self._has_last = False

    def read(self, asker: Asker, device: Handle) -> dict[str, float | None]:
        """The readings of METRICS, 0 to 1. None at the first read, and where NVML does not say.

        `device` is the GPU's own handle, also for a MIG instance.
        """
        nothing: dict[str, float | None] = dict.fromkeys(METRICS)
        if not self._allocate(asker):
            return nothing
        last, fresh = self._samples
        has_last, self._has_last = self._has_last, False
        if self._take(asker, device, fresh) is None:
            return nothing
        self._samples, self._has_last = [fresh, last], True
        return _compare(asker, last, fresh) if has_last else nothing

    def forget(self) -> None:
        """Begin anew: the next read is a first one."""
        self._has_last = False

    def close(self, asker: Asker) -> None:
        """Free the samples. Safe to call twice."""
        samples, self._samples, self._has_last = self._samples, [], False
        for sample in samples:
            asker.ask("nvmlGpmSampleFree", sample)

    def _allocate(self, asker: Asker) -> bool:
        while len(self._samples) < 2:
            sample = asker.ask("nvmlGpmSampleAlloc")
            if sample is None:
                return False
            self._samples.append(sample)
        return True

    def _take(self, asker: Asker, device: Handle, sample: Any) -> Any:
        if self._gpu_instance is None:
            return asker.ask("nvmlGpmSampleGet", device, sample)
        return asker.ask("nvmlGpmMigSampleGet", device, self._gpu_instance, sample)


def is_supported(asker: Asker, device: Handle) -> bool | None:
    """Whether the GPU has these counters; None where the driver does not say."""
    support = asker.ask("nvmlGpmQueryDeviceSupport", device)
    return None if support is None else bool(support.isSupportedDevice)


def _compare(asker: Asker, older: Any, newer: Any) -> dict[str, float | None]:
    nvml = asker.nvml
    question = nvml.c_nvmlGpmMetricsGet_t()
    question.version, question.numMetrics = nvml.NVML_GPM_METRICS_GET_VERSION, len(METRICS)
    question.sample1, question.sample2 = older, newer
    for place, metric in enumerate(METRICS.values()):
        question.metrics[place].metricId = getattr(nvml, metric)
    if asker.ask("nvmlGpmMetricsGet", question) is None:
        return dict.fromkeys(METRICS)
    return {name: _value(nvml, question.metrics[place]) for place, name in enumerate(METRICS)}


def _value(nvml: Any, metric: Any) -> float | None:
    # Two samples of one moment divide by nothing: NaN is "not available" too.
    known = metric.nvmlReturn == nvml.NVML_SUCCESS and math.isfinite(metric.value)
    return share(metric.value) if known else None
