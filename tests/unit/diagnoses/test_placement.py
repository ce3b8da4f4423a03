from dataclasses import replace

import pytest

from infer_opt.causes import Cause, Diagnosis
from infer_opt.diagnoses import diagnose
from infer_opt.profiles.nodes import DeviceActivity
from infer_opt.profiles.profile import Profile
from made_cases import CPU, CUDA, CUDA_OPTIONS, US, Graph


def found(cause: Cause, profile: Profile) -> Diagnosis | None:
    return next((one for one in diagnose(profile) if one.cause is cause), None)


def fallen(*, us: float = 200.0) -> Graph:
    """A product on the GPU, a node without a kernel on the host, copied there and back; and the sizes of a reshape."""
    graph = Graph()
    graph.typed("int64", "s", "t", shape=(2,))
    graph.add("MatMul", "x w0", "h", us=100.0, provider=CUDA)
    graph.add("Shape", "h", "s", us=50.0, provider=CPU)
    graph.add("MemcpyToHost", "h", "hh", us=40.0, provider=CUDA)
    graph.add("NonZero", "hh", "n", us=us, provider=CPU)
    graph.add("MemcpyFromHost", "n", "nd", us=40.0, provider=CUDA)
    graph.add("Reshape", "nd s", "y", us=5.0, provider=CUDA)
    return graph


def test_nodes_on_the_host_are_found_with_their_copies_and_without_the_arithmetic_on_shapes() -> None:
    diagnosis = found(Cause.CPU_FALLBACK, fallen().profile(options=CUDA_OPTIONS))

    assert diagnosis is not None
    assert diagnosis.nodes == ("nonzero3",)
    assert diagnosis.gain_ns == pytest.approx(280 * US)
    assert "NonZero" in diagnosis.action


def test_on_the_cpu_nothing_has_fallen() -> None:
    graph = fallen()
    graph.nodes = [one for one in graph.nodes if not one.node.operator.startswith("Memcpy")]

    assert found(Cause.CPU_FALLBACK, graph.profile()) is None


def test_sizes_alone_on_the_host_are_as_they_should_be() -> None:
    graph = fallen()
    graph.nodes = [one for one in graph.nodes if one.node.operator in ("MatMul", "Shape", "Reshape")]

    assert found(Cause.CPU_FALLBACK, graph.profile(options=CUDA_OPTIONS)) is None


def test_copies_inside_a_call_are_found_with_what_they_are_for() -> None:
    diagnosis = found(Cause.PROVIDER_COPIES, fallen().profile(options=CUDA_OPTIONS))

    assert diagnosis is not None
    assert diagnosis.nodes == ("memcpytohost2", "memcpyfromhost4")
    assert diagnosis.gain_ns == pytest.approx(80 * US)
    assert "for NonZero, which run on the host" in diagnosis.evidence[0]


def test_copies_count_by_what_the_device_says_where_that_is_more() -> None:
    profile = fallen().profile(options=CUDA_OPTIONS)
    device = DeviceActivity(
        launches=2, busy_ns=10 * US, gaps_ns=0.0, span_ns=10 * US,
        copies=(("MemcpyToHost", 1, 4096, 100 * US), ("MemcpyFromHost", 1, 4096, 50 * US)),
    )  # fmt: skip

    diagnosis = found(Cause.PROVIDER_COPIES, replace(profile, device=device))

    assert diagnosis is not None
    assert diagnosis.gain_ns == pytest.approx(150 * US)
