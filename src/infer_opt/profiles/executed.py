"""What a runtime's own profile says was executed, and what one process brings home of it.

Such a profile counts in whole microseconds, rounded down: what follows from its durations has half of one added.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from infer_opt.profiles.nodes import MemoryCourse, Node
from infer_opt.results import Placement

Key = tuple[str, ...]  # names a node in every process: that of the node whose body it is in, then its own
TensorSeen = tuple[str, tuple[int, ...]]  # numpy's name of the element type, and the shape


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenNode:
    """A node as the profile names it, with what it read and wrote when it was seen first.

    `index` is its position in the runtime's graph. `inputs` and `outputs` are those that were there: a weight that the
    runtime has laid out anew is not among them, nor is what is no tensor. `key` begins with that of the Loop or If
    whose body it belongs to.
    """

    key: Key
    name: str
    operator: str
    provider: str
    index: int
    inputs: tuple[TensorSeen, ...] = ()
    outputs: tuple[TensorSeen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution of the node at position `node` of the profile's `seen`, in microseconds since the profile began.

    `own_us` is without what ran inside of it: the body of a Loop counts for the body's nodes. It is the middle of what
    its duration may have been.
    """

    node: int
    begin_us: int
    duration_us: int
    own_us: float
    thread: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEvent:
    """A kernel or a copy on a GPU, in microseconds since the profile began; `bytes` are None for a kernel."""

    name: str
    begin_us: int
    duration_us: int
    is_copy: bool
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCall:
    """One call: all of it (`run_us`), and the part in which the graph was executed (`graph_us`)."""

    begin_us: int
    run_us: int
    graph_us: int
    executions: tuple[Execution, ...]
    device: tuple[DeviceEvent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeProfile:
    """A whole profile: every node that was seen, and every call."""

    seen: tuple[SeenNode, ...]
    calls: tuple[SeenCall, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What is executed, found once before anything is timed: the nodes in their order, and how many events a call has.

    `call_ns` is what the fastest of those calls took: enough to plan by.
    """

    nodes: tuple[tuple[Key, Node], ...]
    memory: MemoryCourse
    events: int
    call_ns: int
    runtime_version: str
    placement: Placement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCall:
    """What a GPU did in one call, in microseconds. `copies` are name -> (how many, bytes, us)."""

    launches: int
    busy_us: int
    span_us: int
    copies: Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTrace:
    """One fresh process. `latency_ns` are timed calls without the profiler, `profiled_ns` those with it, in turn.

    `profiler_us` is what the profiler adds to the time of each execution of a node, and `after_us` what it takes after
    it, which is in the time of the Loop or If around it. Neither is taken off here.

    By call of the latter, in microseconds as the profile has them: `run_us` all of it, `graph_us` the execution of the
    graph, `nodes_us` what each node took itself. `open_ns`, `first_ns` and `rss_*` are those of a process that opened
    the session without the profiler first; `first_us` are the nodes' times in the first call of all, in a process that
    opened the other one first. None where it was the other way about. `executions` are means over calls,
    below 1 for a node that not every call executes; its time is 0 in those.
    """

    latency_ns: tuple[int, ...]
    profiled_ns: tuple[int, ...]
    run_us: tuple[int, ...]
    graph_us: tuple[int, ...]
    nodes_us: Mapping[Key, tuple[float, ...]]
    executions: Mapping[Key, float]
    is_steady: bool
    profiler_us: float = 0.0
    after_us: float = 0.0
    open_ns: int | None = None
    first_ns: int | None = None
    first_us: Mapping[Key, float] | None = None
    rss_before_bytes: int | None = None
    rss_opened_bytes: int | None = None
    rss_peak_bytes: int | None = None
    device: tuple[DeviceCall, ...] = ()
    trace: tuple[dict[str, object], ...] = ()
