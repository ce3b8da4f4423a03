import numpy as np
import pytest
from onnx import helper, numpy_helper

from infer_opt.causes import Cause, Diagnosis
from infer_opt.config import SessionOptions
from infer_opt.diagnoses import Circumstances, FlushedTime, diagnose
from infer_opt.glancing import share_subnormal, subnormal_weights
from infer_opt.profiles.profile import Profile
from infer_opt.profiles.roofline import Bound, NodeFloor, Work
from infer_opt.recipes import GraphLevel
from made_cases import CUDA, CUDA_OPTIONS, US, Graph, products


def found(cause: Cause, profile: Profile, around: Circumstances | None = None) -> Diagnosis | None:
    return next((one for one in diagnose(profile, around) if one.cause is cause), None)


def converted(operator: str = "Sin") -> Graph:
    graph = Graph()
    graph.add("QuantizeLinear", "x w0", "xq", us=5.0)
    graph.add("DequantizeLinear", "xq w0", "xd", us=10.0)
    graph.add("DequantizeLinear", "w9 w0", "weight", us=30.0)
    graph.add(operator, "xd weight", "h", us=50.0)
    graph.add("QuantizeLinear", "h w0", "hq", us=10.0)
    graph.add("DequantizeLinear", "hq w0", "y", us=5.0)
    return graph


def test_conversions_beside_an_operator_in_float_are_found() -> None:
    diagnosis = found(Cause.UNFOLDED_QDQ, converted().profile())

    assert diagnosis is not None
    # Those of the model's own input and output have to be there.
    assert diagnosis.nodes == ("dequantizelinear1", "dequantizelinear2", "quantizelinear4")
    assert diagnosis.gain_ns == pytest.approx(50 * US)
    assert "1 weight is made float again in every call" in diagnosis.evidence[1]


def test_conversions_that_the_runtime_folded_are_no_finding() -> None:
    graph = Graph()
    graph.add("QuantizeLinear", "x w0", "xq", us=10.0)
    graph.add("QLinearMatMul", "xq w0 w1 w9", "hq", us=50.0)
    graph.add("DequantizeLinear", "hq w0", "y", us=10.0)

    assert found(Cause.UNFOLDED_QDQ, graph.profile()) is None


def test_where_the_level_of_optimisation_keeps_conversions_that_is_what_to_change() -> None:
    diagnosis = found(Cause.UNFOLDED_QDQ, converted().profile(options=SessionOptions(graph_level=GraphLevel.BASIC)))

    assert diagnosis is not None
    assert diagnosis.knobs == ("graph_level",)


def test_nodes_that_are_many_times_faster_without_subnormal_numbers_are_found() -> None:
    profile = products().profile()
    timed = (
        FlushedTime(node="matmul0", plain_ns=1000 * US, flushed_ns=50 * US),
        FlushedTime(node="matmul1", plain_ns=1000 * US, flushed_ns=950 * US),
    )

    diagnosis = found(Cause.DENORMALS, profile, Circumstances(flushed=timed))

    assert diagnosis is not None
    assert diagnosis.nodes == ("matmul0",)
    assert diagnosis.gain_ns == pytest.approx(950 * US)
    assert diagnosis.knobs == ("flush_denormals",)
    flushing = products().profile(options=SessionOptions(flush_denormals=True))
    assert found(Cause.DENORMALS, flushing, Circumstances(flushed=timed)) is None


def test_a_lucky_core_is_not_taken_for_subnormal_numbers() -> None:
    timed = (FlushedTime(node="matmul0", plain_ns=2500 * US, flushed_ns=1000 * US),)

    assert found(Cause.DENORMALS, products().profile(), Circumstances(flushed=timed)) is None


def test_subnormal_weights_are_a_finding_unless_timing_says_that_they_cost_nothing() -> None:
    profile = products().profile()
    weights = (("w1", 0.2),)

    diagnosis = found(Cause.DENORMALS, profile, Circumstances(subnormal_weights=weights))
    assert diagnosis is not None
    assert diagnosis.gain_ns is None
    assert "20 % of w1 are subnormal" in diagnosis.evidence[0]

    timed = (FlushedTime(node="matmul0", plain_ns=1000 * US, flushed_ns=990 * US),)
    assert found(Cause.DENORMALS, profile, Circumstances(subnormal_weights=weights, flushed=timed)) is None
    assert found(Cause.DENORMALS, profile, Circumstances(subnormal_weights=(("w1", 0.001),))) is None


def test_subnormal_values_are_told_from_zero_and_from_small_ones() -> None:
    assert share_subnormal(np.array([0.0, 1e-39, -1e-40, 1e-37], dtype=np.float32)) == 0.5
    assert share_subnormal(np.array([1e-39, 1.0], dtype=np.float64)) == 0.0
    assert share_subnormal(np.array([], dtype=np.float32)) == 0.0


def test_weights_with_many_subnormal_values_are_named_and_a_few_values_are_let_be() -> None:
    values = np.ones(1000, dtype=np.float32)
    many, few = values.copy(), values.copy()
    many[:100], few[:3] = 1e-40, 1e-40
    weights = [numpy_helper.from_array(one, name) for one, name in ((many, "many"), (few, "few"), (values, "none"))]
    weights.append(numpy_helper.from_array(np.zeros(1000, dtype=np.int64), "integers"))
    model = helper.make_model(helper.make_graph([], "weights", [], [], weights))

    ((name, share),) = subnormal_weights(model)

    assert name == "many"
    assert share == pytest.approx(0.1)


def in_8_bits(*, us: float = 100.0, floor: bool = False) -> Profile:
    graph = Graph()
    graph.add("MatMulInteger", "x w0", "y", us=us)
    work = Work(operations=2_000_000, read_bytes=9_000, written_bytes=1_000, weight_bytes=5_000, precision="int8")
    floors = [NodeFloor(name="matmulinteger0", work=work, floor_ns=5 * US, bound=Bound.COMPUTE)]
    return graph.profile(floors=floors if floor else None)


def test_8_bits_without_an_instruction_for_them_are_found() -> None:
    diagnosis = found(Cause.INT8_WITHOUT_VNNI, in_8_bits(), Circumstances(has_vnni=False))

    assert diagnosis is not None
    assert diagnosis.gain_ns is None
    assert "reduce_range" in diagnosis.action
    assert found(Cause.INT8_WITHOUT_VNNI, in_8_bits(), Circumstances(has_vnni=True)) is None
    assert found(Cause.INT8_WITHOUT_VNNI, in_8_bits(), Circumstances()) is None
    assert found(Cause.INT8_WITHOUT_VNNI, products().profile(), Circumstances(has_vnni=False)) is None


def test_what_float32_could_do_in_its_place_is_held_against_it() -> None:
    slow = found(Cause.INT8_WITHOUT_VNNI, in_8_bits(floor=True), Circumstances(has_vnni=False))
    fast = found(Cause.INT8_WITHOUT_VNNI, in_8_bits(us=15.0, floor=True), Circumstances(has_vnni=False))

    # 2 million operations at 100 GFLOP/s are 20 µs.
    assert slow is not None and slow.gain_ns == pytest.approx(80 * US)
    assert fast is not None and fast.gain_ns is None


def test_on_a_gpu_none_of_this_is_judged() -> None:
    graph = Graph()
    graph.add("MatMulInteger", "x w0", "y", us=100.0, provider=CUDA)
    timed = (FlushedTime(node="matmulinteger0", plain_ns=100 * US, flushed_ns=1 * US),)

    assert diagnose(graph.profile(options=CUDA_OPTIONS), Circumstances(has_vnni=False, flushed=timed)) == ()
