from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infer_opt.errors import ModelError
from infer_opt.transforms.feeds import hash_feeds, stream


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_feeds_come_in_order_of_their_index_and_names_may_hold_slashes(tmp_path: Path) -> None:
    arrays = {f"{index}/a/b": np.array([index]) for index in (10, 2, 0)}

    feeds = list(stream(save(tmp_path / "feeds.npz", **arrays)))

    assert [feed["a/b"].tolist() for feed in feeds] == [[0], [2], [10]]


def test_strings_come_as_the_objects_that_the_runtime_takes(tmp_path: Path) -> None:
    (feed,) = stream(save(tmp_path / "feeds.npz", **{"0/text": np.array(["a", "b"])}))

    assert feed["text"].dtype == object


@pytest.mark.parametrize("key", ["x", "one/x", "0/"])
def test_other_keys_are_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="<index>/<input name>"):
        list(stream(save(tmp_path / "feeds.npz", **{key: np.zeros(1)})))


def test_a_file_that_is_no_npz_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "feeds.npz").write_bytes(b"PK\x03\x04 no archive")

    with pytest.raises(ModelError, match="calibration inputs"):
        list(stream(tmp_path / "feeds.npz"))


def test_the_hash_is_of_the_values_and_not_of_the_packing(tmp_path: Path) -> None:
    feeds = [{"x": np.arange(4.0)}, {"x": np.ones(4)}]
    packed = tmp_path / "packed.npz"
    np.savez_compressed(packed, **{f"{index}/x": feed["x"] for index, feed in enumerate(feeds)})  # type: ignore[arg-type]

    assert hash_feeds(lambda: feeds) == hash_feeds(packed)
    assert hash_feeds(lambda: feeds) != hash_feeds(lambda: feeds[::-1])
    assert hash_feeds(lambda: feeds) != hash_feeds(lambda: [{"x": feed["x"].astype(np.float32)} for feed in feeds])


def test_equal_strings_hash_alike_wherever_they_lie() -> None:
    def feeds() -> list[dict[str, Any]]:
        return [{"text": np.array(["".join(["lo", "ng text"]), "b"], dtype=object)}]

    assert hash_feeds(feeds) == hash_feeds(feeds)
