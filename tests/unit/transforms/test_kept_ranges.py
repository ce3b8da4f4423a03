from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from infer_opt.models.feeds import save_feeds
from infer_opt.recipes import Calibration, Quantisation
from infer_opt.transforms import quantise as subject
from infer_opt.transforms.calibration import Range
from infer_opt.transforms.kept_ranges import kept_ranges, read_ranges, write_ranges
from infer_opt.transforms.model_files import infer_shapes, load

STATIC = Quantisation(calibration=Calibration.MINMAX)


@pytest.fixture
def model(perceptron: Path) -> ModelProto:
    return infer_shapes(load(perceptron))


@pytest.fixture
def feeds(tmp_path: Path) -> Path:
    path = tmp_path / "calibration.npz"
    save_feeds(path, [{"x": np.full((1, 16), 2.0, dtype=np.float32)}])
    return path


def test_ranges_are_found_once_for_one_model_and_its_inputs(
    model: ModelProto, feeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = subject.find_ranges(model, how=STATIC, feeds=feeds, folder=tmp_path)
    monkeypatch.setattr(subject, "calibrate", None)

    assert first["x"] == Range(2.0, 2.0)
    assert subject.find_ranges(model, how=STATIC, feeds=feeds, folder=tmp_path) == first


def test_another_method_or_another_model_has_ranges_of_its_own(model: ModelProto, feeds: Path) -> None:
    changed = ModelProto()
    changed.CopyFrom(model)
    changed.graph.initializer[0].float_data.append(1.0)

    places = {
        kept_ranges(model, Calibration.MINMAX, feeds),
        kept_ranges(model, Calibration.ENTROPY, feeds),
        kept_ranges(changed, Calibration.MINMAX, feeds),
    }

    assert len(places) == 3


def test_inputs_that_lie_in_no_file_keep_nothing(model: ModelProto) -> None:
    assert kept_ranges(model, Calibration.MINMAX, list) is None


def test_what_was_kept_comes_back_equal(tmp_path: Path) -> None:
    ranges = {"a/b": Range(-0.1, 0.30000000000000004), "mask": Range(float("-inf"), 0.0)}
    write_ranges(tmp_path / "kept.json", ranges)

    assert read_ranges(tmp_path / "kept.json") == ranges


@pytest.mark.parametrize("text", ["", "[", "[1]", '{"a": 1}', '{"a": ["x", 1]}'])
def test_a_damaged_file_is_no_ranges(tmp_path: Path, text: str) -> None:
    (tmp_path / "kept.json").write_text(text)

    assert read_ranges(tmp_path / "kept.json") is None
    assert read_ranges(tmp_path / "nothing.json") is None


def test_a_folder_that_cannot_be_written_only_costs_the_time(tmp_path: Path) -> None:
    write_ranges(tmp_path / "nowhere" / "kept.json", {"a": Range(0.0, 1.0)})

    assert not (tmp_path / "nowhere").exists()
