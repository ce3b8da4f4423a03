from pathlib import Path

import pytest

from file_tree import write
from infer_opt.facts import CacheLevel
from infer_opt.machine.caches import caches

FOLDER = "sys/devices/system/cpu/cpu0/cache"


def described(*rows: tuple[int, str, str, str]) -> dict[str, str]:
    """(level, type, size, shared with) of each index."""
    files = {"sys/devices/system/cpu/online": "0-7"}
    for index, row in enumerate(rows):
        names = ("level", "type", "size", "shared_cpu_list")
        files |= {f"{FOLDER}/index{index}/{name}": str(value) for name, value in zip(names, row, strict=True)}
    return files


def test_data_caches_are_told_by_level_with_who_shares_them(tmp_path: Path) -> None:
    rows = (
        (1, "Data", "48K", "0-1"),
        (1, "Instruction", "32K", "0-1"),
        (2, "Unified", "2048K", "0-1"),
        (3, "Unified", "32M", "0-7"),
    )

    assert caches(write(tmp_path, described(*rows))) == (
        CacheLevel(level=1, capacity_bytes=48 << 10, shared_by=2, count=4),
        CacheLevel(level=2, capacity_bytes=2 << 20, shared_by=2, count=4),
        CacheLevel(level=3, capacity_bytes=32 << 20, shared_by=8, count=1),
    )


@pytest.mark.parametrize("size", ["", "K", "many", "0K", "12X"])
def test_a_cache_without_a_size_is_left_out(tmp_path: Path, size: str) -> None:
    assert caches(write(tmp_path, described((2, "Unified", size, "0")))) == ()


def test_a_platform_that_says_nothing_has_no_caches(tmp_path: Path) -> None:
    assert caches(tmp_path) == ()
