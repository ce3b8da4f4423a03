"""What the commands give on models of every kind: an answer, a bundle that runs, and reports that can be read."""

import csv
import io
import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import infer_opt
import zoo
from driving import Ended, Home, Proven
from html_reading import data_of, text_of
from infer_opt.config import Provider
from infer_opt.errors import ModelError
from infer_opt.machine.cpu import usable_cores
from infer_opt.models.inputs import synthesise
from infer_opt.models.inspecting import inspect
from infer_opt.runtimes.onnx import OnnxRuntime
from infer_opt.tuning import widened

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models" / "digits_cnn"


def tuned(home: Home, model: Path, *words: object) -> Ended:
    """A tuning that screens one configuration, as JSON."""
    return home.call("tune", model, "--preset", home.preset(), "--format", "json", *words)


def feed_of(model: Path, **dims: int) -> Mapping[str, Any]:
    """One item that the model takes."""
    return synthesise(inspect(model), dims=dims, seed=7).batched(1)[0]


def outputs_of(model: Path, feed: Mapping[str, Any]) -> list[Any]:
    """What ONNX Runtime itself gives for it."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs: list[Any] = session.run(None, dict(feed))
    return outputs


def gives_the_models_outputs(bundle: Path, model: Path, **dims: int) -> None:
    """Loads the bundle as a user would, and compares it with the model as given."""
    feed = feed_of(model, **dims)
    with infer_opt.load(bundle) as session:
        assert [spec.name for spec in session.inputs] == list(feed)
        answer = session.run(feed)
    for ours, theirs in zip(answer.values(), outputs_of(model, feed), strict=True):
        if isinstance(theirs, np.ndarray) and theirs.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3)
        else:
            assert np.array_equal(ours, theirs)


def cautions(document: Mapping[str, Any]) -> set[str]:
    return {caution["caution"] for caution in document["cautions"]}


@pytest.mark.usefixtures("screen_only")
@pytest.mark.parametrize(
    "build",
    [
        zoo.two_in_two_out,
        zoo.string_net,
        zoo.zipmap_classifier,
        zoo.branching,
        zoo.dynamic_output,
        zoo.half_precision,
        zoo.opset_7,
        zoo.ir_3,
    ],
)
def test_models_of_every_kind_tune_to_a_bundle_that_gives_their_outputs(
    home: Home, build: Callable[[], onnx.ModelProto]
) -> None:
    model = home.model("a módel", build())

    ended = tuned(home, model)

    assert (ended.code, ended.complaints) == (0, "")
    assert ended.document["verdict"] == "no-faster"
    assert [trial["failure"] for trial in ended.document["trials"]] == [None, None]
    assert "synthetic-inputs" in cautions(ended.document)
    gives_the_models_outputs(home.folder / "a módel-tuned", model)
    assert home.litter() == []


@pytest.mark.usefixtures("screen_only")
def test_external_data_travels_with_the_bundle(home: Home) -> None:
    model = zoo.save_external(zoo.mlp(), home.folder / "mlp.onnx")
    feed = feed_of(model)
    expected = outputs_of(model, feed)

    ended = tuned(home, model, "--out", home.folder / "bundle", "--budget", "1s")

    assert ended.code == 0, ended.err
    for path in home.folder.glob("*.onnx"), home.folder.glob("*.bin"):
        next(path).unlink()
    with infer_opt.load(home.folder / "bundle") as session:
        np.testing.assert_allclose(session.run(feed)["scores"], expected[0])


@pytest.mark.usefixtures("screen_only")
def test_a_model_that_is_not_deterministic_is_said_to_be_so_and_tunes(home: Home) -> None:
    ended = tuned(home, home.model("noise", zoo.random_noise()))

    assert ended.code == 0, ended.err
    assert "nondeterministic" in cautions(ended.document)


def test_a_model_that_disagrees_with_itself_is_allowed_twice_the_distance() -> None:
    assert widened(0.99, 0.999) == 0.99, "stock agrees with itself far better than is asked"
    assert widened(0.99, 0.97) == pytest.approx(0.94)
    assert widened(0.0, 0.2) == pytest.approx(-0.6), "nothing is asked where a metric decides"


@pytest.mark.usefixtures("screen_only")
def test_real_inputs_and_a_metric_are_used_for_every_trial(home: Home) -> None:
    ended = tuned(
        home, DIGITS.with_suffix(".onnx"), "--inputs", DIGITS.with_suffix(".npz"), "--out", home.folder / "digits",
        "--eval", f"{ROOT / 'models' / 'evals.py'}:digits_accuracy",
    )  # fmt: skip

    assert ended.code == 0, ended.err
    stock, other = ended.document["baseline"], ended.document["trials"]
    assert stock["parity"]["metric"] > 0.97
    assert len(other) == 2
    assert all(abs(trial["parity"]["drop"] or 0.0) <= 0.01 for trial in other)
    assert "synthetic-inputs" not in cautions(ended.document)


@pytest.mark.usefixtures("screen_only")
@pytest.mark.usefixtures("screen_only")
def test_throughput_without_a_batch_climbs_and_puts_what_it_saw_into_the_plan(home: Home) -> None:
    model = home.model("mlp", zoo.mlp())

    ended = tuned(home, model, "--objective", "throughput", "--max-p99", "5s", "--preset", home.preset(trials=1))

    assert (ended.code, ended.complaints) == (0, "")
    document, plan = ended.document, json.loads((home.folder / "mlp-tuned" / "bundle.json").read_text())["plan"]
    configs = [trial["config"] for trial in document["trials"]]
    assert configs[0]["batch"] == 1 or document["baseline"]["config"]["batch"] == 1
    assert {2} <= {config["batch"] for config in configs}  # stock is climbed
    assert document["plan"] == plan
    stock = [point for point in plan["points"] if point["name"] == "stock"]
    assert [point["batch"] for point in stock] == sorted({point["batch"] for point in stock})
    assert sum(point["is_knee"] for point in stock) == 1
    assert (plan["instances"], plan["max_batch"]) == (1, None)  # stock was handed back
    assert [trial["failure"] for trial in document["trials"]] == [None] * len(configs)
    if usable_cores() >= 2:
        assert any(config.get("instances", 1) > 1 for config in configs)
    gives_the_models_outputs(home.folder / "mlp-tuned", model)


def test_throughput_chooses_among_batch_sizes(home: Home) -> None:
    ended = tuned(home, home.model("mlp", zoo.mlp()), "--objective", "throughput", "--batch", "1,4", "--budget", "40s")

    assert ended.code == 0, ended.err
    assert ended.document["objective"] == "throughput"
    assert {trial["config"]["batch"] for trial in ended.document["trials"]} == {1, 4}
    assert ended.document["baseline"]["config"]["batch"] == 1


def test_a_fallback_is_said_on_the_first_line(home: Home) -> None:
    if OnnxRuntime().why_not(Provider.CUDA) is None:
        pytest.skip("CUDA works here")

    ended = home.call("tune", home.model("mlp", zoo.mlp()), "--provider", "cuda", "--fallback", "cpu", "--budget", "1s")

    assert ended.code == 0, ended.err
    first = ended.out.partition("\n")[0]
    assert "fallback" in first.lower()
    assert "cuda" in first
    assert "cpu" in first


def test_a_budget_too_small_for_anything_still_gives_stock_and_the_reason_as_csv(home: Home) -> None:
    ended = home.call("tune", home.model("mlp", zoo.mlp()), "--budget", "1s", "--format", "csv")

    assert ended.code == 0, ended.err
    (row,) = csv.DictReader(io.StringIO(ended.out))
    assert row["fate"] == "stock"
    assert float(row["p50_ns"]) > 0


def test_a_report_in_markdown_has_its_table(home: Home) -> None:
    ended = home.call("tune", home.model("mlp", zoo.mlp()), "--budget", "1s", "--format", "markdown")

    assert ended.code == 0, ended.err
    assert re.search(r"^\| *configuration", ended.out, re.MULTILINE)
    assert "give it more with" in ended.out


def test_force_replaces_a_bundle_and_leaves_nothing_of_it(home: Home, proven_bundle: Path) -> None:
    (proven_bundle / "notes.txt").write_text("of the old one")
    model = home.model("mlp", zoo.mlp())

    ended = home.call("tune", model, "--budget", "1s", "--out", proven_bundle, "--force")

    assert ended.code == 0, ended.err
    assert not (proven_bundle / "notes.txt").exists()
    gives_the_models_outputs(proven_bundle, model)
    assert home.litter() == []


# A proven winner


def test_a_winner_is_proven_in_fresh_processes_and_handed_back(proven: Proven) -> None:
    document = proven.ended.document

    assert (proven.ended.code, proven.ended.complaints) == (0, "")
    assert document["verdict"] == "faster"
    assert document["winner"]["config"]["recipe"]["fixed_shapes"]
    assert document["speedup"]["low"] > 5
    assert len(document["comparison"]["epochs"]) >= 4
    assert document["bundle"] == str(proven.bundle)
    gives_the_models_outputs(proven.bundle, proven.model, time=4)


def test_the_page_beside_it_says_the_same_and_so_does_the_store_later(proven: Proven) -> None:
    home, document = proven.home, proven.ended.document
    page = (home.folder / "bound.html").read_text(encoding="utf-8")
    name = proven.ended.err.removeprefix("Kept as ").partition(":")[0]

    again = home.run("report", name, "--out", home.folder / "again.html")
    as_json = home.run("report", name[:-1], "--format", "json")

    assert (again.code, as_json.code) == (0, 0), again.err + as_json.err
    assert as_json.document == document
    data, later = data_of(page), data_of((home.folder / "again.html").read_text(encoding="utf-8"))
    assert data["downloads"] == later["downloads"]
    assert set(data["figures"]) == set(later["figures"])
    epochs = data["figures"]["epochs"]["data"]
    assert epochs["speedup"]["value"] == document["speedup"]["estimate"]
    runs = data["downloads"][2]["content"]["series"]
    assert [entry["name"].partition(":")[0] for entry in runs] == ["stock", "winner"]
    assert all(run > 0 for entry in runs for block in entry["blocks"] for run in block)
    assert f"result {name}" in text_of(page)


def test_the_document_has_the_fields_that_the_documentation_names(proven: Proven) -> None:
    text = (ROOT / "docs" / "json.md").read_text()
    section = text.partition("\n## `tune`")[2].partition("\n### ")[0]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }

    assert named >= {"schema_version", "verdict", "speedup", "trials", "bundle"}
    assert set(proven.ended.document) == named


def test_a_bundle_explains_itself(proven: Proven) -> None:
    readme = (proven.bundle / "README.md").read_text()
    manifest = json.loads((proven.bundle / "bundle.json").read_text())

    assert 'infer_opt.load("bound-tuned")' in readme
    assert "faster than stock" in readme
    assert set(manifest["files"]) <= {path.name for path in proven.bundle.iterdir()}
    assert manifest["record"]["verdict"] == "faster"
    assert manifest["record"]["machine"] == proven.ended.document["machine"]


def test_a_bundle_that_was_changed_is_refused(proven_bundle: Path) -> None:
    with (proven_bundle / "model.onnx").open("ab") as file:
        file.write(b"\0")

    with pytest.raises(ModelError, match="is not the file that was measured"):
        infer_opt.load(proven_bundle)


def test_everything_measured_is_in_the_store(proven: Proven) -> None:
    database = sqlite3.connect(proven.home.store)
    try:
        trials = database.execute("SELECT phase, length(run_times) FROM infer_opt_trial").fetchall()
        (finished,) = database.execute("SELECT finished_ms, result FROM infer_opt_tuning").fetchall()
        epochs = database.execute("SELECT count(*) FROM infer_opt_record WHERE phase = 'confirm'").fetchone()
    finally:
        database.close()

    assert sorted(phase for phase, _ in trials) == ["screen", "screen", "stock"]
    assert all(size > 0 for _, size in trials)
    assert finished[0] is not None
    assert json.loads(finished[1])["verdict"] == "faster"
    assert epochs[0] >= 4


# Doctor


def test_doctor_knows_the_machine_and_its_libraries(home: Home) -> None:
    ended = home.call("doctor", "--format", "json")

    assert ended.code == 0, ended.err
    assert ended.document["machine"]["usable_cores"] > 0
    assert ended.document["machine"]["versions"]["onnxruntime"] == onnxruntime.__version__
    assert {finding["severity"] for finding in ended.document["findings"]} <= {"ok", "caution", "problem"}


def test_doctor_speaks_to_people_too(home: Home) -> None:
    ended = home.call("doctor")

    assert ended.code == 0, ended.err
    assert "CPU" in ended.out
