"""The control group of this process: what it may use, what it uses, and how often it was stopped.

Versions 1 and 2 may be mounted together (hybrid). A limit holds for every group below the one that sets it, so the
tightest one on the way up counts, and the group that sets it is the one that counts the stops. Inside a container the
path in /proc/self/cgroup may be the host's and not exist under the container's mount: the folders that do exist on the
way up, the mount itself among them, are then the right ones.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infer_opt.errors import UnavailableError
from infer_opt.monitors.counters import Rates, scaled
from infer_opt.monitors.files import content, integer, prefix, rows_named, table
from infer_opt.readings.catalogue import key_of

NO_LIMIT = 1 << 60  # version 1 writes "no limit" as the largest page-aligned number, near 2**63
CPU_STAT = rows_named("usage_usec", "nr_periods", "nr_throttled", "throttled_usec", "throttled_time")
OOM_KILL = rows_named("oom_kill")
PLACE = "/sys/fs/cgroup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """This process's group and those above it, nearest first: of version 2, and of version 1 by controller."""

    unified: tuple[str, ...]
    cpu: tuple[str, ...]
    accounting: tuple[str, ...]
    memory: tuple[str, ...]


class CgroupMonitor:
    """Readings of the family `cgroup`.

    Raises:
        UnavailableError: this process is in no control group that tells anything.
    """

    name = "cgroup"

    def __init__(self, *, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._prefix, self._clock = prefix(root), clock
        self._rates = Rates()
        self._membership: bytes | None = None
        self._folders = _find(self._prefix, b"")
        held, counters = self._look()
        if all(value is None for value in (*held.values(), *counters.values())):
            raise UnavailableError(
                "this process is in no control group that counts anything", hint=f"mount {PLACE}, on Linux"
            )

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        """The readings, now; of the group of this process, whichever others are asked for."""
        held, counters = self._look()
        rates = self._rates.of(counters, self._clock())
        readings = {
            **held,
            "cpu_cores": rates["used_s"],
            "throttled": _stopped(rates["periods"], rates["throttled_periods"]),
            "throttled_cores": rates["throttled_s"],
        }
        return {key_of("cgroup", name): value for name, value in readings.items()}

    def close(self) -> None:
        """Nothing is held open."""

    def _look(self) -> tuple[dict[str, float | None], dict[str, float | None]]:
        membership = content(f"{self._prefix}/proc/self/cgroup")
        if membership != self._membership:  # somebody moved this process to another group
            self._membership, self._folders = membership, _find(self._prefix, membership or b"")
        folders = self._folders
        quotas = _quotas(folders)
        # Without a quota nothing is ever stopped, and the nearest group says so.
        quota, limiting = min(quotas, default=(None, None))
        counts = next(filter(None, map(_throttling, [limiting] if limiting else folders.unified + folders.cpu)), {})
        waited_s = scaled(counts.get("throttled_usec"), 1e-6)
        held = {"quota_cores": quota, "oom_kills": _oom_kills(folders), **_memory(folders)}
        return held, {
            "used_s": _used_s(folders),
            "periods": counts.get("nr_periods"),
            "throttled_periods": counts.get("nr_throttled"),
            "throttled_s": scaled(counts.get("throttled_time"), 1e-9) if waited_s is None else waited_s,
        }


def _stopped(periods: float | None, throttled: float | None) -> float | None:
    if periods is None or throttled is None:
        return None
    return throttled / periods if periods > 0 else 0.0


def _quotas(folders: Folders) -> list[tuple[float, str]]:
    """(cores, folder) of every quota on the way up."""
    found: list[tuple[str, list[int | None]]] = []
    for folder in folders.unified:
        found.append((folder, [integer(word) for word in (content(f"{folder}/cpu.max") or b"").split()]))
    for folder in folders.cpu:
        found.append((folder, [integer(content(f"{folder}/cpu.cfs_{name}_us")) for name in ("quota", "period")]))
    quotas = []
    for folder, numbers in found:
        quota, period = numbers if len(numbers) == 2 else (None, None)
        if quota is not None and period is not None and quota > 0 and period > 0:
            quotas.append((quota / period, folder))
    return quotas


def _throttling(folder: str) -> dict[str, int]:
    counts = table(content(f"{folder}/cpu.stat"), CPU_STAT)
    return counts if "nr_throttled" in counts else {}


def _used_s(folders: Folders) -> float | None:
    for folder in folders.accounting:
        used_ns = integer(content(f"{folder}/cpuacct.usage"))
        if used_ns is not None:
            return used_ns / 1e9
    for folder in folders.unified:
        used_us = table(content(f"{folder}/cpu.stat"), CPU_STAT).get("usage_usec")
        if used_us is not None:
            return used_us / 1e6
    return None


def _memory(folders: Folders) -> dict[str, float | None]:
    limits = [integer(content(f"{folder}/memory.max")) for folder in folders.unified]
    limits += [integer(content(f"{folder}/memory.limit_in_bytes")) for folder in folders.memory]
    held = [f"{folder}/memory.current" for folder in folders.unified]
    held += [f"{folder}/memory.usage_in_bytes" for folder in folders.memory]
    known = (integer(content(path)) for path in held)
    return {
        "memory_bytes": next((value for value in known if value is not None), None),
        "memory_limit_bytes": min((limit for limit in limits if limit is not None and limit < NO_LIMIT), default=None),
    }


def _oom_kills(folders: Folders) -> float | None:
    files = [f"{folder}/memory.events" for folder in folders.unified]
    files += [f"{folder}/memory.oom_control" for folder in folders.memory]
    return next((kills for path in files for kills in table(content(path), OOM_KILL).values()), None)


def _find(before: str, membership: bytes) -> Folders:
    groups: dict[str, tuple[str, str]] = {}
    for line in membership.decode(errors="replace").splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3:
            groups |= dict.fromkeys(fields[1].split(","), (fields[1], fields[2]))
    top = before + PLACE

    def climb(controller: str) -> tuple[str, ...]:
        # Without /proc/self/cgroup, a container's own group is still what is mounted.
        together, path = groups.get(controller, (controller, "/"))
        mounts = [top, f"{top}/unified"] if not controller else [f"{top}/{together}", f"{top}/{controller}"]
        # A group outside of the namespace is written with "..": its folders cannot be seen, the mount can.
        names = [name for name in path.split("/") if name and name != ".."]
        steps = ["/".join((mount, *names[:depth])) for mount in mounts for depth in range(len(names), -1, -1)]
        return tuple(folder for folder in dict.fromkeys(steps) if Path(folder).is_dir())

    return Folders(unified=climb(""), cpu=climb("cpu"), accounting=climb("cpuacct"), memory=climb("memory"))
