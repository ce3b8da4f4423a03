"""What precision by layer finds on a model of which one layer is known to be spoilt by INT8."""

from pathlib import Path

import numpy as np
import pytest

import zoo
from infer_opt.config import Workload
from infer_opt.errors import ModelError
from infer_opt.models.feeds import save_feeds
from infer_opt.precision import explore, time_by_layer, worth_leaving
from infer_opt.recipes import Calibration, Quantisation, Recipe, WeightOnly
from infer_opt.results import Frontier, LayerCost
from infer_opt.transforms.layers import Layer

DYNAMIC = Recipe(quantise=Quantisation(per_channel=True))
STATIC = Recipe(quantise=Quantisation(calibration=Calibration.MINMAX, per_channel=True))
LAYERS = ("first/MatMul", "second/MatMul", "third/MatMul")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("inputs") / "feeds.npz"
    save_feeds(path, [{"x": generator.normal(size=(4, 256)).astype(np.float32)} for _ in range(12)])
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.save(zoo.spiky(), tmp_path_factory.mktemp("model") / "spiky.onnx")


def explored(model: Path, inputs: Path, recipe: Recipe = DYNAMIC, *, tolerance: float = 0.99) -> Frontier:
    return explore(
        model, recipe, feeds=inputs, workload=Workload(), tolerance=tolerance, seconds=60.0, calibration=inputs
    )


@pytest.fixture(scope="module")
def dynamic(model: Path, inputs: Path) -> Frontier:
    return explored(model, inputs)


def test_the_layer_that_int8_spoils_is_told_from_the_others(dynamic: Frontier) -> None:
    errors = {layer.name: layer.error for layer in dynamic.layers}

    assert tuple(errors) == LAYERS
    assert errors["second/MatMul"] is not None
    assert errors["second/MatMul"] > 0.01
    assert all((errors[name] or 0.0) < 0.005 for name in ("first/MatMul", "third/MatMul"))


def test_each_layer_is_timed_in_both_precisions(dynamic: Frontier) -> None:
    assert dynamic.call_ns > 0
    assert all(layer.saved_ns is not None for layer in dynamic.layers)


def test_the_models_that_pass_leave_the_spoilt_layer_in_float(dynamic: Frontier) -> None:
    passed = [point for point in dynamic.points if point.passed]

    assert all("second/MatMul" in point.floats for point in passed)
    assert all(point.score >= 0.99 for point in passed)
    assert all(not point.passed for point in dynamic.points if "second/MatMul" not in point.floats)


def test_points_come_with_the_most_time_saved_first(dynamic: Frontier) -> None:
    saved = [point.saved_ns for point in dynamic.points]

    assert saved == sorted(saved, reverse=True)
    assert len({point.floats for point in dynamic.points}) == len(dynamic.points)


def test_a_static_recipe_is_explored_on_its_calibrated_ranges(model: Path, inputs: Path) -> None:
    found = explored(model, inputs, STATIC)

    errors = {layer.name: layer.error or 0.0 for layer in found.layers}
    assert max(errors, key=errors.__getitem__) == "second/MatMul"


def test_weights_in_few_bits_are_explored_too(model: Path, inputs: Path) -> None:
    found = explored(model, inputs, Recipe(quantise=Quantisation(weight_only=WeightOnly())))

    errors = {layer.name: layer.error or 0.0 for layer in found.layers}
    assert tuple(errors) == LAYERS
    # Weights that meet an outlier are as much smaller, and in one block with others they round to nothing.
    assert max(errors, key=errors.__getitem__) == "second/MatMul"
    assert all(layer.saved_ns is not None for layer in found.layers)


def test_where_a_metric_decides_several_shares_are_offered(model: Path, inputs: Path) -> None:
    found = explored(model, inputs, tolerance=0.0)

    assert all(point.passed for point in found.points)
    assert len(found.points) == len({point.layers for point in found.points})


def test_without_time_nothing_is_tried_alone_and_nothing_is_claimed(model: Path, inputs: Path) -> None:
    found = explore(model, DYNAMIC, feeds=inputs, workload=Workload(), tolerance=0.99, seconds=0.0)

    assert all(layer.error is None for layer in found.layers)
    assert not any(point.passed for point in found.points)


def test_where_all_of_it_agrees_no_layer_is_tried_alone(tmp_path: Path) -> None:
    model = zoo.save(zoo.mlp(width=64), tmp_path / "mlp.onnx")
    feeds = tmp_path / "feeds.npz"
    save_feeds(feeds, [{"x": np.random.default_rng(n).normal(size=(4, 8)).astype(np.float32)} for n in range(6)])

    found = explored(model, feeds, tolerance=0.9)

    assert all(layer.error is None for layer in found.layers)
    whole, *others = sorted(found.points, key=lambda point: len(point.floats))
    assert (whole.floats, whole.passed, whole.layers) == ((), True, len(found.layers))
    slower = {node for layer in found.layers if (layer.saved_ns or 0.0) <= 0.0 for node in layer.nodes}
    assert all(set(point.floats) <= slower for point in others)  # at most what INT8 makes slower stays in float


def test_layers_that_int8_slows_down_stay_in_float_where_that_is_worth_a_change_of_type() -> None:
    def layer(name: str, saved_ns: float | None) -> LayerCost:
        return LayerCost(name=name, nodes=(name,), saved_ns=saved_ns, error=None)

    layers = [layer("a", 500.0), layer("b", -30.0), layer("c", -30.0), layer("d", None)]

    assert [one.name for one in worth_leaving(layers, 1000.0)] == ["b", "c"]
    assert worth_leaving(layers, 2000.0) == []


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(normalise=True)])
def test_a_recipe_that_does_not_quantise_has_no_frontier(model: Path, inputs: Path, recipe: Recipe) -> None:
    with pytest.raises(ModelError, match="does not quantise"):
        explored(model, inputs, recipe)


def test_static_exploration_needs_calibration_inputs(model: Path, inputs: Path) -> None:
    with pytest.raises(ModelError, match="calibration"):
        explore(model, STATIC, feeds=inputs, workload=Workload(), tolerance=0.99, seconds=5.0)


# Whose time it is


def layer(name: str, *, reads: str = "") -> Layer:
    return Layer(name=name, nodes=(name,), reads=(reads,))


def test_time_is_that_of_the_longest_name_that_the_node_begins_with() -> None:
    layers = [layer("a/MatMul"), layer("a/MatMul_1")]
    times = {"a/MatMul_quant": 5, "a/MatMul_1_quant": 7, "a/MatMul_1": 1, "a/MatMulX": 100, "b": 100}

    assert time_by_layer(times, layers, ["a/MatMul", "a/MatMul_1", "b"]) == {"a/MatMul": 5, "a/MatMul_1": 8}


def test_converting_what_a_layer_reads_is_its_own_time() -> None:
    times = {"norm_QuantizeLinear": 3, "dense_quant": 10, "norm": 50}

    assert time_by_layer(times, [layer("dense", reads="norm")], ["norm", "dense"]) == {"dense": 13}


def test_a_layer_that_no_node_is_named_after_has_no_time() -> None:
    assert time_by_layer({"other": 3}, [layer("dense")], ["dense", "other"]) == {"dense": None}
