import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from infer_opt.errors import StorageError
from infer_opt.models.inputs import load_feeds, save_feeds
from infer_opt.protocols import Array


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array(3, np.int64),
        np.array([1.5, -2.0], np.float16),
        np.array([True, False]),
        np.zeros((0, 4), np.float32),
        np.array([1.5, -2.0], ml_dtypes.bfloat16),
        np.array(0.5, ml_dtypes.float8_e4m3fn),
        np.array([[1, -8], [7, 0]], ml_dtypes.int4),
        np.array([["a", ""], ["ü", "long text"]], object),
        np.array("alone", object),
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_every_element_type_survives_the_way_to_another_process(tmp_path: Path, array: Array) -> None:
    save_feeds(tmp_path / "feeds.npz", [{"x": array}])

    ((found),) = (feed["x"] for feed in load_feeds(tmp_path / "feeds.npz"))

    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tolist() == array.tolist()


def test_feeds_keep_their_order_and_names(tmp_path: Path) -> None:
    names = ["x", "a/b:0", "file", "dtypes", "input.1"]
    feeds = [{name: np.array([index, place]) for place, name in enumerate(names)} for index in range(12)]
    save_feeds(tmp_path / "feeds.npz", feeds)

    found = load_feeds(tmp_path / "feeds.npz")

    assert [list(feed) for feed in found] == [names] * 12
    assert [feed["a/b:0"].tolist() for feed in found] == [[index, 1] for index in range(12)]


def test_the_file_is_not_compressed_and_holds_index_and_name(tmp_path: Path) -> None:
    save_feeds(tmp_path / "feeds.npz", [{"x": np.zeros(3)}])

    with zipfile.ZipFile(tmp_path / "feeds.npz") as archive:
        (member,) = archive.infolist()
    assert member.filename == "0/x.npy"
    assert member.compress_type == zipfile.ZIP_STORED


def test_nothing_half_written_is_left_behind(tmp_path: Path) -> None:
    save_feeds(tmp_path / "feeds.npz", [{"x": np.zeros(3)}])
    assert [file.name for file in tmp_path.iterdir()] == ["feeds.npz"]

    with pytest.raises(StorageError, match="cannot be written"):
        save_feeds(tmp_path / "absent" / "feeds.npz", [{"x": np.zeros(3)}])


def test_pickles_and_damaged_files_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "feeds.npz"
    np.savez(path, allow_pickle=True, **{"0/x": np.array([{"a": 1}], object)})
    with pytest.raises(StorageError, match="holds no feeds"):
        load_feeds(path)

    path.write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(StorageError, match="holds no feeds"):
        load_feeds(path)
