"""Every path to a GPU, on a real one: clocks against CUDA's events, precisions, memory, graphs, and others on it.

Each test skips with its reason where CUDA does not work; `make test-gpu` runs these.
"""

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import zoo
from infer_opt.config import Provider, SessionOptions
from infer_opt.diagnosing import judge, see
from infer_opt.errors import DeviceMemoryError, UnavailableError
from infer_opt.measure import Plan, measure_block
from infer_opt.models.feeds import save_feeds
from infer_opt.monitors.interference import Disturbance
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.monitors.nvml_modes import ComputeMode
from infer_opt.parity import compare, find_stale
from infer_opt.protocols import Session
from infer_opt.results import Severity
from infer_opt.rig import misplaced
from infer_opt.runtimes.onnx import OnnxRuntime
from infer_opt.runtimes.torch import TorchRuntime
from infer_opt.transforms.halve import halve
from infer_opt.workers.messages import Open, Opened, Run
from infer_opt.workers.process import WorkerMemoryError, WorkerProcess
from infer_opt.workers.usage import usage
from infer_opt.workers.watching import watch_machine

pytestmark = pytest.mark.gpu

ON_CUDA = SessionOptions(provider=Provider.CUDA)
WIDE, DEEP = 4096, 16  # products that keep a GPU busy for milliseconds, where one call to it takes microseconds
MS = 1e6


@pytest.fixture(scope="module")
def runtime() -> OnnxRuntime:
    """ONNX Runtime, where its CUDA provider works."""
    found = OnnxRuntime()
    reason = found.why_not(Provider.CUDA)
    if reason is not None:
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    """PyTorch, where it has a device: its events are another clock than ours."""
    found = TorchRuntime()
    reason = found.why_not(Provider.CUDA)
    if reason is not None:
        pytest.skip(reason)
    return import_module("torch")


@pytest.fixture
def nvml() -> Iterator[NvmlMonitor]:
    """The readings that a tuning takes, where a driver answers."""
    try:
        monitor = NvmlMonitor(detailed=False)
    except UnavailableError as error:
        pytest.skip(error.what)
    yield monitor
    monitor.close()


@pytest.fixture
def worker(runtime: OnnxRuntime) -> Iterator[WorkerProcess]:
    with WorkerProcess(random.Random(0)) as worker:
        yield worker


def feeds_of(count: int, *shape: int, seed: int = 7) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [{"x": generator.standard_normal(shape).astype(np.float32)} for _ in range(count)]


def products(width: int = WIDE, depth: int = DEEP) -> Any:
    """A short row in, a short row out, and `depth` products of square matrices between them."""
    generator = np.random.default_rng(1)
    square = (generator.standard_normal((width, width)) / np.sqrt(width)).astype(np.float32)
    nodes = [helper.make_node("Add", ["x", "w"], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{index}", "w"], [f"h{index + 1}"]) for index in range(depth)]
    nodes += [helper.make_node("ReduceMean", [f"h{depth}"], ["y"], axes=[0], keepdims=1)]
    return zoo.build(
        nodes,
        [zoo.floats("x", 1, width)],
        [zoo.floats("y", 1, width)],
        initialisers=[zoo.constant("w", square)],
        opset=17,
    )


def on(worker: WorkerProcess, folder: Path, model: Path, feeds: list[dict[str, np.ndarray]], **options: Any) -> Opened:
    """A CUDA session over `model` in the worker, which has run once."""
    path = folder / "feeds.npz"
    save_feeds(path, feeds)
    asked = SessionOptions(provider=Provider.CUDA, **options)
    answer = worker.ask(Open(runtime="onnx", artefact=model, options=asked, feeds=path), timeout_s=120)
    assert isinstance(answer, Opened)
    return answer


def median_ms(call: Callable[[], float], count: int = 9) -> float:
    """The middle of `count` answers in ms, after three that do not count."""
    return statistics.median([call() for _ in range(count + 3)][3:])


# Three clocks: host to host, the device's own, and how long it takes to hand the work over


def by_events(torch: ModuleType, path: Path) -> tuple[float, float]:
    """The device's time of a run on bound buffers by CUDA's events, and the host's time to submit it; in ms."""
    import onnxruntime

    stream = torch.cuda.Stream()
    provider = {"device_id": "0", "user_compute_stream": str(stream.cuda_stream)}
    session = onnxruntime.InferenceSession(
        str(path), providers=[("CUDAExecutionProvider", provider), "CPUExecutionProvider"], enable_fallback=0
    )
    x = onnxruntime.OrtValue.ortvalue_from_numpy(feeds_of(1, 1, WIDE)[0]["x"], "cuda", 0)
    y = onnxruntime.OrtValue.ortvalue_from_shape_and_type([1, WIDE], np.float32, "cuda", 0)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", x)
    binding.bind_ortvalue_output("y", y)
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    submitted: list[float] = []

    def once() -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record(stream)
        started = time.perf_counter_ns()
        session.run_with_iobinding(binding, options)
        submitted.append((time.perf_counter_ns() - started) / MS)
        end.record(stream)
        end.synchronize()
        return float(begin.elapsed_time(end))

    device = median_ms(once)
    return device, statistics.median(submitted[3:])


@pytest.mark.parametrize("options", [ON_CUDA, SessionOptions(provider=Provider.CUDA, io_binding=True)], ids=str)
def test_a_timed_run_ends_when_the_gpu_does(
    runtime: OnnxRuntime, torch: ModuleType, tmp_path: Path, options: SessionOptions
) -> None:
    model = zoo.save(products(), tmp_path / "model.onnx")
    device_ms, submit_ms = by_events(torch, model)
    session = runtime.open(model, options)

    block = measure_block(session, feeds_of(4, 1, WIDE), plan=Plan(lead_in_runs=3, timed_runs=9))

    ours_ms = statistics.median(block.latency_ns) / MS
    assert device_ms > 0.5  # else nothing can be told from overheads
    assert submit_ms < 0.8 * device_ms  # it is the device that takes the time, and it is not waited for
    # Whoever stops the clock when the work is handed over reads `submit_ms`.
    assert 0.9 * device_ms < ours_ms < 1.3 * device_ms + 1.0


def test_a_timed_run_of_pytorch_ends_when_the_gpu_does(runtime: OnnxRuntime, torch: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(torch_products(torch), args=(torch.zeros(1, WIDE),)), path)
    session = TorchRuntime().open(path, ON_CUDA)
    (feed,) = feeds_of(1, 1, WIDE)
    feed = {session.inputs[0].name: feed["x"]}
    walls: list[float] = []

    def once() -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        started = time.perf_counter_ns()
        session.run(feed)
        walls.append((time.perf_counter_ns() - started) / MS)
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end))

    device_ms = median_ms(once)
    assert device_ms > 0.5
    assert 0.9 * device_ms < statistics.median(walls[3:]) < 1.3 * device_ms + 1.0


def torch_products(torch: ModuleType) -> Any:
    generator = np.random.default_rng(1)
    square = (generator.standard_normal((WIDE, WIDE)) / np.sqrt(WIDE)).astype(np.float32)

    class Products(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("w", torch.from_numpy(square))

        def forward(self, x: Any) -> Any:
            h = x + self.w
            for _ in range(DEEP):
                h = h @ self.w
            return h.mean(0, keepdim=True)

    return Products().eval()


# Graphs


def test_a_graph_answers_for_new_inputs_of_each_shape(runtime: OnnxRuntime, tmp_path: Path) -> None:
    model = zoo.save(zoo.mlp(), tmp_path / "model.onnx")
    stock, graphed = (
        runtime.open(model, ON_CUDA),
        runtime.open(model, SessionOptions(provider=Provider.CUDA, cuda_graph=True)),
    )
    calls = [feed for batch in (1, 4, 1, 4) for feed in feeds_of(3, batch, 8, seed=batch * 11)]

    reference, answers = [stock.run(feed) for feed in calls], [graphed.run(feed) for feed in calls]

    assert compare(reference, answers, tolerance=0.9999).passed
    assert find_stale(reference[:3], answers[:3]) is None


def test_a_graph_that_replays_old_inputs_is_found_out(runtime: OnnxRuntime, tmp_path: Path) -> None:
    model = zoo.save(zoo.mlp(), tmp_path / "model.onnx")
    session = runtime.open(model, SessionOptions(provider=Provider.CUDA, cuda_graph=True))
    calls = feeds_of(4, 1, 8)
    reference = [runtime.open(model, SessionOptions()).run(feed) for feed in calls]
    session.run(calls[0])
    (captured,) = session._graphs._captured.values()  # type: ignore[attr-defined]

    class Forgetful:
        def update_inplace(self, value: object) -> None:
            """Copies nothing: the graph goes on with what was there."""

    captured.inputs["x"] = Forgetful()

    assert find_stale(reference, [session.run(feed) for feed in calls]) is not None


# Precisions and settings


def worst(session: Session, reference: list[dict[str, Any]], calls: list[dict[str, np.ndarray]]) -> tuple[float, float]:
    """Agreement with `reference`, and the largest difference over the length of the outputs."""
    parity = compare(reference, [session.run(feed) for feed in calls], tolerance=0.99)
    assert parity.passed, parity.reason
    return parity.score, max(output.relative_l2 or 0.0 for output in parity.outputs)


def test_float32_is_exact_where_tf32_is_off_and_not_where_it_is_on(
    runtime: OnnxRuntime, nvml: NvmlMonitor, tmp_path: Path
) -> None:
    capability = nvml.gpus()[0].compute_capability
    if capability is None or float(capability) < 8:
        pytest.skip(f"compute capability {capability} has no TF32")
    model, calls = zoo.save(products(512, 4), tmp_path / "model.onnx"), feeds_of(4, 1, 512)
    reference = [runtime.open(model, SessionOptions()).run(feed) for feed in calls]

    strict = worst(runtime.open(model, SessionOptions(provider=Provider.CUDA, tf32=False)), reference, calls)
    rounded = worst(runtime.open(model, SessionOptions(provider=Provider.CUDA, tf32=True)), reference, calls)

    assert strict[1] < 1e-5
    assert 1e-5 < rounded[1] < 1e-2  # ten bits of mantissa


def test_half_precision_agrees(runtime: OnnxRuntime, tmp_path: Path) -> None:
    model, calls = zoo.save(products(512, 4), tmp_path / "model.onnx"), feeds_of(4, 1, 512)
    halve(model, tmp_path / "half.onnx")
    reference = [runtime.open(model, SessionOptions()).run(feed) for feed in calls]
    session = runtime.open(tmp_path / "half.onnx", ON_CUDA)

    score, difference = worst(session, reference, calls)

    assert score > 0.999
    assert difference > 1e-5  # it really is in half precision
    assert misplaced(session.placement, Provider.CUDA) is None


def test_a_model_in_bfloat16_agrees(runtime: OnnxRuntime, tmp_path: Path) -> None:
    weight = zoo.weights("w", 512, 64)
    nodes = [
        helper.make_node("Cast", ["x"], ["xb"], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", ["w"], ["wb"], to=TensorProto.BFLOAT16),
        helper.make_node("MatMul", ["xb", "wb"], ["yb"]),
        helper.make_node("Cast", ["yb"], ["y"], to=TensorProto.FLOAT),
    ]
    rounded = zoo.build(nodes, [zoo.floats("x", "n", 512)], [zoo.floats("y", "n", 64)], initialisers=[weight], opset=17)
    plain = zoo.build(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [zoo.floats("x", "n", 512)],
        [zoo.floats("y", "n", 64)],
        initialisers=[weight],
        opset=17,
    )
    calls = feeds_of(4, 3, 512)
    stock = runtime.open(zoo.save(plain, tmp_path / "plain.onnx"), SessionOptions())
    reference = [stock.run(feed) for feed in calls]

    score, difference = worst(runtime.open(zoo.save(rounded, tmp_path / "model.onnx"), ON_CUDA), reference, calls)

    assert score > 0.9995
    assert difference > 1e-4  # seven bits of mantissa


@pytest.mark.parametrize("search", ["exhaustive", "heuristic", "default"])
@pytest.mark.parametrize("nhwc", [None, True], ids=["nchw", "nhwc"])
def test_every_way_to_choose_a_convolution_agrees(
    runtime: OnnxRuntime, tmp_path: Path, search: str, nhwc: bool | None
) -> None:
    model = zoo.save(zoo.conv_net(), tmp_path / "model.onnx")
    stock = runtime.open(model, SessionOptions())
    generator = np.random.default_rng(3)
    name, shape = stock.inputs[0].name, [size if isinstance(size, int) else 2 for size in stock.inputs[0].shape or ()]
    calls = [{name: generator.standard_normal(shape).astype(np.float32)} for _ in range(4)]
    session = runtime.open(model, SessionOptions(provider=Provider.CUDA, cudnn_search=search, nhwc=nhwc))

    assert compare([stock.run(feed) for feed in calls], [session.run(feed) for feed in calls], tolerance=0.999).passed


# Memory


def test_a_session_keeps_to_the_memory_that_it_may_take(runtime: OnnxRuntime, tmp_path: Path) -> None:
    model = zoo.save(zoo.mlp(), tmp_path / "model.onnx")
    small, large = feeds_of(1, 8, 8)[0], feeds_of(1, 1_000_000, 8)[0]  # 32 MB of inputs, 64 MB of what follows
    free, held = (
        runtime.open(model, ON_CUDA),
        runtime.open(model, SessionOptions(provider=Provider.CUDA, arena_bytes=16 << 20)),
    )

    with pytest.raises(DeviceMemoryError, match="the device has too little memory"):
        held.run(large)

    assert compare([free.run(small)], [held.run(small)], tolerance=0.9999).passed  # it goes on
    assert set(free.run(large)) == {output.name for output in free.outputs}


def test_an_exact_arena_takes_no_more_than_one_that_doubles(
    runtime: OnnxRuntime, nvml: NvmlMonitor, tmp_path: Path
) -> None:
    held: dict[bool, float] = {}
    model, feeds = zoo.save(zoo.mlp(), tmp_path / "model.onnx"), feeds_of(1, 1_500_000, 8)
    for exact in (False, True):
        before = nvml.read(())["gpu[0].memory_used_bytes"] or 0.0
        with WorkerProcess(random.Random(0)) as process:
            on(process, tmp_path, model, feeds, exact_arena=exact)
            held[exact] = (nvml.read(())["gpu[0].memory_used_bytes"] or 0.0) - before
        time.sleep(0.5)  # the driver takes a moment to free what a process held

    assert 0 < held[True] <= held[False] * 1.05


def test_more_than_the_gpu_has_is_an_error_of_memory_and_the_session_goes_on(
    runtime: OnnxRuntime, tmp_path: Path
) -> None:
    session = runtime.open(zoo.save(zoo.endless(), tmp_path / "model.onnx"), ON_CUDA)
    one = np.ones(1, np.float32)

    with pytest.raises(DeviceMemoryError):
        session.run({"n": np.array([1 << 42]), "x": one})  # 16 TB

    assert float(session.run({"n": np.array([1000]), "x": one})["y"]) == 1000.0


def test_a_trial_that_is_out_of_memory_is_one_of_memory(worker: WorkerProcess, tmp_path: Path) -> None:
    model = zoo.save(zoo.mlp(), tmp_path / "model.onnx")

    with pytest.raises(WorkerMemoryError, match="the device has too little memory"):
        on(worker, tmp_path, model, feeds_of(1, 500_000, 8), arena_bytes=4 << 20)

    assert not worker.is_alive


# Others on the GPU, heat and power


def listed(nvml: NvmlMonitor, *pids: int) -> None:
    """Skip where the driver lists processes under numbers of another namespace, or not at all."""
    nvml.read(pids)
    missing = set(pids) - set(nvml.by_process())
    if missing:
        pytest.skip(f"the driver does not list processes {sorted(missing)}: it gives the numbers of another namespace")


def test_another_process_on_the_gpu_is_found_and_spoils_a_round(
    worker: WorkerProcess, nvml: NvmlMonitor, tmp_path: Path
) -> None:
    on(worker, tmp_path, zoo.save(zoo.mlp(), tmp_path / "model.onnx"), feeds_of(4, 1, 8))
    listed(nvml, worker.pid)

    ours, foreign = nvml.foreign_processes([os.getpid(), worker.pid]), nvml.foreign_processes([os.getpid()])

    assert ours is not None
    assert foreign == ours + 1
    watch = watch_machine(1e9, nvml)  # cores of the CPU are not what this is about
    assert watch([])() is Disturbance.GPU
    worker.close()
    time.sleep(1.0)
    assert nvml.foreign_processes([os.getpid()]) == ours


def test_what_a_worker_uses_of_the_gpu_is_read(worker: WorkerProcess, nvml: NvmlMonitor, tmp_path: Path) -> None:
    idle = nvml.read(())
    on(worker, tmp_path, zoo.save(products(), tmp_path / "model.onnx"), feeds_of(4, 1, WIDE))

    found = usage(worker, timeout_s=60, run_s=2.0, rest_s=0.0, device=nvml)

    assert found.runs > 10
    assert set(found.throttled_by) <= {"heat", "power"}
    if found.power_watts is not None and idle["gpu[0].power_watts"] is not None:
        assert found.power_watts > idle["gpu[0].power_watts"]
    if found.energy_joules is not None:
        assert found.energy_joules > 0
    if found.gpu_utilisation is not None:
        assert found.gpu_utilisation > 0.5
    assert found.device_memory_bytes is None or found.device_memory_bytes > 1e8


def test_a_clock_that_is_held_down_is_told_and_heat_before_a_round_discards_it(nvml: NvmlMonitor) -> None:
    slowed, readings = nvml.thermal_slowdown(), nvml.read(())
    if slowed is None:
        pytest.skip("this GPU does not say why its clock is not higher")

    assert readings["gpu[0].throttled_by_heat"] == float(slowed)
    assert (watch_machine(1e9, nvml)([os.getpid()])() is Disturbance.THERMAL) is slowed


def test_a_worker_that_is_stopped_leaves_the_gpu_to_others(
    worker: WorkerProcess, runtime: OnnxRuntime, tmp_path: Path
) -> None:
    model = zoo.save(products(), tmp_path / "model.onnx")
    on(worker, tmp_path, model, feeds_of(4, 1, WIDE))
    session = runtime.open(model, ON_CUDA)
    feeds, plan = feeds_of(4, 1, WIDE), Plan(lead_in_runs=3, timed_runs=9)

    worker.freeze()
    alone = statistics.median(measure_block(session, feeds, plan=plan).latency_ns)
    worker.send(Run(seconds=2.0))
    time.sleep(0.3)
    shared = statistics.median(measure_block(session, feeds, plan=plan).latency_ns)
    worker.receive(timeout_s=60)

    assert shared > 1.3 * alone  # two processes take turns: that is what is never to happen unseen


# The whole


def test_doctor_finds_nothing_wrong_with_cuda_here(runtime: OnnxRuntime, nvml: NvmlMonitor) -> None:
    findings: Mapping[str, Any] = {finding.name: finding for finding in judge(see(sample_s=0.1))}

    for name in ("NVIDIA driver", "CUDA provider", "cuDNN", "GPU devices"):
        assert findings[name].severity is Severity.OK, findings[name].what
    modes = {mode.compute for mode in nvml.modes()}
    assert (findings["GPU compute mode"].severity is Severity.OK) == (ComputeMode.SHARED in modes or modes == {None})
