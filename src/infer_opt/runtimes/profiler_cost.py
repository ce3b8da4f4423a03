"""What ONNX Runtime's profiler itself adds to the time of a node, found on nodes that do next to nothing.

While a node's time is taken, the profiler writes down shapes, sizes and what the threads did. That takes a few
microseconds, whatever the node, which is more than many nodes take themselves.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infer_opt.config import SessionOptions
from infer_opt.protocols import Session
from infer_opt.runtimes.onnx import OnnxRuntime
from infer_opt.runtimes.profile_events import read_profile

CHAIN = 32  # nodes
CALLS, LEAD_IN = 150, 20
FEEDS = {"x": np.ones(1, np.float32)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilerCost:
    """What the profiler adds to each execution of a node, in microseconds: within the node's time, and after it."""

    within_us: float
    after_us: float


def profiler_cost(runtime: OnnxRuntime, options: SessionOptions, folder: Path) -> ProfilerCost:
    """What the profiler adds in a session with as many threads as `options` say.

    From a chain of nodes that each negate one number: what the profile says of one of them, less what one adds to a
    call without the profiler; and what calls with it take longer. Nodes with more inputs, or that use more threads, may
    be made a little slower than that.
    """
    like = SessionOptions(
        intra_threads=options.intra_threads,
        inter_threads=options.inter_threads,
        spin=options.spin,
        parallel=options.parallel,
    )
    chain, single = (_save_chain(folder / f"chain-{length}.onnx", length) for length in (CHAIN, 1))
    longer_us, shorter_us = (_call_us(runtime.open(path, like)) for path in (chain, single))
    session = runtime.open_profiled(chain, like, folder / "cost")
    profiled_us = _call_us(session)
    profile = read_profile(session.end_profiling())
    session.close()
    itself_us = max(0.0, longer_us - shorter_us) / (CHAIN - 1)
    seen = [execution.own_us for call in profile.calls[LEAD_IN:] for execution in call.executions]
    within_us = max(0.0, statistics.median_grouped(seen, interval=1.0) - itself_us)
    return ProfilerCost(within_us=within_us, after_us=max(0.0, (profiled_us - longer_us) / CHAIN - within_us))


def _call_us(session: Session) -> float:
    """The median time of a call."""
    times = []
    for _ in range(LEAD_IN + CALLS):
        begin = time.perf_counter_ns()
        session.run(FEEDS)
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times[LEAD_IN:]) / 1000


def _save_chain(path: Path, length: int) -> Path:
    """`y = -(-(... -x))` over one float32."""
    from onnx import TensorProto, helper

    names = ["x", *(f"t{number}" for number in range(1, length)), "y"]
    nodes = [helper.make_node("Neg", [names[place]], [names[place + 1]]) for place in range(length)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
