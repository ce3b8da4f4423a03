from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

import zoo
from infer_opt.errors import ModelError, StorageError
from infer_opt.transforms import model_files as subject


def test_weights_too_large_for_one_file_lie_beside_it(tmp_path: Path) -> None:
    subject.save(zoo.slow_chain(length=2), tmp_path / "model.onnx", largest_bytes=1000)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert subject.has_external_data(tmp_path / "model.onnx")
    again = subject.load(tmp_path / "model.onnx")
    given = zoo.slow_chain(length=2)
    for tensor, expected in zip(again.graph.initializer, given.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), numpy_helper.to_array(expected))


def test_saving_twice_does_not_let_the_data_grow(tmp_path: Path) -> None:
    sizes = []
    for _ in range(2):
        subject.save(zoo.slow_chain(length=2), tmp_path / "model.onnx", largest_bytes=1000)
        sizes.append((tmp_path / "model.onnx.data").stat().st_size)

    assert sizes[0] == sizes[1]


def test_missing_external_data_is_one_sentence(tmp_path: Path) -> None:
    path = zoo.save_external(zoo.mlp(), tmp_path / "model.onnx")
    (tmp_path / "weights.bin").unlink()

    with pytest.raises(ModelError, match="cannot be read as an ONNX model") as caught:
        subject.load(path)
    assert "\n" not in caught.value.what


def test_a_file_that_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff\xff not a model")

    with pytest.raises(ModelError, match="cannot be read as an ONNX model"):
        subject.load(tmp_path / "model.onnx")


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        subject.save(zoo.mlp(), tmp_path / "nowhere" / "model.onnx")


def test_a_skeleton_holds_no_large_weights_and_gets_them_back() -> None:
    model = zoo.slow_chain(length=2)
    before = model.SerializeToString()
    seen = []

    def look(skeleton: ModelProto) -> ModelProto:
        seen.append(skeleton.ByteSize())
        copy = ModelProto()
        copy.CopyFrom(skeleton)
        return copy

    result = subject.on_skeleton(model, look)

    assert seen[0] < 10_000 < len(before)
    assert result.SerializeToString() == before == model.SerializeToString()


def test_a_skeleton_gets_its_weights_back_after_a_failure() -> None:
    model = zoo.slow_chain(length=2)
    before = model.SerializeToString()

    def fail(skeleton: ModelProto) -> ModelProto:
        raise ValueError("cannot")

    with pytest.raises(ValueError, match="cannot"):
        subject.on_skeleton(model, fail)
    assert model.SerializeToString() == before
