"""Main memory: how much there is, how much the control group leaves, and whether some of it is on disk."""

import os
from pathlib import Path

from infer_opt.machine.cgroup import memory_left, memory_limit
from infer_opt.machine.files import table

KIB = 1024


def total_bytes(root: Path = Path("/")) -> int | None:
    """What the machine has (`MemTotal`), in bytes; None where the platform does not say."""
    found = table(root / "proc/meminfo").get("MemTotal")
    if found is not None:
        return found * KIB
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def usable_bytes(root: Path = Path("/")) -> int | None:
    """What this process may hold: the machine's memory or the control group's limit, the smaller, in bytes."""
    known = [size for size in (total_bytes(root), memory_limit(root)) if size is not None]
    return min(known, default=None)


def available_bytes(root: Path = Path("/")) -> int | None:
    """What can be had now without swapping or being killed (`MemAvailable`, the group's rest), in bytes."""
    found = table(root / "proc/meminfo").get("MemAvailable")
    known = [size for size in (None if found is None else found * KIB, memory_left(root)) if size is not None]
    return min(known, default=None)


def swap_used_bytes(root: Path = Path("/")) -> int | None:
    """What lies on disk instead of in memory (`SwapTotal` - `SwapFree`), in bytes; None where it is not said."""
    meminfo = table(root / "proc/meminfo")
    if "SwapTotal" not in meminfo or "SwapFree" not in meminfo:
        return None
    return (meminfo["SwapTotal"] - meminfo["SwapFree"]) * KIB
