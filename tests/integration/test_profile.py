"""`infer-opt profile` on shipped models, bundles, and models of all kinds."""

import json
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

import infer_opt.profiling
import infer_opt.setting_up
import zoo
from driving import Home, Proven
from html_reading import data_of, text_of
from infer_opt.config import TrialConfig
from infer_opt.profiles.documents import from_document, to_document
from infer_opt.profiles.profile import Profile
from infer_opt.reports import diagnoses
from infer_opt.results import Caution
from quiet import watch_nothing

CONFIG, MODEL, UNAVAILABLE, EVIDENCE, STORAGE = 2, 3, 4, 5, 6
MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine computes, and briefly: two processes do."""
    monkeypatch.setattr(infer_opt.setting_up, "watch_machine", watch_nothing)
    monkeypatch.setattr(infer_opt.profiling, "PROCESSES_FOR_A_CLAIM", 2)
    monkeypatch.setattr(infer_opt.profiling, "MOST_PROCESSES", 2)
    monkeypatch.setattr(infer_opt.profiling, "LONGEST_S", 0.2)


def profiled(home: Home, *words: object, budget: str = "30s") -> Profile:
    """The profile of a command that worked, after which nothing is left behind. So short, it measures no ceilings."""
    ended = home.call("profile", *words, "--budget", budget, "--format", "json")
    assert (ended.code, ended.complaints) == (0, "")
    assert home.litter() == []
    profile = from_document(ended.document)
    assert from_document(json.loads(json.dumps(to_document(profile)))) == profile
    return profile


def test_a_convolutional_network_is_told_by_the_model_as_given(home: Home) -> None:
    profile = profiled(home, MODELS / "digits_cnn.onnx", "--inputs", MODELS / "digits_cnn.npz", budget="60s")

    assert profile.roofline is not None
    assert profile.roofline.floor_ns > 0
    assert len(profile.roofline.nodes) == len(profile.nodes)
    convolutions = [one for one in profile.nodes if one.node.operator == "Conv"]
    assert [one.node.origins for one in convolutions] == [(f"conv{n}", f"relu{n}") for n in range(1, 6)]
    assert sum(one.share for one in profile.nodes) == pytest.approx(1.0)
    assert sum(one.time.value for one in profile.nodes) == pytest.approx(profile.call.nodes_ns)
    assert all(len(raw) == len(profile.nodes[0].raw_ns[0]) for raw in (one.raw_ns[0] for one in profile.nodes))
    assert profile.processes == 2
    assert 0 < profile.call.latency.value < profile.call.profiled.value
    assert profile.call.first_ns > profile.call.latency.value
    assert all(one.first_ns is not None for one in profile.nodes)
    assert profile.memory.weight_bytes == 559_400
    assert profile.memory.rss_opened_bytes is not None
    assert Caution.SYNTHETIC_INPUTS not in {note.caution for note in profile.notes}


def test_a_profile_is_shown_as_a_page_at_once_and_again_from_the_store(home: Home) -> None:
    page = home.folder / "page.html"
    profile = profiled(home, MODELS / "policy_mlp.onnx", "--report", page)

    assert home.call("report", "last", "--out", "again.html").code == 0
    assert from_document(home.call("report", "last", "--format", "json").document) == profile
    first, again = (path.read_text(encoding="utf-8") for path in (page, home.folder / "again.html"))
    assert text_of(first) == text_of(again)
    assert data_of(first) == data_of(again), "3 and 3.0 are equal"
    bars = data_of(again)["figures"]["time-by-group"]["data"]["groups"][0]["rows"]
    assert sum(row["time_ns"] for row in bars) == pytest.approx(profile.call.nodes_ns)


def test_a_recurrent_network_of_the_length_that_was_asked_for(home: Home) -> None:
    profile = profiled(home, MODELS / "sequence_lstm.onnx", "--dim", "seq=20", "--batch", 3)

    lstm = next(one.node for one in profile.nodes if one.node.operator == "LSTM")
    assert lstm.inputs[0] is not None
    assert lstm.inputs[0].shape == (20, 3, 2)
    assert profile.config.batch == 3
    assert profile.roofline is None
    assert any("there are no floors" in note.text for note in profile.notes)


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("looping", {"Loop", "Tanh", "Identity"}),
        ("ir_3", {"Gemm"}),
    ],
)
def test_models_of_all_kinds_have_a_profile(home: Home, name: str, operators: set[str]) -> None:
    profile = profiled(home, home.model(name, getattr(zoo, name)()))

    assert {one.node.operator for one in profile.nodes} <= operators
    assert len({one.node.name for one in profile.nodes}) == len(profile.nodes)
    assert profile.call.unaccounted is not None  # of so small a model


def test_a_bundle_is_profiled_as_it_is_deployed(proven: Proven, home: Home) -> None:
    profile = profiled(home, proven.bundle)

    manifest = json.loads((proven.bundle / "bundle.json").read_text())
    assert profile.config == TrialConfig.from_dict(manifest["config"])
    assert profile.subject == str(proven.bundle)
    assert Caution.SYNTHETIC_INPUTS not in {note.caution for note in profile.notes}  # it brings its own


def test_a_table_and_a_trace_are_written(home: Home) -> None:
    model = home.model("attention", zoo.attention_block())

    ended = home.call("profile", model, "--dim", "seq=16", "--by", "block", "--trace", "trace.json", "--budget", "30s")

    assert (ended.code, ended.complaints) == (0, "")
    assert "SkipLayerNormalization for 2 nodes" in ended.out
    assert diagnoses.TITLE in ended.out or diagnoses.NOTHING in ended.out
    events = json.loads((home.folder / "trace.json").read_text())["traceEvents"]
    spans = [event for event in events if event.get("cat") == "Node"]
    assert len(spans) == 13
    assert all(event["ph"] == "X" and event["ts"] >= 0 and event["dur"] >= 0 for event in spans)


def failing() -> Any:
    """x (batch, 4) -> y: reshapes to what three numbers a row do not fill."""
    return zoo.build(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [zoo.floats("x", "batch", 4)],
        [zoo.floats("y", None, None)],
        initialisers=[zoo.constant("shape", [7, 3], "int64")],
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("missing.onnx",), MODEL, "missing.onnx"),
        (("mlp.onnx", "--batch", "1,2"), CONFIG, "one batch size"),
        (("mlp.onnx", "--dim", "nothing=3"), CONFIG, "nothing"),
        (("mlp.onnx", "--provider", "cuda"), UNAVAILABLE, "cuda"),
        (("mlp.onnx", "--trace", "taken.json"), CONFIG, "exists already"),
        (("mlp.onnx", "--trace", "no/such/folder/t.json"), STORAGE, "cannot be written"),
        (("mlp.onnx", "--top", "0"), CONFIG, "--top"),
        (("mlp.onnx", "--budget", "soon"), CONFIG, "soon"),
        (("net.pt2",), UNAVAILABLE, "ONNX Runtime's profiler"),
        (("failing.onnx",), MODEL, "failed to run"),
        (("package.module:net",), CONFIG, "function"),
    ],
)
def test_what_cannot_be_profiled_is_refused_in_a_sentence(
    home: Home, words: tuple[str, ...], code: int, said: str
) -> None:
    home.model("mlp", zoo.mlp())
    home.model("failing", failing())
    (home.folder / "taken.json").write_text("{}")

    ended = home.call("profile", *words)

    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert home.litter() == []


def test_of_several_sizes_the_most_frequent_is_profiled(home: Home) -> None:
    profile = profiled(home, home.model("attention", zoo.attention_block()), "--dim", "seq=8:0.2,16:0.7,32:0.1")

    (softmax,) = [one.node for one in profile.nodes if one.node.operator == "Softmax"]
    assert softmax.outputs[0].shape == (1, 16, 16)
    assert any("seq=16 alone, which 70%" in note.text for note in profile.notes)
