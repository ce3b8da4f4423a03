from dataclasses import replace

import pytest

from infer_opt.causes import Cause, Diagnosis
from infer_opt.diagnoses import Circumstances, diagnose
from infer_opt.profiles.nodes import DeviceActivity
from infer_opt.profiles.profile import Profile
from made_cases import CUDA_OPTIONS, US, Graph, products, weights_floor
from made_profiles import MODEL

WEIGHTS = 2048 * 2048 * 4


def found(cause: Cause, profile: Profile, around: Circumstances | None = None) -> Diagnosis | None:
    return next((one for one in diagnose(profile, around) if one.cause is cause), None)


def heavy(*, rows: int = 1, us: float = 2000.0, dtype: str = "float32", count: int = 3) -> Graph:
    """Products with 4 million weights each, 16.8 MB in float32: 8.4 GB/s."""
    graph = Graph(shape=(rows, 2048))
    graph.typed(dtype, *(f"w{number}" for number in range(count)), shape=(2048, 2048))
    for number in range(count):
        graph.add("MatMul", f"h{number} w{number}", f"h{number + 1}", us=us)
    return graph


def test_weights_that_are_read_for_one_row_bind_a_call() -> None:
    diagnosis = found(Cause.MEMORY_BOUND, heavy().profile())

    assert diagnosis is not None
    # A quarter of the bytes is left of them in 8 bits.
    assert diagnosis.gain_ns == pytest.approx(0.75 * 6000 * US)
    assert diagnosis.knobs == ("quantise",)
    assert "one row" in diagnosis.evidence[0] and "50.3 MB" in diagnosis.evidence[0]
    assert "8.39 GB/s" in diagnosis.evidence[1]
    assert "--batch" in diagnosis.action


def test_many_rows_make_use_of_the_weights() -> None:
    assert found(Cause.MEMORY_BOUND, heavy(rows=128).profile()) is None


def test_weights_that_fit_into_caches_are_not_waited_for() -> None:
    assert found(Cause.MEMORY_BOUND, products(rows=1, us=1000.0).profile()) is None


def test_a_node_that_takes_far_longer_than_reading_its_weights_waits_for_something_else() -> None:
    assert found(Cause.MEMORY_BOUND, heavy(us=50_000.0).profile()) is None


def test_weights_of_8_bits_are_answered_by_4() -> None:
    diagnosis = found(Cause.MEMORY_BOUND, heavy(us=500.0, dtype="int8", count=5).profile())

    assert diagnosis is not None
    assert diagnosis.gain_ns == pytest.approx(0.5 * 2500 * US)
    assert "4 bits" in diagnosis.action


def test_a_model_of_fixed_batch_is_not_told_to_batch() -> None:
    diagnosis = found(Cause.MEMORY_BOUND, heavy().profile(model=replace(MODEL, batch_dim=None)))

    assert diagnosis is not None
    assert "--batch" not in diagnosis.action


def with_floors(*, floor_us: float, us: float = 2000.0) -> Profile:
    graph = heavy(us=us)
    floors = [
        weights_floor(one.node.name, weight_bytes=WEIGHTS, operations=2 * 2048 * 2048, floor_us=floor_us)
        for one in graph.nodes
    ]
    return graph.profile(floors=floors)


def test_with_a_roofline_the_floor_of_reading_says_what_there_is_to_win() -> None:
    diagnosis = found(Cause.MEMORY_BOUND, with_floors(floor_us=1600.0))

    assert diagnosis is not None and diagnosis.gain_ns is not None
    share_of_weights = WEIGHTS / (WEIGHTS + 8192)
    assert diagnosis.gain_ns == pytest.approx(0.75 * 3 * 1600 * US * share_of_weights)
    assert diagnosis.evidence[-1].startswith("at this machine's bandwidth")
    # Far from its floor, something else is in the way.
    assert found(Cause.MEMORY_BOUND, with_floors(floor_us=300.0)) is None


def test_a_ceiling_that_is_too_low_does_not_promise_more_than_there_is() -> None:
    diagnosis = found(Cause.MEMORY_BOUND, with_floors(floor_us=9000.0))

    assert diagnosis is not None and diagnosis.gain_ns is not None
    assert diagnosis.gain_ns <= 0.75 * 6000 * US


def test_on_a_gpu_the_floor_is_held_against_what_it_is_busy_for() -> None:
    profile = replace(
        with_floors(floor_us=16.0),
        config=replace(heavy().profile().config, options=CUDA_OPTIONS),
        device=DeviceActivity(launches=3, busy_ns=60 * US, gaps_ns=1 * US, span_ns=61 * US),
    )
    profile = replace(profile, call=replace(profile.call, latency=replace(profile.call.latency, value=100 * US)))

    assert found(Cause.MEMORY_BOUND, profile) is not None
    busy = DeviceActivity(launches=3, busy_ns=900 * US, gaps_ns=1 * US, span_ns=901 * US)
    assert found(Cause.MEMORY_BOUND, replace(profile, device=busy)) is None


def test_a_batch_that_gives_more_items_a_second_is_found_at_its_knee() -> None:
    rates = ((1, 1000.0), (2, 1900.0), (8, 4900.0), (16, 5000.0), (32, 4800.0))
    profile = products().profile(latency_us=1000.0)

    diagnosis = found(Cause.SMALL_BATCH, profile, Circumstances(items_per_s=rates))

    assert diagnosis is not None
    assert "4,900 with 8" in diagnosis.evidence[0]
    assert diagnosis.gain_ns == pytest.approx(1000 * US * (1 - 1000 / 4900))
    assert diagnosis.knobs == ("batch",)


def test_a_batch_at_the_knee_already_is_large_enough() -> None:
    rates = ((1, 1000.0), (8, 4900.0), (16, 5000.0))
    profile = products().profile(latency_us=1600.0, batch=8)

    assert found(Cause.SMALL_BATCH, profile, Circumstances(items_per_s=rates)) is None


def test_without_a_measurement_the_floors_say_that_items_would_share_the_weights() -> None:
    diagnosis = found(Cause.SMALL_BATCH, with_floors(floor_us=1600.0))

    assert diagnosis is not None and diagnosis.gain_ns is not None
    arithmetic_ns = 3 * 2 * 2048 * 2048 / 1e11 * 1e9
    assert diagnosis.gain_ns == pytest.approx(3 * 1600 * US - arithmetic_ns, rel=0.01)
    assert found(Cause.SMALL_BATCH, replace(with_floors(floor_us=1600.0), roofline=None)) is None
