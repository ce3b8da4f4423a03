"""The processor's caches, as the kernel describes them."""

from pathlib import Path

from infer_opt.facts import CacheLevel
from infer_opt.machine.cpu import ROOT, listed
from infer_opt.machine.files import integer, text

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
INSTRUCTIONS = "Instruction"


def caches(root: Path = ROOT) -> tuple[CacheLevel, ...]:
    """Each level of data caches, the nearest first; empty where the platform does not say.

    A virtual machine tells what its host chose to tell, which may be the whole of a cache that it shares with others.
    Cores of several kinds are described by the first of them.

    Source: `/sys/devices/system/cpu/cpu0/cache/index*`.
    """
    folders = sorted((root / "sys/devices/system/cpu/cpu0/cache").glob("index[0-9]*"))
    online = listed(text(root / "sys/devices/system/cpu/online"))
    found = {}
    for folder in folders:
        level, capacity = integer(folder / "level"), _bytes(text(folder / "size"))
        if level is None or not capacity or text(folder / "type") == INSTRUCTIONS:
            continue
        sharing = len(listed(text(folder / "shared_cpu_list"))) or 1
        count = max(1, len(online) // sharing)
        found[level] = CacheLevel(level=level, capacity_bytes=capacity, shared_by=sharing, count=count)
    return tuple(found[level] for level in sorted(found))


def _bytes(words: str | None) -> int | None:
    if not words or not words[:-1].isdigit():
        return None
    return int(words[:-1]) * UNITS[words[-1]] if words[-1] in UNITS else None
