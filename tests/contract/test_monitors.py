"""What every monitor promises, whatever it reads."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from fake_nvml import FakeGpu, FakeNvml
from infer_opt.errors import ConfigError
from infer_opt.monitors import MONITORS, open_monitor
from infer_opt.monitors.host import HostMonitor
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.protocols import Monitor

OPENERS: dict[str, Callable[[], Monitor]] = {
    "host": HostMonitor,
    "nvml": lambda: NvmlMonitor(FakeNvml(FakeGpu(), FakeGpu(utilisation=None))),
}


@pytest.fixture(params=sorted(OPENERS))
def monitor(request: pytest.FixtureRequest) -> Iterator[Monitor]:
    opened = OPENERS[request.param]()
    yield opened
    opened.close()


def test_every_registered_monitor_is_held_to_this_contract() -> None:
    assert set(OPENERS) == set(MONITORS)


def test_a_monitor_knows_its_own_name() -> None:
    assert {name: opener().name for name, opener in OPENERS.items()} == {name: name for name in OPENERS}


def test_readings_are_numbers_or_none(monitor: Monitor) -> None:
    readings = monitor.read([os.getpid()])

    assert readings
    assert all(value is None or isinstance(value, int | float) for value in readings.values())
    assert any(value is not None for value in readings.values())


def test_the_same_readings_come_back_whichever_processes_are_asked_for(monitor: Monitor) -> None:
    first = monitor.read([os.getpid()])

    assert monitor.read([]).keys() == first.keys()
    assert monitor.read([os.getpid()]).keys() == first.keys()


def test_a_process_that_ended_is_not_an_error(monitor: Monitor) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    readings = monitor.read([ended.pid])

    memory = [value for key, value in readings.items() if key.endswith(("rss_bytes", "process_memory_bytes"))]
    assert memory
    assert set(memory) == {None}


def test_closing_twice_is_safe(monitor: Monitor) -> None:
    monitor.close()
    monitor.close()


def test_monitors_are_opened_by_name() -> None:
    assert open_monitor("host").name == "host"


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'hots'") as caught:
        open_monitor("hots")

    assert caught.value.hint == "choose from host, nvml"


def test_listing_the_monitors_loads_none_of_their_libraries() -> None:
    program = "import sys, infer_opt.monitors; print({'psutil', 'pynvml'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
