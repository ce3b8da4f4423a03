"""What the control group leaves to this process: CPU quota, memory limit, throttling. Standard library only.

Versions 1 and 2 may be mounted together (hybrid). A limit holds for every group below the one that sets it, so the
tightest one on the way up counts. Inside a container the path in /proc/self/cgroup may be the host's and not exist
under the container's mount; the folders that do exist on the way up, the mount itself among them, are then the right
ones.
"""

from dataclasses import dataclass
from pathlib import Path

from infer_opt.machine.files import integer, table, text

NO_LIMIT = 1 << 60  # version 1 writes "no limit" as the largest page-aligned number, near 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """How often this group ran out of its CPU quota since it was made, and for how long its threads waited (ns)."""

    periods: int
    throttled_periods: int
    throttled_ns: int


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPU time per wall time that the group may use, in cores (1.5 is possible); None without a quota.

    Source: `cpu.max` (version 2), `cpu.cfs_quota_us` over `cpu.cfs_period_us` (version 1).
    """
    quotas = []
    for folder in _folders(None, root):
        words = (text(folder / "cpu.max") or "max").split()
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]) > 0:
            quotas.append(int(words[0]) / int(words[1]))
    for folder in _folders("cpu", root):
        quota, period = integer(folder / "cpu.cfs_quota_us"), integer(folder / "cpu.cfs_period_us")
        if quota is not None and period and quota > 0:
            quotas.append(quota / period)
    return min(quotas, default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """The most memory that the group may hold, in bytes; None without a limit.

    Source: `memory.max` (version 2), `memory.limit_in_bytes` (version 1).
    """
    limits = [integer(folder / "memory.max") for folder in _folders(None, root)]
    limits += [integer(folder / "memory.limit_in_bytes") for folder in _folders("memory", root)]
    return min((limit for limit in limits if limit is not None and limit < NO_LIMIT), default=None)


def memory_left(root: Path = Path("/")) -> int | None:
    """What is left of the tightest limit, in bytes; None without a limit.

    File pages that the kernel would drop first (`inactive_file`) count as free, as Kubernetes' working set has it.
    """
    left = []
    for folders, limit_file, usage_file, inactive in (
        (_folders(None, root), "memory.max", "memory.current", "inactive_file"),
        (_folders("memory", root), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in folders:
            limit, usage = integer(folder / limit_file), integer(folder / usage_file)
            if limit is not None and usage is not None and limit < NO_LIMIT:
                working_set = max(0, usage - table(folder / "memory.stat").get(inactive, 0))
                left.append(max(0, limit - working_set))
    return min(left, default=None)


def throttling(root: Path = Path("/")) -> Throttling | None:
    """The nearest group's throttle counters; None where no group keeps any.

    Source: `cpu.stat`, whose time is `throttled_usec` in version 2 and `throttled_time` (ns) in version 1.
    """
    for folder in _folders(None, root) + _folders("cpu", root):
        counts = table(folder / "cpu.stat")
        if "nr_throttled" in counts:
            return Throttling(
                periods=counts.get("nr_periods", 0),
                throttled_periods=counts["nr_throttled"],
                throttled_ns=counts.get("throttled_time", counts.get("throttled_usec", 0) * 1000),
            )
    return None


def throttled_ns(root: Path = Path("/")) -> int | None:
    """Nanoseconds that this group's threads waited for quota since it was made; None where that is not counted."""
    found = throttling(root)
    return None if found is None else found.throttled_ns


def _folders(controller: str | None, root: Path) -> list[Path]:
    """This process's group and those above it that exist, nearest first. None means version 2."""
    for line in (text(root / "proc/self/cgroup") or "").splitlines():
        fields = line.split(":", 2)
        if len(fields) != 3:
            continue
        names = fields[1].split(",") if fields[1] else [None]
        if controller in names:
            return _climb(_mounts(controller, fields[1], root), fields[2])
    # Without /proc/self/cgroup, a container's own group is still what is mounted.
    return _climb(_mounts(controller, controller or "", root), "/")


def _mounts(controller: str | None, together: str, root: Path) -> list[Path]:
    top = root / "sys/fs/cgroup"
    if controller is None:
        return [top, top / "unified"]
    return [top / together, top / controller]


def _climb(mounts: list[Path], path: str) -> list[Path]:
    # A group outside the namespace is written with "..": its folders cannot be seen, the mount can.
    names = [name for name in path.split("/") if name and name != ".."]
    found = []
    for mount in dict.fromkeys(mounts):
        for depth in range(len(names), -1, -1):
            folder = mount.joinpath(*names[:depth])
            if folder.is_dir():
                found.append(folder)
    return found
