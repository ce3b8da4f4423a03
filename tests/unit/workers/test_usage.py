from collections.abc import Iterable, Sequence

import pytest

from fakes import World
from infer_opt.config import TrialConfig
from infer_opt.errors import UnavailableError
from infer_opt.monitors.host import HostSnapshot
from infer_opt.workers.usage import Usage, device_memory_bytes, usage

Readings = dict[str, float | None]


class Host:
    """Gives one snapshot after another, a second apart."""

    def __init__(self, *cpu_s: float | None) -> None:
        self._waiting = list(enumerate(cpu_s))

    def look(self, pids: Iterable[int]) -> HostSnapshot:
        second, cpu_s = self._waiting.pop(0)
        return HostSnapshot(time_ns=second * 10**9, wall_ns=0, cpu_s=tuple((pid, cpu_s) for pid in pids))


class Gauge:
    """A device that gives one answer after the other, the last for ever."""

    name = "gauge"

    def __init__(self, *answers: Readings | UnavailableError) -> None:
        self._answers = list(answers)
        self.pids: list[Sequence[int]] = []

    def read(self, pids: Sequence[int]) -> Readings:
        self.pids.append(pids)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, UnavailableError):
            raise answer
        return answer

    def close(self) -> None:
        pass


def watched(host: Host, *, device: Gauge | None = None, rest_s: float = 0.2) -> tuple[Usage, list[float]]:
    slept: list[float] = []
    worker = World().worker(TrialConfig(), "one")
    found = usage(worker, timeout_s=1.0, run_s=1.0, rest_s=rest_s, device=device, look=host.look, sleep=slept.append)
    return found, slept


def test_cores_are_cpu_time_over_wall_time_while_it_runs_and_after() -> None:
    found, slept = watched(Host(10.0, 11.5, 11.75))

    assert (found.cores_running, found.cores_after) == (1.5, 0.25)
    assert (found.runs, found.seconds) == (100, 0.3)
    assert slept == [0.2]


def test_without_a_rest_nothing_is_said_of_the_time_after() -> None:
    found, slept = watched(Host(10.0, 11.5), rest_s=0.0)

    assert (found.cores_running, found.cores_after) == (1.5, None)
    assert slept == []


def test_what_cannot_be_read_is_not_available_and_not_zero() -> None:
    found, _ = watched(Host(None, None, None))

    assert (found.cores_running, found.cores_after, found.energy_joules, found.power_watts) == (None,) * 4


def test_cpu_time_that_a_child_took_with_it_is_not_available() -> None:
    assert watched(Host(10.0, 9.0, 9.5))[0].cores_running is None


def test_the_device_is_read_before_in_the_middle_of_and_after_the_runs() -> None:
    device = Gauge(
        {"gpu[0].energy_joules": 100.0},
        {
            "gpu[0].power_watts": 250.0,
            "gpu[0].utilisation": 0.8,
            "gpu[0].process_memory_bytes": 1e9,
            "gpu[0].throttled_by_heat": 0.0,
            "gpu[0].throttled_by_power": 1.0,
        },
        {"gpu[0].energy_joules": 130.0},
    )

    found, slept = watched(Host(0.0, 1.0, 1.0), device=device)

    assert (found.power_watts, found.gpu_utilisation) == (250.0, 0.8)
    assert (found.device_memory_bytes, found.energy_joules) == (1_000_000_000, 30.0)
    assert found.throttled_by == ("power",)
    assert slept == [0.7, 0.2]
    assert len({tuple(pids) for pids in device.pids}) == 1


def test_cuda_goes_on_when_the_driver_stops_to_answer() -> None:
    gone = Gauge(UnavailableError("the NVIDIA driver does not answer any more"))
    worker = World().worker(TrialConfig(), "one")

    found, _ = watched(Host(0.0, 1.0, 1.0), device=gone)

    assert (found.cores_running, found.power_watts, found.energy_joules) == (1.0, None, None)
    assert device_memory_bytes(gone, worker) is None


@pytest.mark.parametrize(("value", "bytes_"), [(5e8, 500_000_000), (None, None)])
def test_device_memory_is_whole_bytes(value: float | None, bytes_: int | None) -> None:
    worker = World().worker(TrialConfig(), "one")

    assert device_memory_bytes(Gauge({"gpu[0].process_memory_bytes": value}), worker) == bytes_
