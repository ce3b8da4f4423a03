"""Profiles made by hand for the rules of diagnosis: nodes with what they read and write, and their times."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from infer_opt.config import Provider, SessionOptions, TrialConfig
from infer_opt.profiles.nodes import Node, NodeTimes, Tensor
from infer_opt.profiles.profile import Profile
from infer_opt.profiles.roofline import Bandwidth, Bound, Ceilings, NodeFloor, Roofline, Work
from made_profiles import around, made_profile

US, MS = 1_000.0, 1_000_000.0
CUDA_OPTIONS = SessionOptions(provider=Provider.CUDA)
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
Shape = tuple[int, ...]


class Graph:
    """Nodes in the order of execution; tensors by name, those that no node writes are inputs or, with `w`, weights."""

    def __init__(self, shapes: Mapping[str, Shape] | None = None, *, shape: Shape = (1, 64)) -> None:
        self._shapes, self._shape = dict(shapes or {}), shape
        self._dtypes: dict[str, str] = {}
        self.nodes: list[NodeTimes] = []

    def typed(self, dtype: str, *names: str, shape: Shape | None = None) -> None:
        """Tensors of another type than float32, or of another shape."""
        self._dtypes |= dict.fromkeys(names, dtype)
        self._shapes |= {} if shape is None else dict.fromkeys(names, shape)

    def add(self, operator: str, reads: str, writes: str, *, us: float = 10.0, **changes: Any) -> str:
        """A node that reads and writes the tensors of these names, separated by blanks."""
        node = Node(
            name=f"{operator.lower()}{len(self.nodes)}",
            operator=operator,
            inputs=tuple(self._tensor(name) for name in reads.split()),
            outputs=tuple(self._tensor(name) for name in writes.split()),
        )
        self.nodes.append(
            NodeTimes(
                node=replace(node, **changes),
                time=around(us * US),
                share=0.0,
                executions=1.0,
                first_ns=None,
                raw_ns=((round(us * US),) * 3,),
            )
        )
        return writes.split()[0]

    def _tensor(self, name: str) -> Tensor:
        is_weight = name.startswith("w")
        shape = self._shapes.get(name, (1,) if is_weight else self._shape)
        return Tensor(name=name, dtype=self._dtypes.get(name, "float32"), shape=shape, is_constant=is_weight)

    def profile(
        self, *, latency_us: float | None = None, options: SessionOptions | None = None, batch: int = 1,
        floors: Sequence[NodeFloor] | None = None, **changes: Any,
    ) -> Profile:  # fmt: skip
        """A profile in which a call takes what its nodes take, or `latency_us`."""
        made = made_profile(self.nodes)
        total = sum(one.time.value for one in self.nodes)
        latency_ns = total if latency_us is None else latency_us * US
        call = replace(made.call, latency=around(latency_ns), first_ns=2 * latency_ns)
        config = TrialConfig(options=options or SessionOptions(), batch=batch)
        roofline = None if floors is None else made_roofline(floors)
        return replace(made, call=call, config=config, roofline=roofline, diagnoses=(), **changes)


def made_roofline(floors: Sequence[NodeFloor]) -> Roofline:
    """A machine of 100 GFLOP/s in float32, 400 in int8, and 10 GB/s, on which starting a node takes 1 µs."""
    ceilings = Ceilings(
        fingerprint="f00d",
        provider="cpu",
        threads=2,
        operations_per_s=(("float32", around(1e11)), ("int8", around(4e11))),
        bandwidths=(Bandwidth(level="memory", capacity_bytes=None, bytes_per_s=around(1e10)),),
        launch=around(1.0 * US),
        measured_ms=0,
    )
    return Roofline(
        ceilings=ceilings,
        nodes=tuple(floors),
        floor_ns=sum(floor.floor_ns for floor in floors),
        counted_share=1.0,
    )


def weights_floor(name: str, *, weight_bytes: int, operations: int, floor_us: float) -> NodeFloor:
    """The floor of a product that waits for its weights."""
    work = Work(
        operations=operations,
        read_bytes=weight_bytes + 4096,
        written_bytes=4096,
        weight_bytes=weight_bytes,
        precision="float32",
    )
    return NodeFloor(name=name, work=work, floor_ns=floor_us * US, bound=Bound.MEMORY)


def products(count: int = 3, *, us: float = 1000.0, rows: int = 128, width: int = 512) -> Graph:
    """Products of many rows with small weights, which nothing is wrong with."""
    graph = Graph({f"w{number}": (width, width) for number in range(count)}, shape=(rows, width))
    here = "x"
    for number in range(count):
        here = graph.add("MatMul", f"{here} w{number}", f"h{number}", us=us)
    return graph
