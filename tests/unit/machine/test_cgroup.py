from pathlib import Path

from file_tree import write
from infer_opt.machine import cgroup

MIB = 1 << 20
V1_NO_LIMIT = "9223372036854771712"


def test_the_tightest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pod/job\n",
            "sys/fs/cgroup/pod/cpu.max": "50000 100000",
            "sys/fs/cgroup/pod/job/cpu.max": "max 100000",
        },
    )

    assert cgroup.cpu_quota(root) == 0.5


def test_version_1_says_minus_one_for_no_quota(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "1:cpu:/\n0::/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )

    assert cgroup.cpu_quota(root) is None


def test_version_1_controllers_may_be_mounted_together(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/job\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "250000",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
        },
    )

    assert cgroup.cpu_quota(root) == 2.5


def test_a_host_path_that_the_container_cannot_see_falls_back_to_the_mount(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:cpu:/docker/abc\n5:memory:/../elsewhere\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(64 * MIB),
        },
    )

    assert cgroup.cpu_quota(root) == 2.0
    assert cgroup.memory_limit(root) == 64 * MIB


def test_a_container_without_proc_still_finds_its_quota(tmp_path: Path) -> None:
    root = write(tmp_path, {"sys/fs/cgroup/cpu.max": "300000 100000"})

    assert cgroup.cpu_quota(root) == 3.0


def test_an_unlimited_group_has_no_memory_limit(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "5:memory:/\n0::/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": V1_NO_LIMIT,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "5",
            "sys/fs/cgroup/memory.max": "max",
        },
    )

    assert cgroup.memory_limit(root) is None
    assert cgroup.memory_left(root) is None


def test_pages_that_the_kernel_drops_first_count_as_free(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job\n",
            "sys/fs/cgroup/job/memory.max": str(100 * MIB),
            "sys/fs/cgroup/job/memory.current": str(90 * MIB),
            "sys/fs/cgroup/job/memory.stat": f"anon {20 * MIB}\ninactive_file {60 * MIB}\n",
        },
    )

    assert cgroup.memory_left(root) == 70 * MIB


def test_throttling_is_in_nanoseconds_in_both_versions(tmp_path: Path) -> None:
    v1 = write(tmp_path / "v1", {"sys/fs/cgroup/cpu/cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_time 7000\n"})
    v2 = write(tmp_path / "v2", {"sys/fs/cgroup/cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_usec 7\n"})

    expected = cgroup.Throttling(periods=9, throttled_periods=4, throttled_ns=7000)
    assert cgroup.throttling(v1) == expected
    assert cgroup.throttling(v2) == expected
    assert cgroup.throttled_ns(v2) == 7000


def test_a_group_that_keeps_no_count_has_none(tmp_path: Path) -> None:
    # The root group of version 2 has a cpu.stat without throttling in it.
    root = write(tmp_path, {"sys/fs/cgroup/cpu.stat": "usage_usec 5\n"})

    assert cgroup.throttling(root) is None
    assert cgroup.throttled_ns(root) is None
    assert cgroup.cpu_quota(tmp_path / "nothing") is None
