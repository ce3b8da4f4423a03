"""Feeds on their way to another process: one npz file, no pickle, every element type of ONNX."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from infer_opt.errors import StorageError
from infer_opt.protocols import Array, Feeds

# Rows of (key, dtype) for types that the npy format does not know; they are stored as bytes. No index is a word.
_DTYPES_KEY = "dtypes"


def save_feeds(path: Path, feeds: Sequence[Feeds]) -> None:
    """Writes feeds, in order, under the keys `index/input name`. The file appears whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    arrays: dict[str, Array] = {}
    foreign: list[tuple[str, str]] = []
    for index, feed in enumerate(feeds):
        for name, array in feed.items():
            key = f"{index}/{name}"
            if array.dtype == object:
                arrays[key] = np.array(array.tolist(), dtype=np.str_).reshape(array.shape)
            elif array.dtype.isbuiltin == 1:
                arrays[key] = array
            else:  # bfloat16, float8, int4 and the like, of ml_dtypes
                arrays[key] = array.view(f"u{array.dtype.itemsize}")
                foreign.append((key, array.dtype.name))
    if foreign:
        arrays[_DTYPES_KEY] = np.array(foreign)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        partial.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", hint="free some space, or say where"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def load_feeds(path: Path) -> tuple[dict[str, Array], ...]:
    """The feeds that `save_feeds` wrote; strings come back as object arrays, as ONNX Runtime wants them.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        # numpy leaves a file that it opened itself open when it cannot read it
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise StorageError(f"{path} holds no feeds: {error}", hint="run the command again") from error
    foreign = dict(arrays.pop(_DTYPES_KEY, np.empty((0, 2), np.str_)).tolist())
    feeds: dict[int, dict[str, Array]] = {}
    for key, array in arrays.items():
        index, _, name = key.partition("/")
        feeds.setdefault(int(index), {})[name] = _restored(array, foreign.get(key))
    return tuple(feeds[index] for index in sorted(feeds))


def _restored(array: Array, dtype: str | None) -> Array:
    if dtype is not None:
        # onnx is slow to import, and only these types need it.
        from infer_opt.models.tensors import numpy_dtype

        return array.view(numpy_dtype(dtype))
    return array.astype(object) if array.dtype.kind == "U" else array
