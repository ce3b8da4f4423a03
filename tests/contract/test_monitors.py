"""What every monitor promises, whatever it reads."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pytest

from fake_nvml import FakeGpu, FakeNvml
from infer_opt.errors import ConfigError, UnavailableError
from infer_opt.monitors import MONITORS, open_monitor
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.protocols import Monitor
from infer_opt.readings.catalogue import quantity_of, split

OPENERS: dict[str, Callable[[], Monitor]] = {
    **{name: partial(open_monitor, name) for name in MONITORS},
    "nvml": lambda: NvmlMonitor(FakeNvml(FakeGpu(), FakeGpu(utilisation=None))),
}


@pytest.fixture(params=sorted(OPENERS))
def monitor(request: pytest.FixtureRequest) -> Iterator[Monitor]:
    try:
        opened = OPENERS[request.param]()
    except UnavailableError as error:
        pytest.skip(error.what)
    yield opened
    opened.close()


def lasting(readings: Mapping[str, float | None]) -> set[str]:
    """The keys without an instance: CPUs, disks and processes come and go."""
    return {key for key in readings if "[" not in key}


def test_every_registered_monitor_is_held_to_this_contract() -> None:
    assert set(OPENERS) == set(MONITORS)


def test_a_monitor_knows_its_own_name(request: pytest.FixtureRequest, monitor: Monitor) -> None:
    assert monitor.name == request.node.callspec.params["monitor"]


def test_readings_are_numbers_or_none(monitor: Monitor) -> None:
    readings = monitor.read([os.getpid()])

    assert readings
    assert all(value is None or isinstance(value, int | float) for value in readings.values())


def test_something_is_known_by_the_second_read(monitor: Monitor) -> None:
    monitor.read([os.getpid()])

    assert any(value is not None for value in monitor.read([os.getpid()]).values())


def test_readings_are_in_the_catalogue(monitor: Monitor) -> None:
    for key in monitor.read([os.getpid()]):
        assert quantity_of(key).unit, split(key)


def test_the_same_readings_come_back_whichever_processes_are_asked_for(monitor: Monitor) -> None:
    first = lasting(monitor.read([os.getpid()]))

    assert lasting(monitor.read([])) == first
    assert lasting(monitor.read([os.getpid(), 1])) == first


def test_a_process_that_ended_is_not_an_error(monitor: Monitor) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    readings = monitor.read([ended.pid])

    memory = [value for key, value in readings.items() if key.endswith((".rss_bytes", "process_memory_bytes"))]
    assert bool(memory) == (monitor.name in {"process", "nvml"})
    assert set(memory) <= {None}


def test_closing_twice_is_safe(monitor: Monitor) -> None:
    monitor.close()
    monitor.close()


def test_monitors_are_opened_by_name() -> None:
    assert open_monitor("memory").name == "memory"


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'hots'") as caught:
        open_monitor("hots")

    assert caught.value.hint == "choose from " + ", ".join(MONITORS)


def test_listing_the_monitors_loads_none_of_their_libraries() -> None:
    program = "import sys, infer_opt.monitors; print({'psutil', 'pynvml'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


@pytest.mark.skipif(sys.platform != "linux", reason="psutil is how other systems are read")
def test_sampling_everything_on_linux_loads_no_psutil_and_no_numpy() -> None:
    names = [name for name in MONITORS if name != "nvml"]
    program = f"""
import sys
from infer_opt.monitors.sampler import Sampler
Sampler({names!r}).sample([1], everything=True)
print({{"psutil", "numpy"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
