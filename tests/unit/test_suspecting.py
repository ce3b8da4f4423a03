from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import MACHINE, World, make_result, make_rig
from infer_opt import suspecting
from infer_opt.causes import Cause, Diagnosis
from infer_opt.config import NATIVE, SessionOptions, TrialConfig
from infer_opt.errors import ModelError
from infer_opt.glancing import Glance, circumstances
from infer_opt.machine import cgroup
from infer_opt.machine.cgroup import Throttling
from infer_opt.profiles.nodes import MemoryCourse, NodeTimes
from infer_opt.suspecting import LEAST_S, diagnoses_from, diagnoses_record, suspect
from infer_opt.workers.process import WorkerTimeoutError
from made_cases import MS, Graph

STOCK = make_result(TrialConfig())  # a call of 1 ms


def chain(*, us: float = 10.0) -> tuple[NodeTimes, ...]:
    graph = Graph(shape=(1, 4))
    for number in range(90):
        graph.add("Sin", f"h{number}", f"h{number + 1}", us=us)
    return tuple(graph.nodes)


def glance(nodes: tuple[NodeTimes, ...], **changes: Any) -> Glance:
    seen = Glance(
        nodes=nodes,
        memory=MemoryCourse(alive_bytes=(), peak_index=0, holders=(), weight_bytes=0),
        runtime_version="1.30.0",
        placement=None,
        profiled_ns=1.2 * MS,
        subnormal_weights=(),
    )
    return replace(seen, **changes)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[SessionOptions]:
    """With what options a process was asked to look; it sees a chain of tiny nodes."""
    found: list[SessionOptions] = []

    def run_task(target: str, model: Path, options: SessionOptions, feeds: Path, **settings: Any) -> Glance:
        assert target == "infer_opt.glancing:glance"
        found.append(options)
        return glance(chain())

    monkeypatch.setattr(suspecting, "run_task", run_task)
    return found


def test_stock_is_looked_at_once_and_what_is_found_is_given(asked: list[SessionOptions]) -> None:
    found = suspect(make_rig(World()), STOCK, seconds=2.0)

    assert asked == [SessionOptions()]
    assert found[0].cause is Cause.LAUNCH_BOUND


def test_too_little_time_is_spent_on_something_else(asked: list[SessionOptions]) -> None:
    rig = make_rig(World())

    assert suspect(rig, STOCK, seconds=LEAST_S / 2) == ()
    assert suspect(rig, replace(STOCK, readings=replace(STOCK.readings, open_ns=5_000_000_000)), seconds=2.0) == ()
    assert suspect(rig, make_result(TrialConfig(runtime=NATIVE)), seconds=2.0) == ()
    assert asked == []


@pytest.mark.parametrize("error", [ModelError("spoilt"), WorkerTimeoutError("hangs")])
def test_a_profile_that_fails_is_no_failure_of_the_tuning(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def run_task(*arguments: object, **settings: object) -> Glance:
        raise error

    monkeypatch.setattr(suspecting, "run_task", run_task)

    assert suspect(make_rig(World()), STOCK, seconds=2.0) == ()


def test_subnormal_weights_are_a_reason_for_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_task(target: str, model: Path, options: SessionOptions, feeds: Path, **settings: Any) -> Glance:
        nodes = chain(us=1.0 if options.flush_denormals else 10.0)
        return glance(nodes, subnormal_weights=(("w", 0.5),))

    monkeypatch.setattr(suspecting, "run_task", run_task)

    found = suspect(make_rig(World()), STOCK, seconds=2.0)

    slow = next(one for one in found if one.cause is Cause.DENORMALS)
    assert slow.gain_ns == pytest.approx(90 * 9_000.0)


def test_what_a_quota_held_back_while_the_model_ran_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([Throttling(periods=100, throttled_periods=40, throttled_ns=8_000_000)])
    monkeypatch.setattr(cgroup, "throttling", lambda: next(counts))
    monkeypatch.setattr(cgroup, "cpu_quota", lambda: 1.5)
    before = Throttling(periods=80, throttled_periods=30, throttled_ns=2_000_000)

    around = circumstances(MACHINE, SessionOptions(intra_threads=2), before=before, wall_ns=20_000_000.0)

    assert (around.periods, around.throttled_periods, around.quota) == (20, 10, 1.5)
    assert around.throttled_share == pytest.approx(6 / 20 / 2)


DIAGNOSES = (
    Diagnosis(
        cause=Cause.MEMORY_BOUND,
        what="a",
        evidence=("b", "c"),
        action="d",
        gain_ns=1.5,
        nodes=("n",),
        knobs=("quantise",),
    ),
    Diagnosis(cause=Cause.SPINNING, what="a", evidence=(), action="d"),
)


def test_diagnoses_are_read_back_as_they_were_kept() -> None:
    assert diagnoses_from([diagnoses_record(DIAGNOSES)], began=True) == DIAGNOSES
    assert diagnoses_from([diagnoses_record(())], began=False) == ()


def test_a_tuning_that_began_without_a_profile_goes_on_without_one() -> None:
    assert diagnoses_from([], began=True) == ()
    assert diagnoses_from([], began=False) is None
