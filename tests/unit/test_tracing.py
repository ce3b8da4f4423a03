"""Processes that look at what is executed, and that time it: on real sessions of tiny models, briefly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import infer_opt.tracing as tracing
import zoo
from infer_opt.config import SessionOptions
from infer_opt.errors import EvidenceError, ModelError
from infer_opt.measure import Plan
from infer_opt.models.feeds import save_feeds
from infer_opt.models.inspecting import tensor_spec
from infer_opt.profiles.executed import ProcessTrace
from infer_opt.tracing import Subject, look, rest, trace


class Threads:
    """A clock, and the CPU time that threads use while it passes: all of a core until they come to rest."""

    def __init__(self, *, spin_ns: int) -> None:
        self.now = self.used = 0
        self._spin_ns = spin_ns

    def sleep(self, seconds: float) -> None:
        passed = round(seconds * 1e9)
        self.used += max(0, min(passed, self._spin_ns - self.now))
        self.now += passed


@pytest.mark.parametrize(("spin_ns", "waited_ns"), [(0, 2_000_000), (30_000_000, 32_000_000)])
def test_threads_that_spin_are_waited_for(spin_ns: int, waited_ns: int) -> None:
    threads = Threads(spin_ns=spin_ns)

    rest(clock=lambda: threads.now, used=lambda: threads.used, sleep=threads.sleep)

    assert threads.now == waited_ns


def test_threads_that_never_come_to_rest_are_not_waited_for_for_ever() -> None:
    threads = Threads(spin_ns=10**12)

    rest(clock=lambda: threads.now, used=lambda: threads.used, sleep=threads.sleep)

    assert threads.now == tracing.LONGEST_REST_NS


@pytest.mark.parametrize("calls", [1, 2, 5, 30, 1000])
def test_a_block_keeps_within_the_calls_that_are_left(calls: int) -> None:
    plan = tracing._within(Plan(lead_in_runs=40, timed_runs=50, runs_per_sample=4), calls)

    assert plan.lead_in_runs >= 1
    assert plan.timed_runs >= 1
    assert tracing._calls_in(plan) <= max(2, calls)


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rounds and no waiting: what is tested is what comes home, not how long it took."""
    monkeypatch.setattr(tracing, "MOST_ROUNDS", 3)
    monkeypatch.setattr(tracing, "LONGEST_REST_NS", 0)


def subject(folder: Path, model: onnx.ModelProto, **feed: np.ndarray) -> Subject:
    save_feeds(folder / "feeds.npz", [feed] * 4)
    options = SessionOptions(intra_threads=1)
    return Subject(artefact=zoo.save(model, folder / "m.onnx"), options=options, feeds=folder / "feeds.npz")


def traced(found: Subject, folder: Path, *, profiled_first: bool) -> ProcessTrace:
    return trace(found, folder, events=6, seconds=0.1, profiled_first=profiled_first)


def test_what_is_executed_is_found_with_its_shapes(tmp_path: Path) -> None:
    looked = look(subject(tmp_path, zoo.mlp(), x=np.ones((2, 8), np.float32)), tmp_path)

    assert [(node.kind, node.outputs[0].shape) for _, node in looked.nodes] == [
        ("com.microsoft.FusedGemm", (2, 16)),
        ("Gemm", (2, 3)),
    ]
    assert looked.nodes[0][1].origins == ("Gemm_0", "Relu_1")
    assert looked.events == 4
    assert len(looked.memory.alive_bytes) == 2
    assert {file.name for file in tmp_path.iterdir()} == {"m.onnx", "feeds.npz"}  # nothing is left behind


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize("profiled_first", [False, True])
def test_a_process_tells_of_calls_with_and_without_the_profiler(tmp_path: Path, profiled_first: bool) -> None:
    found = subject(tmp_path, zoo.mlp(), x=np.ones((2, 8), np.float32))

    one = traced(found, tmp_path, profiled_first=profiled_first)

    keys = {key for key, _ in look(found, tmp_path).nodes}
    assert set(one.nodes_us) == set(one.executions) == keys
    assert {len(times) for times in one.nodes_us.values()} == {len(one.run_us)} == {len(one.graph_us)}
    assert min(one.latency_ns) > 0
    assert min(one.profiled_ns) > 0
    assert all(run >= graph for run, graph in zip(one.run_us, one.graph_us, strict=True))
    assert (one.first_us is None, one.open_ns is None, one.rss_peak_bytes is None) == (
        not profiled_first, profiled_first, profiled_first
    )  # fmt: skip
    names = {event["name"] for event in one.trace if event.get("cat") == "Node"}
    assert names == {"fused", "Gemm_2"}
    assert {file.name for file in tmp_path.iterdir()} == {"m.onnx", "feeds.npz"}


@pytest.mark.usefixtures("briefly")
def test_what_is_no_tensor_and_what_a_branch_leaves_out_is_no_obstacle(tmp_path: Path) -> None:
    for model in (zoo.branching(), zoo.zipmap_classifier()):
        one = traced(subject(tmp_path, model, x=np.ones((1, 4), np.float32)), tmp_path, profiled_first=False)

        operators = {key[-1].partition(":")[0] for key in one.executions}
        assert operators in ({"ReduceSum", "Greater", "If", "Mul"}, {"LinearClassifier", "ZipMap"})


@pytest.mark.usefixtures("briefly")
def test_each_turn_of_a_loop_is_an_execution(tmp_path: Path) -> None:
    one = traced(subject(tmp_path, zoo.looping(), x=np.ones((1, 4), np.float32)), tmp_path, profiled_first=False)

    assert {key[-1].partition(":")[0]: count for key, count in one.executions.items()} == {
        "Loop": 1.0, "Tanh": 5.0, "Identity": 5.0
    }  # fmt: skip


@pytest.mark.usefixtures("briefly")
def test_calls_are_limited_by_what_the_profiler_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "EVENTS", 6 * 40)

    found = subject(tmp_path, zoo.mlp(), x=np.ones((2, 8), np.float32))

    assert len(traced(found, tmp_path, profiled_first=False).run_us) <= 40


def test_a_call_with_more_events_than_are_kept_is_refused(tmp_path: Path) -> None:
    found = subject(tmp_path, zoo.mlp(), x=np.ones((2, 8), np.float32))

    with pytest.raises(EvidenceError, match="a call has 400,000 events"):
        trace(found, tmp_path, events=400_000, seconds=0.1, profiled_first=False)


def test_a_model_that_fails_when_it_runs_is_an_error_of_the_model(tmp_path: Path) -> None:
    found = subject(tmp_path, zoo.mlp(), x=np.ones((2, 9), np.float32))

    with pytest.raises(ModelError, match="failed to run"):
        look(found, tmp_path)


def test_a_graph_without_nodes_has_no_profile(tmp_path: Path) -> None:
    constant = zoo.build(
        [helper.make_node("Constant", [], ["y"], value_float=1.0)],
        [zoo.floats("x", 1)],
        [zoo.tensor("y", TensorProto.FLOAT, [])],
    )

    with pytest.raises(EvidenceError, match="executes no node"):
        look(subject(tmp_path, constant, x=np.ones(1, np.float32)), tmp_path)


@pytest.mark.usefixtures("briefly")
def test_inputs_are_filled_up_as_a_bundle_does_it(tmp_path: Path) -> None:
    model = zoo.attention_block()
    ids = {name: np.ones((1, 5), np.int64) for name in ("input_ids", "attention_mask")}
    plain = subject(tmp_path, model, **ids)
    specs = tuple(tensor_spec(value) for value in model.graph.input)
    outputs = tuple(tensor_spec(value) for value in model.graph.output)
    padded = replace(plain, buckets=(("seq", (8,)),), inputs=specs, outputs=outputs)

    def softmax_of(found: Subject) -> tuple[int, ...]:
        nodes = [node for _, node in look(found, tmp_path).nodes]
        return next(node.outputs[0].shape for node in nodes if node.operator == "Softmax")

    assert softmax_of(plain) == (1, 5, 5)
    assert softmax_of(padded) == (1, 8, 8)
    assert len(traced(padded, tmp_path, profiled_first=True).nodes_us) == 13


@pytest.mark.usefixtures("briefly")
def test_nodes_that_run_side_by_side_are_the_same_nodes(tmp_path: Path) -> None:
    feeds = {"left": np.ones((2, 4), np.float32), "right": np.ones((2, 6), np.float32)}
    found = subject(tmp_path, zoo.two_in_two_out(), **feeds)
    found = replace(found, options=SessionOptions(intra_threads=1, inter_threads=2, parallel=True))

    one = traced(found, tmp_path, profiled_first=False)

    assert set(one.nodes_us) == {key for key, _ in look(found, tmp_path).nodes}
    assert set(one.executions.values()) == {1.0}
    assert min(one.graph_us) > 0
