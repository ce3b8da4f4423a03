import os
from pathlib import Path

import pytest

from file_tree import write
from infer_opt.monitors.host import TICK_S, HostSnapshot, others_cpu_s, snapshot, steal_share

S = 1_000_000_000


def stat(pid: int, *, user: int, system: int = 0, reaped: int = 0) -> str:
    return f"{pid} (a) b) S 1 1 1 0 -1 0 0 0 0 0 {user} {system} {reaped} 0 20 0 1 0 5 0 0\n"


def cpu_line(name: str, *, user: int, idle: int, steal: int = 0) -> str:
    return f"{name} {user} 0 0 {idle} 0 0 0 {steal} 0 0\n"


def at(second: float, **fields: object) -> HostSnapshot:
    return HostSnapshot(time_ns=int(second * S), wall_ns=int(second * S), **fields)  # type: ignore[arg-type]


def test_ticks_become_seconds(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/stat": cpu_line("cpu", user=700, idle=300, steal=20) + "intr 5\n"})

    taken = snapshot([], root=root)

    assert taken.busy_s == pytest.approx(700 * TICK_S)
    assert taken.idle_s == pytest.approx(300 * TICK_S)
    assert taken.steal_s == pytest.approx(20 * TICK_S)


def test_cores_that_we_may_not_use_are_left_out(tmp_path: Path) -> None:
    mine = sorted(os.sched_getaffinity(0))
    others = [number for number in range(mine[-1] + 9) if number not in mine]
    lines = [cpu_line(f"cpu{number}", user=10, idle=90) for number in mine]
    lines += [cpu_line(f"cpu{number}", user=5000, idle=0) for number in others]
    total = cpu_line("cpu", user=10 * len(mine) + 5000 * len(others), idle=90 * len(mine))
    root = write(tmp_path, {"proc/stat": total + "".join(lines)})

    assert snapshot([], root=root).busy_s == pytest.approx(10 * len(mine) * TICK_S)


def test_children_alive_and_waited_for_count_with_their_parent(tmp_path: Path) -> None:
    files = {
        "proc/stat": cpu_line("cpu", user=1, idle=1),
        "proc/70/stat": stat(70, user=100, system=20, reaped=3),
        "proc/70/task/70/children": "71 72 ",
        "proc/71/stat": stat(71, user=40),
        "proc/72/stat": stat(72, user=8),
    }
    root = write(tmp_path, files)

    alone, with_child = snapshot([70], root=root), snapshot([70, 72], root=root)

    assert dict(alone.cpu_s) == {70: pytest.approx(171 * TICK_S)}
    assert dict(with_child.cpu_s) == {70: pytest.approx(163 * TICK_S), 72: pytest.approx(8 * TICK_S)}
    assert with_child.own_cpu_s == pytest.approx(171 * TICK_S)


def test_missing_files_are_none_and_not_zero(tmp_path: Path) -> None:
    taken = snapshot([70], root=tmp_path)

    assert (taken.busy_s, taken.steal_s, taken.idle_s, taken.own_cpu_s) == (None, None, None, None)
    assert taken.cpu_s == ((70, None),)
    assert taken.time_ns > 0


def test_a_working_process_is_seen_to_work_to_better_than_a_tick() -> None:
    pid = os.getpid()
    before = snapshot([pid])
    sum(range(20_000))
    after = snapshot([pid])

    assert before.own_cpu_s is not None
    assert after.own_cpu_s is not None
    assert 0 < after.own_cpu_s - before.own_cpu_s < 1


def test_what_is_left_after_our_own_work_is_others() -> None:
    before = at(0, busy_s=10.0, cpu_s=((1, 4.0), (2, 1.0)))
    after = at(1, busy_s=11.5, cpu_s=((1, 4.9), (2, 1.2)))

    assert others_cpu_s(before, after) == pytest.approx(0.4)


def test_a_worker_that_its_coordinator_waited_for_is_still_our_own() -> None:
    # The worker's 2.0 + 0.3 s arrive among the seconds that the coordinator has waited for.
    before = at(0, busy_s=10.0, cpu_s=((1, 4.0), (2, 2.0)))
    after = at(1, busy_s=10.5, cpu_s=((1, 6.5), (2, None)))

    assert others_cpu_s(before, after) == pytest.approx(0.0)


def test_seconds_lost_with_a_process_accuse_nobody() -> None:
    before = at(0, busy_s=10.0, cpu_s=((1, 4.0), (2, 2.0)))
    after = at(1, busy_s=10.5, cpu_s=((1, 4.1), (2, None)))

    assert others_cpu_s(before, after) is None


def test_steal_is_a_share_of_what_was_asked_for() -> None:
    before = at(0, busy_s=0.0, steal_s=0.0, idle_s=0.0)
    after = at(1, busy_s=0.9, steal_s=0.1, idle_s=63.0)

    assert steal_share(before, after) == pytest.approx(0.1)
    assert steal_share(before, at(1, busy_s=0.0, steal_s=0.0)) == 0.0
    assert steal_share(before, at(1, busy_s=0.5)) is None
