"""What the rules judge: a profile with its wiring and floors, and what was seen besides it."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from infer_opt.config import Provider
from infer_opt.diagnoses.wiring import Wiring, wire
from infer_opt.profiles.nodes import Node
from infer_opt.profiles.profile import Profile
from infer_opt.profiles.roofline import NodeFloor
from infer_opt.results import ShapeReadings

WORTH = 0.03  # of a call: what a finding must be able to win. Less is within what two calls differ by
SMALL_BYTES = 4096  # a node that moves no more than this takes what starting a node takes
FEWEST_SMALL = 5  # such nodes, to say what that is
LAUNCH_AT_MOST_NS = 10_000.0  # where no roofline says it: a node that takes longer does something
CPU_PROVIDER = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushedTime:
    """What a node took in calls with subnormal numbers as they are, and flushed to zero, in turn; ns a call."""

    node: str
    plain_ns: float
    flushed_ns: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a profile does not hold, as far as it was looked at; None and () are "not known", which no rule judges.

    `threads` are those that a call is spread over, `allowed_cores` the hardware threads that the affinity mask leaves,
    and `quota` what the control group allows, in cores. Of `periods` of the quota that passed while the model ran,
    `throttled_periods` used it up; `throttled_share` is the part of the wall time that threads were held back.
    `cores_after` are the cores busy in the 200 ms after a call. `items_per_s` is (batch, items a second), `shapes` what
    calls of each of several shapes took. `flushed` is timed in pairs; `subnormal_weights` are (weight, share of its
    values that are subnormal).
    """

    threads: int | None = None
    allowed_cores: float | None = None
    quota: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_share: float | None = None
    cores_after: float | None = None
    has_vnni: bool | None = None
    items_per_s: tuple[tuple[int, float], ...] = ()
    shapes: tuple[ShapeReadings, ...] = ()
    flushed: tuple[FlushedTime, ...] = ()
    subnormal_weights: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A profile as the rules look at it. `floors` stand beside the nodes, None where there is no roofline.

    `launch_ns` is what starting the smallest node takes; None where neither a roofline nor small nodes say it.
    """

    profile: Profile
    around: Circumstances
    wiring: Wiring
    floors: tuple[NodeFloor | None, ...]
    launch_ns: float | None

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The executed nodes, in order."""
        return self.wiring.nodes

    @property
    def latency_ns(self) -> float:
        """What a call takes."""
        return self.profile.call.latency.value

    @property
    def between_ns(self) -> float:
        """What of a call is in no node: the runtime between them, and the way in and out. On a GPU nodes only ask."""
        return max(0.0, self.latency_ns - self.profile.call.nodes_ns) if self.is_on_cpu else 0.0

    @property
    def is_on_cpu(self) -> bool:
        """Whether nodes' times are those of their work; on a GPU they are those of asking for it."""
        return self.profile.config.options.provider is Provider.CPU

    def spent_ns(self, indices: Iterable[int]) -> float:
        """What these nodes take a call together."""
        return sum(self.profile.nodes[index].time.value for index in indices)

    def share(self, value_ns: float) -> float:
        """Of a call."""
        return value_ns / self.latency_ns if self.latency_ns > 0 else 0.0

    def is_worth(self, gain_ns: float) -> bool:
        """Whether so much is worth a word."""
        return self.share(gain_ns) >= WORTH

    def names(self, indices: Iterable[int]) -> tuple[str, ...]:
        """The names of these nodes, as far as they have one."""
        return tuple(dict.fromkeys(self.nodes[index].name for index in indices if self.nodes[index].name))


def open_case(profile: Profile, around: Circumstances) -> Case:
    """The profile, ready to be judged."""
    nodes = tuple(times.node for times in profile.nodes)
    return Case(
        profile=profile,
        around=around,
        wiring=wire(nodes),
        floors=_floors(profile),
        launch_ns=_launch_ns(profile),
    )


def _floors(profile: Profile) -> tuple[NodeFloor | None, ...]:
    """By position, and by name where somebody left nodes out."""
    found = profile.roofline.nodes if profile.roofline is not None else ()
    if len(found) == len(profile.nodes):
        return found
    by_name = {floor.name: floor for floor in found if floor.name}
    return tuple(by_name.get(times.node.name) for times in profile.nodes)


def _launch_ns(profile: Profile) -> float | None:
    if profile.roofline is not None:
        return profile.roofline.ceilings.launch.value
    small = [times.time.value for times in profile.nodes if 0 < _moved_bytes(times.node) <= SMALL_BYTES]
    return min(LAUNCH_AT_MOST_NS, statistics.median(small)) if len(small) >= FEWEST_SMALL else None


def _moved_bytes(node: Node) -> int:
    return sum(tensor.bytes for tensor in (*node.inputs, *node.outputs) if tensor is not None)
