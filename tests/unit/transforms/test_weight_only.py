"""Weights in blocks of few bits: what they are rounded to, which products have them, and that a session agrees."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import zoo
from infer_opt.errors import ModelError
from infer_opt.recipes import Quantisation, WeightOnly
from infer_opt.transforms.model_files import load, operators
from infer_opt.transforms.quantise import quantise
from infer_opt.transforms.weight_only import Blocks, quantise_blocks, quantise_weights

EVERY_WAY = [
    WeightOnly(bits=bits, block=block, symmetric=symmetric)
    for bits in (4, 8)
    for block in (16, 128)
    for symmetric in (True, False)
]


def unpacked(packed: NDArray[Any], bits: int, count: int) -> NDArray[Any]:
    if bits == 8:
        return packed[..., :count].astype(np.float32)
    halves = np.stack([packed & 15, packed >> 4], axis=-1)
    return halves.reshape(*packed.shape[:-1], -1)[..., :count].astype(np.float32)


def restored(blocks: Blocks, how: WeightOnly, inputs: int) -> NDArray[Any]:
    """The matrix that the operator multiplies with, as its specification says."""
    levels = unpacked(blocks.packed, how.bits, how.block)
    middle = np.full(blocks.scales.shape, 2 ** (how.bits - 1), dtype=np.float32)
    zeros = middle if blocks.zero_points is None else unpacked(blocks.zero_points, how.bits, blocks.scales.shape[1])
    values: NDArray[Any] = (levels - zeros[:, :, None]) * blocks.scales[:, :, None]
    return values.reshape(len(values), -1)[:, :inputs]


@pytest.mark.parametrize("how", EVERY_WAY, ids=lambda how: how.label)
@pytest.mark.parametrize("inputs", [1, 40, 256])
def test_every_weight_is_within_one_step_of_its_level(
    how: WeightOnly, inputs: int, random: np.random.Generator
) -> None:
    matrix = random.normal(size=(5, inputs)).astype(np.float32)
    matrix[2] = 0.0

    blocks = quantise_blocks(matrix, how)

    steps = np.repeat(np.abs(blocks.scales), how.block, axis=1)[:, :inputs]
    # Half a step, and where the range lacks the outermost level on one side, one.
    assert np.all(np.abs(restored(blocks, how, inputs) - matrix) <= steps * 1.0001)
    assert np.all(restored(blocks, how, inputs)[2] == 0.0)
    assert (blocks.zero_points is None) is how.symmetric


def test_one_sided_blocks_keep_more_with_a_zero_point(random: np.random.Generator) -> None:
    matrix = random.uniform(0.0, 1.0, size=(8, 64)).astype(np.float32)

    def error(how: WeightOnly) -> float:
        return float(np.square(restored(quantise_blocks(matrix, how), how, 64) - matrix).mean())

    assert error(WeightOnly(symmetric=False)) < error(WeightOnly()) / 2


@pytest.mark.parametrize("how", EVERY_WAY, ids=lambda how: how.label)
def test_a_session_computes_with_them(
    how: WeightOnly, perceptron: Path, tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    feeds = {"x": random.standard_normal((3, 16)).astype(np.float32)}
    target = tmp_path / "quantised.onnx"

    quantise(perceptron, target, how=Quantisation(weight_only=how))

    assert operators(load(target))["MatMulNBits"] == 2
    left, right = run(target, feeds)[0], run(perceptron, feeds)[0]
    assert np.linalg.norm(left - right) < (0.04 if how.bits == 8 else 0.2) * np.linalg.norm(right)


def test_what_is_named_stays_in_float_and_products_of_activations_do(attention: Path, tmp_path: Path) -> None:
    target = tmp_path / "quantised.onnx"
    quantise(attention, target, how=Quantisation(weight_only=WeightOnly()))
    whole = [node.name for node in load(target).graph.node if node.op_type == "MatMulNBits"]
    kept = whole[0].removesuffix("_4bits")

    quantise(attention, target, how=Quantisation(weight_only=WeightOnly(), floats=(kept,)))

    found = load(target).graph
    assert [node.name for node in found.node if node.op_type == "MatMulNBits"] == whole[1:]
    assert kept in {node.name for node in found.node}
    assert operators(load(target))["MatMul"] >= 3  # attention's two, and the one that was named


def test_gemms_that_scale_or_turn_what_they_read_are_left_alone() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], name="scaled", alpha=0.5),
        helper.make_node("Gemm", ["x", "turned", "bias"], ["b"], name="turned", transB=1),
        helper.make_node("Gemm", ["x", "w", "a"], ["c"], name="added"),
        helper.make_node("Add", ["b", "c"], ["y"], name="sum"),
    ]
    model = zoo.build(
        nodes,
        [zoo.floats("x", "batch", 32)],
        [zoo.floats("y", "batch", 32)],
        initialisers=[
            zoo.weights("w", 32, 32),
            zoo.weights("turned", 32, 32, seed=1),
            zoo.constant("bias", [0.5] * 32),
        ],
    )

    assert quantise_weights(model, how=WeightOnly()) == 1
    assert [node.name for node in model.graph.node] == ["scaled", "turned_4bits", "added", "sum"]
    assert {tensor.name for tensor in model.graph.initializer} >= {"w", "bias"}
    assert "turned" not in {tensor.name for tensor in model.graph.initializer}


def test_a_gemm_with_a_bias_and_turned_weights_gives_the_same_numbers(
    tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    model = zoo.build(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="product", transB=1)],
        [zoo.floats("x", "batch", 64)],
        [zoo.floats("y", "batch", 16)],
        initialisers=[zoo.weights("w", 16, 64), zoo.constant("b", np.linspace(-5.0, 5.0, 16))],
    )
    source, target = zoo.save(model, tmp_path / "given.onnx"), tmp_path / "quantised.onnx"
    feeds = {"x": random.standard_normal((3, 64)).astype(np.float32)}

    quantise(source, target, how=Quantisation(weight_only=WeightOnly(bits=8)))

    np.testing.assert_allclose(run(target, feeds)[0], run(source, feeds)[0], atol=0.05)


def test_weights_that_two_products_share_are_stored_once() -> None:
    model = zoo.slow_chain(length=3, width=64)

    assert quantise_weights(model, how=WeightOnly()) == 3

    assert len(model.graph.initializer) == 2  # the levels and the scales
    assert sum(numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer) < 64 * 64


@pytest.mark.parametrize("builder", zoo.RUNNABLE.values(), ids=list(zoo.RUNNABLE))
def test_a_model_of_any_kind_is_quantised_or_refused_in_a_sentence(
    builder: Callable[[], onnx.ModelProto], tmp_path: Path
) -> None:
    source, target = zoo.save(builder(), tmp_path / "given.onnx"), tmp_path / "quantised.onnx"

    try:
        quantise(source, target, how=Quantisation(weight_only=WeightOnly()))
    except ModelError:
        assert not target.exists()
    else:
        assert operators(load(target))["MatMulNBits"] > 0
