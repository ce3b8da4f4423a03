"""Ceilings of machines whose truth is known, and of this one in miniature."""

import time
from pathlib import Path

import pytest
from benchmarks.counting import as_nodes, with_shapes

from fake_products import FakeProductsRuntime, TrueMachine
from fakes import FakeClock
from infer_opt.config import Provider
from infer_opt.errors import UnavailableError
from infer_opt.facts import CacheLevel
from infer_opt.profiles.roofline import Ceilings
from infer_opt.roofline import ceilings
from infer_opt.roofline.blocks import Effort
from infer_opt.roofline.ceilings import Bench, float32_candidates, int8_candidates, measure
from infer_opt.roofline.counting import count
from infer_opt.roofline.keeping import Setting
from infer_opt.roofline.probes import (
    Product,
    convolution_feeds,
    convolution_model,
    convolution_operations,
    product_feeds,
    product_model,
)
from infer_opt.runtimes import open_runtime

GPU = TrueMachine(operations_per_s={"float32": 60e12, "float16": 800e12, "bfloat16": 790e12, "int8": 1500e12})
MIB = 1 << 20


def on_device(machine: TrueMachine) -> tuple[Ceilings, FakeProductsRuntime]:
    clock = FakeClock()
    runtime = FakeProductsRuntime(clock, machine)
    setting = Setting(machine="f00d", provider="cuda", threads=0, runtime="onnx", version="1.0")
    bench = Bench(runtime=runtime, setting=setting, caches=(), available_bytes=None, clock=clock)
    return measure(bench, now_ms=1234), runtime


def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices of a device in miniature: no test multiplies 8192 x 8192."""
    monkeypatch.setattr("infer_opt.roofline.device.SIZES", (64, 128))
    monkeypatch.setattr("infer_opt.roofline.probes.DEVICE_WORK", 2e8)


def test_a_devices_ceilings_are_what_it_truly_does(monkeypatch: pytest.MonkeyPatch) -> None:
    small_sizes(monkeypatch)
    # 128 x 128 in so many operations that the call and the way in are nothing beside them
    slow = {name: rate / 1e5 for name, rate in GPU.operations_per_s.items()}
    found, runtime = on_device(TrueMachine(operations_per_s=slow))

    rates = {name: rate.value for name, rate in found.operations_per_s}
    assert rates == pytest.approx(slow, rel=0.02)
    assert (found.fingerprint, found.provider, found.threads, found.measured_ms) == ("f00d", "cuda", 0, 1234)
    assert {options.provider for options in runtime.opened} == {Provider.CUDA}


def test_a_devices_cache_is_found_by_where_sets_get_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    small_sizes(monkeypatch)
    found, _ = on_device(TrueMachine(operations_per_s={"float32": 1e9}, launch_ns=10))

    cache, memory = found.bandwidths
    assert (cache.level, cache.capacity_bytes, memory.level, memory.capacity_bytes) == ("L2", 32 * MIB, "memory", None)
    assert cache.bytes_per_s.value == pytest.approx(6e12, rel=0.15)
    assert memory.bytes_per_s.value == pytest.approx(2e12, rel=0.02)


def test_a_device_without_a_cache_that_shows_has_memory_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    small_sizes(monkeypatch)
    flat = TrueMachine(operations_per_s={"float32": 1e9}, cache_bytes_per_s=2e12, launch_ns=10)

    assert [level.level for level in on_device(flat)[0].bandwidths] == ["memory"]


def test_a_launch_is_what_each_further_node_adds_and_not_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    small_sizes(monkeypatch)
    found, _ = on_device(TrueMachine(operations_per_s={"float32": 1e9}, launch_ns=2_500, call_ns=5_000_000))

    assert found.launch.value == pytest.approx(2_500, rel=0.01)
    assert found.launch.low <= found.launch.value <= found.launch.high


@pytest.mark.parametrize(("half", "kept"), [(1.0, False), (1.2, False), (2.0, True)])
def test_sixteen_bits_that_are_no_faster_were_computed_in_thirty_two(
    monkeypatch: pytest.MonkeyPatch, half: float, kept: bool
) -> None:
    small_sizes(monkeypatch)
    found, _ = on_device(TrueMachine(operations_per_s={"float32": 1e9, "float16": half * 1e9}))

    assert ("float16" in dict(found.operations_per_s)) is kept
    assert "bfloat16" not in dict(found.operations_per_s)


def test_a_provider_that_multiplies_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    small_sizes(monkeypatch)
    with pytest.raises(UnavailableError, match="multiplies no matrices"):
        on_device(TrueMachine(operations_per_s={}))


def this_machine(*, caches: tuple[CacheLevel, ...]) -> Bench:
    return Bench(
        runtime=open_runtime("onnx"),
        setting=Setting(machine="f00d", provider="cpu", threads=2, runtime="onnx", version="1.0"),
        caches=caches,
        available_bytes=16 * MIB,
        clock=time.perf_counter_ns,
        effort=Effort(screen_s=0.0, settle_s=0.0, openings=1, finalists=1),
    )


def test_this_machine_has_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    """In miniature: small matrices, for a moment. The figures are not judged, only that they are some."""
    monkeypatch.setattr(ceilings, "LINKS", 50)
    monkeypatch.setattr("infer_opt.roofline.traffic.CALL_BYTES", 4 * MIB)
    monkeypatch.setattr("infer_opt.roofline.probes.CPU_WORK", 1e6)
    bench = this_machine(caches=(CacheLevel(level=2, capacity_bytes=256 << 10, shared_by=1, count=2),))

    found = measure(bench, now_ms=0)

    rates = dict(found.operations_per_s)
    assert {"float32", "int8"} <= set(rates)
    assert all(1e7 < rate.value < 1e15 for rate in rates.values())
    assert [level.level for level in found.bandwidths] == ["L2", "memory"]
    assert found.bandwidths[0].bytes_per_s.value >= found.bandwidths[1].bytes_per_s.value > 1e7
    assert 0 < found.launch.value < 1e6


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_every_product_of_this_machine_runs_and_does_as_many_operations_as_it_says(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that the runtime refuses is taken for a kernel that is missing: here none is."""
    monkeypatch.setattr("infer_opt.roofline.probes.CPU_WORK", 1e6)
    bench = this_machine(caches=(CacheLevel(level=2, capacity_bytes=64 << 10, shared_by=1, count=2),))
    candidates = {"float32": float32_candidates, "int8": int8_candidates}[precision](bench, tmp_path)

    assert len(candidates) >= 8
    for candidate in candidates:
        assert candidate.amount > 1e4
        with candidate.start() as run:
            run()


def test_a_convolution_counts_what_the_counter_counts(tmp_path: Path) -> None:
    path = tmp_path / "convolution.onnx"
    path.write_bytes(convolution_model(3))
    nodes = as_nodes(*with_shapes(path, convolution_feeds(), tmp_path))

    works = [count(one) for one in nodes if one.operator == "Conv"]

    assert sum(work.operations for work in works if work is not None) == convolution_operations(3)


@pytest.mark.parametrize(
    ("precision", "operator", "on_device"),
    [
        ("float32", "MatMul", False),
        ("float32", "MatMul", True),
        ("int8", "MatMulInteger", False),
        ("int8", "MatMulInteger", True),
        ("int8", "QLinearMatMul", False),
    ],
)
def test_a_chain_of_products_counts_what_the_counter_counts(
    precision: str, operator: str, on_device: bool, tmp_path: Path
) -> None:
    product = Product(precision=precision, size=64, links=3, operator=operator, on_device=on_device)
    path = tmp_path / "products.onnx"
    path.write_bytes(product_model(product))
    nodes = as_nodes(*with_shapes(path, product_feeds(product), tmp_path))

    products = [one for one in nodes if "MatMul" in one.operator]
    works = [count(one) for one in products]

    scaled = sum(one.outputs[0].elements for one in products if one.operator == "QLinearMatMul")
    assert sum(work.operations for work in works if work is not None) == product.operations + scaled
    assert {work.precision for work in works if work is not None} == {precision}
