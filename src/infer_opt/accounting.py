"""From what fresh processes timed to what a call and each of its nodes take, with intervals over the processes."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from infer_opt.errors import EvidenceError
from infer_opt.profiles.executed import DeviceCall, Key, Looked, ProcessTrace
from infer_opt.profiles.nodes import CallTimes, DeviceActivity, MemoryCourse, Node, NodeTimes
from infer_opt.results import Caution, Estimate, Note
from infer_opt.stats.intervals import PROCESSES_FOR_A_CLAIM, mean_interval, median_interval

NS_A_US = 1000
LEAST_NS = 100.0  # of a node: less than that is beyond a clock of microseconds
LEFT_OVER = 0.05  # of the latency: what needs no explanation
PRECISION = 0.02  # half-width of the latency's interval
_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns"))
COPY_NODES = frozenset({"MemcpyToHost", "MemcpyFromHost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The parts of a profile that were measured."""

    call: CallTimes
    nodes: tuple[NodeTimes, ...]
    memory: MemoryCourse
    device: DeviceActivity | None
    notes: tuple[Note, ...]
    trace: tuple[dict[str, object], ...]


def account(looked: Looked, traces: Sequence[ProcessTrace], *, is_parallel: bool) -> Account:
    """What a call takes, and each node of it. The value of a process is its median; processes are what replicates.

    Arguments:
        traces: one a process, at least one.
        is_parallel: whether the session runs nodes side by side.
    """
    nodes = _nodes(looked, traces)
    device = _device(traces, nodes)
    return Account(
        call=_call(traces, nodes, is_parallel=is_parallel, has_device=device is not None),
        nodes=nodes,
        memory=replace(
            looked.memory,
            rss_before_bytes=_bytes(one.rss_before_bytes for one in traces),
            rss_opened_bytes=_bytes(one.rss_opened_bytes for one in traces),
            rss_peak_bytes=_bytes(one.rss_peak_bytes for one in traces),
        ),
        device=device,
        notes=_notes(traces),
        trace=traces[0].trace,
    )


def _nodes(looked: Looked, traces: Sequence[ProcessTrace]) -> tuple[NodeTimes, ...]:
    """In the order of execution; what only timed calls executed (another branch) comes last."""
    known = dict(looked.nodes)
    timed = dict.fromkeys(key for trace in traces for key in trace.nodes_us)
    order = [key for key in known if key in timed] + [key for key in timed if key not in known]
    times = {key: _node_time(key, traces) for key in order}
    total = sum(time.value for time in times.values())
    return tuple(
        NodeTimes(
            node=known.get(key) or _from_key(key),
            time=times[key],
            share=times[key].value / total,
            executions=statistics.fmean(trace.executions.get(key, 0.0) for trace in traces),
            first_ns=_middle(
                round(NS_A_US * max(0.0, trace.first_us[key] - _added_us(trace, key)))
                for trace in traces
                if trace.first_us is not None and key in trace.first_us
            ),
            raw_ns=tuple(_raw_ns(trace, key) for trace in traces),
        )
        for key in order
    )


def _node_time(key: Key, traces: Sequence[ProcessTrace]) -> Estimate:
    """In ns a call; a process in which the node was never executed counts with next to nothing.

    On the values' own scale, not that of their logarithms: so the nodes add up, and what is taken off a small node for
    the profiler is as uncertain for it as for a large one.
    """
    found = [_typical_us(trace.nodes_us.get(key, ())) - _added_us(trace, key) for trace in traces]
    mean = mean_interval([max(LEAST_NS, NS_A_US * us) for us in found])
    return replace(mean, low=max(0.0, mean.low))


def _added_us(trace: ProcessTrace, key: Key) -> float:
    """What the profiler adds to a node's time, all executions in a call together, those inside of it included."""
    inside = sum(count for inner, count in trace.executions.items() if inner[:-1] == key)
    return trace.profiler_us * trace.executions.get(key, 0.0) + trace.after_us * inside


def _raw_ns(trace: ProcessTrace, key: Key) -> tuple[int, ...]:
    added = _added_us(trace, key)
    return tuple(round(NS_A_US * max(0.0, us - added)) for us in trace.nodes_us.get(key, ()))


def _typical_us(times_us: Sequence[float]) -> float:
    """The median; of a node that some calls leave out, that of the others times their share of the calls.

    The profile counts in microseconds, and many nodes take one or two: the median of grouped data tells more.
    """
    executed = [us for us in times_us if us > 0.0]
    if not executed:
        return 0.0
    middle: float = statistics.median_grouped(executed, interval=1.0)
    return len(executed) / len(times_us) * middle


def _from_key(key: Key) -> Node:
    """What is left of a node that the graph was not asked about."""
    operator, _, rest = key[-1].partition(":")
    return Node(name=rest.replace(":", "#"), operator=operator)


def _call(
    traces: Sequence[ProcessTrace], nodes: Sequence[NodeTimes], *, is_parallel: bool, has_device: bool
) -> CallTimes:
    latency = median_interval([math.log(statistics.median(trace.latency_ns)) for trace in traces])
    profiled = median_interval([math.log(statistics.median(trace.profiled_ns)) for trace in traces])
    nodes_ns = sum(one.time.value for one in nodes)
    graph_ns = _typical_ns(trace.graph_us for trace in traces)
    call = CallTimes(
        latency=latency,
        profiled=profiled,
        nodes_ns=nodes_ns,
        open_ns=_known(trace.open_ns for trace in traces),
        first_ns=_known(trace.first_ns for trace in traces),
        latency_raw_ns=tuple(trace.latency_ns for trace in traces),
        between_ns=None if is_parallel else max(0.0, graph_ns - _seen_ns(traces)),
        around_ns=max(0.0, profiled.value - graph_ns),
        profiler_ns=NS_A_US * statistics.median(trace.profiler_us for trace in traces),
    )
    return replace(call, unaccounted=_unaccounted(call, is_parallel=is_parallel, has_device=has_device))


def _unaccounted(call: CallTimes, *, is_parallel: bool, has_device: bool) -> str | None:
    """Why the nodes' times do not add up to the latency; None where they do, within 5 %."""
    latency = call.latency.value
    missing = latency - call.nodes_ns
    if abs(missing) <= LEFT_OVER * latency:
        return None
    added = call.profiled.value - latency
    overhead = f"the profiler makes a call {_us(abs(added))} {'longer' if added > 0 else 'shorter'}"
    if is_parallel:
        reason = f"nodes run side by side, so their times overlap; {overhead}"
    elif missing < 0:
        reason = (
            f"{overhead}, and more of that lies within the nodes' times than the {_us(call.profiler_ns)} an execution "
            "that were taken off"
        )
    else:
        reason = (
            "the rest is the runtime's own work before, between and after nodes, and Python's call (with the profiler, "
            f"which makes a call {_us(added)} longer, {_us(call.between_ns)} lie between nodes and "
            f"{_us(call.around_ns)} around them)"
        )
    if has_device:
        reason += "; on a GPU a node's time is that of handing its kernels over, and the call waits for them at its end"
    more = "less" if missing > 0 else "more"
    return (
        f"the nodes add up to {_us(call.nodes_ns)}, {abs(missing) / latency:.0%} {more} than the {_us(latency)} of a "
        f"call: {reason}"
    )


def _seen_ns(traces: Sequence[ProcessTrace]) -> float:
    """What all nodes took in a call as the profile has it, profiler included."""
    by_call = ((sum(times) for times in zip(*trace.nodes_us.values(), strict=True)) for trace in traces)
    typical: float = statistics.median(statistics.median(sums) for sums in by_call)
    return NS_A_US * typical


def _device(traces: Sequence[ProcessTrace], nodes: Sequence[NodeTimes]) -> DeviceActivity | None:
    calls = [call for trace in traces for call in trace.device]
    if not calls:
        return None
    return DeviceActivity(
        launches=round(statistics.median(call.launches for call in calls)),
        busy_ns=NS_A_US * statistics.median(call.busy_us for call in calls),
        gaps_ns=NS_A_US * statistics.median(call.span_us - call.busy_us for call in calls),
        span_ns=NS_A_US * statistics.median(call.span_us for call in calls),
        copies=_copies(calls) or _copy_nodes(nodes),
    )


def _copies(calls: Sequence[DeviceCall]) -> tuple[tuple[str, int, int, float], ...]:
    names = dict.fromkeys(name for call in calls for name in call.copies)
    found = []
    for name in names:
        parts = list(zip(*(call.copies.get(name, (0, 0, 0)) for call in calls), strict=True))
        count, size, spent = (statistics.median(part) for part in parts)
        found.append((name, round(count), round(size), NS_A_US * spent))
    return tuple(found)


def _copy_nodes(nodes: Sequence[NodeTimes]) -> tuple[tuple[str, int, int, float], ...]:
    """The nodes that copy, where the trace itself says nothing of copies."""
    return tuple(
        (one.node.name, round(one.executions), sum(tensor.bytes for tensor in one.node.outputs), one.time.value)
        for one in nodes
        if one.node.operator in COPY_NODES
    )


def _notes(traces: Sequence[ProcessTrace]) -> tuple[Note, ...]:
    notes = []
    unsteady = sum(not trace.is_steady for trace in traces)
    if unsteady:
        text = f"{unsteady} of {len(traces)} processes were not known to be steady when they were timed"
        notes.append(Note(caution=Caution.NO_STEADY_STATE, text=text))
    if len(traces) < PROCESSES_FOR_A_CLAIM:
        text = f"{len(traces)} process{'es' * (len(traces) > 1)} measured, where {PROCESSES_FOR_A_CLAIM} make a claim"
        notes.append(Note(caution=Caution.PROVISIONAL, text=text))
    return tuple(notes)


def half_width(interval: Estimate) -> float:
    """Half of the interval as a share of the value."""
    return (interval.high - interval.low) / 2 / interval.value


def latency_of(traces: Sequence[ProcessTrace]) -> Estimate:
    """The latency over processes: what tells whether there are enough of them."""
    return median_interval([math.log(statistics.median(trace.latency_ns)) for trace in traces])


def _typical_ns(values_us: Iterable[Sequence[int]]) -> float:
    return NS_A_US * statistics.median(statistics.median(values) + 0.5 for values in values_us)


def _middle(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _known(values: Iterable[int | None]) -> float:
    """As `_middle`, where one process at least has it.

    Raises:
        EvidenceError: none has.
    """
    found = _middle(values)
    if found is None:
        raise EvidenceError("no process opened the session without the profiler first", hint="--budget gives more time")
    return found


def _bytes(values: Iterable[int | None]) -> int | None:
    found = _middle(values)
    return None if found is None else round(found)


def _us(value_ns: float | None) -> str:
    if value_ns is None:
        return "n/a"
    scale, unit = next((scale, unit) for scale, unit in _UNITS if value_ns >= scale or scale == 1)
    return f"{value_ns / scale:.3g} {unit}"
