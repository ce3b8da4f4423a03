"""A model with switches gives what the quantiser's own models give, mixture by mixture."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import zoo
from infer_opt.config import SessionOptions
from infer_opt.models.feeds import save_feeds
from infer_opt.protocols import Array, Feeds
from infer_opt.recipes import Calibration, Quantisation
from infer_opt.runtimes.onnx import OnnxRuntime
from infer_opt.transforms.layers import Layer, find_layers
from infer_opt.transforms.model_files import load, save
from infer_opt.transforms.quantise import (
    dynamic_types,
    find_ranges,
    prepared,
    quantise_dynamic,
    quantise_static,
    static_types,
)
from infer_opt.transforms.switches import switch_of, switchable

DYNAMIC = Quantisation(per_channel=True)
STATIC = Quantisation(calibration=Calibration.MINMAX, per_channel=True)
CASES = [
    pytest.param(zoo.spiky, DYNAMIC, id="dense, dynamic"),
    pytest.param(zoo.spiky, STATIC, id="dense, static"),
    pytest.param(zoo.mlp, DYNAMIC, id="Gemm, dynamic"),
    pytest.param(zoo.mlp, STATIC, id="Gemm, static"),
    pytest.param(zoo.lstm_net, DYNAMIC, id="LSTM, dynamic"),
    pytest.param(zoo.attention_block, DYNAMIC, id="attention, dynamic"),
    pytest.param(zoo.conv_net, STATIC, id="convolutions, static"),
]


class Bench:
    """A model, quantised as a whole or in part, and one with switches."""

    def __init__(self, model: onnx.ModelProto, how: Quantisation, folder: Path) -> None:
        self.how, self.folder = how, folder
        self.plain = prepared(model, folder)
        types = static_types(self.plain) if how.is_static else dynamic_types()
        self.layers = find_layers(self.plain, {*types, "Gemm"})
        self.inputs = [_feeds(self.plain, seed) for seed in range(4)]
        self.switched = folder / "switched.onnx"
        save(switchable(self.plain, load(self.quantised(())), self.layers), self.switched)

    def quantised(self, floats: Sequence[str]) -> Path:
        copy, target = onnx.ModelProto(), self.folder / "quantised.onnx"
        copy.CopyFrom(self.plain)
        how = replace(self.how, floats=tuple(floats))
        if not how.is_static:
            quantise_dynamic(copy, target, how=how)
            return target
        save_feeds(self.folder / "feeds.npz", self.inputs)
        ranges = find_ranges(self.plain, how=how, feeds=self.folder / "feeds.npz", folder=self.folder)
        quantise_static(copy, target, how=how, ranges=ranges)
        return target

    def mixed(self, in_int8: Sequence[Layer]) -> Array:
        switches = {switch_of(layer): np.array(layer in in_int8) for layer in self.layers}
        return _run(self.switched, [{**feeds, **switches} for feeds in self.inputs])

    def made(self, in_int8: Sequence[Layer]) -> Array:
        floats = [node for layer in self.layers if layer not in in_int8 for node in layer.nodes]
        return _run(self.quantised(floats), self.inputs)


def _feeds(model: onnx.ModelProto, seed: int) -> Feeds:
    generator = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.input:
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        size = [dim.dim_value or 3 for dim in value.type.tensor_type.shape.dim]
        drawn = generator.normal(size=size) if kind.kind == "f" else generator.integers(0, 3, size)
        feeds[value.name] = drawn.astype(kind)
    return feeds


def _run(path: Path, inputs: Sequence[Feeds]) -> Array:
    session = OnnxRuntime().open(path, SessionOptions())
    found = np.concatenate([np.ravel(array) for feeds in inputs for array in session.run(feeds).values()])
    session.close()
    return found


def cosine(left: Array, right: Array) -> float:
    """1 for two outputs of zeros: a model that INT8 spoils altogether."""
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / lengths if lengths else float(np.array_equal(left, right))


@pytest.mark.parametrize(("model", "how"), CASES)
def test_with_every_switch_off_it_is_the_float_model(
    model: Callable[[], onnx.ModelProto], how: Quantisation, tmp_path: Path
) -> None:
    bench = Bench(model(), how, tmp_path)
    save(bench.plain, tmp_path / "plain.onnx")

    assert bench.layers
    np.testing.assert_allclose(bench.mixed(()), _run(tmp_path / "plain.onnx", bench.inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("model", "how"), CASES)
def test_with_every_switch_on_it_is_the_quantised_model(
    model: Callable[[], onnx.ModelProto], how: Quantisation, tmp_path: Path
) -> None:
    bench = Bench(model(), how, tmp_path)

    assert cosine(bench.mixed(bench.layers), bench.made(bench.layers)) > 0.9999
    assert not np.allclose(bench.mixed(bench.layers), bench.mixed(()), rtol=1e-6)


@pytest.mark.parametrize(("model", "how"), CASES)
def test_each_mixture_is_what_the_quantiser_makes_of_it(
    model: Callable[[], onnx.ModelProto], how: Quantisation, tmp_path: Path
) -> None:
    bench = Bench(model(), how, tmp_path)

    for layer in bench.layers:
        assert cosine(bench.mixed([layer]), bench.made([layer])) > 0.9995
        others = [other for other in bench.layers if other is not layer]
        assert cosine(bench.mixed(others), bench.made(others)) > 0.9995


def test_switches_are_inputs_of_their_own(tmp_path: Path) -> None:
    bench = Bench(zoo.spiky(), DYNAMIC, tmp_path)
    given = {value.name for value in bench.plain.graph.input}

    inputs = {value.name for value in load(bench.switched).graph.input}

    assert inputs - given == {switch_of(layer) for layer in bench.layers}
    assert given < inputs
