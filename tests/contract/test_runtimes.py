"""What every runtime promises, on models from the zoo. Runtimes that are not installed skip, with the reason."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

import zoo
import zoo_refused
from infer_opt.config import NATIVE, Provider, SessionOptions, Spin
from infer_opt.errors import ModelError, UnavailableError
from infer_opt.facts import TensorSpec
from infer_opt.models.inputs import fixed_batch, synthesise
from infer_opt.models.inspecting import inspect
from infer_opt.protocols import Runtime, Session
from infer_opt.recipes import GraphLevel
from infer_opt.runtimes import RUNTIMES, open_runtime

ATOL = 1e-5
REFERENCE = "onnx"  # must run every model that can be run
# Outputs that no two runs share, or that are no arrays.
RANDOM = ("random_noise",)


def installed(name: str) -> Runtime:
    runtime = open_runtime(name)
    try:
        runtime.version()
    except UnavailableError as error:
        pytest.skip(error.what)
    return runtime


class OnTorch:
    """PyTorch behind the names of the zoo: it opens the same model as an exported program in the ONNX file's place."""

    def __init__(self, runtime: Runtime) -> None:
        self.name = runtime.name
        self.version, self.providers, self.why_not = runtime.version, runtime.providers, runtime.why_not
        self._runtime = runtime

    def open(self, artefact: Path, options: SessionOptions) -> Session:
        import torch_zoo

        is_model = artefact.is_file() and artefact.stem != "model"  # which is what tests call files that are none
        if is_model and artefact.stem not in torch_zoo.MODELS:
            pytest.skip(f"PyTorch reads no ONNX, and its zoo has no {artefact.stem}")
        if is_model:
            artefact = artefact.with_suffix(".pt2")
            artefact.write_bytes(torch_zoo.archive(artefact.stem))
        return self._runtime.open(artefact, options)


@pytest.fixture(params=sorted(RUNTIMES))
def runtime(request: pytest.FixtureRequest) -> Runtime:
    found = installed(request.param)
    return OnTorch(found) if request.param == NATIVE else found


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], Path]:
    """The zoo's model of that name, as a file."""
    return lambda name: zoo.save(zoo.RUNNABLE[name](), tmp_path / f"{name}.onnx")


def feeds_for(path: Path, *, seed: int = 0) -> dict[str, Any]:
    facts = inspect(path)
    dims = {dim: 5 for dim in facts.dynamic_dims if dim != facts.batch_dim}
    samples = synthesise(facts, dims=dims, seed=seed)
    return dict(samples.batched(fixed_batch(facts) or 2, count=1)[0])


def expected(path: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    """What plain onnxruntime gives, without optimisation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def opened(runtime: Runtime, path: Path, options: SessionOptions | None = None) -> Session:
    """A session; skips where an engine beside the reference one refuses the model, which it may."""
    try:
        return runtime.open(path, options or SessionOptions())
    except ModelError as error:
        if runtime.name == REFERENCE:
            raise
        assert "\n" not in error.what
        pytest.skip(error.what)


def unnamed(specs: tuple[TensorSpec, ...]) -> list[tuple[str, str, object]]:
    """Specs without the names of free dimensions, which not every engine keeps."""
    return [
        (spec.name, spec.dtype, spec.shape and tuple(dim if isinstance(dim, int) else None for dim in spec.shape))
        for spec in specs
    ]


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        if not isinstance(value, np.ndarray):
            assert found[name] == value
        elif value.dtype.kind == "f":
            assert found[name].dtype == value.dtype
            np.testing.assert_allclose(found[name], value, atol=1e-3 if value.dtype == np.float16 else ATOL)
        else:
            np.testing.assert_array_equal(found[name], value)


# Running


@pytest.mark.parametrize("name", [name for name in zoo.RUNNABLE if name not in RANDOM])
def test_run_gives_every_output_by_its_name(runtime: Runtime, model: Callable[[str], Path], name: str) -> None:
    path = model(name)
    feeds = feeds_for(path)

    session = opened(runtime, path)

    assert_same(session.run(feeds), expected(path, feeds))
    session.close()


def test_inputs_and_outputs_are_those_of_the_model_in_its_order(runtime: Runtime, model: Callable[[str], Path]) -> None:
    session = runtime.open(model("two_in_two_out"), SessionOptions())

    assert unnamed(session.inputs) == [("left", "float32", (None, 4)), ("right", "float32", (None, 6))]
    assert unnamed(session.outputs) == [("total", "float32", (None, 5)), ("product", "float32", (None, 5))]


@pytest.mark.parametrize("name", ["mlp", "attention_block", "unnamed_dims", "double_precision", "boolean_net", "ir_3"])
def test_a_session_describes_its_inputs_as_the_inspection_does(
    runtime: Runtime, model: Callable[[str], Path], name: str
) -> None:
    path = model(name)

    session = opened(runtime, path)

    assert unnamed(session.inputs) == unnamed(inspect(path).inputs)
    if runtime.name == REFERENCE:
        assert session.inputs == inspect(path).inputs


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_the_batch_stays_free_where_the_model_left_it_free(
    runtime: Runtime, model: Callable[[str], Path], batch: int
) -> None:
    session = runtime.open(model("mlp"), SessionOptions())

    assert session.run({"x": np.ones((batch, 8), np.float32)})["scores"].shape == (batch, 3)


# Options


CPU_KNOBS = [
    SessionOptions(intra_threads=1),
    SessionOptions(intra_threads=2),
    SessionOptions(intra_threads=2, spin=Spin.ALWAYS),
    SessionOptions(intra_threads=2, spin=Spin.RUNS),
    SessionOptions(intra_threads=2, spin=Spin.NEVER),
    SessionOptions(parallel=True, inter_threads=2),
    SessionOptions(parallel=True, inter_threads=2, spin=Spin.NEVER),
    SessionOptions(memory_pattern=False),
    SessionOptions(arena=False),
    SessionOptions(io_binding=True),
    SessionOptions(flush_denormals=True),
    *[SessionOptions(graph_level=level) for level in GraphLevel],
]


@pytest.mark.parametrize("options", CPU_KNOBS, ids=lambda options: options.label)
@pytest.mark.parametrize("name", ["mlp", "attention_block", "two_in_two_out", "dynamic_output"])
def test_no_knob_changes_the_answers(
    runtime: Runtime, model: Callable[[str], Path], name: str, options: SessionOptions
) -> None:
    path = model(name)
    session = opened(runtime, path, options)

    for seed in (0, 1):
        feeds = feeds_for(path, seed=seed)
        assert_same(session.run(feeds), expected(path, feeds))
    session.close()


def test_every_field_that_applies_to_the_cpu_is_among_the_knobs() -> None:
    turned = {
        name
        for options in CPU_KNOBS
        for name in SessionOptions.__slots__
        if getattr(options, name) != getattr(SessionOptions(), name)
    }

    assert turned == set(SessionOptions.__slots__) - {
        "provider",
        "custom_ops",
        "bf16",  # another precision: it has a test of its own
        "compiled",  # takes a compiler and a minute: it has tests of its own
        "cuda_graph",
        "cudnn_search",
        "arena_bytes",
        "exact_arena",
        "tf32",
        "nhwc",
    }


@pytest.mark.parametrize("name", ["mlp", "conv_net"])
def test_bfloat16_is_close_to_float_or_refused(runtime: Runtime, model: Callable[[str], Path], name: str) -> None:
    path = model(name)
    feeds = feeds_for(path)
    try:
        session = runtime.open(path, SessionOptions(bf16=True))
    except UnavailableError as error:
        assert "bfloat16" in error.what
        return

    for output, wanted in expected(path, feeds).items():
        found = session.run(feeds)[output]
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, atol=0.05 * float(np.abs(wanted).max()))
    session.close()


def test_custom_operators_that_do_not_load_are_unavailable(
    runtime: Runtime, model: Callable[[str], Path], tmp_path: Path
) -> None:
    library = tmp_path / "ops.so"
    library.write_bytes(b"not a library")

    with pytest.raises(UnavailableError, match="custom-operator library"):
        runtime.open(model("mlp"), SessionOptions(custom_ops=(str(library),)))


# Threads and buffers


@pytest.mark.parametrize(
    "options", [SessionOptions(), SessionOptions(intra_threads=1, io_binding=True)], ids=lambda options: options.label
)
def test_eight_threads_may_call_run_at_once(
    runtime: Runtime, model: Callable[[str], Path], options: SessionOptions
) -> None:
    path = model("mlp")
    session = runtime.open(path, options)
    inputs = [np.full((2, 8), float(index), np.float32) for index in range(8)]
    wanted = [session.run({"x": x})["scores"] for x in inputs]
    wrong: list[int] = []
    start = threading.Barrier(8)

    def call(index: int) -> None:
        start.wait()
        for _ in range(60):
            if not np.array_equal(session.run({"x": inputs[index]})["scores"], wanted[index]):
                wrong.append(index)

    threads = [threading.Thread(target=call, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong
    assert len({value.tobytes() for value in wanted}) == 8  # a mix-up would show


@pytest.mark.parametrize("options", [SessionOptions(), SessionOptions(io_binding=True)], ids=lambda o: o.label)
def test_outputs_belong_to_the_caller_and_do_not_change_with_the_next_call(
    runtime: Runtime, model: Callable[[str], Path], options: SessionOptions
) -> None:
    session = runtime.open(model("mlp"), options)

    first = session.run({"x": np.zeros((2, 8), np.float32)})["scores"]
    kept = first.copy()
    session.run({"x": np.ones((2, 8), np.float32)})

    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("options", [SessionOptions(), SessionOptions(io_binding=True)], ids=lambda o: o.label)
def test_inputs_need_not_lie_in_one_piece(
    runtime: Runtime, model: Callable[[str], Path], options: SessionOptions
) -> None:
    session = runtime.open(model("mlp"), options)
    whole = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)

    turned = session.run({"x": whole.T})["scores"]

    np.testing.assert_allclose(turned, session.run({"x": np.ascontiguousarray(whole.T)})["scores"], atol=ATOL)


def test_closing_twice_is_safe_and_a_closed_session_runs_no_more(
    runtime: Runtime, model: Callable[[str], Path]
) -> None:
    session = runtime.open(model("mlp"), SessionOptions())
    session.close()
    session.close()

    with pytest.raises(ModelError):
        session.run({"x": np.ones((1, 8), np.float32)})


# Refusals


X = np.ones((1, 8), np.float32)


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"y": X},
        {"x": X, "y": X},
        {"x": X.astype(np.float64)},
        {"x": X[0]},
        {"x": X[:, :5]},
        {"x": np.array([["a"] * 8], dtype=object)},
        {"x": "eight"},
        {"x": None},
    ],
    ids=["none", "wrong name", "too many", "wrong type", "wrong rank", "wrong shape", "strings", "text", "nothing"],
)
@pytest.mark.parametrize("options", [SessionOptions(), SessionOptions(io_binding=True)], ids=lambda o: o.label)
def test_wrong_inputs_are_refused_and_the_session_lives_on(
    runtime: Runtime, model: Callable[[str], Path], options: SessionOptions, feeds: dict[str, Any]
) -> None:
    session = runtime.open(model("mlp"), options)

    with pytest.raises(ModelError):
        session.run(feeds)

    assert session.run({"x": X})["scores"].shape == (1, 3)


@pytest.mark.parametrize("options", [SessionOptions(), SessionOptions(io_binding=True)], ids=lambda o: o.label)
def test_an_input_that_its_operator_could_do_without_is_missed_all_the_same(
    runtime: Runtime, tmp_path: Path, options: SessionOptions
) -> None:
    # Clip has an optional bound, which this model makes an input of its own.
    clip = zoo.build(
        [helper.make_node("Clip", ["x", "low"], ["y"])],
        [zoo.floats("x", 4), zoo.floats("low")],
        [zoo.floats("y", 4)],
    )
    session = runtime.open(zoo.save(clip, tmp_path / "clip.onnx"), options)

    with pytest.raises(ModelError):
        session.run({"x": np.zeros(4, np.float32)})


@pytest.mark.parametrize(
    "content",
    [b"", b"not a model", b"\x08\x08", zoo.mlp().SerializeToString()[:150]],
    ids=["empty", "text", "stub", "cut"],
)
def test_what_is_not_a_model_is_refused(runtime: Runtime, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError):
        runtime.open(path, SessionOptions())


def test_a_file_that_is_not_there_is_refused(runtime: Runtime, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.onnx", tmp_path):
        with pytest.raises(ModelError, match="there is no model at"):
            runtime.open(path, SessionOptions())


@pytest.mark.parametrize("name", ["broken_graph", "custom_operator", "unknown_operator", "removed_operator"])
def test_a_model_that_no_runtime_can_execute_is_refused_in_one_line(
    runtime: Runtime, tmp_path: Path, name: str
) -> None:
    if runtime.name != REFERENCE:
        pytest.skip("an engine may know operators that the reference does not")
    path = zoo.save(getattr(zoo_refused, name)(), tmp_path / "model.onnx")

    with pytest.raises(ModelError) as caught:
        runtime.open(path, SessionOptions())

    assert "\n" not in caught.value.what


# Providers


def test_the_cpu_is_always_there(runtime: Runtime) -> None:
    assert Provider.CPU in runtime.providers()
    assert runtime.why_not(Provider.CPU) is None


@pytest.mark.parametrize("provider", Provider)
def test_a_provider_works_or_there_is_a_reason_in_one_line(runtime: Runtime, provider: Provider) -> None:
    reason = runtime.why_not(provider)

    assert (reason is None) is (provider in runtime.providers())
    assert reason is None or "\n" not in reason


def test_a_provider_that_does_not_work_is_an_error_and_never_another_one_instead(
    runtime: Runtime, model: Callable[[str], Path]
) -> None:
    absent = [provider for provider in Provider if provider not in runtime.providers()]
    if not absent:
        pytest.skip("every provider works here")

    for provider in absent:
        with pytest.raises(UnavailableError) as caught:
            runtime.open(model("mlp"), SessionOptions(provider=provider))
        assert caught.value.hint


@pytest.mark.parametrize("name", ["mlp", "attention_block", "branching", "linear_classifier"])
def test_the_placement_counts_every_node_at_the_provider_asked_for(
    runtime: Runtime, model: Callable[[str], Path], name: str
) -> None:
    path = model(name)
    session = opened(runtime, path, SessionOptions(graph_level=GraphLevel.NONE))

    if session.placement is None:
        pytest.skip("this runtime keeps no record")
    ((_, count),) = session.placement.nodes
    assert count >= sum(number for _, number in inspect(path).operators) - 2  # branches are placed as one


def test_a_runtime_knows_its_own_name_and_version(runtime: Runtime) -> None:
    assert runtime.name in RUNTIMES
    assert runtime.version()[0].isdigit()
