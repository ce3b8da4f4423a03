"""How fast each node could be at the most, given what it has to do and what the machine can do.

The floor of a node is the longest of three times, as if the other two went on meanwhile:

- its arithmetic at the ceiling of its precision;
- its traffic, at the bandwidth of the level that the bytes come from;
- starting it.

Which level bytes come from is decided in favour of the machine. What a node reads besides weights was just written, and
what it writes is about to be read: only as much of either as a level's caches cannot hold goes through to behind them.
Weights come round once a call, after all others: where all weights of the model are W bytes and a cache holds C, then,
whatever it keeps, at least the share 1 - C / W of them comes from behind it. A floor is no prediction: small matrices
do not reach the ceiling, and caches keep less than they could.
"""

from collections.abc import Sequence

from infer_opt.profiles.nodes import Node, NodeTimes
from infer_opt.profiles.roofline import Bound, Ceilings, NodeFloor, Roofline, Work
from infer_opt.roofline.counting import count

NS = 1e9
CLOCK_NS = 1000.0  # what runtimes' profiles resolve
TOLERANCE = 1.05  # a ceiling is known to a few per cent
# Where a precision has no ceiling of its own: 16 bits are then computed as float32, and 64 bits are never faster.
STANDARD = "float32"


def roofline(nodes: Sequence[NodeTimes] | Sequence[Node], ceilings: Ceilings) -> Roofline:
    """The floors of all nodes a call, and their sum. Of bare nodes the counted share is that of their number."""
    bare = [one.node if isinstance(one, NodeTimes) else one for one in nodes]
    works = [count(node) for node in bare]
    weights = weight_bytes(bare, works)
    floors, counted, everything = [], 0.0, 0.0
    for one, node, work in zip(nodes, bare, works, strict=True):
        executions = one.executions if isinstance(one, NodeTimes) else 1.0
        time_ns = one.time.value if isinstance(one, NodeTimes) else 1.0
        floor_ns, bound = floor(work, ceilings, weights=weights)
        floors.append(NodeFloor(name=node.name, work=work, floor_ns=executions * floor_ns, bound=bound))
        everything += time_ns
        counted += time_ns * (work is not None)
    return Roofline(
        ceilings=ceilings,
        nodes=tuple(floors),
        floor_ns=sum(one.floor_ns for one in floors),
        counted_share=counted / everything if everything else 0.0,
    )


def floor(work: Work | None, ceilings: Ceilings, *, weights: int) -> tuple[float, Bound]:
    """The least time of one execution in ns, and what it comes from. `weights` are the bytes of the whole model's."""
    launch_ns = ceilings.launch.value
    if work is None:
        return launch_ns, Bound.LAUNCH
    times = {
        Bound.LAUNCH: launch_ns,
        Bound.COMPUTE: NS * work.operations / peak(ceilings, work.precision),
        Bound.MEMORY: NS * _traffic_s(work, ceilings, weights),
    }
    bound = max(times, key=lambda one: times[one])
    return times[bound], bound


def peak(ceilings: Ceilings, precision: str) -> float:
    """Operations a second in a precision; where it has no ceiling of its own that of float32, or the highest."""
    known = {name: estimate.value for name, estimate in ceilings.operations_per_s}
    return known.get(precision) or known.get(STANDARD) or max(known.values())


def weight_bytes(nodes: Sequence[Node], works: Sequence[Work | None]) -> int:
    """What a call reads of constants, those that several nodes share but once."""
    seen: set[str] = set()
    total = 0
    for node, work in zip(nodes, works, strict=True):
        constants = [tensor for tensor in node.inputs if tensor is not None and tensor.is_constant]
        fresh = sum(tensor.bytes for tensor in constants if not tensor.name or tensor.name not in seen)
        seen |= {tensor.name for tensor in constants}
        total += 0 if work is None else min(work.weight_bytes, fresh)
    return total


def faster_than_possible(nodes: Sequence[NodeTimes], found: Roofline) -> tuple[str, ...]:
    """Nodes that were faster than their floors, by name: their ceiling was measured too low, or their work is less.

    Beyond 5 %, and beyond what the profile's clock resolves. A count that is not exact proves nothing. Measuring the
    ceilings anew while nothing else runs is what helps.
    """
    return tuple(
        one.node.name
        for one, least in zip(nodes, found.nodes, strict=True)
        if least.bound is not Bound.LAUNCH
        and least.work is not None
        and least.work.is_exact
        and TOLERANCE * one.time.high + CLOCK_NS * one.executions < least.floor_ns
    )


def _traffic_s(work: Work, ceilings: Ceilings, weights: int) -> float:
    """The slowest of the levels: the nearest passes everything on, each further one what those before cannot hold."""
    activations = work.read_bytes - work.weight_bytes
    slowest, before = 0.0, 0
    for level in ceilings.bandwidths:
        share = max(0.0, 1.0 - before / weights) if weights else 0.0
        beyond = share * work.weight_bytes + max(0, activations - before) + max(0, work.written_bytes - before)
        slowest = max(slowest, beyond / level.bytes_per_s.value)
        before = level.capacity_bytes or before
    return slowest
