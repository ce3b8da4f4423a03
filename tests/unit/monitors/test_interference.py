import dataclasses

import pytest

from infer_opt.monitors.host import TICK_S, HostSnapshot
from infer_opt.monitors.interference import Disturbance, interference

MS = 1_000_000
BEFORE = HostSnapshot(time_ns=0, wall_ns=0, busy_s=50.0, steal_s=7.0, idle_s=9.0, cpu_s=((1, 20.0), (2, 10.0)))


def later(
    *, ms: float, own: float = 0.0, others: float = 0.0, steal: float = 0.0, clock_ms: float = 0.0
) -> HostSnapshot:
    """A snapshot `ms` later; CPU times in seconds, all own work done by the second process."""
    return HostSnapshot(
        time_ns=int(ms * MS),
        wall_ns=int((ms + clock_ms) * MS),
        busy_s=50.0 + own + others,
        steal_s=7.0 + steal,
        idle_s=9.0,
        cpu_s=((1, 20.0), (2, 10.0 + own)),
    )


def test_our_own_work_is_not_interference() -> None:
    assert interference(BEFORE, later(ms=1000, own=2.0), cores_in_use=2) is None


def test_others_may_use_a_tenth_of_a_core_for_each_core_in_use() -> None:
    assert interference(BEFORE, later(ms=1000, own=1.0, others=0.11), cores_in_use=1) is Disturbance.OTHERS
    assert interference(BEFORE, later(ms=1000, own=1.0, others=0.09), cores_in_use=1) is None
    assert interference(BEFORE, later(ms=1000, own=4.0, others=0.11), cores_in_use=4) is None
    assert interference(BEFORE, later(ms=1000, own=4.0, others=0.41), cores_in_use=4) is Disturbance.OTHERS


def test_the_coordinators_work_is_our_own() -> None:
    after = dataclasses.replace(later(ms=1000), busy_s=50.5, cpu_s=((1, 20.5), (2, 10.0)))

    assert interference(BEFORE, after, cores_in_use=1) is None


def test_less_than_two_ticks_are_no_evidence() -> None:
    # 1 tick in 50 ms is 20 % of a core, but one tick may stand for a task of microseconds.
    one, two = later(ms=50, own=0.05, others=TICK_S), later(ms=50, own=0.05, others=2 * TICK_S)

    assert interference(BEFORE, one, cores_in_use=1) is None
    assert interference(BEFORE, two, cores_in_use=1) is Disturbance.OTHERS


def test_more_than_a_twentieth_stolen_is_interference() -> None:
    assert interference(BEFORE, later(ms=1000, own=0.94, steal=0.06), cores_in_use=1) is Disturbance.STEAL
    assert interference(BEFORE, later(ms=1000, own=0.96, steal=0.04), cores_in_use=1) is None


def test_one_stolen_tick_is_no_evidence() -> None:
    assert interference(BEFORE, later(ms=50, own=0.04, steal=TICK_S), cores_in_use=1) is None


@pytest.mark.parametrize("jump_ms", [60.0, -60.0, 3_600_000.0])
def test_a_clock_that_was_set_spoils_the_interval(jump_ms: float) -> None:
    assert interference(BEFORE, later(ms=100, clock_ms=jump_ms), cores_in_use=1) is Disturbance.CLOCK


def test_a_clock_that_is_slewed_does_not() -> None:
    assert interference(BEFORE, later(ms=100, clock_ms=40.0), cores_in_use=1) is None


def test_another_process_on_the_gpu_spoils_the_interval() -> None:
    shared = dataclasses.replace(later(ms=100), foreign_gpu_processes=1)
    alone = dataclasses.replace(later(ms=100), foreign_gpu_processes=0)

    assert interference(BEFORE, shared, cores_in_use=1) is Disturbance.GPU
    assert interference(shared, alone, cores_in_use=1) is Disturbance.GPU
    assert interference(BEFORE, alone, cores_in_use=1) is None


def test_only_heat_from_before_the_interval_is_exogenous() -> None:
    hot = dataclasses.replace(BEFORE, thermal_slowdown=True)

    assert interference(hot, later(ms=100), cores_in_use=1) is Disturbance.THERMAL
    assert interference(BEFORE, dataclasses.replace(later(ms=100), thermal_slowdown=True), cores_in_use=1) is None


def test_a_platform_without_counters_gives_no_evidence() -> None:
    blind = [HostSnapshot(time_ns=second, wall_ns=second) for second in (0, 1_000_000_000)]

    assert interference(blind[0], blind[1], cores_in_use=1) is None


def test_reasons_are_single_words() -> None:
    assert [str(reason) for reason in Disturbance] == ["clock", "steal", "others", "gpu", "thermal"]
