"""The nodes of a profile added up: by operator, by module, by block, or each by itself."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from infer_opt.profiles.nodes import Node, NodeTimes
from infer_opt.profiles.profile import Profile
from infer_opt.reports import By
from infer_opt.results import Estimate
from infer_opt.stats.intervals import mean_interval

NO_MODULE = "(no module)"
NOT_FUSED = "(one for one)"
PUT_IN = "(put in by the runtime)"
CLOCK_NS = 1000  # the step in which the runtime's profiler counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Nodes that are shown as one: what they take a call together, in ns, and their share of all nodes' time.

    `executions` are those a call, of all of them.
    """

    name: str
    nodes: tuple[NodeTimes, ...]
    time: Estimate
    share: float
    executions: float

    @property
    def providers(self) -> str:
        """Where they ran: `CPU`, `CPU, CUDA`."""
        found = dict.fromkeys(one.node.provider.removesuffix("ExecutionProvider") for one in self.nodes)
        return ", ".join(sorted(found))

    @property
    def heaviest(self) -> Node:
        """The node that takes most."""
        return max(self.nodes, key=lambda one: one.time.value).node


def groups(profile: Profile, by: By) -> tuple[Group, ...]:
    """The nodes added up, those that take most first."""
    found: dict[str, list[NodeTimes]] = {}
    for one in profile.nodes:
        found.setdefault(_name(one.node, by), []).append(one)
    made = [together(name, nodes) for name, nodes in found.items()]
    return tuple(sorted(made, key=lambda group: -group.time.value))


def together(name: str, nodes: Sequence[NodeTimes]) -> Group:
    """Nodes as one group: their times added up, the interval from what they add up to in each process."""
    total = sum(one.time.value for one in nodes)
    return Group(
        name=name,
        nodes=tuple(nodes),
        time=nodes[0].time if len(nodes) == 1 else _sum(total, nodes),
        share=sum(one.share for one in nodes),
        executions=sum(one.executions for one in nodes),
    )


def _sum(total: float, nodes: Sequence[NodeTimes]) -> Estimate:
    """Neighbours in a process share its luck, so their intervals must not be added as if they did not."""
    by_process = zip(*(one.raw_ns for one in nodes), strict=False)
    sums = [sum(_typical(calls) for calls in process) for process in by_process]
    if not sums:
        return Estimate(value=total, low=0.0, high=math.inf)
    found = mean_interval(sums)
    return Estimate(value=total, low=max(0.0, total + found.low - found.value), high=total + found.high - found.value)


def _typical(calls: Sequence[int]) -> float:
    """As a node's time is found: the median where it was executed, by the share of the calls in which it was."""
    executed = [ns for ns in calls if ns > 0]
    return len(executed) / len(calls) * statistics.median_grouped(executed, interval=CLOCK_NS) if executed else 0.0


def _name(node: Node, by: By) -> str:
    if by is By.OPERATOR:
        return node.kind
    if by is By.MODULE:
        return node.module or NO_MODULE
    if by is By.NODE:
        return node.name
    if not node.origins:
        return PUT_IN
    return NOT_FUSED if len(node.origins) == 1 else f"{node.kind} for {len(node.origins)} nodes"
