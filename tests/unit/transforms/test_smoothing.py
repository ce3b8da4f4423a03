"""Scales moved from activations into weights: the float model stays what it was, and INT8 errs far less on outliers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper

import zoo
from infer_opt.errors import ModelError
from infer_opt.recipes import Calibration, Quantisation
from infer_opt.transforms.calibration import channel_maxima
from infer_opt.transforms.fusions import fuse
from infer_opt.transforms.model_files import load, operators, save
from infer_opt.transforms.quantise import prepared, quantise
from infer_opt.transforms.smoothing import smooth, smoothing_scales

WIDTH = 64
HOW = Quantisation(per_channel=True, smooth=0.5)
OUTLIERS = np.where(np.arange(WIDTH) == 3, 100.0, 1.0).astype(np.float32)


@pytest.fixture
def feeds(random: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": random.standard_normal((4, WIDTH)).astype(np.float32)} for _ in range(8)]


def model_of(nodes: Sequence[NodeProto], random: np.random.Generator, *, opset: int = 17) -> onnx.ModelProto:
    """x (batch, 64) -> y (batch, 64), with weights w, v and vectors that nodes may use; channel 3 is an outlier."""
    return zoo.build(
        nodes,
        [zoo.floats("x", "batch", WIDTH)],
        [zoo.floats("y", "batch", WIDTH)],
        initialisers=[
            zoo.constant("v", random.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)) * OUTLIERS),
            zoo.constant("w", random.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)) / OUTLIERS[:, None]),
            zoo.constant("gain", OUTLIERS),
            zoo.constant("row", OUTLIERS[None, :]),
            zoo.constant("shift", random.normal(size=WIDTH) * OUTLIERS),
            zoo.constant("half", 0.5),
        ],
        opset=opset,
    )


def node(kind: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=f"{kind}/{output}", **attributes)


PRODUCT = node("MatMul", "a w", "y")
# What makes `a`, and whether the scales can be folded into it.
MAKERS = {
    "layer normalisation": ([node("LayerNormalization", "x gain shift", "a", axis=-1)], True),
    "a normalisation without a bias": ([node("LayerNormalization", "x gain", "a", axis=-1)], True),
    "a factor": ([node("Tanh", "x", "t"), node("Mul", "t gain", "a")], True),
    "a factor of another rank": ([node("Tanh", "x", "t"), node("Mul", "row t", "a")], True),
    "a divisor": ([node("Tanh", "x", "t"), node("Div", "t gain", "a")], True),
    "a decomposed normalisation": ([node("Mul", "x gain", "t"), node("Add", "t shift", "a")], True),
    "the product before": ([node("MatMul", "x v", "t"), node("Relu", "t", "a")], True),
    "the product before, with a bias": ([node("Gemm", "x v shift", "a")], True),
    "a residual": ([node("LayerNormalization", "x gain shift", "a", axis=-1)], False),
}  # fmt: skip


def smoothed(model: onnx.ModelProto, feeds: list[dict[str, Any]], folder: Path, **changes: Any) -> tuple[Path, Path]:
    """(the model as the quantiser is given it, the same with its scales moved)."""
    ready = prepared(model, folder)
    save(ready, folder / "before.onnx")
    smooth(
        ready, how=Quantisation(**{"per_channel": True, "smooth": 0.5, **changes}), feeds=lambda: feeds, folder=folder
    )
    save(ready, folder / "after.onnx")
    return folder / "before.onnx", folder / "after.onnx"


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("name", MAKERS)
def test_the_float_model_computes_the_same_and_costs_nothing_where_scales_can_be_folded(
    name: str, opset: int, feeds: list[dict[str, Any]], tmp_path: Path, run: Callable[..., Any],
    random: np.random.Generator,
) -> None:  # fmt: skip
    makers, folds = MAKERS[name]
    nodes = [*makers, PRODUCT]
    if name == "a residual":
        nodes = [*makers, node("MatMul", "a w", "m"), node("Add", "m a", "y")]

    before, after = smoothed(model_of(nodes, random, opset=opset), feeds, tmp_path)

    given, found = run(before, feeds[0])[0], run(after, feeds[0])[0]
    assert np.abs(found - given).max() <= 1e-5 * np.abs(given).max()
    extra = operators(load(after)) - operators(load(before))
    assert dict(extra) == ({} if folds else {"Mul": 1})


@pytest.mark.parametrize("calibration", [None, Calibration.MINMAX])
def test_an_outlier_channel_costs_int8_far_less(
    calibration: Calibration | None, feeds: list[dict[str, Any]], tmp_path: Path, run: Callable[..., Any],
    random: np.random.Generator,
) -> None:  # fmt: skip
    nodes = [node("LayerNormalization", "x gain shift", "a", axis=-1), PRODUCT]
    source = zoo.save(model_of(nodes, random), tmp_path / "given.onnx")
    truth = run(source, feeds[0])[0]

    def error(smooth: float | None) -> float:
        target = tmp_path / "quantised.onnx"
        how = Quantisation(per_channel=True, calibration=calibration, smooth=smooth)
        quantise(source, target, how=how, feeds=lambda: feeds)
        return float(np.linalg.norm(run(target, feeds[0])[0] - truth) / np.linalg.norm(truth))

    assert error(None) > 0.1
    assert error(0.5) < error(None) / 5


def test_what_a_multiplication_was_spent_on_is_quantised_all_the_same(
    feeds: list[dict[str, Any]], tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    nodes = [*MAKERS["a residual"][0], node("MatMul", "a w", "m"), node("Add", "m a", "y")]
    source, target = zoo.save(model_of(nodes, random), tmp_path / "given.onnx"), tmp_path / "quantised.onnx"

    quantise(source, target, how=Quantisation(calibration=Calibration.MINMAX, smooth=0.5), feeds=lambda: feeds)

    read = {node.input[0] for node in load(target).graph.node if node.op_type == "QuantizeLinear"}
    assert any(name.endswith("/smoothed") for name in read)
    np.testing.assert_allclose(run(target, feeds[0])[0], run(source, feeds[0])[0], atol=5.0)


@pytest.mark.parametrize("is_fused", [False, True])
def test_a_transformer_computes_the_same(
    is_fused: bool, attention: Path, tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    feeds = [{"x": random.standard_normal((2, 6, 32)).astype(np.float32)} for _ in range(4)]
    source = attention
    if is_fused:
        source = tmp_path / "fused.onnx"
        fuse(attention, source, model_type="bert")

    before, after = smoothed(load(source), feeds, tmp_path)

    np.testing.assert_allclose(run(after, feeds[0])[0], run(before, feeds[0])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "makers",
    [
        [node("Mul", "x gain", "t"), node("Erf", "t", "e"), node("Mul", "e half", "a")],
        [node("Mul", "x gain", "t"), node("Erf", "t", "e"), node("Add", "e shift", "a")],
    ],
)
def test_what_is_no_normalisation_and_takes_no_scales_is_left_alone(
    makers: list[NodeProto], feeds: list[dict[str, Any]], tmp_path: Path, random: np.random.Generator
) -> None:
    with pytest.raises(ModelError, match="could be smoothed"):
        smoothed(model_of([*makers, PRODUCT], random), feeds, tmp_path)


def test_layers_that_stay_in_float_are_not_smoothed(feeds: list[dict[str, Any]], tmp_path: Path) -> None:
    model = prepared(model_of([*MAKERS["a factor"][0], PRODUCT], np.random.default_rng(0)), tmp_path)
    names = tuple(node.name for node in model.graph.node if node.op_type in ("MatMul", "Gemm"))

    with pytest.raises(ModelError, match="no activation of this model could be smoothed"):
        smooth(model, how=Quantisation(smooth=0.5, floats=names), feeds=lambda: feeds, folder=tmp_path)


def test_without_inputs_or_without_products_there_is_nothing_to_smooth(
    feeds: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="needs calibration inputs"):
        smooth(zoo.mlp(), how=HOW, feeds=None, folder=tmp_path)
    with pytest.raises(ModelError, match="could be smoothed"):
        smooth(zoo.shared_scalar(), how=HOW, feeds=lambda: feeds, folder=tmp_path)
    with pytest.raises(ModelError, match="needs calibration inputs"):
        smooth(zoo.spiky(), how=HOW, feeds=list, folder=tmp_path)


def test_scales_follow_the_equation_up_to_a_common_factor() -> None:
    activations, weights = np.array([4.0, 1.0, 16.0]), np.array([1.0, 4.0, 0.25])

    found = smoothing_scales(activations, weights, alpha=0.5)

    assert found is not None
    wanted = np.sqrt(activations / weights)
    np.testing.assert_allclose(found / found[0], wanted / wanted[0], rtol=1e-6)
    assert np.prod(found) == pytest.approx(1.0, rel=1e-6)


def test_a_channel_that_was_never_active_gets_no_scale_that_would_blow_it_up() -> None:
    found = smoothing_scales(np.array([1.0, 0.0]), np.array([1.0, 1.0]), alpha=0.5)

    assert found is not None
    assert found.max() / found.min() < 50
    assert smoothing_scales(np.zeros(2), np.ones(2), alpha=0.5) is None
    assert smoothing_scales(np.array([np.inf, 1.0]), np.ones(2), alpha=0.5) is None


def test_channel_maxima_are_those_of_all_inputs(tmp_path: Path) -> None:
    model = zoo.build(
        [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Neg", ["n"], ["y"])],
        [zoo.floats("x", "batch", "time", 3)],
        [zoo.floats("y", "batch", "time", 3)],
    )
    inputs = [np.array([[[1, -2, 3], [0, 0, -9]]]), np.array([[[4, -1, 0]]])]

    found = channel_maxima(
        model, {"n": 3}, feeds=lambda: [{"x": x.astype(np.float32)} for x in inputs], folder=tmp_path
    )

    assert found["n"].tolist() == [4, 2, 9]
