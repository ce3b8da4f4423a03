"""What the rules judge: a profile with its wiring and floors, and what was seen besides it."""

import statistics
from collections.abc import Iterable, Sequence
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
PROFILER_NS = 5_000.0  # that writing down one execution adds to it at the most
CPU_PROVIDER = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushedTime:
    """What a node took a call with subnormal numbers as they are, and with them taken for zero, in ns."""

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
    calls of each of several shapes took. `flushed` is timed in two processes, and `subnormal_weights` are (weight,
    share of its values that are subnormal).
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

    `times_ns` are what the nodes take a call without the profiler, which writes down each execution within the node's
    own time. `launch_ns` is what starting the smallest node takes; None where neither a roofline nor small nodes say.
    """

    profile: Profile
    around: Circumstances
    wiring: Wiring
    times_ns: tuple[float, ...]
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
        """What a node takes outside of its own time, from one to the next; no more than starting one takes.

        What is left of a call is the way in and out, which no node less would shorten. On a GPU nodes only ask.
        """
        if not self.is_on_cpu or self.launch_ns is None:
            return 0.0
        left_ns = self.latency_ns - sum(self.times_ns)
        return min(self.launch_ns, max(0.0, left_ns) / len(self.nodes))

    @property
    def is_on_cpu(self) -> bool:
        """Whether nodes' times are those of their work; on a GPU they are those of asking for it."""
        return self.profile.config.options.provider is Provider.CPU

    def spent_ns(self, indices: Iterable[int]) -> float:
        """What these nodes take a call together."""
        return sum(self.times_ns[index] for index in indices)

    def executions(self, index: int) -> float:
        """How often a node is executed in a call: several times in a Loop. Never 0, so that times can be divided."""
        return self.profile.nodes[index].executions or 1.0

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
    times_ns = _without_profiler(profile)
    return Case(
        profile=profile,
        around=around,
        wiring=wire(nodes),
        times_ns=times_ns,
        floors=_floors(profile),
        launch_ns=_launch_ns(profile, times_ns),
    )


def _without_profiler(profile: Profile) -> tuple[float, ...]:
    """The nodes' times as they fit into a call that nobody watches.

    Where they add up to more than the call takes, writing each execution down is taken off, and the rest by shares. On
    a GPU they need not fit: work that was asked for is done later.
    """
    times = [one.time.value for one in profile.nodes]
    latency_ns = profile.call.latency.value
    over_ns = sum(times) - latency_ns
    if over_ns <= 0 or profile.config.options.provider is not Provider.CPU or profile.config.options.parallel:
        return tuple(times)
    counts = [one.executions for one in profile.nodes]
    each_ns = min(PROFILER_NS, over_ns / max(1.0, sum(counts)))
    left = [max(0.0, time - each_ns * count) for time, count in zip(times, counts, strict=True)]
    scale = min(1.0, latency_ns / sum(left)) if sum(left) > 0 else 0.0
    return tuple(time * scale for time in left)


def _floors(profile: Profile) -> tuple[NodeFloor | None, ...]:
    """By position, and by name where somebody left nodes out."""
    found = profile.roofline.nodes if profile.roofline is not None else ()
    if len(found) == len(profile.nodes):
        return found
    by_name = {floor.name: floor for floor in found if floor.name}
    return tuple(by_name.get(times.node.name) for times in profile.nodes)


def _launch_ns(profile: Profile, times_ns: Sequence[float]) -> float | None:
    if profile.roofline is not None:
        return profile.roofline.ceilings.launch.value
    small = [
        time for time, one in zip(times_ns, profile.nodes, strict=True) if 0 < _moved_bytes(one.node) <= SMALL_BYTES
    ]
    return min(LAUNCH_AT_MOST_NS, statistics.median(small)) if len(small) >= FEWEST_SMALL else None


def _moved_bytes(node: Node) -> int:
    return sum(tensor.bytes for tensor in (*node.inputs, *node.outputs) if tensor is not None)
