import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from fake_machine import SetClock, machine_files, process_files, replace
from infer_opt.errors import ConfigError, InferOptError, UnavailableError
from infer_opt.monitors.process_files import ProcessFiles
from infer_opt.monitors.processes import ProcessMonitor, ProcessTable
from infer_opt.monitors.sampler import TRY_AGAIN_S, Clocks, Sampler
from infer_opt.protocols import Monitor
from infer_opt.readings.catalogue import quantity_of


class FakeDevice:
    """A monitor that gives what it is told to, until it is told to fail."""

    def __init__(self, name: str, **values: float | None) -> None:
        self.name, self.values = name, {f"{name}.{key}": value for key, value in values.items()}
        self.error: Exception | None = None
        self.close_error: Exception | None = None
        self.opened, self.closed = 0, 0
        self.asked: list[tuple[int, ...]] = []

    def open(self) -> "FakeDevice":
        if self.error is not None:
            raise self.error
        self.opened += 1
        return self

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        if self.error is not None:
            raise self.error
        self.asked.append(tuple(pids))
        return self.values

    def close(self) -> None:
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


class FakeGpu(FakeDevice):
    def by_process(self) -> Mapping[int, tuple[int | None, float | None]]:
        return {70: (1 << 30, 0.5), 999: (5, None)}


class Machine:
    """Fake monitors by name, and clocks that are set by hand."""

    def __init__(self, *devices: FakeDevice, processes: Callable[[], ProcessMonitor] | None = None) -> None:
        self.openers: dict[str, Callable[[], Monitor]] = {device.name: device.open for device in devices}
        if processes is not None:
            self.openers["process"] = processes
        self.clock, self.cpu = SetClock(50.0), SetClock(1.0)

    def sampler(self) -> Sampler:
        clocks = Clocks(time_of_day=lambda: 1000.0 + self.clock.now_s, monotonic=self.clock, cpu=self.cpu)
        return Sampler(tuple(self.openers), opener=lambda name: self.openers[name](), clocks=clocks)


def test_a_sample_holds_what_all_monitors_gave_and_when() -> None:
    machine = Machine(FakeDevice("cpu", busy=0.5), FakeDevice("memory", total_bytes=9.0, dirty_bytes=None))
    sampler = machine.sampler()

    first, second = sampler.sample([]), sampler.sample([])

    assert (first.number, second.number, first.at_s, first.clock_s) == (0, 1, 1050.0, 50.0)
    assert first.values["cpu.busy"] == 0.5
    assert first.values["memory.total_bytes"] == 9.0
    assert first.values["memory.dirty_bytes"] is None
    assert first.processes == ()
    assert sampler.notices() == ()


def test_the_monitors_own_use_and_delay_are_in_the_sample() -> None:
    machine = Machine()
    sampler = machine.sampler()
    first = sampler.sample([], due_s=49.75)
    machine.clock.now_s += 2
    machine.cpu.now_s += 0.5
    second = sampler.sample([], due_s=60.0)

    assert (first.values["monitor.cpu_cores"], first.values["monitor.late_seconds"]) == (None, 0.25)
    assert (second.values["monitor.cpu_cores"], second.values["monitor.late_seconds"]) == (0.25, 0.0)
    assert sampler.sample([]).values["monitor.late_seconds"] is None
    rss = second.values["monitor.rss_bytes"]
    assert rss is not None
    assert rss > 5_000_000


def test_a_device_that_this_machine_lacks_is_named_once_and_left_out() -> None:
    absent, there = FakeDevice("pressure"), FakeDevice("cpu", busy=0.5)
    absent.error = UnavailableError("this kernel keeps no pressure stall information", hint="psi=1")
    machine = Machine(absent, there)
    sampler = machine.sampler()
    absent.error = None
    machine.clock.now_s += 10 * TRY_AGAIN_S

    sample = sampler.sample([])

    assert sampler.notices() == ("pressure is not read: this kernel keeps no pressure stall information",)
    assert sampler.notices() == ()
    assert sample.values["cpu.busy"] == 0.5
    assert absent.opened == 0


def test_a_name_that_no_monitor_has_is_refused_and_those_before_it_are_closed() -> None:
    device = FakeDevice("cpu")

    def opener(name: str) -> Monitor:
        if name == "cpu":
            return device
        raise ConfigError(f"no monitor is named {name!r}")

    with pytest.raises(ConfigError, match="'cqu'"):
        Sampler(["cpu", "cqu"], opener=opener)

    assert device.closed == 1


@pytest.mark.parametrize("error", [InferOptError("GPU 0 is lost"), OSError("GPU 0 is lost")])
def test_a_monitor_that_dies_is_none_from_then_on_and_named_once(error: Exception) -> None:
    dying, living = FakeDevice("disk", busy=0.25), FakeDevice("cpu", busy=0.5)
    sampler = Machine(dying, living).sampler()
    sampler.sample([])
    dying.error, dying.close_error = error, OSError("nothing there")

    second, third = sampler.sample([]), sampler.sample([])

    for sample in (second, third):
        assert sample.values["disk.busy"] is None
        assert sample.values["cpu.busy"] == 0.5
    assert sampler.notices() == ("disk is not read any more: GPU 0 is lost; it is tried again every 30 s",)
    assert dying.closed == 1


def test_a_monitor_is_tried_again_every_30_seconds_and_said_to_be_back() -> None:
    device = FakeDevice("disk", busy=0.25)
    machine = Machine(device)
    sampler = machine.sampler()
    sampler.sample([])
    device.error = OSError("gone")
    sampler.sample([])
    machine.clock.now_s += TRY_AGAIN_S
    still_gone = sampler.sample([])
    device.error = None
    machine.clock.now_s += TRY_AGAIN_S - 1
    too_soon = sampler.sample([])
    machine.clock.now_s += 1
    back = sampler.sample([])

    assert (still_gone.values["disk.busy"], too_soon.values["disk.busy"], back.values["disk.busy"]) == (
        None,
        None,
        0.25,
    )
    assert device.opened == 2
    assert sampler.notices()[1:] == ("disk is read again",)


def test_a_monitor_that_dies_twice_is_named_twice() -> None:
    device = FakeDevice("disk", busy=0.25)
    machine = Machine(device)
    sampler = machine.sampler()
    for error in (OSError("first"), None, OSError("second")):
        device.error = error
        sampler.sample([])
        machine.clock.now_s += TRY_AGAIN_S

    assert [notice.partition(";")[0] for notice in sampler.notices()] == [
        "disk is not read any more: first",
        "disk is read again",
        "disk is not read any more: second",
    ]


def processes(root: Path, *there: dict[str, str]) -> Callable[[], ProcessMonitor]:
    replace(
        root, machine_files(uptime_s=100, processes={name: text for files in there for name, text in files.items()})
    )
    return lambda: ProcessMonitor(ProcessTable(ProcessFiles(root), clock=SetClock()))


def test_devices_are_asked_about_the_chosen_processes_and_all_that_descend_from_them(tmp_path: Path) -> None:
    device = FakeDevice("cpu")
    tree = processes(tmp_path, process_files(1), process_files(70), process_files(71, parent=70))
    sampler = Machine(device, processes=tree).sampler()

    sample = sampler.sample([70])
    everything = sampler.sample([70], everything=True)

    assert device.asked == [(70, 71), (70, 71)]
    assert [process.pid for process in sample.processes] == [70, 71]
    assert [process.pid for process in everything.processes] == [1, 70, 71]
    assert sample.values["process.count"] == 2


def test_without_a_table_of_processes_devices_are_asked_about_the_roots() -> None:
    device = FakeDevice("cpu")
    sampler = Machine(device).sampler()
    sampler.sample([70, 80])

    assert device.asked == [(70, 80)]
    assert (sampler.gone(), sampler.ended()) == ((), ())


def test_who_uses_a_gpu_is_told_in_the_table_of_processes(tmp_path: Path) -> None:
    tree = processes(tmp_path, process_files(70), process_files(71, parent=70))
    gpu = FakeGpu("gpu", utilisation=0.5)
    sampler = Machine(gpu, processes=tree).sampler()

    used, unused = sampler.sample([70]).processes
    gpu.error = InferOptError("GPU 0 is lost")
    lost, _ = sampler.sample([70]).processes

    assert (used.gpu_memory_bytes, used.gpu_utilisation) == (1 << 30, 0.5)
    assert (unused.gpu_memory_bytes, unused.gpu_utilisation) == (None, None)
    assert (lost.gpu_memory_bytes, lost.gpu_utilisation) == (None, None)


def test_roots_that_are_gone_are_told(tmp_path: Path) -> None:
    sampler = Machine(processes=processes(tmp_path, process_files(70), process_files(71, parent=70))).sampler()
    sampler.sample([70, 80])
    before = sampler.gone(), sampler.ended()
    processes(tmp_path, process_files(71, parent=1))
    sampler.sample([70, 80])

    assert before == ((80,), (80,))
    assert (sampler.gone(), sampler.ended()) == ((70, 80), (80,))


def test_processes_that_cannot_be_listed_leave_the_roots_to_the_devices(tmp_path: Path) -> None:
    device = FakeDevice("cpu")
    sampler = Machine(device, processes=processes(tmp_path, process_files(70))).sampler()
    sampler.sample([70])
    replace(tmp_path, {})

    sample = sampler.sample([70])

    assert sample.values["process.count"] is None
    assert sample.processes == ()
    assert device.asked[-1] == (70,)
    assert sampler.notices()[0].startswith("process is not read any more: ")


def test_closing_twice_is_safe_whatever_a_monitor_does() -> None:
    first, second = FakeDevice("cpu"), FakeDevice("disk")
    first.close_error = OSError("nothing there")
    sampler = Machine(first, second).sampler()

    sampler.close()
    sampler.close()

    assert (first.closed, second.closed) == (1, 1)


# On this machine


def test_real_readings_are_in_the_catalogue_and_within_sense() -> None:
    sampler = Sampler(("cpu", "pressure", "memory", "disk", "network", "cgroup", "process"))
    sampler.sample([os.getpid()], everything=True)
    sample = sampler.sample([os.getpid()], everything=True)
    sampler.close()

    bounds = {"ratio": 1.0, "bytes": 1e15, "bytes_per_second": 1e12, "per_second": 1e9, "cores": 10_000.0, "count": 1e7,
              "hertz": 1e10, "seconds": 1e6}  # fmt: skip
    for key, value in sample.values.items():
        unit = quantity_of(key).unit
        assert value is None or 0 <= value <= bounds[unit], f"{key} = {value}"
    assert {quantity_of(key).family for key in sample.values} >= {
        "cpu",
        "memory",
        "disk",
        "network",
        "process",
        "monitor",
    }
    for key in (
        "memory.total_bytes",
        "memory.available_bytes",
        "process.rss_bytes",
        "process.cpu_cores",
        "cpu.load_1m",
    ):
        assert sample.values[key] is not None, key
    assert {process.pid for process in sample.processes} >= {1, os.getpid()}
