import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from broken_cuda import quoted
from fake_onnxruntime import CPU, CUDA, Fail, FakeOnnxRuntime, InvalidArgument
from infer_opt.config import Provider, SessionOptions, Spin
from infer_opt.errors import ConfigError, DeviceMemoryError, ModelError, UnavailableError
from infer_opt.facts import TensorSpec
from infer_opt.protocols import Session
from infer_opt.recipes import GraphLevel
from infer_opt.results import Placement
from infer_opt.rig import misplaced
from infer_opt.runtimes import open_runtime
from infer_opt.runtimes.onnx import OnnxRuntime

ON_CUDA = SessionOptions(provider=Provider.CUDA)
X = np.arange(8, dtype=np.float32).reshape(2, 4)

Install = Callable[[ModuleType], ModuleType]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the fake does not read it")
    return path


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], ModuleType]:
    def put(module: ModuleType) -> ModuleType:
        monkeypatch.setitem(sys.modules, "onnxruntime", module)
        return module

    return put


@pytest.fixture
def library(install: Install) -> FakeOnnxRuntime:
    """A machine with a GPU that works."""
    module = install(FakeOnnxRuntime())
    assert isinstance(module, FakeOnnxRuntime)
    return module


def opened(model: Path, options: SessionOptions = ON_CUDA) -> Session:
    return OnnxRuntime().open(model, options)


# Providers


def test_a_gpu_that_works_is_found_by_opening_a_session_on_it(library: FakeOnnxRuntime) -> None:
    assert OnnxRuntime().providers() == {Provider.CPU, Provider.CUDA}
    assert [dict(session.asked).keys() for session in library.sessions] == [{CUDA, CPU}]


def test_a_provider_that_was_not_built_in_is_said_to_be(install: Install, model: Path) -> None:
    install(FakeOnnxRuntime(available=[CPU]))
    runtime = OnnxRuntime()

    assert runtime.providers() == {Provider.CPU}
    assert runtime.why_not(Provider.CUDA) == f"the installed ONNX Runtime 9.9.9 was built without {CUDA}"
    with pytest.raises(UnavailableError, match=f"has no {CUDA}") as caught:
        runtime.open(model, ON_CUDA)
    assert caught.value.hint == "pip install 'infer-opt[gpu]'"


def test_a_provider_whose_libraries_do_not_load_is_an_error_and_not_the_cpu(install: Install, model: Path) -> None:
    # onnxruntime warns and goes on with the CPU.
    install(FakeOnnxRuntime(not_loading=[CUDA], assigned=[(CPU, 3)]))
    runtime = OnnxRuntime()

    assert runtime.providers() == {Provider.CPU}
    assert runtime.why_not(Provider.CUDA) == f"ONNX Runtime could not load {CUDA}"
    with pytest.raises(UnavailableError, match="could not load"):
        runtime.open(model, ON_CUDA)


def test_libraries_are_preloaded_for_cuda_without_a_word(
    library: FakeOnnxRuntime, capfd: pytest.CaptureFixture[str]
) -> None:
    OnnxRuntime().version()

    assert library.preloaded == 1
    assert capfd.readouterr().out == ""


def test_nothing_is_preloaded_without_cuda(install: Install) -> None:
    library = install(FakeOnnxRuntime(available=[CPU]))
    OnnxRuntime().version()

    assert getattr(library, "preloaded", None) == 0


def test_a_bare_install_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # importing it raises ImportError

    with pytest.raises(UnavailableError, match="not installed") as caught:
        OnnxRuntime().version()

    assert "infer-opt[cpu]" in str(caught.value.hint)
    assert "not installed" in str(OnnxRuntime().why_not(Provider.CPU))


def test_an_empty_package_left_by_an_uninstall_is_named_as_damaged(install: Install) -> None:
    install(ModuleType("onnxruntime"))

    with pytest.raises(UnavailableError, match="damaged") as caught:
        OnnxRuntime().version()

    assert "pip uninstall onnxruntime onnxruntime-gpu" in str(caught.value.hint)


def test_an_unknown_runtime_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="there is no runtime 'tensorrt'") as caught:
        open_runtime("tensorrt")

    assert caught.value.hint == "choose from onnx, openvino, torch"


# Settings


STOCK_CUDA = {"device_id": "0"}


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (ON_CUDA, STOCK_CUDA),
        (SessionOptions(provider=Provider.CUDA, cudnn_search="heuristic"), {"cudnn_conv_algo_search": "HEURISTIC"}),
        (SessionOptions(provider=Provider.CUDA, cudnn_search="exhaustive"), {"cudnn_conv_algo_search": "EXHAUSTIVE"}),
        (SessionOptions(provider=Provider.CUDA, tf32=False), {"use_tf32": "0"}),
        (SessionOptions(provider=Provider.CUDA, tf32=True), {"use_tf32": "1"}),
        (SessionOptions(provider=Provider.CUDA, nhwc=True), {"prefer_nhwc": "1"}),
        (SessionOptions(provider=Provider.CUDA, nhwc=False), {"prefer_nhwc": "0"}),
        (SessionOptions(provider=Provider.CUDA, cuda_graph=True), {"enable_cuda_graph": "1"}),
        (SessionOptions(provider=Provider.CUDA, arena_bytes=1 << 26), {"gpu_mem_limit": "67108864"}),
        (SessionOptions(provider=Provider.CUDA, exact_arena=True), {"arena_extend_strategy": "kSameAsRequested"}),
    ],
    ids=lambda value: value.label if isinstance(value, SessionOptions) else "",
)
def test_cuda_settings_reach_the_provider_and_the_rest_stays_stock(
    library: FakeOnnxRuntime, model: Path, options: SessionOptions, settings: dict[str, str]
) -> None:
    opened(model, options)

    assert library.sessions[0].asked == [(CUDA, STOCK_CUDA | settings), (CPU, {})]


def test_a_cpu_session_has_the_cpu_alone(library: FakeOnnxRuntime, model: Path) -> None:
    opened(model, SessionOptions())

    assert library.sessions[0].asked == [(CPU, {})]


def test_stock_settings_touch_nothing_but_the_log_and_the_record(library: FakeOnnxRuntime, model: Path) -> None:
    opened(model, SessionOptions())

    settings = library.sessions[0].options
    assert settings.entries == {"session.record_ep_graph_assignment_info": "1"}
    untouched = FakeOnnxRuntime().SessionOptions()
    untouched.entries, untouched.log_severity_level = settings.entries, 3
    assert vars(settings) == vars(untouched)


@pytest.mark.parametrize(
    ("options", "attribute", "value"),
    [
        (SessionOptions(intra_threads=3), "intra_op_num_threads", 3),
        (SessionOptions(inter_threads=2), "inter_op_num_threads", 2),
        (SessionOptions(memory_pattern=False), "enable_mem_pattern", False),
        (SessionOptions(arena=False), "enable_cpu_mem_arena", False),
        (SessionOptions(parallel=True), "execution_mode", "parallel"),
        (SessionOptions(graph_level=GraphLevel.NONE), "graph_optimization_level", "ORT_DISABLE_ALL"),
        (SessionOptions(graph_level=GraphLevel.BASIC), "graph_optimization_level", "ORT_ENABLE_BASIC"),
        (SessionOptions(graph_level=GraphLevel.EXTENDED), "graph_optimization_level", "ORT_ENABLE_EXTENDED"),
        (SessionOptions(graph_level=GraphLevel.ALL), "graph_optimization_level", "ORT_ENABLE_ALL"),
        (SessionOptions(custom_ops=("a.so", "b.so")), "libraries", ["a.so", "b.so"]),
    ],
    ids=str,
)
def test_session_settings_reach_the_session(
    library: FakeOnnxRuntime, model: Path, options: SessionOptions, attribute: str, value: object
) -> None:
    opened(model, options)

    assert getattr(library.sessions[0].options, attribute) == value


@pytest.mark.parametrize(
    ("options", "entries"),
    [
        (SessionOptions(spin=Spin.ALWAYS), {"allow_spinning": "1"}),
        (SessionOptions(spin=Spin.NEVER), {"allow_spinning": "0"}),
        (SessionOptions(spin=Spin.RUNS), {"allow_spinning": "1", "force_spinning_stop": "1"}),
    ],
)
def test_spinning_is_set_for_both_kinds_of_threads(
    library: FakeOnnxRuntime, model: Path, options: SessionOptions, entries: dict[str, str]
) -> None:
    opened(model, options)

    found = library.sessions[0].options.entries
    for kind in ("intra_op", "inter_op"):
        assert found[f"session.{kind}.allow_spinning"] == entries["allow_spinning"]
    assert found.get("session.force_spinning_stop") == entries.get("force_spinning_stop")


def test_denormals_are_flushed_on_request(library: FakeOnnxRuntime, model: Path) -> None:
    opened(model, SessionOptions(flush_denormals=True))

    assert library.sessions[0].options.entries["session.set_denormal_as_zero"] == "1"


# Placement


@pytest.mark.parametrize(
    ("assigned", "nodes", "sentence"),
    [
        ([(CUDA, 3)], ((CUDA, 3),), None),
        ([(CUDA, 2), (CPU, 1), (CUDA, 5)], ((CPU, 1), (CUDA, 7)), f"{CUDA} took 7 of 8 nodes; 1 ran elsewhere"),
        ([(CUDA, 0)], ((CUDA, 0),), None),
    ],
)
def test_nodes_are_counted_by_provider_from_the_runtimes_own_record(
    install: Install, model: Path, assigned: list[tuple[str, int]], nodes: object, sentence: str | None
) -> None:
    install(FakeOnnxRuntime(assigned=assigned))
    session = opened(model)

    assert session.placement == Placement(nodes=nodes)  # type: ignore[arg-type]
    assert misplaced(session.placement, Provider.CUDA) == sentence


def test_a_provider_that_takes_nothing_is_an_error_and_never_another_one_instead(install: Install, model: Path) -> None:
    install(FakeOnnxRuntime(assigned=[(CPU, 4)]))

    with pytest.raises(UnavailableError, match="took none of the model's 4 nodes"):
        opened(model)


def test_a_runtime_without_a_record_has_no_placement(library: FakeOnnxRuntime, model: Path) -> None:
    session = opened(model)
    library.sessions[0].options.entries.clear()  # asking raises then

    assert session.placement is None


# Running


def test_signatures_are_given_in_numpys_words(library: FakeOnnxRuntime, model: Path) -> None:
    session = opened(model)

    assert session.inputs == (TensorSpec(name="x", dtype="float32", shape=("batch", 4)),)
    assert session.outputs == (TensorSpec(name="y", dtype="float32", shape=("batch", None)),)


@pytest.mark.parametrize(
    ("options", "way"),
    [
        (ON_CUDA, "run"),
        (SessionOptions(provider=Provider.CUDA, io_binding=True), "bound"),
        (SessionOptions(io_binding=True), "bound"),
        (SessionOptions(), "run"),
    ],
)
def test_each_way_of_running_is_taken_when_it_was_asked_for(
    library: FakeOnnxRuntime, model: Path, options: SessionOptions, way: str
) -> None:
    session = opened(model, options)

    for factor in (1, 3):
        np.testing.assert_array_equal(session.run({"x": X * np.float32(factor)})["y"], X * 2 * factor)
    assert library.sessions[0].runs == [way, way]


ERRORS = [Fail("no\n kernel"), InvalidArgument("no\n kernel"), RuntimeError("no\n kernel"), ValueError("no\n kernel")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_each_of_the_librarys_errors_becomes_one_sentence(
    library: FakeOnnxRuntime, model: Path, error: Exception
) -> None:
    session = opened(model)
    library.run_error = error
    with pytest.raises(ModelError, match="failed to run the model: no kernel"):
        session.run({"x": X})

    library.open_error = error
    with pytest.raises(ModelError, match="cannot open the model: no kernel"):
        opened(model)


def test_an_error_class_that_the_library_adds_is_known_without_being_listed(
    library: FakeOnnxRuntime, model: Path
) -> None:
    class DeviceReset(Exception):
        pass

    library.capi.onnxruntime_pybind11_state.DeviceReset = DeviceReset
    session = opened(model)
    library.run_error = DeviceReset("the GPU fell off the bus")

    with pytest.raises(ModelError, match="fell off the bus"):
        session.run({"x": X})


# What onnxruntime says where a device has too little memory: of its arena, with a limit of its own, and of CUDA.
OUT_OF_MEMORY = [
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. Name:'c' "
    "Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::"
    "AllocateRawInternal(size_t, bool, onnxruntime::Stream*, bool, onnxruntime::WaitNotificationFn) Failed to allocate "
    "memory for requested buffer of size 939524096",
    "[ONNXRuntimeError] : 1 : FAIL : Available memory of 1048576 is smaller than requested bytes of 4194304",
    quoted(2, "out of memory"),
]


@pytest.mark.parametrize("text", OUT_OF_MEMORY, ids=["arena", "limit", "CUDA"])
def test_a_full_device_is_told_from_a_model_that_is_wrong(library: FakeOnnxRuntime, model: Path, text: str) -> None:
    session = opened(model)
    library.run_error = library.open_error = RuntimeError(text)

    with pytest.raises(DeviceMemoryError, match="the device has too little memory"):
        session.run({"x": X})
    with pytest.raises(DeviceMemoryError):
        opened(model)


def test_a_device_that_cannot_be_used_is_named_by_cudas_own_sentence(library: FakeOnnxRuntime, model: Path) -> None:
    library.open_error = RuntimeError(quoted(46, "CUDA-capable device(s) is/are busy or unavailable"))

    with pytest.raises(UnavailableError, match=r"CUDA failure 46, CUDA-capable device\(s\) is/are busy") as caught:
        opened(model)

    assert "cuda_call.cc" not in caught.value.what
    assert "doctor" in str(caught.value.hint)
    assert "CUDA failure 46" in str(OnnxRuntime().why_not(Provider.CUDA))


def test_a_launch_that_fails_is_the_models_fault(library: FakeOnnxRuntime, model: Path) -> None:
    session = opened(model)
    library.run_error = RuntimeError(quoted(700, "an illegal memory access was encountered"))

    with pytest.raises(ModelError, match=r"CUDA failure 700, an illegal memory access was encountered$"):
        session.run({"x": X})


def test_a_probe_that_fails_is_a_reason_and_no_traceback(library: FakeOnnxRuntime) -> None:
    library.open_error = Fail("CUDA driver version is insufficient\nfor CUDA runtime version")

    reason = OnnxRuntime().why_not(Provider.CUDA)

    assert reason is not None
    assert "driver version is insufficient for CUDA" in reason
