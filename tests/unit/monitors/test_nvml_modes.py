import pynvml
import pytest

from fake_nvml import FakeGpu, FakeMig, FakeNvml
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.monitors.nvml_modes import ComputeMode, GpuMode


@pytest.mark.parametrize(
    ("mode", "meaning"),
    [
        (pynvml.NVML_COMPUTEMODE_DEFAULT, ComputeMode.SHARED),
        (pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS, ComputeMode.ONE_PROCESS),
        (pynvml.NVML_COMPUTEMODE_EXCLUSIVE_THREAD, ComputeMode.ONE_PROCESS),
        (pynvml.NVML_COMPUTEMODE_PROHIBITED, ComputeMode.NOBODY),
        (None, None),
    ],
)
def test_the_compute_mode_is_read(mode: int | None, meaning: ComputeMode | None) -> None:
    monitor = NvmlMonitor(FakeNvml(FakeGpu(compute_mode=mode)), detailed=False)

    assert monitor.modes() == (GpuMode(index=0, compute=meaning),)


def test_instances_of_a_divided_gpu_are_counted() -> None:
    monitor = NvmlMonitor(FakeNvml(FakeGpu(), FakeGpu(mig=[FakeMig(), None, FakeMig()])), detailed=False)

    assert [(mode.is_divided, mode.instances) for mode in monitor.modes()] == [(False, 0), (True, 2)]


def test_a_lost_gpu_is_left_out() -> None:
    lost, well = FakeGpu(), FakeGpu()
    monitor = NvmlMonitor(FakeNvml(lost, well), detailed=False)
    lost.lost = True

    assert [mode.index for mode in monitor.modes()] == [1]
