from types import SimpleNamespace

import psutil
import pytest

from fake_machine import FakeProcess, FakePsutil, PsutilError
from infer_opt.monitors.process_elsewhere import PsutilProcesses
from infer_opt.monitors.process_files import Details, Identity


def fake(**changes: object) -> FakeProcess:
    answers = {
        "ppid": 1,
        "name": "serve",
        "status": "running",
        "create_time": 1000.5,
        "cpu_times": SimpleNamespace(user=2.0, system=0.5),
        "memory_info": SimpleNamespace(rss=4096),
        "num_threads": 3,
        "num_fds": 7,
        "cmdline": ["serve", "--port", "80"],
        "username": "ana",
    }
    return FakeProcess(**{**answers, **changes})


def test_a_process_is_read_through_psutil() -> None:
    source = PsutilProcesses(FakePsutil({70: fake()}))
    found = source.process(70)

    assert source.pids() == [70]
    assert found is not None
    assert (found.name, found.parent_pid, found.state, found.start_s) == ("serve", 1, "running", 1000.5)
    assert (found.cpu_s, found.rss_bytes, found.threads, found.faults) == (2.5, 4096, 3, None)
    assert source.details(found) == Details(open_files=7)
    assert source.identity(70) == Identity(command="serve --port 80", user="ana")


def test_what_may_not_be_asked_is_none() -> None:
    source = PsutilProcesses(FakePsutil({70: fake(cpu_times=None, memory_info=None, cmdline=None, status=None)}))
    found = source.process(70)

    assert found is not None
    assert (found.cpu_s, found.rss_bytes, found.state) == (None, None, "other")
    assert source.identity(70).command is None


def test_a_system_that_does_not_count_open_files_says_so() -> None:
    source = PsutilProcesses(FakePsutil({70: FakeProcess(create_time=5.0)}))
    found = source.process(70)

    assert found is not None
    assert source.details(found) == Details()


def test_a_process_that_ended_is_none() -> None:
    source = PsutilProcesses(FakePsutil())

    assert source.process(70) is None
    assert source.identity(70) == Identity(command=None, user=None)


@pytest.mark.parametrize("name", [name for name in vars(FakePsutil) if not name.startswith("_")])
def test_psutil_has_every_name_of_its_double(name: str) -> None:
    assert hasattr(psutil, name)
    assert issubclass(PsutilError, Exception)
