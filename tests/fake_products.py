"""A runtime that takes as long over a model's nodes as it is told a machine would."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from fakes import FakeClock
from infer_opt.config import Provider, SessionOptions
from infer_opt.errors import ModelError, UnavailableError
from infer_opt.facts import TensorSpec
from infer_opt.protocols import Feeds
from infer_opt.results import Placement

NAMES = {1: "float32", 10: "float16", 16: "bfloat16", 3: "int8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueMachine:
    """Operations a second by precision, bytes a second by how much is moved, and what a node and a call take."""

    operations_per_s: Mapping[str, float]
    launch_ns: int = 2_000
    call_ns: int = 30_000
    copy_bytes_per_s: float = 10e9
    cache_bytes: int = 40 << 20
    cache_bytes_per_s: float = 6e12
    memory_bytes_per_s: float = 2e12

    def moving_ns(self, size: int) -> float:
        rate = self.cache_bytes_per_s if size <= self.cache_bytes else self.memory_bytes_per_s
        return 1e9 * size / rate


class FakeProductsRuntime:
    """Opens anything; remembers the options. A precision that the machine does not have is refused."""

    name = "onnx"

    def __init__(self, clock: FakeClock, machine: TrueMachine, *, provider: Provider = Provider.CUDA) -> None:
        self.clock, self.machine, self.provider = clock, machine, provider
        self.opened: list[SessionOptions] = []

    def version(self) -> str:
        return "1.0"

    def providers(self) -> frozenset[Provider]:
        return frozenset({self.provider})

    def why_not(self, provider: Provider) -> str | None:
        return None if provider is self.provider else "not here"

    def open(self, artefact: Path, options: SessionOptions) -> "FakeProductsSession":
        if options.provider is not self.provider:
            raise UnavailableError("not here")
        self.opened.append(options)
        return FakeProductsSession(self, onnx.load(artefact).graph)


class FakeProductsSession:
    """One graph, of products or of a chain."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    placement: Placement | None = None

    def __init__(self, runtime: FakeProductsRuntime, graph: onnx.GraphProto) -> None:
        self._runtime = runtime
        machine = runtime.machine
        constants = {one.name: one for one in graph.initializer}
        total = float(machine.call_ns)
        moved = 0
        if "count" in constants:
            moved = 8 * int(numpy_helper.to_array(constants["count"])[0])
        for node in graph.node:
            if "MatMul" in node.op_type:
                weights = constants["w"]
                precision = NAMES[weights.data_type]
                if precision not in machine.operations_per_s:
                    raise ModelError(f"no kernel for {precision}")
                total += 1e9 * 2 * math.prod(weights.dims) * weights.dims[0] / machine.operations_per_s[precision]
            if node.op_type == "Neg":
                total += machine.launch_ns + machine.moving_ns(moved)
        self._took_ns = total

    def run(self, feeds: Feeds) -> dict[str, Any]:
        fed = sum(value.nbytes for value in feeds.values())
        self._runtime.clock.now_ns += round(self._took_ns + 1e9 * fed / self._runtime.machine.copy_bytes_per_s)
        return {}

    def close(self) -> None:
        pass
