import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo
from infer_opt.config import Workload
from infer_opt.errors import ModelError
from infer_opt.recipes import Calibration, GraphLevel, Quantisation, Recipe
from infer_opt.transforms import model_files
from infer_opt.transforms.apply import build
from infer_opt.transforms.cache import MANIFEST_NAME, recorded_changes

WORKLOAD = Workload(dims=(("tokens", 6),))


def test_a_recipe_is_carried_out_in_the_order_of_its_fields(
    attention: Path, tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    recipe = Recipe(fixed_shapes=True, fuse="bert", fp16=True, saved_level=GraphLevel.EXTENDED)
    folder = tmp_path / "artefact"

    artefact = build(attention, recipe, folder=folder, workload=WORKLOAD)

    assert sorted(folder.iterdir()) == [folder / MANIFEST_NAME, artefact]
    feeds = {"x": random.standard_normal((2, 6, 32)).astype(np.float32)}
    np.testing.assert_allclose(run(artefact, feeds)[0], run(attention, feeds)[0], rtol=0.02, atol=0.02)
    with pytest.raises(Exception, match="invalid dimensions"):
        run(artefact, {"x": np.zeros((2, 5, 32), dtype=np.float32)})


def test_calibration_inputs_come_from_a_file(
    perceptron: Path, tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    samples = {f"{index}/x": random.standard_normal((1, 16)).astype(np.float32) for index in range(8)}
    np.savez(tmp_path / "feeds.npz", **samples)  # type: ignore[arg-type]
    recipe = Recipe(quantise=Quantisation(calibration=Calibration.PERCENTILE))

    artefact = build(
        perceptron,
        recipe,
        folder=tmp_path / "artefact",
        workload=Workload(),
        calibration=tmp_path / "feeds.npz",
    )

    feeds = {"x": samples["0/x"]}
    np.testing.assert_allclose(run(artefact, feeds)[0], run(perceptron, feeds)[0], atol=0.3)


def test_external_weights_stay_beside_the_artefact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]
) -> None:
    monkeypatch.setattr(model_files.save, "__kwdefaults__", {"largest_bytes": 1000})
    source = zoo.save_external(zoo.mlp(width=64), tmp_path / "model.onnx")

    artefact = build(source, Recipe(saved_level=GraphLevel.ALL), folder=tmp_path / "artefact", workload=Workload())

    names = sorted(path.name for path in artefact.parent.iterdir())
    assert names == [MANIFEST_NAME, "model.onnx", "model.onnx.data"]
    feeds = {"x": np.ones((1, 8), dtype=np.float32)}
    np.testing.assert_array_equal(run(artefact, feeds)[0], run(source, feeds)[0])


def test_a_step_that_does_not_apply_leaves_nothing_behind(attention: Path, tmp_path: Path) -> None:
    folder = tmp_path / "artefact"

    with pytest.raises(ModelError, match="calibration"):
        build(
            attention,
            Recipe(fixed_shapes=True, quantise=Quantisation(calibration=Calibration.MINMAX)),
            folder=folder,
            workload=WORKLOAD,
        )

    assert not list(folder.iterdir())


def test_the_stock_recipe_is_no_artefact(attention: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does nothing"):
        build(attention, Recipe(), folder=tmp_path, workload=WORKLOAD)


def test_what_a_recipe_changed_lies_beside_the_artefact(perceptron: Path, tmp_path: Path) -> None:
    artefact = build(perceptron, Recipe(quantise=Quantisation()), folder=tmp_path / "artefact", workload=Workload())

    found = recorded_changes(artefact)

    assert found is not None
    assert dict(found.operators_removed) == {"Gemm": 2}
    assert dict(found.operators_added)["MatMulInteger"] == 2
    assert found.removed == len(found.nodes_removed) > 0
    assert recorded_changes(perceptron) is None


def test_a_recipe_that_leaves_the_graph_as_it_was_is_refused(
    perceptron: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infer_opt.transforms.normalise.normalise", lambda source, target: shutil.copy(source, target))

    with pytest.raises(ModelError, match=r"normalised changes nothing in perceptron\.onnx"):
        build(perceptron, Recipe(normalise=True), folder=tmp_path / "artefact", workload=Workload())
    assert not list((tmp_path / "artefact").iterdir())
