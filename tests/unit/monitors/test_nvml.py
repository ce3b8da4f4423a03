import pynvml
import pytest

from fake_nvml import FakeGpu, FakeNvml, NVMLError_DriverNotLoaded, NVMLError_LibraryNotFound
from infer_opt.errors import UnavailableError
from infer_opt.facts import Gpu
from infer_opt.monitors.nvml import NvmlMonitor, gpus

GIB = 1 << 30


def test_the_double_uses_only_names_that_pynvml_has() -> None:
    names = [name for name in dir(FakeNvml) if not name.startswith("_")]

    assert len(names) > 20
    assert [name for name in names if not hasattr(pynvml, name)] == []
    for constant in ("NVML_TEMPERATURE_GPU", "NVML_CLOCK_SM", "nvmlMemory_v2"):
        assert getattr(FakeNvml, constant) == getattr(pynvml, constant)


def test_nvmls_units_become_ours() -> None:
    readings = NvmlMonitor(FakeNvml(FakeGpu())).read([])

    assert readings["gpu0.utilisation"] == pytest.approx(0.37)
    assert readings["gpu0.memory_used_bytes"] == 3 * GIB
    assert readings["gpu0.memory_total_bytes"] == 80 * GIB
    assert readings["gpu0.power_watts"] == pytest.approx(250.5)
    assert readings["gpu0.temperature_celsius"] == 61
    assert readings["gpu0.sm_clock_mhz"] == 1980
    assert readings["gpu0.energy_joules"] == pytest.approx(12345.678)


def test_several_devices_are_told_apart() -> None:
    monitor = NvmlMonitor(FakeNvml(FakeGpu(name="A", temperature=50), FakeGpu(name="B", temperature=70)))

    readings = monitor.read([])

    assert (readings["gpu0.temperature_celsius"], readings["gpu1.temperature_celsius"]) == (50, 70)
    assert [(gpu.index, gpu.name) for gpu in monitor.gpus()] == [(0, "A"), (1, "B")]


def test_under_mig_utilisation_is_not_available_and_not_zero() -> None:
    readings = NvmlMonitor(FakeNvml(FakeGpu(utilisation=None))).read([])

    assert readings["gpu0.utilisation"] is None
    assert readings["gpu0.power_watts"] is not None


def test_an_idle_device_reads_zero_and_not_none() -> None:
    assert NvmlMonitor(FakeNvml(FakeGpu(utilisation=0))).read([])["gpu0.utilisation"] == 0


def test_a_device_that_falls_off_the_bus_mid_run_leaves_the_others() -> None:
    failing, healthy = FakeGpu(processes=[(5, GIB)]), FakeGpu()
    monitor = NvmlMonitor(FakeNvml(failing, healthy))
    before = monitor.read([5])

    failing.lost = True
    after = monitor.read([5])

    assert after.keys() == before.keys()
    assert {value for key, value in after.items() if key.startswith("gpu0.")} == {None}
    assert {key: after[key] for key in after if key.startswith("gpu1.")} == {
        key: before[key] for key in before if key.startswith("gpu1.")
    }
    assert [gpu.index for gpu in monitor.gpus()] == [1]


def test_memory_of_our_own_processes_is_summed() -> None:
    device = FakeGpu(processes=[(5, 2 * GIB), (6, GIB), (7, 9 * GIB)])

    readings = NvmlMonitor(FakeNvml(device)).read([5, 6])

    assert readings["gpu0.process_memory_bytes"] == 3 * GIB
    assert readings["gpu0.foreign_processes"] == 1


def test_memory_that_the_driver_does_not_tell_is_none() -> None:
    readings = NvmlMonitor(FakeNvml(FakeGpu(processes=[(5, 2 * GIB), (6, None)]))).read([5, 6])

    assert readings["gpu0.process_memory_bytes"] is None
    assert readings["gpu0.foreign_processes"] == 0


def test_a_process_that_works_in_two_mig_slices_is_one_process() -> None:
    device = FakeGpu(processes=[(9, GIB), (9, GIB)])

    assert NvmlMonitor(FakeNvml(device)).foreign_processes([]) == 1


def test_in_a_container_an_unknown_number_may_be_our_own() -> None:
    device = FakeGpu(processes=[(40_001, GIB)])
    monitor = NvmlMonitor(FakeNvml(device), pid_exists=lambda pid: pid < 100)

    assert monitor.foreign_processes([5]) is None
    assert monitor.foreign_processes([]) == 1


def test_a_process_that_we_can_see_and_did_not_start_is_foreign() -> None:
    device = FakeGpu(processes=[(77, GIB)])
    monitor = NvmlMonitor(FakeNvml(device), pid_exists=lambda pid: True)

    assert monitor.foreign_processes([5]) == 1


def test_heat_is_told_from_other_reasons_for_a_low_clock() -> None:
    idle, power_cap, hot = (NvmlMonitor(FakeNvml(FakeGpu(reasons=bits))) for bits in (0x1, 0x4, 0x44))

    assert [idle.thermal_slowdown(), power_cap.thermal_slowdown(), hot.thermal_slowdown()] == [False, False, True]
    assert NvmlMonitor(FakeNvml(FakeGpu(reasons=None))).thermal_slowdown() is None


def test_cuda_version_is_major_and_minor() -> None:
    assert NvmlMonitor(FakeNvml(FakeGpu(), cuda=12080)).cuda_version() == (12, 8)


@pytest.mark.parametrize("error", [NVMLError_LibraryNotFound(), NVMLError_DriverNotLoaded()])
def test_no_driver_is_one_sentence_and_a_hint(error: Exception) -> None:
    with pytest.raises(UnavailableError, match="the NVIDIA driver does not answer: ") as caught:
        NvmlMonitor(FakeNvml(init_error=error))

    assert str(error) in caught.value.what
    assert caught.value.hint is not None


def test_a_driver_without_devices_is_unavailable_and_closed() -> None:
    driver = FakeNvml()

    with pytest.raises(UnavailableError, match="lists no GPU"):
        NvmlMonitor(driver)

    assert driver.users == 0


def test_a_device_that_is_lost_at_open_is_unavailable_and_closed() -> None:
    driver = FakeNvml(FakeGpu(lost=True))

    with pytest.raises(UnavailableError, match="GPU is lost"):
        NvmlMonitor(driver)

    assert driver.users == 0


def test_closing_twice_gives_nvml_back_once() -> None:
    driver = FakeNvml(FakeGpu())
    first, second = NvmlMonitor(driver), NvmlMonitor(driver)

    first.close()
    first.close()

    assert driver.users == 1
    second.close()


def test_gpus_are_facts_and_none_without_a_driver() -> None:
    assert gpus(FakeNvml(FakeGpu(name="H"))) == (
        Gpu(index=0, name="H", memory_bytes=80 * GIB, driver="570.10", compute_capability="9.0"),
    )
    assert gpus(FakeNvml(init_error=NVMLError_LibraryNotFound())) == ()


def test_a_device_without_memory_of_its_own_has_the_hosts() -> None:
    (gpu,) = gpus(FakeNvml(FakeGpu(memory_total=None)))

    assert gpu.memory_bytes > GIB
