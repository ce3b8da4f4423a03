"""Floors on a machine whose ceilings are round numbers."""

import dataclasses

import pytest

from infer_opt.profiles.nodes import Node, NodeTimes
from infer_opt.profiles.roofline import Bandwidth, Bound, Ceilings, Work
from infer_opt.results import Estimate
from infer_opt.roofline.counting import count
from infer_opt.roofline.floors import faster_than_possible, floor, peak, roofline, weight_bytes
from nodes_by_hand import node, tensor, weight

MB = 1_000_000


def exactly(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value)


# 100 operations, 40, 20 or 10 bytes a nanosecond; 500 ns to start a node
CEILINGS = Ceilings(
    fingerprint="f00d",
    provider="cpu",
    threads=2,
    operations_per_s=(("float32", exactly(100e9)), ("int8", exactly(400e9))),
    bandwidths=(
        Bandwidth(level="L2", capacity_bytes=4 * MB, bytes_per_s=exactly(40e9)),
        Bandwidth(level="L3", capacity_bytes=32 * MB, bytes_per_s=exactly(20e9)),
        Bandwidth(level="memory", capacity_bytes=None, bytes_per_s=exactly(10e9)),
    ),
    launch=exactly(500.0),
    measured_ms=0,
)


def work(
    operations: int = 0, *, moved: int = 0, written: int = 0, weights: int = 0, precision: str = "float32"
) -> Work:
    return Work(
        operations=operations,
        read_bytes=moved + weights,
        written_bytes=written,
        weight_bytes=weights,
        precision=precision,
    )


def taking(one: Node, ns: float, *, executions: float = 1.0) -> NodeTimes:
    return NodeTimes(
        node=one, time=exactly(ns), share=0.0, executions=executions, first_ns=None, raw_ns=((round(ns),),)
    )


@pytest.mark.parametrize(
    ("one", "weights", "floor_ns", "bound"),
    [
        # 1e6 operations at 100 a ns
        (work(1_000_000), 0, 10_000, Bound.COMPUTE),
        (work(1_000_000, precision="int8"), 0, 2_500, Bound.COMPUTE),
        # 2 MB within L2 at 40 a ns
        (work(moved=2 * MB), 0, 50_000, Bound.MEMORY),
        # 12 MB: at 40 a ns all of it takes 300 us, the 8 MB that L2 cannot hold 400 us at 20 a ns
        (work(moved=12 * MB), 0, 400_000, Bound.MEMORY),
        # 3 MB read and 3 MB written, in the same place perhaps: both may be in L2 when they are needed
        (work(moved=3 * MB, written=3 * MB), 0, 150_000, Bound.MEMORY),
        # 6 MB read and 6 MB written: 2 MB of either do not fit
        (work(moved=6 * MB, written=6 * MB), 0, 300_000, Bound.MEMORY),
        # 20 MB each: 16 MB of either go through L3
        (work(moved=20 * MB, written=20 * MB), 0, 1_600_000, Bound.MEMORY),
        # 132 MB: 100 MB beyond L3 at 10 a ns
        (work(moved=132 * MB), 0, 10_000_000, Bound.MEMORY),
        # 1 MB of the model's 2 MB of weights: they all stay in L2
        (work(weights=1 * MB), 2 * MB, 25_000, Bound.MEMORY),
        # of 16 MB at least three quarters come from L3
        (work(weights=1 * MB), 16 * MB, 37_500, Bound.MEMORY),
        # of 64 MB at least half from memory
        (work(weights=1 * MB), 64 * MB, 50_000, Bound.MEMORY),
        # what is less than a launch
        (work(1_000, moved=1_000), 0, 500, Bound.LAUNCH),
        (None, 0, 500, Bound.LAUNCH),
    ],
)
def test_a_floor_is_the_longest_of_arithmetic_traffic_and_launch(
    one: Work | None, weights: int, floor_ns: float, bound: Bound
) -> None:
    found_ns, found = floor(one, CEILINGS, weights=weights)

    assert found_ns == pytest.approx(floor_ns)
    assert found is bound


@pytest.mark.parametrize(
    ("precision", "rate"), [("float32", 100e9), ("int8", 400e9), ("float16", 100e9), ("int64", 100e9)]
)
def test_a_precision_without_a_ceiling_of_its_own_has_that_of_float32(precision: str, rate: float) -> None:
    assert peak(CEILINGS, precision) == rate


def test_with_no_float32_ceiling_the_highest_keeps_a_floor_a_floor() -> None:
    alone = dataclasses.replace(CEILINGS, operations_per_s=(("float16", exactly(9e12)), ("int8", exactly(2e13))))

    assert peak(alone, "float32") == 2e13


def test_the_floor_of_a_model_is_the_sum_of_its_nodes_and_loops_count_each_time() -> None:
    product = node("MatMul", [tensor(100, 100), weight(100, 100)], tensor(100, 100))
    inside = node("Relu", [tensor(10)], tensor(10))

    found = roofline([taking(product, 80_000), taking(inside, 20_000, executions=5.0)], CEILINGS)

    assert [one.floor_ns for one in found.nodes] == [pytest.approx(20_000), pytest.approx(2_500)]
    assert found.floor_ns == pytest.approx(22_500)
    assert [one.bound for one in found.nodes] == [Bound.COMPUTE, Bound.LAUNCH]


def test_the_counted_share_is_that_of_the_time() -> None:
    nodes = [taking(node("Relu", [tensor(10)], tensor(10)), 300), taking(node("Unheard.Of", [], tensor(1)), 100)]

    assert roofline(nodes, CEILINGS).counted_share == pytest.approx(0.75)
    assert roofline([one.node for one in nodes], CEILINGS).counted_share == pytest.approx(0.5)


def test_a_model_without_nodes_has_a_floor_of_nothing() -> None:
    assert roofline([], CEILINGS).floor_ns == 0


def test_weights_that_nodes_share_are_counted_once_and_tables_by_their_rows() -> None:
    shared = weight(100, 100, name="w")
    nodes = [
        node("MatMul", [tensor(1, 100), shared], tensor(1, 100)),
        node("MatMul", [tensor(1, 100), shared], tensor(1, 100)),
        node("Gather", [weight(30_000, 100, name="table"), tensor(3, dtype="int64")], tensor(3, 100)),
    ]

    assert weight_bytes(nodes, [count(one) for one in nodes]) == 40_000 + 1_200


def test_a_node_that_was_faster_than_its_floor_is_named() -> None:
    product = node("MatMul", [tensor(1000, 100), weight(100, 100)], tensor(1000, 100), name="fast")  # 200 us at least
    again = dataclasses.replace(product, name="possible")
    softmax = node("Softmax", [tensor(1000, 1000)], tensor(1000, 1000), name="estimated")
    small = node("Relu", [tensor(1)], tensor(1), name="below the clock")
    nodes = [taking(product, 180_000), taking(again, 195_000), taking(softmax, 1), taking(small, 0)]

    assert faster_than_possible(nodes, roofline(nodes, CEILINGS)) == ("fast",)
