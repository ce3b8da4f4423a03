from pathlib import Path

import pytest

from fake_machine import SetClock
from file_tree import write
from infer_opt.errors import UnavailableError
from infer_opt.monitors.cgroup import CgroupMonitor

MIB = 1 << 20
V1_NO_LIMIT = "9223372036854771712"


def stat(used_us: int = 0, periods: int = 0, throttled: int = 0, throttled_us: int = 0) -> str:
    stops = f"nr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec {throttled_us}\n"
    return f"usage_usec {used_us}\nuser_usec 0\n{stops}"


def test_version_2_is_read_in_bytes_cores_and_shares(tmp_path: Path) -> None:
    clock = SetClock()
    job = "sys/fs/cgroup/job"
    files = {
        "proc/self/cgroup": "0::/job\n",
        f"{job}/cpu.max": "150000 100000\n",
        f"{job}/cpu.stat": stat(used_us=5_000_000, periods=100, throttled=10, throttled_us=0),
        f"{job}/memory.current": str(90 * MIB),
        f"{job}/memory.max": str(100 * MIB),
        f"{job}/memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n",
    }
    reader = CgroupMonitor(root=write(tmp_path, files), clock=clock)
    first = reader.read([])
    clock.now_s += 2
    write(tmp_path, {f"{job}/cpu.stat": stat(used_us=8_000_000, periods=120, throttled=15, throttled_us=500_000)})

    second = reader.read([])

    assert first == {
        "cgroup.quota_cores": 1.5,
        "cgroup.oom_kills": 2,
        "cgroup.memory_bytes": 90 * MIB,
        "cgroup.memory_limit_bytes": 100 * MIB,
        "cgroup.cpu_cores": None,
        "cgroup.throttled": None,
        "cgroup.throttled_cores": None,
    }
    assert second["cgroup.cpu_cores"] == 1.5
    assert second["cgroup.throttled"] == 0.25
    assert second["cgroup.throttled_cores"] == 0.25


def test_version_1_is_read_alike(tmp_path: Path) -> None:
    clock = SetClock()
    top = "sys/fs/cgroup"
    files = {
        "proc/self/cgroup": "4:memory:/job\n3:cpuacct,cpu:/job\n",
        f"{top}/cpu,cpuacct/unrelated": "",
        f"{top}/cpuacct,cpu/job/cpu.cfs_quota_us": "50000",
        f"{top}/cpuacct,cpu/job/cpu.cfs_period_us": "100000",
        f"{top}/cpuacct,cpu/job/cpuacct.usage": "1000000000",
        f"{top}/cpuacct,cpu/job/cpu.stat": "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n",
        f"{top}/memory/job/memory.usage_in_bytes": str(5 * MIB),
        f"{top}/memory/job/memory.limit_in_bytes": str(8 * MIB),
        f"{top}/memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
    }
    reader = CgroupMonitor(root=write(tmp_path, files), clock=clock)
    reader.read([])
    clock.now_s += 1
    write(
        tmp_path,
        {
            f"{top}/cpuacct,cpu/job/cpuacct.usage": "1500000000",
            f"{top}/cpuacct,cpu/job/cpu.stat": "nr_periods 10\nnr_throttled 9\nthrottled_time 700000000\n",
        },
    )

    readings = reader.read([])

    assert readings == {
        "cgroup.quota_cores": 0.5,
        "cgroup.oom_kills": 4,
        "cgroup.memory_bytes": 5 * MIB,
        "cgroup.memory_limit_bytes": 8 * MIB,
        "cgroup.cpu_cores": 0.5,
        "cgroup.throttled": 0.9,
        "cgroup.throttled_cores": pytest.approx(0.7),
    }


def test_without_limits_they_are_none_and_use_is_still_read(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "5:memory:/\n0::/\n",
        "sys/fs/cgroup/cpu.max": "max 100000",
        "sys/fs/cgroup/cpu.stat": stat(),
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "5",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": V1_NO_LIMIT,
        "sys/fs/cgroup/memory.max": "max",
    }
    clock = SetClock()
    reader = CgroupMonitor(root=write(tmp_path, files), clock=clock)
    reader.read([])
    clock.now_s += 1

    readings = reader.read([])

    assert (readings["cgroup.quota_cores"], readings["cgroup.memory_limit_bytes"]) == (None, None)
    assert readings["cgroup.memory_bytes"] == 5
    assert readings["cgroup.throttled"] == 0.0


def test_the_tightest_limit_on_the_way_up_counts_and_its_group_counts_the_stops(tmp_path: Path) -> None:
    clock = SetClock()
    pod, job = "sys/fs/cgroup/pod", "sys/fs/cgroup/pod/job"
    files = {
        "proc/self/cgroup": "0::/pod/job\n",
        f"{pod}/cpu.max": "50000 100000",
        f"{pod}/cpu.stat": stat(used_us=0, periods=0, throttled=0),
        f"{pod}/memory.max": "1000",
        f"{job}/cpu.max": "200000 100000",
        f"{job}/cpu.stat": stat(used_us=0, periods=0, throttled=0),
        f"{job}/memory.max": "max",
        f"{job}/memory.current": "700",
    }
    reader = CgroupMonitor(root=write(tmp_path, files), clock=clock)
    reader.read([])
    clock.now_s += 1
    write(tmp_path, {f"{pod}/cpu.stat": stat(900_000, 10, 8), f"{job}/cpu.stat": stat(400_000, 10, 0)})

    readings = reader.read([])

    assert (readings["cgroup.quota_cores"], readings["cgroup.memory_limit_bytes"]) == (0.5, 1000)
    assert (readings["cgroup.throttled"], readings["cgroup.cpu_cores"]) == (0.8, 0.4)


def test_a_path_of_the_host_falls_back_to_what_is_mounted(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/../docker/abc\n", "sys/fs/cgroup/memory.current": "77"}

    assert CgroupMonitor(root=write(tmp_path, files)).read([])["cgroup.memory_bytes"] == 77


def test_a_process_that_is_moved_is_followed(tmp_path: Path) -> None:
    files = {f"sys/fs/cgroup/{name}/memory.current": value for name, value in (("a", "1"), ("b", "2"))}
    reader = CgroupMonitor(root=write(tmp_path, {"proc/self/cgroup": "0::/a\n", **files}))
    first = reader.read([])
    write(tmp_path, {"proc/self/cgroup": "0::/b\n"})

    assert (first["cgroup.memory_bytes"], reader.read([])["cgroup.memory_bytes"]) == (1, 2)


def test_garbage_and_counters_that_begin_anew_are_none(tmp_path: Path) -> None:
    clock = SetClock()
    group = "sys/fs/cgroup"
    files = {f"{group}/cpu.max": "many few\n", f"{group}/cpu.stat": stat(900, 50, 50, 5), f"{group}/memory.max": "\x00"}
    reader = CgroupMonitor(root=write(tmp_path, {"proc/self/cgroup": "garbage\n0::/\n", **files}), clock=clock)
    reader.read([])
    clock.now_s += 1
    write(tmp_path, {f"{group}/cpu.stat": stat(1, 2, 2, 1)})

    assert set(reader.read([]).values()) == {None}


def test_a_machine_without_control_groups_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no control group"):
        CgroupMonitor(root=write(tmp_path, {"proc/self/cgroup": "0::/\n"}))
