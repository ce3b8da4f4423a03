"""Nodes as a runtime executes them, fusions done, and what each of them takes."""

from dataclasses import dataclass
from typing import Any

from infer_opt.results import Estimate

BITS = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16, "float8": 8,
    "int64": 64, "int32": 32, "int16": 16, "int8": 8, "int4": 4,
    "uint64": 64, "uint32": 32, "uint16": 16, "uint8": 8, "uint4": 4, "bool": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor that a node read or wrote, as it was in the runs that were measured.

    `dtype` is numpy's name (or bfloat16, int4, uint4). `is_constant`: a weight, there before the call.
    """

    dtype: str
    shape: tuple[int, ...]
    name: str = ""
    is_constant: bool = False

    @property
    def elements(self) -> int:
        """How many values it holds; 1 for a scalar."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def bytes(self) -> int:
        """What it takes in memory; 0 for types without a fixed size, such as strings."""
        return -(-self.elements * BITS.get(self.dtype, 0) // 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of the executed graph.

    `domain` is "" for ONNX's own operators; `inputs` hold None where an optional one is left out. `attributes` are
    plain values (int, float, str and tuples of them), those of the node in the optimised graph. `module` is the path of
    the PyTorch module that it came from (`encoder.layer.0.attention`), or what the names of nodes say of it; "" where
    nothing does. `origins` are the nodes of the model as given that it does the work of: several for a fused one.
    """

    name: str
    operator: str
    domain: str = ""
    provider: str = "CPUExecutionProvider"
    inputs: tuple[Tensor | None, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()
    module: str = ""
    origins: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The operator with its domain, as in `com.microsoft.FusedMatMul`; ONNX's own without one."""
        return f"{self.domain}.{self.operator}" if self.domain else self.operator


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTimes:
    """What one node took in each call of the model, in ns: process by process, call by call, the first call apart.

    What the profiler adds is taken off (`CallTimes.profiler_ns` for each execution).

    `time` is per call of the model, all executions of the node in it added up (`executions`: in a Loop there are
    several); its interval is over processes. `share` is that of the sum over all nodes. `first_ns` is the median over
    processes of what it took in the very first call.
    """

    node: Node
    time: Estimate
    share: float
    executions: float
    first_ns: float | None
    raw_ns: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimes:
    """A call of the model as a whole, in ns.

    `latency` is without the profiler, `profiled` with it, in the same processes and in turn; `nodes_ns` is the sum of
    the nodes' times. What is left of `latency` is the runtime between nodes, and the way in and out: `unaccounted` says
    in a sentence why the sum and the latency differ by more than 5 %, None where they do not. `open_ns` and `first_ns`
    are medians over processes: opening the session, and its first call. Of a call with the profiler, `between_ns` lie
    between the nodes (None where nodes run side by side) and `around_ns` before the first and after the last one, the
    way in and out included. `profiler_ns` is what the profiler adds to the time of each execution of a node, as found
    on nodes that do nothing; the nodes' times are without it.
    """

    latency: Estimate
    profiled: Estimate
    nodes_ns: float
    open_ns: float
    first_ns: float
    latency_raw_ns: tuple[tuple[int, ...], ...]
    unaccounted: str | None = None
    between_ns: float | None = None
    around_ns: float | None = None
    profiler_ns: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A tensor that is in memory at the peak: which node wrote it, and until which one it is needed."""

    tensor: str
    bytes: int
    written_by: str
    needed_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCourse:
    """Memory over one call: the bytes of activations that are alive while each node runs, in the order of execution.

    Computed from the executed graph and the shapes that were seen, as a planner that frees a tensor after its last
    reader would have it; `weight_bytes` come on top. `peak_index` is the node of `alive_bytes` at which most is alive
    and `holders` are the tensors there, the largest first. `rss_*` are readings of a process: before the session was
    opened, after, and the most during calls.
    """

    alive_bytes: tuple[int, ...]
    peak_index: int
    holders: tuple[Holder, ...]
    weight_bytes: int
    rss_before_bytes: int | None = None
    rss_opened_bytes: int | None = None
    rss_peak_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceActivity:
    """What a GPU did in a call, by the runtime's own trace: kernels, and copies between host and device.

    All per call, medians. `gaps_ns` is the time in which no kernel ran between the first kernel's start and the last
    one's end; `launches` counts kernels. `copies` are (direction or node, how many, bytes, ns).
    """

    launches: int
    busy_ns: float
    gaps_ns: float
    span_ns: float
    copies: tuple[tuple[str, int, int, float], ...] = ()
