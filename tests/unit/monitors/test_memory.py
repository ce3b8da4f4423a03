from pathlib import Path

import pytest

from fake_machine import FakePsutil, SetClock
from file_tree import write
from infer_opt.errors import UnavailableError
from infer_opt.monitors.files import PAGE_BYTES
from infer_opt.monitors.memory import MemoryMonitor

KIB = 1024
MEMINFO = """MemTotal:       1000 kB
MemFree:         100 kB
MemAvailable:    700 kB
Buffers:          10 kB
Cached:          300 kB
SwapCached:        7 kB
Dirty:            20 kB
SReclaimable:     40 kB
SwapTotal:       500 kB
SwapFree:        450 kB
"""


def vmstat(*, swapped_in: int = 0, swapped_out: int = 0, faults: int = 0, kills: int = 0) -> str:
    return f"nr_free_pages 5\npswpin {swapped_in}\npswpout {swapped_out}\npgmajfault {faults}\noom_kill {kills}\n"


def test_memory_is_in_bytes(tmp_path: Path) -> None:
    write(tmp_path, {"proc/meminfo": MEMINFO, "proc/vmstat": vmstat(kills=3)})

    readings = MemoryMonitor(root=tmp_path).read([])

    assert readings == {
        "memory.total_bytes": 1000 * KIB,
        "memory.available_bytes": 700 * KIB,
        "memory.used_bytes": 300 * KIB,
        "memory.cached_bytes": 350 * KIB,
        "memory.dirty_bytes": 20 * KIB,
        "memory.swap_total_bytes": 500 * KIB,
        "memory.swap_used_bytes": 50 * KIB,
        "memory.swapped_in_bytes_per_second": None,
        "memory.swapped_out_bytes_per_second": None,
        "memory.major_faults_per_second": None,
        "memory.oom_kills": 3,
    }


def test_swapping_is_in_bytes_a_second_and_kills_are_a_counter(tmp_path: Path) -> None:
    clock = SetClock()
    reader = MemoryMonitor(root=write(tmp_path, {"proc/meminfo": MEMINFO, "proc/vmstat": vmstat()}), clock=clock)
    reader.read([])
    clock.now_s += 2
    write(tmp_path, {"proc/vmstat": vmstat(swapped_in=10, swapped_out=4, faults=6, kills=1)})

    readings = reader.read([])

    assert readings["memory.swapped_in_bytes_per_second"] == 5 * PAGE_BYTES
    assert readings["memory.swapped_out_bytes_per_second"] == 2 * PAGE_BYTES
    assert readings["memory.major_faults_per_second"] == 3
    assert readings["memory.oom_kills"] == 1


def test_counters_that_begin_anew_have_no_rate(tmp_path: Path) -> None:
    clock = SetClock()
    reader = MemoryMonitor(
        root=write(tmp_path, {"proc/meminfo": MEMINFO, "proc/vmstat": vmstat(faults=50)}), clock=clock
    )
    reader.read([])
    clock.now_s += 1
    write(tmp_path, {"proc/vmstat": vmstat(faults=2)})

    assert reader.read([])["memory.major_faults_per_second"] is None


def test_a_machine_without_swap_has_none_of_it_and_that_is_zero(tmp_path: Path) -> None:
    write(tmp_path, {"proc/meminfo": "MemTotal: 10 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"})

    readings = MemoryMonitor(root=tmp_path).read([])

    assert (readings["memory.swap_total_bytes"], readings["memory.swap_used_bytes"]) == (0, 0)
    assert (readings["memory.available_bytes"], readings["memory.used_bytes"]) == (None, None)


def test_garbage_and_missing_files_are_none(tmp_path: Path) -> None:
    write(tmp_path, {"proc/meminfo": "MemTotal: lots kB\n\x00\xff\n"})

    readings = MemoryMonitor(root=tmp_path).read([])

    assert set(readings.values()) == {None}


def test_a_machine_without_proc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="proc/meminfo cannot be read"):
        MemoryMonitor(root=tmp_path)


def test_systems_without_proc_are_read_through_psutil() -> None:
    clock, psutil = SetClock(), FakePsutil()
    reader = MemoryMonitor(clock=clock, psutil=psutil)
    reader.read([])
    clock.now_s += 1
    psutil.swapped_in = 4096

    readings = reader.read([])

    assert (readings["memory.used_bytes"], readings["memory.swap_used_bytes"]) == (4 << 30, 1 << 20)
    assert readings["memory.swapped_in_bytes_per_second"] == 4096
    assert (readings["memory.cached_bytes"], readings["memory.major_faults_per_second"]) == (None, None)


def test_what_psutil_may_not_say_is_none() -> None:
    assert set(MemoryMonitor(psutil=FakePsutil(works=False)).read([]).values()) == {None}
