"""A loaded bundle: it runs what was measured, and is what it says."""

import json
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import infer_opt
import zoo
from infer_opt.bundle import is_bundle, read, write
from infer_opt.config import Provider, SessionOptions, TrialConfig, Workload
from infer_opt.errors import ConfigError, ModelError
from infer_opt.machine.cpu import isa
from infer_opt.models.feeds import load_feeds, save_feeds
from infer_opt.models.inspecting import inspect
from infer_opt.recipes import Recipe
from infer_opt.runtimes import open_runtime
from infer_opt.transforms.apply import build
from made_bundles import ONE_THREAD, X, contents

# Loading


def test_a_bundle_runs_exactly_the_model_that_it_was_made_of(made: Path, source: Path) -> None:
    stock = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])

    with infer_opt.load(made) as session:
        found = session.run({"x": X})

    assert list(found) == ["scores"]
    np.testing.assert_allclose(found["scores"], stock.run(None, {"x": X})[0], atol=1e-6)


def test_a_bundle_from_this_machine_loads_without_a_warning(made: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert infer_opt.load(str(made)).notes == ()


def test_a_bundle_says_what_it_takes_and_gives_and_leaves_the_batch_free(made: Path) -> None:
    session = infer_opt.load(made)

    assert [str(spec) for spec in session.inputs] == ["x: float32[batch, 8]"]
    assert [str(spec) for spec in session.outputs] == ["scores: float32[batch, 3]"]
    assert [len(session.run({"x": X[:size]})["scores"]) for size in (1, 5)] == [1, 5]


def test_a_bundle_is_opened_with_the_options_that_were_measured(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Path, SessionOptions]] = []
    runtime = open_runtime("onnx")

    class Watching:
        name = "onnx"

        def version(self) -> str:
            return runtime.version()

        def open(self, artefact: Path, options: SessionOptions) -> Any:
            seen.append((artefact, options))
            return runtime.open(artefact, options)

    monkeypatch.setattr("infer_opt.bundle.open_runtime", lambda name: Watching())
    infer_opt.load(made)

    assert seen == [(made / "model.onnx", ONE_THREAD.options)]


def test_several_threads_may_call_a_bundle_at_once(made: Path) -> None:
    session = infer_opt.load(made)
    wanted = session.run({"x": X})["scores"]
    wrong: list[bool] = []

    def call() -> None:
        wrong.extend(not np.array_equal(session.run({"x": X})["scores"], wanted) for _ in range(50))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == [False] * 200


def test_a_closed_bundle_says_that_it_is_closed(made: Path) -> None:
    session = infer_opt.load(made)
    session.close()
    session.close()

    with pytest.raises(ConfigError, match="this bundle is closed"):
        session.run({"x": X})


def test_wrong_inputs_are_one_sentence(made: Path) -> None:
    with infer_opt.load(made) as session, pytest.raises(ModelError, match="name: y"):
        session.run({"y": X})


def test_loading_needs_numpy_and_the_runtime_and_nothing_else(made: Path) -> None:
    program = f"""
import sys

FORBIDDEN = {{
    "alembic", "click", "google", "msgspec", "onnx", "platformdirs", "psutil", "pynvml", "rich", "scipy",
    "sqlalchemy", "sympy", "tabulate", "torch", "yaml",
}}

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"load() imports {{name}}")

sys.meta_path.insert(0, Forbid())
import numpy
import infer_opt

with infer_opt.load({str(made)!r}) as session:
    print(session.run({{"x": numpy.ones((2, 8), numpy.float32)}})["scores"].shape)
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stderr == ""
    assert done.stdout.strip() == "(2, 3)"


# What a bundle holds


def test_a_bundle_explains_itself(made: Path) -> None:
    readme = (made / "README.md").read_text()

    assert readme.startswith("# mlp, tuned by infer-opt")
    assert "1 thread is 2x faster {not a placeholder}" in readme
    assert 'infer_opt.load("out")' in readme
    assert 'session.run({"x": ...})  # {"scores": ...}' in readme
    assert "infer-opt[cpu]" in readme


def test_the_lines_in_the_readme_work_as_they_stand(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (made / "README.md").read_text()
    program = readme.split("```python\n")[1].split("```")[0].replace('"x": ...', '"x": X')
    names: dict[str, Any] = {"X": X}
    monkeypatch.chdir(made.parent)

    exec(program, names)

    assert names["outputs"]["scores"].shape == (5, 3)


def test_a_bundle_for_cuda_names_the_extra_for_it(tmp_path: Path, source: Path) -> None:
    cuda = TrialConfig(options=SessionOptions(provider=Provider.CUDA))
    write(tmp_path / "out", contents(source, config=cuda))

    assert "infer-opt[gpu]" in (tmp_path / "out" / "README.md").read_text()


def test_what_was_written_is_read_back(made: Path) -> None:
    manifest = read(made)

    assert is_bundle(made)
    assert (manifest.config, manifest.artefact) == (ONE_THREAD, made / "model.onnx")
    assert (manifest.runtime_version, manifest.isa) == (onnxruntime.__version__, isa())
    assert manifest.record == {"verdict": "faster", "dims": {}}
    assert json.loads((made / "bundle.json").read_text())["schema_version"] == 1


def test_external_data_travels_with_the_artefact_under_the_name_by_which_it_is_referred_to(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    path = zoo.save_external(zoo.mlp(), tmp_path / "source" / "big.onnx")
    write(tmp_path / "out", contents(path, files=(path, path.parent / "weights.bin")))
    shutil.rmtree(tmp_path / "source")

    with infer_opt.load(tmp_path / "out") as session:
        assert session.run({"x": X})["scores"].shape == (5, 3)
    assert set(read(tmp_path / "out").files) == {"model.onnx", "weights.bin"}


def test_the_default_and_the_samples_travel_with_their_hashes(tmp_path: Path, source: Path) -> None:
    samples = tmp_path / "feeds.npz"
    save_feeds(samples, [{"x": X}])
    write(tmp_path / "out", contents(source, default=(source,), samples=samples))

    assert set(read(tmp_path / "out").files) == {"model.onnx", "default/model.onnx", "samples.npz"}
    (feeds,) = load_feeds(tmp_path / "out" / "samples.npz")
    np.testing.assert_array_equal(feeds["x"], X)


# Padding


def test_a_bundle_with_buckets_fills_up_what_it_is_given_and_cuts_back_what_it_answers(tmp_path: Path) -> None:
    model = zoo.save(zoo.attention_block(), tmp_path / "attention.onnx")
    facts, config = inspect(model), TrialConfig(recipe=Recipe(fixed_shapes=True, buckets=(("seq", (32,)),)))
    workload = Workload().filled_up(config.recipe.buckets)
    artefact = build(model, config.recipe, folder=tmp_path / "built", workload=workload)
    write(
        tmp_path / "out",
        contents(artefact, config=config, files=(artefact,), inputs=facts.inputs, outputs=facts.outputs),
    )
    feed = {"input_ids": np.arange(10).reshape(2, 5), "attention_mask": np.ones((2, 5), np.int64)}
    stock = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])

    with infer_opt.load(tmp_path / "out") as session:
        assert str(session.inputs[0]) == "input_ids: int64[batch, seq]"
        found = session.run(feed)["hidden"]
        together = session.submit(feed).result(timeout=30)["hidden"]

    np.testing.assert_allclose(found, stock.run(None, feed)[0], atol=1e-5)
    np.testing.assert_allclose(together, found, atol=1e-5)
