"""A short look at where the time of a model goes: one process, one profile, no intervals. For hints, not for claims.

What a tuning or a longer profile wants to know besides nodes is looked at here too: whether numbers next to zero slow
nodes down, and what the machine leaves to this process.

`glance` runs in a process of its own, and a fresh one each time: a session that takes subnormal numbers for zero tells
its process so, and sessions after it inherit that.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, numpy_helper

from infer_opt.config import SessionOptions
from infer_opt.diagnoses import Circumstances, FlushedTime
from infer_opt.errors import EvidenceError
from infer_opt.facts import MachineFacts
from infer_opt.machine import cgroup, cpu
from infer_opt.models.executed_graph import join_nodes, memory_of
from infer_opt.models.feeds import load_feeds
from infer_opt.models.files import read_model
from infer_opt.profiles.executed import Key, RuntimeProfile
from infer_opt.profiles.nodes import MemoryCourse, NodeTimes
from infer_opt.protocols import Feeds, Session
from infer_opt.results import Estimate, Placement, Readings
from infer_opt.runtimes.onnx import OnnxRuntime
from infer_opt.runtimes.profile_events import read_profile

WARM_CALLS, FEWEST_CALLS, MOST_CALLS = 2, 3, 300
REST_S = 0.2
INPUTS = 16  # that take turns
NS_A_US = 1000.0
LOOKED_THROUGH = 64_000_000  # bytes of weights, for subnormal values
FEWEST_SUBNORMAL = 64  # values of one weight: a few of them cost nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What one process saw. `nodes` have the median over calls, or their mean where shapes differ; no intervals.

    `cores_after` are the cores that it kept busy in the 200 ms after its last call; None where that was not looked at.
    """

    nodes: tuple[NodeTimes, ...]
    memory: MemoryCourse
    runtime_version: str
    placement: Placement | None
    profiled_ns: float
    subnormal_weights: tuple[tuple[str, float], ...]
    cores_after: float | None = None


def glance(
    artefact: Path, options: SessionOptions, feeds: Path, *, seconds: float, is_mixture: bool = False,
    rests: bool = False,
) -> Glance:  # fmt: skip
    """Where the time of a call goes, from about `seconds` of calls.

    Arguments:
        is_mixture: whether the feeds are of several shapes, which the time of a node is the mean over.
        rests: whether to look at what the process does after its last call.

    Raises:
        ModelError: the model cannot be opened or run, or its profile cannot be read.
        EvidenceError: no node is executed, or a call has more events than the runtime's profiler keeps.
    """
    runtime = OnnxRuntime()
    inputs = load_feeds(feeds)[:INPUTS]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph = folder / "graph.onnx"
        begin = time.monotonic()
        # Nodes that run side by side would be seen in another order than the graph is stored in.
        settled = replace(options, parallel=False)
        session = runtime.open_profiled(artefact, settled, folder / "profile", graph=graph)
        placement, opened_s = session.placement, time.monotonic() - begin
        _call_for(session, inputs, seconds=max(0.0, seconds - opened_s))
        cores_after = _cores_after() if rests else None
        profile = read_profile(session.end_profiling())
        session.close()
        given, optimised = read_model(artefact), read_model(graph)
        subnormal = subnormal_weights(given)
    times = _times(profile)
    if not times:
        raise EvidenceError("a call executes no node", hint="there is nothing to profile")
    nodes = join_nodes(profile.seen, optimised, given)
    order = [profile.seen[execution.node].key for execution in profile.calls[-1].executions]
    middle = statistics.fmean if is_mixture else _grouped
    spent = {key: middle(found) for key, found in times.items()}
    total = sum(spent.values())
    return Glance(
        nodes=tuple(
            NodeTimes(
                node=nodes[key],
                time=_point(spent[key]),
                share=spent[key] / total if total else 0.0,
                executions=float(order.count(key)) or 1.0,
                first_ns=None,
                raw_ns=(tuple(round(value) for value in times[key]),),
            )
            for key in dict.fromkeys((*order, *times))
            if key in times
        ),
        memory=memory_of(optimised, [nodes[key] for key in order]),
        runtime_version=runtime.version(),
        placement=placement,
        profiled_ns=statistics.median(call.run_us for call in profile.calls[WARM_CALLS:]) * NS_A_US,
        subnormal_weights=subnormal,
        cores_after=cores_after,
    )


def flushed_times(plain: Glance, flushed: Glance) -> tuple[FlushedTime, ...]:
    """What each node takes where numbers are as they are, and in a process that takes subnormal ones for zero.

    Of either the lower quartile: two short looks differ most by what else ran.
    """
    other = {one.node.name: one for one in flushed.nodes}
    return tuple(
        FlushedTime(node=one.node.name, plain_ns=_quick_ns(one), flushed_ns=_quick_ns(other[one.node.name]))
        for one in plain.nodes
        if one.node.name in other
    )


def _quick_ns(times: NodeTimes) -> float:
    return float(np.quantile([value for process in times.raw_ns for value in process], 0.25))


def _call_for(session: Session, inputs: Sequence[Feeds], *, seconds: float) -> None:
    """Calls that warm up, and then calls for so long, but a few at least."""
    end = time.monotonic() + seconds
    for number in range(WARM_CALLS):
        session.run(inputs[number % len(inputs)])
    calls = 0
    while calls < FEWEST_CALLS or (calls < MOST_CALLS and time.monotonic() < end):
        session.run(inputs[calls % len(inputs)])
        calls += 1


def _cores_after() -> float:
    """CPU time over wall time of this process while it does nothing: threads that spin."""
    began, used = time.perf_counter_ns(), time.process_time_ns()
    time.sleep(REST_S)
    return (time.process_time_ns() - used) / (time.perf_counter_ns() - began)


def _grouped(times_ns: Sequence[float]) -> float:
    """The profile counts whole microseconds, and many nodes take one or two: the median of grouped data tells more."""
    return statistics.median_grouped(times_ns, interval=NS_A_US)


def _times(profile: RuntimeProfile) -> dict[Key, list[float]]:
    """Node -> what it took itself in each call after the first ones, in ns, all its executions added up."""
    calls = profile.calls[WARM_CALLS:]
    times: dict[Key, list[float]] = {}
    for number, call in enumerate(calls):
        for execution in call.executions:
            values = times.setdefault(profile.seen[execution.node].key, [0.0] * len(calls))
            values[number] += execution.own_us * NS_A_US
    return times


def subnormal_weights(model: ModelProto) -> tuple[tuple[str, float], ...]:
    """The weights in the file that hold many values next to zero (not zero itself), and the share of them.

    External data is not looked at, and no more than 64 MB.
    """
    found, seen = [], 0
    for tensor in model.graph.initializer:
        is_float = tensor.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE)
        if not is_float or tensor.data_location == TensorProto.EXTERNAL:
            continue
        seen += tensor.ByteSize()
        if seen > LOOKED_THROUGH:
            break
        values = numpy_helper.to_array(tensor)
        share = share_subnormal(values)
        if share * values.size >= FEWEST_SUBNORMAL:
            found.append((tensor.name, share))
    return tuple(found)


def share_subnormal(values: npt.NDArray[np.floating]) -> float:
    """The share of values that are not zero, but smaller than the smallest normal number of their type."""
    if not values.size:
        return 0.0
    sizes = np.abs(values)
    return float(np.count_nonzero((sizes > 0) & (sizes < np.finfo(values.dtype).tiny)) / values.size)


def circumstances(
    machine: MachineFacts, options: SessionOptions, *, seen: Glance | None = None, flushed: Glance | None = None,
    readings: Readings | None = None, before: cgroup.Throttling | None = None, wall_ns: float = 0.0,
) -> Circumstances:  # fmt: skip
    """What the machine leaves to a session, and what was seen besides a profile.

    Arguments:
        before: the control group's counters when the model began to run, `wall_ns` before now.
    """
    after = cgroup.throttling() if before is not None else None
    threads = options.intra_threads or machine.physical_cores
    held = periods = None
    share = after_call = None
    if readings is not None:
        after_call = readings.cpu_cores_after
    elif seen is not None:
        after_call = seen.cores_after
    if before is not None and after is not None and wall_ns > 0:
        periods = after.periods - before.periods
        held = after.throttled_periods - before.throttled_periods
        # Each thread that is held back counts.
        share = (after.throttled_ns - before.throttled_ns) / wall_ns / threads
    return Circumstances(
        threads=threads,
        allowed_cores=cpu.allowed_cores(),
        quota=cgroup.cpu_quota(),
        periods=periods,
        throttled_periods=held,
        throttled_share=share,
        cores_after=after_call,
        has_vnni=cpu.has_vnni(machine.isa),
        shapes=() if readings is None else readings.shapes,
        flushed=() if seen is None or flushed is None else flushed_times(seen, flushed),
        subnormal_weights=() if seen is None else seen.subnormal_weights,
    )


def _point(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value)
