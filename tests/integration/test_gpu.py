"""What only a real GPU shows. Each test skips with its reason where CUDA does not work; `make test-gpu` runs these."""

from pathlib import Path

import numpy as np
import pytest

import zoo
from infer_opt.config import Provider, SessionOptions
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.parity import compare, find_stale
from infer_opt.rig import misplaced
from infer_opt.runtimes.onnx import OnnxRuntime

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def runtime() -> OnnxRuntime:
    """ONNX Runtime, where its CUDA provider works."""
    found = OnnxRuntime()
    reason = found.why_not(Provider.CUDA)
    if reason is not None:
        pytest.skip(reason)
    return found


def feeds(count: int) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(7)
    return [{"x": generator.standard_normal((1, 8)).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize(
    "options",
    [
        SessionOptions(provider=Provider.CUDA),
        SessionOptions(provider=Provider.CUDA, io_binding=True),
        SessionOptions(provider=Provider.CUDA, cuda_graph=True),
        SessionOptions(provider=Provider.CUDA, tf32=False, cudnn_search="heuristic"),
    ],
    ids=lambda options: options.label,
)
def test_cuda_agrees_with_the_cpu_and_never_replays_old_outputs(
    runtime: OnnxRuntime, tmp_path: Path, options: SessionOptions
) -> None:
    model = zoo.save(zoo.mlp(), tmp_path / "model.onnx")
    inputs = feeds(6)
    stock = runtime.open(model, SessionOptions())
    session = runtime.open(model, options)

    reference = [stock.run(feed) for feed in inputs]
    answers = [session.run(feed) for feed in inputs]

    assert compare(reference, answers, tolerance=0.999).passed
    assert find_stale(reference, answers) is None
    assert misplaced(session.placement, Provider.CUDA) is None


def test_the_gpu_says_what_it_does(runtime: OnnxRuntime) -> None:
    monitor = NvmlMonitor()
    try:
        readings = monitor.read([])
        assert readings["gpu0.memory_total_bytes"]
        assert monitor.gpus()[0].name
    finally:
        monitor.close()
