from dataclasses import replace

import pytest

from infer_opt.causes import Cause, Diagnosis
from infer_opt.config import Shape
from infer_opt.diagnoses import Circumstances, diagnose
from infer_opt.profiles.nodes import DeviceActivity
from infer_opt.profiles.profile import Profile
from infer_opt.results import Quantile, ShapeReadings
from made_cases import CUDA_OPTIONS, MS, US, Graph, products
from made_profiles import MODEL


def found(cause: Cause, profile: Profile, around: Circumstances | None = None) -> Diagnosis | None:
    return next((one for one in diagnose(profile, around) if one.cause is cause), None)


def chain(count: int, *, us: float = 1.0, operator: str = "Sin") -> Graph:
    graph = Graph()
    for number in range(count):
        graph.add(operator, f"h{number}", f"h{number + 1}", us=us)
    return graph


def test_many_small_nodes_are_bound_by_being_started() -> None:
    diagnosis = found(Cause.LAUNCH_BOUND, chain(40).profile())

    assert diagnosis is not None
    assert len(diagnosis.nodes) == 40
    # All but one could be done within their neighbours.
    assert diagnosis.gain_ns == pytest.approx(39 * US)
    assert "intra_threads" in diagnosis.knobs


def test_small_nodes_beside_long_ones_are_not_what_binds() -> None:
    graph = chain(20)
    graph.add("Softmax", "h20", "y", us=500.0)

    assert found(Cause.LAUNCH_BOUND, graph.profile()) is None


def test_what_the_profiler_adds_to_each_node_is_no_time_of_the_model() -> None:
    # 40 nodes that are seen to take 4 µs each, in a call of 40 µs: the profiler took 3 µs of each.
    diagnosis = found(Cause.LAUNCH_BOUND, chain(40, us=4.0).profile(latency_us=40.0))

    assert diagnosis is not None
    assert diagnosis.gain_ns == pytest.approx(39 * US)
    assert "(1.00 µs)" in diagnosis.evidence[0]


def test_a_few_nodes_in_a_loop_are_started_as_often_as_many() -> None:
    graph = chain(3, us=30.0)
    few = graph.profile()
    graph.nodes = [replace(one, executions=30.0) for one in graph.nodes]
    # What starting a node takes is known from elsewhere: here from five small ones.
    graph.nodes += chain(5).nodes

    assert found(Cause.LAUNCH_BOUND, few) is None
    diagnosis = found(Cause.LAUNCH_BOUND, graph.profile())
    assert diagnosis is not None
    assert len(diagnosis.nodes) >= 3


def test_the_way_in_and_out_is_not_won_by_fewer_nodes() -> None:
    diagnosis = found(Cause.LAUNCH_BOUND, chain(40).profile(latency_us=79.0))
    assert diagnosis is not None
    assert diagnosis.gain_ns is not None and diagnosis.gain_ns < 79 * US

    assert found(Cause.LAUNCH_BOUND, chain(40).profile(latency_us=900.0)) is None


def test_products_are_not_fused_away() -> None:
    diagnosis = found(Cause.LAUNCH_BOUND, chain(40, operator="Gemm").profile())

    assert diagnosis is None


def test_a_gpu_that_waits_for_its_kernels_is_bound_by_launches() -> None:
    busy = DeviceActivity(launches=100, busy_ns=200 * US, gaps_ns=700 * US, span_ns=900 * US)
    profile = products().profile(latency_us=1000.0, options=CUDA_OPTIONS)

    diagnosis = found(Cause.LAUNCH_BOUND, replace(profile, device=busy))

    assert diagnosis is not None
    assert diagnosis.gain_ns == 700 * US
    assert diagnosis.knobs[0] == "cuda_graph"
    assert "CUDA graph" in diagnosis.action
    assert found(Cause.LAUNCH_BOUND, replace(profile, device=replace(busy, gaps_ns=100 * US))) is None
    assert found(Cause.LAUNCH_BOUND, replace(profile, device=None)) is None


def with_sizes(*, us: float) -> Graph:
    graph = products(us=100.0)
    graph.typed("int64", "s", "g", "c", shape=(3,))
    graph.add("Shape", "x", "s", us=us)
    graph.add("Gather", "s w9", "g", us=us)
    graph.add("Concat", "g w8", "c", us=us)
    graph.add("Reshape", "h2 c", "y", us=5.0)
    return graph


def test_sizes_that_are_worked_out_in_every_call_are_found_from_shape_on() -> None:
    model = replace(MODEL, dynamic_dims=("N", "sequence"))

    diagnosis = found(Cause.DYNAMIC_SHAPES, with_sizes(us=10.0).profile(model=model))

    assert diagnosis is not None
    assert diagnosis.nodes == ("shape3", "gather4", "concat5")
    assert diagnosis.gain_ns == pytest.approx(30 * US)
    assert "N and sequence" in diagnosis.action
    assert diagnosis.knobs == ("fixed_shapes", "buckets")


def test_data_that_follows_from_sizes_alone_is_worked_out_in_vain_too() -> None:
    graph = products(us=10.0)
    graph.typed("int64", "s", shape=(2,))
    graph.add("Shape", "x", "s", us=1.0)
    graph.add("ConstantOfShape", "s", "ones", us=20.0)
    graph.add("Sin", "ones", "positions", us=50.0)
    graph.add("Add", "h2 positions", "y", us=5.0)

    diagnosis = found(Cause.DYNAMIC_SHAPES, graph.profile())

    assert diagnosis is not None
    assert diagnosis.nodes == ("shape3", "constantofshape4", "sin5")


def test_sizes_that_take_no_time_are_no_finding() -> None:
    assert found(Cause.DYNAMIC_SHAPES, with_sizes(us=1.0).profile()) is None


def test_data_that_happens_to_be_integers_is_not_taken_for_sizes() -> None:
    graph = products(us=10.0)
    graph.typed("int64", "ids", "picked")
    graph.add("Gather", "ids w9", "picked", us=300.0)

    assert found(Cause.DYNAMIC_SHAPES, graph.profile()) is None


def seen(first_ms: float, median_ms: float = 1.0) -> ShapeReadings:
    return ShapeReadings(
        shape=Shape(dims=(("n", 3),), weight=0.5),
        quantiles=(Quantile(q=0.5, value_ns=median_ms * MS),),
        first_seen_ns=round(first_ms * MS),
    )


def test_a_shape_that_costs_extra_when_it_is_met_first_is_found() -> None:
    profile = products().profile()

    diagnosis = found(Cause.DYNAMIC_SHAPES, profile, Circumstances(shapes=(seen(90.0), seen(60.0), seen(1.1))))

    # The first shape's first call is the model's, and no matter of shapes.
    assert diagnosis is not None
    assert diagnosis.gain_ns is None
    assert diagnosis.evidence == ("the first call in each of 1 shape took 59.0 ms longer than later ones",)
    assert found(Cause.DYNAMIC_SHAPES, profile, Circumstances(shapes=(seen(90.0), seen(1.2)))) is None


def test_reorders_are_answered_by_leaving_the_layout_out_and_transposes_by_fusing() -> None:
    reorders, turned = products(us=100.0), products(us=100.0)
    reorders.add("ReorderOutput", "h2", "y", us=50.0)
    turned.add("Transpose", "h2", "y", us=50.0)

    first, second = found(Cause.TRANSPOSES, reorders.profile()), found(Cause.TRANSPOSES, turned.profile())

    assert first is not None and first.knobs == ("graph_level",)
    assert second is not None and second.knobs == ("fuse", "rewrite")
    assert second.gain_ns == pytest.approx(50 * US)


def test_a_first_call_many_times_as_long_as_later_ones_is_found_where_it_matters() -> None:
    profile = products().profile()

    slow = replace(profile, call=replace(profile.call, first_ns=300 * MS))
    diagnosis = found(Cause.FIRST_RUN, slow)
    assert diagnosis is not None
    assert diagnosis.gain_ns is None
    assert "300 ms" in diagnosis.evidence[0]

    quick = chain(20).profile()
    assert found(Cause.FIRST_RUN, replace(quick, call=replace(quick.call, first_ns=1 * MS))) is None
    assert found(Cause.FIRST_RUN, replace(profile, call=replace(profile.call, first_ns=49 * MS))) is None
