"""What only a real GPU shows. Each test skips with its reason where CUDA does not work; `make test-gpu` runs these."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import zoo
from infer_opt.config import Provider, SessionOptions
from infer_opt.errors import UnavailableError
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.monitors.nvml_devices import LEAN
from infer_opt.parity import compare, find_stale
from infer_opt.protocols import Session
from infer_opt.readings.catalogue import Unit, quantity_of
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


# NVML

# What no board that exists goes beyond, by unit. A fan may be told to run at more than its rated speed.
PLAUSIBLE = {
    Unit.RATIO: (0.0, 1.0),
    Unit.BYTES: (0.0, 1e13),
    Unit.BYTES_PER_SECOND: (0.0, 1e12),
    Unit.HERTZ: (1e7, 2e10),
    Unit.CELSIUS: (1.0, 120.0),
    Unit.WATTS: (1.0, 3000.0),
    Unit.JOULES: (0.0, 1e15),
    Unit.COUNT: (0.0, 1e6),
    Unit.BITS: (0.0, 2.0**64),
}
BETWEEN_READS_S = 1.2


@pytest.fixture
def nvml() -> Iterator[NvmlMonitor]:
    """All readings of this machine's GPUs, where a driver answers."""
    try:
        monitor = NvmlMonitor()
    except UnavailableError as error:
        pytest.skip(error.what)
    yield monitor
    monitor.close()


@pytest.fixture
def busy(runtime: OnnxRuntime, tmp_path: Path) -> Iterator[Session]:
    """A CUDA session of this process, which has run."""
    model = zoo.save(zoo.mlp(), tmp_path / "model.onnx")
    session = runtime.open(model, SessionOptions(provider=Provider.CUDA))
    session.run(feeds(1)[0])
    yield session
    session.close()


def two_reads(nvml: NvmlMonitor, session: Session | None = None) -> tuple[dict[str, float], dict[str, float]]:
    """What was available in two reads, with runs in between."""
    (feed,) = feeds(1)
    first = dict(nvml.read([os.getpid()]))
    until_s = time.monotonic() + BETWEEN_READS_S
    while time.monotonic() < until_s:
        if session is None:
            time.sleep(0.1)
        else:
            session.run(feed)
    second = dict(nvml.read([os.getpid()]))
    assert first.keys() == second.keys()
    known = [{key: value for key, value in read.items() if value is not None} for read in (first, second)]
    return known[0], known[1]


def test_the_gpu_says_what_it_is(nvml: NvmlMonitor) -> None:
    assert nvml.gpus()[0].name
    assert nvml.cuda_version() is not None
    assert nvml.lost() == ()


def test_real_readings_are_plausible(nvml: NvmlMonitor) -> None:
    for read in two_reads(nvml):
        assert read["gpu[0].memory_total_bytes"] > 1e9
        for key, value in read.items():
            lowest, highest = PLAUSIBLE[quantity_of(key).unit]
            assert lowest <= value <= highest * (1.5 if key.endswith(".fan") else 1.0), key


def test_parts_of_the_memory_make_up_the_whole(nvml: NvmlMonitor) -> None:
    read, _ = two_reads(nvml)

    used, free, reserved, total = (
        read[f"gpu[0].memory_{part}_bytes"] for part in ("used", "free", "reserved", "total")
    )
    assert used + free + reserved == pytest.approx(total, rel=0.02)


def test_power_is_drawn_and_energy_grows(nvml: NvmlMonitor, busy: Session) -> None:
    first, second = two_reads(nvml, busy)
    if "gpu[0].energy_joules" not in first:
        pytest.skip("this board does not count its energy")

    joules = second["gpu[0].energy_joules"] - first["gpu[0].energy_joules"]
    assert second["gpu[0].power_watts"] > 0
    assert joules > 0
    assert joules / BETWEEN_READS_S == pytest.approx(second["gpu[0].power_watts"], rel=1.0)  # the same order


def test_clocks_do_not_go_beyond_the_highest(nvml: NvmlMonitor, busy: Session) -> None:
    _, read = two_reads(nvml, busy)

    assert 0 < read["gpu[0].sm_clock_hertz"] <= read["gpu[0].sm_clock_most_hertz"]


def test_this_process_is_listed_while_it_holds_a_session(nvml: NvmlMonitor, busy: Session) -> None:
    _, read = two_reads(nvml, busy)
    processes = nvml.by_process()
    if os.getpid() not in processes:
        pytest.skip(
            f"the driver lists {sorted(processes)}, not {os.getpid()}: it gives the numbers of another namespace"
        )

    memory, utilisation = processes[os.getpid()]
    assert memory is None or memory > 1e6
    assert utilisation is None or 0 <= utilisation <= 1
    assert read.get("gpu[0].process_memory_bytes") == memory


def test_hopper_and_later_count_what_their_parts_do(nvml: NvmlMonitor, busy: Session) -> None:
    capability = nvml.gpus()[0].compute_capability
    if capability is None or float(capability) < 9:
        pytest.skip(f"compute capability {capability} has no GPM")

    first, second = two_reads(nvml, busy)

    assert "gpu[0].graphics_active" not in first
    assert second["gpu[0].graphics_active"] > 0
    assert 0 <= second["gpu[0].sm_active"] <= 1


def test_few_questions_give_what_a_tuning_needs(nvml: NvmlMonitor) -> None:
    lean = NvmlMonitor(detailed=False)
    try:
        readings = lean.read([os.getpid()])
    finally:
        lean.close()

    assert tuple(readings)[: len(LEAN)] == tuple(f"gpu[0].{name}" for name in LEAN)
    assert nvml.read([])["gpu[0].memory_total_bytes"] == readings["gpu[0].memory_total_bytes"]


def test_a_monitor_that_was_closed_can_be_opened_again(nvml: NvmlMonitor) -> None:
    nvml.read([])
    nvml.close()

    again = NvmlMonitor()
    try:
        assert again.read([])["gpu[0].memory_total_bytes"]
    finally:
        again.close()
