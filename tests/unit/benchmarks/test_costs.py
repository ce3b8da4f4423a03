"""What the harness and the coordinating process cost, from what was metered."""

from typing import Any, cast

import pytest
from benchmarks.coordinator_cost import Meter, MeteredWorker, Rounds, Sampled, share, targets_of
from benchmarks.harness_overhead import Case
from benchmarks.harness_overhead import targets_of as overhead_targets

from infer_opt.measure import Plan
from infer_opt.workers.process import WorkerProcess

CHEAP, DEAR = (1_000_000, 10_000), (1_000_000, 30_000)  # 1 % and 3 % of a core


class FakeConnection:
    """Answers with what it was sent."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def send(self, command: object) -> None:
        self.sent.append(command)

    def recv(self) -> object:
        return self.sent.pop()


class FakeWorker:
    """As much of a worker as the meters touch."""

    def __init__(self) -> None:
        self._connection: Any = FakeConnection()
        self.freezes = 0

    def ask(self, command: object, *, timeout_s: float) -> object:
        self._connection.send(command)
        return self._connection.recv()

    def freeze(self) -> None:
        self.freezes += 1


def case(added_ns: float) -> Case:
    bare = tuple(1000.0 + turn % 3 for turn in range(30))
    slower = tuple(value + added_ns for value in bare)
    return Case(
        session="s", shape="b", plan=Plan(lead_in_runs=0, timed_runs=9), bare_ns=bare, reported_ns=bare, whole_ns=slower
    )


def test_a_share_of_a_core_is_summed_time_over_summed_time() -> None:
    found = share([(1_000_000, 10_000), (3_000_000, 10_000)])

    assert found.value == pytest.approx(0.005)
    assert found.low < found.value < found.high


def test_one_span_says_nothing_about_its_own_spread() -> None:
    assert share([CHEAP]).high == float("inf")


@pytest.mark.parametrize(("spent", "is_met"), [(CHEAP, True), (DEAR, False)])
def test_a_coordinating_process_may_take_two_per_cent_of_a_core(spent: tuple[int, int], is_met: bool) -> None:
    rounds = Rounds(model="m", waits=(spent,) * 9, requests=(DEAR,) * 9, rounds=(DEAR,) * 9)

    (target,) = targets_of([rounds], [])

    assert target.is_met is is_met


@pytest.mark.parametrize(
    ("peak", "exit_code", "is_met"), [(249_000_000, 0, True), (251_000_000, 0, False), (9, 1, None)]
)
def test_memory_is_judged_at_its_peak_and_only_of_a_tuning_that_ended_well(
    peak: int, exit_code: int, is_met: bool | None
) -> None:
    tuning = Sampled(
        model="m", exit_code=exit_code, error=None, wall_s=1.0, at_s=(0.1, 0.2), cpu_s=(0.1, 0.1), peak_bytes=(5, peak)
    )

    (target,) = targets_of([], [tuning])

    assert target.is_met is is_met


def test_a_metered_worker_answers_as_the_worker_does_and_meters_each_request() -> None:
    worker, requests, waits = FakeWorker(), Meter(), Meter()
    metered = MeteredWorker(cast(WorkerProcess, worker), requests, waits)

    assert metered.ask("a", timeout_s=1.0) == "a"
    assert metered.ask("b", timeout_s=1.0) == "b"
    metered.freeze()

    assert worker.freezes == 1
    assert len(requests.spent) == len(waits.spent) == 2
    # Waiting lies inside the request.
    assert all(wait[0] <= request[0] for wait, request in zip(waits.spent, requests.spent, strict=True))


@pytest.mark.parametrize(("added_ns", "is_met"), [(400.0, True), (1400.0, False)])
def test_the_harness_is_judged_by_the_number_and_by_the_time(added_ns: float, is_met: bool) -> None:
    number, time = overhead_targets(case(added_ns))

    assert number.measured == 0.0 and number.is_met
    assert time.measured == pytest.approx(added_ns)
    assert time.is_met is is_met
