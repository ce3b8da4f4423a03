"""Which cores each of several sessions in one process should have for itself. Standard library only.

`hardware_threads` reads what there is; `lay_out` is a pure function of it.
"""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infer_opt.machine.cpu import listed
from infer_opt.machine.files import integer, text

Cores = tuple[int, ...]  # numbers of hardware threads, ascending


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class HardwareThread:
    """A logical processor: the NUMA node and the physical core that it belongs to, and its number in the kernel."""

    node: int
    core: int
    number: int


def hardware_threads(root: Path = Path("/"), *, allowed: Collection[int] | None = None) -> tuple[HardwareThread, ...]:
    """Those that this process may use, in the order of their nodes and cores; empty where the platform does not say.

    `allowed` replaces this process's own affinity mask.

    Source: `topology/thread_siblings_list` of each processor and `node*/cpulist` under /sys.
    """
    if allowed is None:
        if not hasattr(os, "sched_getaffinity"):
            return ()
        allowed = os.sched_getaffinity(0)
    nodes = _nodes(root)
    found = (
        HardwareThread(node=nodes.get(number, _package(root, number)), core=_core(root, number), number=number)
        for number in allowed
    )
    return tuple(sorted(found))


def _nodes(root: Path) -> dict[int, int]:
    """Number of each hardware thread -> its NUMA node."""
    found = {}
    for path in (root / "sys/devices/system/node").glob("node[0-9]*/cpulist"):
        for number in listed(text(path)):
            found[number] = int(path.parent.name.removeprefix("node"))
    return found


def _package(root: Path, number: int) -> int:
    """The socket: where the kernel names no nodes, memory lies there."""
    return integer(root / f"sys/devices/system/cpu/cpu{number}/topology/physical_package_id") or 0


def _core(root: Path, number: int) -> int:
    """The physical core, named by the first of its hardware threads."""
    return min(listed(text(root / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")), default=number)


def lay_out(threads: Sequence[HardwareThread], *, instances: int, each: int) -> tuple[Cores, ...]:
    """Disjoint cores for so many instances with `each` threads; empty where there are not that many.

    An instance stays within a NUMA node if one has room. Within a node, instances get physical cores of their own while
    there are enough, and the first hardware thread of each core is taken before its second.
    """
    if instances < 1 or each < 1 or instances * each > len(threads):
        return ()
    nodes = [[one for one in threads if one.node == node] for node in sorted({one.node for one in threads})]
    shares = _shares(nodes, instances=instances, each=each)
    placed = [cores for node, share in zip(nodes, shares, strict=True) for cores in _within(node, share, each)]
    taken = {number for cores in placed for number in cores}
    rest = [one for node in nodes for one in _in_order(node) if one.number not in taken]
    # Whoever fits into no node lies across several: better than not at all.
    across = [_cores(rest[begin : begin + each]) for begin in range(0, (instances - len(placed)) * each, each)]
    return (*placed, *across)


def _shares(nodes: Sequence[Sequence[HardwareThread]], *, instances: int, each: int) -> list[int]:
    """How many instances go to each node: one by one to where most physical cores are left."""
    shares = [0] * len(nodes)
    for _ in range(instances):
        roomy = [at for at, node in enumerate(nodes) if (shares[at] + 1) * each <= len(node)]
        if not roomy:
            break
        shares[max(roomy, key=lambda at: (len({one.core for one in nodes[at]}) - shares[at] * each, -at))] += 1
    return shares


def _within(node: Sequence[HardwareThread], instances: int, each: int) -> list[Cores]:
    if not instances:
        return []
    by_core = [[one for one in node if one.core == core] for core in dict.fromkeys(one.core for one in node)]
    size = len(by_core) // instances
    chunks = [
        _in_order([one for core in by_core[at * size : (at + 1) * size] for one in core]) for at in range(instances)
    ]
    if min(map(len, chunks)) < each:  # more instances than physical cores, or a mask that leaves some cores half
        order = _in_order(node)
        chunks = [order[at * each : (at + 1) * each] for at in range(instances)]
    return [_cores(chunk[:each]) for chunk in chunks]


def _in_order(threads: Iterable[HardwareThread]) -> list[HardwareThread]:
    """The first hardware thread of every core, then the second ones, and so on."""
    turns: dict[int, int] = {}
    ranked = []
    for one in sorted(threads):
        turns[one.core] = turns.get(one.core, -1) + 1
        ranked.append((turns[one.core], one))
    return [one for _, one in sorted(ranked)]


def _cores(threads: Iterable[HardwareThread]) -> Cores:
    return tuple(sorted(one.number for one in threads))
