import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from infer_opt.errors import ConfigError, UnavailableError
from infer_opt.monitoring import Monitoring, MonitorRequest
from infer_opt.monitors.sampler import Sampler
from infer_opt.readings.samples import Sample


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class FakeSampler:
    """Samples whose CPU use is the number of the sample in per cent; taking one takes `takes_s`."""

    def __init__(self, clock: Clock, takes_s: float = 0.0) -> None:
        self._clock, self._takes_s = clock, takes_s
        self._waiting = ["pressure is not read: this kernel has none"]
        self.asked: list[tuple[tuple[int, ...], bool, float | None]] = []
        self.is_closed = False

    def sample(self, roots: Sequence[int], *, everything: bool = False, due_s: float | None = None) -> Sample:
        number = len(self.asked)
        self.asked.append((tuple(roots), everything, due_s))
        self._clock.now += self._takes_s
        values = {"cpu.busy": None if number == 0 else number / 100}
        return Sample(number=number, at_s=self._clock.now, clock_s=self._clock.now, values=values)

    def notices(self) -> tuple[str, ...]:
        said, self._waiting = tuple(self._waiting), []
        return said

    def close(self) -> None:
        self.is_closed = True


def begin(request: MonitorRequest, clock: Clock | None = None, **more: Any) -> tuple[Monitoring, FakeSampler, Clock]:
    clock = clock or Clock()
    sampler = FakeSampler(clock, **more)
    monitoring = Monitoring(request, sampler=lambda: cast(Sampler, sampler), clock=clock, sleep=clock.sleep)
    return monitoring, sampler, clock


def test_samples_are_an_interval_apart_and_the_first_is_only_to_count_from() -> None:
    monitoring, sampler, clock = begin(MonitorRequest(interval_s=2.0, for_s=7.0))
    with monitoring:
        seen = [observation.sample for observation in monitoring.observations()]

    assert [sample.number for sample in seen] == [1, 2, 3]
    assert [sample.clock_s for sample in seen] == [102.0, 104.0, 106.0]
    assert [due for _, _, due in sampler.asked] == [None, 102.0, 104.0, 106.0]
    assert clock.now == 107.0
    assert sampler.is_closed


def test_what_takes_longer_than_an_interval_is_not_caught_up_with() -> None:
    monitoring, _, _ = begin(MonitorRequest(interval_s=1.0, for_s=10.0), takes_s=2.5)
    with monitoring:
        seen = [observation.sample.number for observation in monitoring.observations()]

    assert seen == [1, 2, 3, 4]


def test_what_cannot_be_read_is_said_once() -> None:
    monitoring, _, _ = begin(MonitorRequest(for_s=5.0))
    with monitoring:
        said = [observation.notices for observation in monitoring.observations()]
        session = monitoring.finish()

    assert said == [("pressure is not read: this kernel has none",), (), (), (), ()]
    assert session.notices == ("pressure is not read: this kernel has none",)


def test_the_session_sums_up_every_sample() -> None:
    monitoring, _, _ = begin(MonitorRequest(for_s=5.0))
    with monitoring:
        list(monitoring.observations())
        session = monitoring.finish()

    assert session.samples == 5
    assert session.courses["cpu.busy"].mean == pytest.approx(0.03)
    assert monitoring.exit_code(session) == 0


def test_an_interrupt_ends_it_with_what_there_was() -> None:
    monitoring, _, _ = begin(MonitorRequest())
    with monitoring:
        for observation in monitoring.observations():
            if observation.sample.number == 3:
                monitoring.interrupt()
        session = monitoring.finish()

    assert session.samples == 3


def test_it_ends_with_the_last_of_the_chosen_processes() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monitoring, sampler, _ = begin(MonitorRequest(pids=(process.pid,)))
    with monitoring:
        assert monitoring.rest()
        assert monitoring.next() is not None
        process.communicate(b"\n")
        assert monitoring.is_over()
        assert monitoring.next() is None

    assert sampler.asked[1][0] == (process.pid,)


def test_a_process_that_does_not_exist_is_refused() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    with pytest.raises(ConfigError, match=f"no process {ended.pid}"):
        begin(MonitorRequest(pids=(ended.pid,)))


def test_the_exit_code_is_the_commands() -> None:
    monitoring, sampler, _ = begin(MonitorRequest(command=f"{sys.executable} -c 'raise SystemExit(3)'"))
    with monitoring:
        list(monitoring.observations())
        session = monitoring.finish()

    assert session.exit_code == 3
    assert monitoring.exit_code(session) == 3
    assert sampler.asked[0][0] != (os.getpid(),)


def test_a_command_that_a_signal_ended_has_the_exit_code_of_a_shell() -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monitoring, _, _ = begin(MonitorRequest(command=f'{sys.executable} -c "{program}"'))
    with monitoring:
        list(monitoring.observations())

        assert monitoring.finish().exit_code == 137


def test_an_interrupt_asks_the_command_to_end_too() -> None:
    monitoring, _, _ = begin(MonitorRequest(command=f"{sys.executable} -c 'import time; time.sleep(600)'"))
    with monitoring:
        monitoring.interrupt()

        assert monitoring.finish().exit_code == 128 + 15


def test_the_command_is_asked_to_end_when_the_time_is_over() -> None:
    monitoring, _, clock = begin(
        MonitorRequest(command=f"{sys.executable} -c 'import time; time.sleep(600)'", for_s=2.0)
    )
    with monitoring:
        clock.now += 3.0

        assert monitoring.next() is None
        assert monitoring.finish().exit_code == 128 + 15


@pytest.mark.parametrize("command", ["", "python -c 'unclosed"])
def test_a_command_that_is_none_is_refused(command: str) -> None:
    with pytest.raises(ConfigError, match="--command"):
        begin(MonitorRequest(command=command))


def test_a_program_that_does_not_exist_is_said_by_name() -> None:
    with pytest.raises(UnavailableError, match="'nosuchprogram' cannot be started") as caught:
        begin(MonitorRequest(command="nosuchprogram | tee log"))

    assert caught.value.hint is not None
    assert "sh -c" in caught.value.hint


@pytest.mark.parametrize("interval_s", [0.0, 0.01, 1e9, float("nan")])
def test_an_interval_that_makes_no_sense_is_refused(interval_s: float) -> None:
    with pytest.raises(ConfigError, match="interval"):
        MonitorRequest(interval_s=interval_s)


def test_processes_and_a_command_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="contradict"):
        MonitorRequest(pids=(1,), command="ls")


def test_ending_a_process_says_what_came_of_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    monitoring, _, _ = begin(MonitorRequest(for_s=1.0))
    with monitoring:
        assert monitoring.stop(process.pid) == f"process {process.pid} was asked to end"
        assert process.wait() == -15
        assert monitoring.stop(process.pid) == f"process {process.pid} has ended already"


def test_a_rule_that_waits_for_a_finding_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    rules = tmp_path / "alerts.yaml"
    rules.write_text("rules:\n  - name: leaks\n    finding: memory-leek\n")

    with pytest.raises(ConfigError, match="memory-leek") as refused:
        Monitoring(MonitorRequest(rules=rules))

    assert "memory-leak" in str(refused.value.hint)
