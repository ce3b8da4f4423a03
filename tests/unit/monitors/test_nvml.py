import pynvml
import pytest

from fake_nvml import FakeGpu, FakeMig, FakeNvml, StillClock, open_fake
from infer_opt.errors import UnavailableError
from infer_opt.facts import Gpu
from infer_opt.monitors.nvml import NvmlMonitor, gpus
from infer_opt.monitors.nvml_devices import LEAN
from infer_opt.monitors.nvml_pcie import PcieWatch
from infer_opt.readings.catalogue import CATALOGUE, quantity_of

GIB = 1 << 30
GONE = [
    pynvml.NVMLError_Uninitialized(),
    pynvml.NVMLError_DriverNotLoaded(),
    pynvml.NVMLError_LibRmVersionMismatch(),
    pynvml.NVMLError_Unknown(),
]


def of(readings: dict[str, float | None], instance: str) -> dict[str, float | None]:
    prefix = f"gpu[{instance}]."
    return {key.removeprefix(prefix): value for key, value in readings.items() if key.startswith(prefix)}


# Reading


def test_a_read_gives_all_of_the_catalogue_for_each_gpu() -> None:
    names = {name for family, name in CATALOGUE if family == "gpu"}
    monitor = open_fake(FakeGpu(), FakeGpu())

    readings = dict(monitor.read([]))

    assert set(of(readings, "0")) == set(of(readings, "1")) == names
    assert all(quantity_of(key).family == "gpu" for key in readings)


def test_a_second_read_of_a_gpu_that_says_everything_has_no_gaps() -> None:
    monitor = open_fake(FakeGpu(processes=[(5, GIB)], samples=[(5, 1, 10)]))

    monitor.read([5])
    readings = monitor.read([5])

    assert [key for key, value in readings.items() if value is None] == ["gpu[0].process_utilisation"]


def test_several_devices_are_told_apart() -> None:
    monitor = open_fake(FakeGpu(name="A", temperature=50), FakeGpu(name="B", temperature=70))

    readings = monitor.read([])

    assert (readings["gpu[0].temperature_celsius"], readings["gpu[1].temperature_celsius"]) == (50, 70)
    assert [(gpu.index, gpu.name) for gpu in monitor.gpus()] == [(0, "A"), (1, "B")]


def test_whoever_measures_something_else_gets_few_readings_with_few_questions() -> None:
    driver = FakeNvml(FakeGpu(processes=[(5, GIB)]))
    monitor = NvmlMonitor(driver, detailed=False)  # with the real clock and thread: neither is used
    driver.calls.clear()

    readings = dict(monitor.read([5]))

    assert tuple(of(readings, "0")) == LEAN
    assert set(driver.calls) == {
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetComputeRunningProcesses_v3",
    }
    assert driver.calls.total() == 8
    assert None not in readings.values()
    assert monitor.by_process() == {5: (GIB, None)}


def test_the_few_readings_are_asked_anew_each_time() -> None:
    device = FakeGpu(processes=[(5, GIB)])
    monitor = open_fake(device, detailed=False)
    monitor.read([5])

    device.processes, device.energy_mj = [(5, 2 * GIB)], 20_000
    readings = monitor.read([5])

    assert (readings["gpu[0].process_memory_bytes"], readings["gpu[0].energy_joules"]) == (2 * GIB, 20)


# What does not answer


def test_a_device_that_falls_off_the_bus_mid_run_leaves_the_others() -> None:
    failing, healthy = FakeGpu(processes=[(5, GIB)]), FakeGpu()
    monitor = open_fake(failing, healthy)
    monitor.read([5])
    before = dict(monitor.read([5]))

    failing.lost = True
    after = dict(monitor.read([5]))

    assert after.keys() == before.keys()
    assert set(of(after, "0").values()) == {None}
    assert of(after, "1") == of(before, "1")
    assert [gpu.index for gpu in monitor.gpus()] == [1]
    assert monitor.by_process() == {}


def test_a_device_that_is_lost_between_two_questions_of_one_read_gives_nothing_of_it() -> None:
    for questions in range(60):
        device = FakeGpu()
        monitor = open_fake(device, FakeGpu())
        device.lost_after = device.asked + questions
        found = of(dict(monitor.read([])), "0")
        if not monitor.lost():
            break
        assert set(found.values()) == {None}
    assert questions > 20  # so many, and then it was read whole
    assert found["power_watts"] is not None


@pytest.mark.parametrize(
    ("error", "why"),
    [(pynvml.NVMLError_GpuIsLost, "GPU is lost"), (pynvml.NVMLError_ResetRequired, "GPU requires restart")],
)
def test_which_gpus_are_lost_is_said_in_the_same_words_until_they_are_back(error: type[Exception], why: str) -> None:
    failing = FakeGpu(name="NVIDIA H100", lost_error=error)
    monitor = open_fake(FakeGpu(), failing)
    monitor.read([])
    assert monitor.lost() == ()

    failing.lost = True
    monitor.read([])
    first = monitor.lost()
    monitor.read([])

    assert first == monitor.lost() == (f"GPU 1 (NVIDIA H100) gives no readings: {why}",)
    failing.lost = False
    assert monitor.read([])["gpu[1].power_watts"] is not None
    assert monitor.lost() == ()


def test_a_gpu_that_comes_back_has_a_new_handle_and_compares_with_nothing_from_before() -> None:
    device = FakeGpu()
    driver = FakeNvml(device, FakeGpu())
    monitor = open_fake(nvml=driver)
    monitor.read([])
    assert monitor.read([])["gpu[0].sm_active"] is not None

    device.lost = True
    monitor.read([])
    device.lost, device.fan = False, 90
    handles = driver.calls["nvmlDeviceGetHandleByIndex"]

    back = monitor.read([])
    assert back["gpu[0].sm_active"] is None
    assert back["gpu[0].fan"] == pytest.approx(0.9)
    assert driver.calls["nvmlDeviceGetHandleByIndex"] == handles + 1
    assert monitor.read([])["gpu[0].sm_active"] is not None


def test_when_all_gpus_are_lost_the_driver_still_answers() -> None:
    devices = FakeGpu(), FakeGpu()
    monitor = open_fake(*devices)
    for device in devices:
        device.lost = True

    assert set(monitor.read([]).values()) == {None}
    assert len(monitor.lost()) == 2


def test_a_gpu_that_was_lost_before_anybody_looked_is_said_and_the_others_are_read() -> None:
    monitor = open_fake(FakeGpu(lost=True), FakeGpu())

    readings = dict(monitor.read([]))

    assert set(of(readings, "0").values()) == {None}
    assert readings["gpu[1].power_watts"] is not None
    assert monitor.lost() == ("GPU 0 gives no readings: GPU is lost",)
    assert (monitor.thermal_slowdown(), monitor.foreign_processes([])) == (False, 0)


def test_a_gpu_that_belongs_to_another_container_is_not_ours_to_list() -> None:
    closed = FakeGpu(errors={"nvmlDeviceGetHandleByIndex": pynvml.NVMLError_NoPermission()})
    monitor = open_fake(closed, FakeGpu(name="ours"))

    readings = monitor.read([])

    assert {key.partition(".")[0] for key in readings} == {"gpu[1]"}
    assert [(gpu.index, gpu.name) for gpu in monitor.gpus()] == [(1, "ours")]
    with pytest.raises(UnavailableError, match="lists no GPU"):
        open_fake(closed)


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("detailed", [True, False])
def test_a_driver_that_goes_away_is_one_sentence_and_a_hint(error: Exception, detailed: bool) -> None:
    driver = FakeNvml(FakeGpu(), FakeGpu())
    monitor = open_fake(nvml=driver, detailed=detailed)
    monitor.read([])

    driver.driver.die(error)
    with pytest.raises(UnavailableError, match="the NVIDIA driver does not answer any more: ") as caught:
        monitor.read([])

    assert str(error) in caught.value.what
    assert caught.value.hint is not None
    assert driver.users == 0  # so that a new monitor begins anew
    with pytest.raises(UnavailableError, match="does not answer any more"):
        monitor.read([])


def test_a_new_monitor_reads_again_once_the_driver_is_back() -> None:
    driver = FakeNvml(FakeGpu())
    monitor = open_fake(nvml=driver)
    monitor.read([])
    driver.driver.die(pynvml.NVMLError_Uninitialized())
    with pytest.raises(UnavailableError):
        monitor.read([])

    with pytest.raises(UnavailableError, match="Driver Not Loaded"):
        open_fake(nvml=driver)
    driver.driver.come_back()
    again = open_fake(nvml=driver)

    assert again.read([])["gpu[0].power_watts"] == pytest.approx(250.5)


def test_a_single_reading_that_fails_for_an_unknown_reason_is_not_a_driver_that_is_gone() -> None:
    device = FakeGpu(errors={"nvmlDeviceGetPowerUsage": pynvml.NVMLError_Unknown()})

    readings = open_fake(device).read([])

    assert readings["gpu[0].power_watts"] is None
    assert readings["gpu[0].temperature_celsius"] == 61


def test_a_driver_that_goes_away_after_a_gpu_was_lost_is_said_too() -> None:
    lost = FakeGpu(lost=True)
    other = FakeGpu()
    monitor = open_fake(lost, other)
    monitor.read([])

    other.errors = dict.fromkeys(dir(FakeNvml), pynvml.NVMLError_Unknown())

    with pytest.raises(UnavailableError, match="Unknown Error"):
        monitor.read([])


def test_when_the_driver_is_gone_a_tuning_is_told_nothing_and_goes_on() -> None:
    driver = FakeNvml(FakeGpu())
    monitor = open_fake(nvml=driver, detailed=False)

    driver.driver.die(pynvml.NVMLError_Uninitialized())

    assert monitor.foreign_processes([5]) is None
    assert monitor.thermal_slowdown() is None
    assert monitor.cuda_version() is None
    assert monitor.gpus() == ()


# Processes


def test_memory_of_our_own_processes_is_summed() -> None:
    device = FakeGpu(processes=[(5, 2 * GIB), (6, GIB), (7, 9 * GIB)])

    readings = open_fake(device).read([5, 6])

    assert readings["gpu[0].process_memory_bytes"] == 3 * GIB
    assert readings["gpu[0].foreign_processes"] == 1


def test_a_process_that_works_in_two_mig_slices_is_one_process() -> None:
    device = FakeGpu(processes=[(9, GIB), (9, GIB)])

    assert open_fake(device).foreign_processes([]) == 1


def test_foreign_processes_of_all_gpus_are_counted() -> None:
    monitor = open_fake(FakeGpu(processes=[(5, GIB), (7, GIB)]), FakeGpu(processes=[(8, GIB)]), FakeGpu(processes=None))

    assert monitor.foreign_processes([5]) == 2


def test_in_a_container_an_unknown_number_may_be_our_own() -> None:
    device = FakeGpu(processes=[(40_001, GIB)])
    monitor = open_fake(device, pid_exists=lambda pid: pid < 100)

    assert monitor.foreign_processes([5]) is None
    assert monitor.foreign_processes([]) == 1


def test_a_process_that_we_can_see_and_did_not_start_is_foreign() -> None:
    device = FakeGpu(processes=[(77, GIB)])
    monitor = open_fake(device, pid_exists=lambda pid: True)

    assert monitor.foreign_processes([5]) == 1


def test_every_process_is_listed_with_its_memory_on_all_gpus() -> None:
    clock = StillClock()
    first = FakeGpu(processes=[(5, GIB), (6, None)], samples=[])
    second = FakeGpu(processes=[(5, 2 * GIB)], drawing=[(9, 1 << 20)], samples=[])
    monitor = open_fake(first, second, clock=clock)
    assert monitor.by_process() == {}
    monitor.read([])

    first.samples, second.samples = [(5, 10, 30)], [(5, 10, 80)]
    clock.now_s += 1
    monitor.read([])

    assert monitor.by_process() == {5: (3 * GIB, 0.8), 6: (None, 0.0), 9: (1 << 20, 0.0)}


# What the driver and the devices are


def test_heat_is_told_from_other_reasons_for_a_low_clock() -> None:
    idle, power_cap, hot = (open_fake(FakeGpu(reasons=bits)) for bits in (0x1, 0x4, 0x44))

    assert [idle.thermal_slowdown(), power_cap.thermal_slowdown(), hot.thermal_slowdown()] == [False, False, True]
    assert open_fake(FakeGpu(reasons=None)).thermal_slowdown() is None
    assert open_fake(FakeGpu(reasons=None), FakeGpu(reasons=0x20)).thermal_slowdown() is True


def test_cuda_version_is_major_and_minor() -> None:
    assert open_fake(nvml=FakeNvml(FakeGpu(), cuda=12080)).cuda_version() == (12, 8)


@pytest.mark.parametrize("error", [pynvml.NVMLError_LibraryNotFound(), pynvml.NVMLError_DriverNotLoaded()])
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


def test_a_closed_monitor_reads_nothing_even_while_another_has_nvml_open() -> None:
    driver = FakeNvml(FakeGpu())
    closed, other = open_fake(nvml=driver), open_fake(nvml=driver)

    closed.close()

    with pytest.raises(UnavailableError, match="this monitor is closed"):
        closed.read([])
    assert driver.samples == {}
    other.close()


def test_closing_frees_all_that_was_held() -> None:
    driver = FakeNvml(FakeGpu(), FakeGpu(mig=[FakeMig(), None, FakeMig(gpu_instance=2)]))
    monitor = open_fake(nvml=driver)
    monitor.read([])
    assert len(driver.samples) == 2 * 4

    monitor.close()

    assert driver.samples == {}
    assert driver.users == 0


def test_a_question_that_hangs_in_the_driver_does_not_hang_whoever_closes() -> None:
    class Hanging(PcieWatch):
        def close(self) -> bool:
            return False

    driver = FakeNvml(FakeGpu())
    monitor = NvmlMonitor(driver, watch_pcie=Hanging)

    monitor.close()

    assert driver.users == 1  # NVML is not shut down under a question


def test_gpus_are_facts_and_none_without_a_driver() -> None:
    assert gpus(FakeNvml(FakeGpu(name="H"))) == (
        Gpu(index=0, name="H", memory_bytes=80 * GIB, driver="570.10", compute_capability="9.0"),
    )
    assert gpus(FakeNvml(init_error=pynvml.NVMLError_LibraryNotFound())) == ()


def test_a_device_without_memory_of_its_own_has_the_hosts() -> None:
    (gpu,) = gpus(FakeNvml(FakeGpu(memory_total=None)))

    assert gpu.memory_bytes > GIB
