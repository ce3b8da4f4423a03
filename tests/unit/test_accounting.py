"""From what processes timed to what a call and its nodes take."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from infer_opt.accounting import account
from infer_opt.errors import EvidenceError
from infer_opt.profiles.executed import DeviceCall, Key, Looked, ProcessTrace
from infer_opt.profiles.nodes import MemoryCourse, Node
from infer_opt.results import Caution
from made_profiles import tensor

MATMUL, RELU, LOOP = ("MatMul:m:0",), ("Relu:r:1",), ("Loop:l:2",)
BODY = (*LOOP, "Tanh:t:0")
LOOKED = Looked(
    nodes=(
        (MATMUL, Node(name="m", operator="MatMul")),
        (RELU, Node(name="r", operator="Relu")),
        (LOOP, Node(name="l", operator="Loop")),
        (BODY, Node(name="t", operator="Tanh")),
    ),
    memory=MemoryCourse(alive_bytes=(8, 4), peak_index=0, holders=(), weight_bytes=64),
    events=4,
    call_ns=100_000,
    runtime_version="1.30.0",
    placement=None,
)


def process(
    nodes_us: Mapping[Key, Sequence[float]], *, latency_us: float = 100.0, profiled_us: float = 120.0,
    graph_us: int = 110, executions: Mapping[Key, float] | None = None, profiler_us: float = 0.0,
    after_us: float = 0.0, first: bool = False,
) -> ProcessTrace:  # fmt: skip
    """A process in which calls took the same time, and nodes what is given, call by call."""
    calls = len(next(iter(nodes_us.values())))
    return ProcessTrace(
        latency_ns=(round(1000 * latency_us),) * calls,
        profiled_ns=(round(1000 * profiled_us),) * calls,
        run_us=(graph_us + 2,) * calls,
        graph_us=(graph_us,) * calls,
        nodes_us={key: tuple(times) for key, times in nodes_us.items()},
        executions=executions or dict.fromkeys(nodes_us, 1.0),
        is_steady=True,
        profiler_us=profiler_us,
        after_us=after_us,
        open_ns=None if first else 5_000_000,
        first_ns=None if first else 900_000,
        first_us={key: 10 * times[0] for key, times in nodes_us.items()} if first else None,
        rss_before_bytes=None if first else 10,
        rss_opened_bytes=None if first else 20,
        rss_peak_bytes=None if first else 30,
    )


def five(**changes: object) -> list[ProcessTrace]:
    nodes = {MATMUL: (80.5, 80.5, 80.5), RELU: (15.5, 15.5, 15.5)}
    return [replace(process(nodes, first=number % 2 == 1), **changes) for number in range(5)]  # type: ignore[arg-type]


def test_the_value_of_a_process_is_its_median_and_processes_are_averaged() -> None:
    calls = {0: (70.5, 70.5, 900.5), 1: (80.5, 80.5, 80.5), 2: (90.5, 1.5, 90.5)}
    traces = [process({MATMUL: times}) for times in calls.values()]

    (node,) = account(LOOKED, traces, is_parallel=False).nodes

    # Grouped medians: two of three values lie in [70, 71), and so on.
    assert node.time.value == pytest.approx((70_750 + 80_500 + 90_250) / 3)
    assert node.time.low < node.time.value < node.time.high
    assert node.raw_ns == ((70_500, 70_500, 900_500), (80_500,) * 3, (90_500, 1_500, 90_500))


def test_nodes_come_in_the_order_of_execution_and_share_the_time() -> None:
    found = account(LOOKED, five(), is_parallel=False)

    assert [one.node.name for one in found.nodes] == ["m", "r"]
    assert found.call.nodes_ns == pytest.approx(96_000)
    assert sum(one.share for one in found.nodes) == pytest.approx(1.0)
    assert found.nodes[0].share == pytest.approx(80.5 / 96)
    assert found.call.unaccounted is None  # 96 of 100 µs


def test_what_the_profiler_adds_is_taken_off_every_execution() -> None:
    nodes = {LOOP: (60.5,) * 3, BODY: (40.5,) * 3}
    runs = {LOOP: 1.0, BODY: 5.0}
    traces = [process(nodes, executions=runs, profiler_us=3.0, after_us=2.0) for _ in range(5)]

    loop, body = account(LOOKED, traces, is_parallel=False).nodes

    assert body.time.value == pytest.approx(1000 * (40.5 - 5 * 3))
    assert loop.time.value == pytest.approx(1000 * (60.5 - 3 - 5 * 2))  # what follows each turn lies in the Loop's time
    assert body.executions == 5.0
    assert body.raw_ns[0] == (25_500,) * 3


def test_nothing_takes_less_than_nothing() -> None:
    traces = [process({MATMUL: (90.5,) * 3, RELU: (3.5,) * 3}, profiler_us=4.0) for _ in range(5)]

    _, relu = account(LOOKED, traces, is_parallel=False).nodes

    assert relu.time.value == 100.0
    assert relu.time.low >= 0.0
    assert relu.raw_ns[0] == (0, 0, 0)


def test_a_branch_that_every_other_call_takes_counts_half() -> None:
    traces = [process({MATMUL: (10.5, 0.0, 10.5, 0.0)}, executions={MATMUL: 0.5}) for _ in range(5)]

    (node,) = account(LOOKED, traces, is_parallel=False).nodes

    assert node.time.value == pytest.approx(5_250)
    assert node.executions == 0.5


def test_a_branch_that_was_not_looked_at_is_kept_with_its_name() -> None:
    other = ("Neg:negate:7",)
    traces = [process({MATMUL: (90.5,) * 3, other: (5.5,) * 3}) for _ in range(5)]

    nodes = account(LOOKED, traces, is_parallel=False).nodes

    assert [(one.node.name, one.node.operator) for one in nodes] == [("m", "MatMul"), ("negate#7", "Neg")]


def test_first_calls_come_from_the_processes_that_began_with_them() -> None:
    found = account(LOOKED, five(), is_parallel=False)

    assert (found.call.open_ns, found.call.first_ns) == (5_000_000, 900_000)
    assert found.nodes[0].first_ns == 805_000
    assert (found.memory.rss_before_bytes, found.memory.rss_peak_bytes) == (10, 30)


def test_without_a_process_that_began_without_the_profiler_nothing_is_known_of_a_first_call() -> None:
    with pytest.raises(EvidenceError, match="first"):
        account(LOOKED, five()[1:2], is_parallel=False)


def test_the_sum_of_the_nodes_is_explained_where_it_is_not_the_latency() -> None:
    small = [process({MATMUL: (20.5,) * 3}, latency_us=100.0) for _ in range(5)]
    large = [process({MATMUL: (150.5,) * 3}, latency_us=100.0, graph_us=155) for _ in range(5)]

    less = account(LOOKED, small, is_parallel=False).call
    more = account(LOOKED, large, is_parallel=False).call
    overlapping = account(LOOKED, large, is_parallel=True).call

    assert less.unaccounted is not None
    assert "20.5 µs, 80% less than the 100 µs of a call" in less.unaccounted
    assert "90 µs lie between nodes and 9.5 µs around them" in less.unaccounted
    assert more.unaccounted is not None
    assert "50% more" in more.unaccounted
    assert "the profiler makes a call 20 µs longer" in more.unaccounted
    assert overlapping.unaccounted is not None
    assert "side by side" in overlapping.unaccounted
    assert more.between_ns == pytest.approx(5_000)
    assert overlapping.between_ns is None


def test_few_processes_and_drifting_ones_are_cautions() -> None:
    shaky = [replace(one, is_steady=False) for one in five()[:3]]

    notes = account(LOOKED, shaky, is_parallel=False).notes

    assert [note.caution for note in notes] == [Caution.NO_STEADY_STATE, Caution.PROVISIONAL]
    assert account(LOOKED, five(), is_parallel=False).notes == ()


def test_what_a_gpu_did_is_the_median_over_calls() -> None:
    calls = tuple(
        DeviceCall(launches=3, busy_us=busy, span_us=50, copies={"host to device": (1, 4096, 3)})
        for busy in (30, 40, 50)
    )

    found = account(LOOKED, five(device=calls), is_parallel=False)

    assert found.device is not None
    assert (found.device.launches, found.device.busy_ns, found.device.gaps_ns) == (3, 40_000, 10_000)
    assert found.device.copies == (("host to device", 1, 4096, 3_000),)


def test_nodes_that_copy_stand_in_where_the_trace_has_no_copies() -> None:
    copy = ("MemcpyToHost:Memcpy:9",)
    node = Node(name="Memcpy", operator="MemcpyToHost", outputs=(tensor("h", 4),))
    looked = replace(LOOKED, nodes=((copy, node),))
    calls = (DeviceCall(launches=1, busy_us=5, span_us=5, copies={}),)
    traces = [replace(process({copy: (96.5,) * 3}), device=calls) for _ in range(5)]

    found = account(looked, traces, is_parallel=False)

    assert found.device is not None
    ((name, count, size, spent),) = found.device.copies
    assert (name, count, size) == ("Memcpy", 1, 16)
    assert spent == pytest.approx(96_500)


def test_without_a_gpu_there_is_no_device() -> None:
    assert account(LOOKED, five(), is_parallel=False).device is None
