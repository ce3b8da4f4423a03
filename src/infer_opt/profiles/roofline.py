"""What a machine can do at the most, and how long a node would take it at least."""

from dataclasses import dataclass
from enum import StrEnum

from infer_opt.results import Estimate


class Bound(StrEnum):
    """What a node's floor comes from: arithmetic, memory traffic, or the overhead of starting it at all."""

    COMPUTE = "compute"
    MEMORY = "memory"
    LAUNCH = "launch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Bytes a second that can be read and written within `capacity_bytes` of data: `L1`, `L2`, `L3`, `memory`."""

    level: str
    capacity_bytes: int | None
    bytes_per_s: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """This machine's limits on one provider with `threads` threads, as they were measured.

    `operations_per_s` are those of matrix products, precision (float32, float16, bfloat16, int8, ...) -> operations a
    second, where a multiplication and an addition count as two; precisions that do not run here are left out.
    `launch` is what starting the smallest node takes, in ns. `measured_ms` is since 1970. They are the most that was
    seen in so many `measurements`; `disturbed_by` says what else went on in all of them, None where one was quiet.
    """

    fingerprint: str
    provider: str
    threads: int
    operations_per_s: tuple[tuple[str, Estimate], ...]
    bandwidths: tuple[Bandwidth, ...]
    launch: Estimate
    measured_ms: int
    measurements: int = 1
    disturbed_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a node has to do, counted from its shapes.

    `operations` are arithmetic (a multiply-add is two); `read_bytes` and `written_bytes` each tensor once, of which
    `weight_bytes` are constants. `precision` is that of the arithmetic. `is_exact` is False where the count is an
    upper bound or an estimate (an early exit, a sparse gather), and `operations` is 0 for what only moves data.
    """

    operations: int
    read_bytes: int
    written_bytes: int
    weight_bytes: int
    precision: str
    is_exact: bool = True

    @property
    def moved_bytes(self) -> int:
        """Read and written."""
        return self.read_bytes + self.written_bytes

    @property
    def intensity(self) -> float:
        """Operations a byte; 0 where nothing is moved."""
        return self.operations / self.moved_bytes if self.moved_bytes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFloor:
    """How fast a node could be at the most. An operator that is not counted has no `work`: its floor is its launch."""

    name: str
    work: Work | None
    floor_ns: float
    bound: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """The floors of all nodes, in the order of execution, and of the model: their sum.

    `counted_share` is the share of the nodes' time that is spent in nodes whose work is counted.
    """

    ceilings: Ceilings
    nodes: tuple[NodeFloor, ...]
    floor_ns: float
    counted_share: float
