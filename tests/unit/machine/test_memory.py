import os
from pathlib import Path

from file_tree import write
from infer_opt.machine import memory

MEMINFO = """MemTotal:       1000 kB
MemAvailable:    600 kB
SwapTotal:       200 kB
SwapFree:        150 kB
HugePages_Total:   0
"""


def test_kibibytes_become_bytes(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/meminfo": MEMINFO})

    assert memory.total_bytes(root) == 1000 * 1024
    assert memory.usable_bytes(root) == 1000 * 1024
    assert memory.available_bytes(root) == 600 * 1024
    assert memory.swap_used_bytes(root) == 50 * 1024


def test_the_groups_limit_decides_when_it_is_smaller(tmp_path: Path) -> None:
    limits = {"sys/fs/cgroup/memory.max": "307200", "sys/fs/cgroup/memory.current": "102400"}
    root = write(tmp_path, {"proc/meminfo": MEMINFO, **limits})

    assert memory.usable_bytes(root) == 307200
    assert memory.available_bytes(root) == 204800


def test_what_is_not_said_is_none_and_not_zero(tmp_path: Path) -> None:
    assert memory.available_bytes(tmp_path) is None
    assert memory.swap_used_bytes(tmp_path) is None
    assert memory.total_bytes(tmp_path) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
