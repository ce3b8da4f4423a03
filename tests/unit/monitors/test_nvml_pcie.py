import threading
from collections.abc import Callable

import pynvml
import pytest

from fake_nvml import FakeGpu, FakeNvml
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.monitors.nvml_asking import Asker
from infer_opt.monitors.nvml_devices import Device
from infer_opt.monitors.nvml_pcie import READINGS, PcieWatch

NOTHING = dict.fromkeys(READINGS)
PATIENCE_S = 30.0  # no test waits for so long unless it fails


def connected(driver: FakeNvml, count: int) -> list[Device]:
    driver.nvmlInit()
    devices = [Device(index, detailed=True) for index in range(count)]
    for device in devices:
        device.connect(Asker(driver))
    return devices


class Counted:
    """Lets somebody wait for the question of that number."""

    def __init__(self, number: int) -> None:
        self._left, self.reached = number, threading.Event()

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.reached.set()


def waiting_for(release: threading.Event) -> Callable[[], None]:
    def wait() -> None:
        release.wait(PATIENCE_S)

    return wait


def test_kilobytes_become_bytes_and_directions_are_those_of_the_device() -> None:
    driver = FakeNvml(FakeGpu(pcie_kb=(1200, 3400)))
    (device,) = connected(driver, 1)
    watch = PcieWatch(driver, [device])

    watch.ask(device)
    watch.close()

    assert watch.latest(0) == {"pcie_received_bytes_per_second": 1.2e6, "pcie_sent_bytes_per_second": 3.4e6}


@pytest.mark.parametrize(
    "error",
    [pynvml.NVMLError_NotSupported(), pynvml.NVMLError_GpuIsLost(), pynvml.NVMLError_Uninitialized()],
)
def test_what_is_not_answered_any_more_is_none_and_the_thread_lives(error: Exception) -> None:
    gpu = FakeGpu()
    driver = FakeNvml(gpu)
    (device,) = connected(driver, 1)
    watch = PcieWatch(driver, [device])
    watch.ask(device)

    gpu.errors["nvmlDeviceGetPcieThroughput"] = error
    watch.ask(device)
    watch.close()

    assert watch.latest(0) == NOTHING


def test_a_gpu_without_a_handle_is_not_asked() -> None:
    driver = FakeNvml(FakeGpu())
    (device,) = connected(driver, 1)
    device.handle = None
    watch = PcieWatch(driver, [device])

    watch.ask(device)
    watch.close()

    assert watch.latest(0) == NOTHING
    assert driver.calls["nvmlDeviceGetPcieThroughput"] == 0


def test_the_first_look_begins_and_every_gpu_is_asked_at_once_before_the_first_rest() -> None:
    driver = FakeNvml(FakeGpu(pcie_kb=(1, 2)), FakeGpu(pcie_kb=(3, 4)))
    driver.on_pcie = asked = Counted(4)
    watch = PcieWatch(driver, connected(driver, 2), rest_s=PATIENCE_S)
    assert not asked.reached.is_set()

    watch.latest(0)
    assert asked.reached.wait(PATIENCE_S)
    assert watch.close()  # in the middle of a rest

    assert [watch.latest(index)[READINGS[0]] for index in (0, 1)] == [1000, 3000]
    assert driver.calls["nvmlDeviceGetPcieThroughput"] == 4


def test_gpus_are_asked_in_turn_until_it_is_closed() -> None:
    driver = FakeNvml(FakeGpu(), FakeGpu())
    driver.on_pcie = asked = Counted(20)
    watch = PcieWatch(driver, connected(driver, 2), rest_s=0.0)

    watch.latest(1)
    assert asked.reached.wait(PATIENCE_S)
    assert watch.close()
    assert watch.close()

    questions = driver.calls["nvmlDeviceGetPcieThroughput"]
    watch.latest(1)  # nobody begins anew
    assert driver.calls["nvmlDeviceGetPcieThroughput"] == questions


def test_a_read_does_not_wait_for_the_link() -> None:
    driver, release = FakeNvml(FakeGpu()), threading.Event()
    driver.on_pcie = waiting_for(release)
    monitor = NvmlMonitor(driver)

    readings = monitor.read([])

    assert readings["gpu[0].power_watts"] is not None
    assert readings["gpu[0].pcie_sent_bytes_per_second"] is None
    release.set()
    monitor.close()
    assert driver.users == 0


def test_a_question_that_hangs_does_not_hang_whoever_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infer_opt.monitors.nvml_pcie.CLOSING_S", 0.0)
    driver, release = FakeNvml(FakeGpu()), threading.Event()
    driver.on_pcie = waiting_for(release)
    watch = PcieWatch(driver, connected(driver, 1))
    watch.latest(0)

    assert not watch.close()

    release.set()
