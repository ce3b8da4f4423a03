"""Calibration inputs, one call's feeds at a time, so that a calibration set larger than memory is no trouble."""

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from infer_opt.errors import ModelError
from infer_opt.protocols import Array, Feeds
from infer_opt.transforms.faults import one_line

# Calibration reads its inputs more than once, so it takes something that starts anew, not an iterator.
FeedSource = Path | Callable[[], Iterable[Feeds]]


def stream(source: FeedSource) -> Iterator[Feeds]:
    """The feeds in order: from a factory, or from an npz whose keys are `<index>/<input name>`.

    Raises:
        ModelError: the file cannot be read, its keys are of another form, or its arrays of a type unknown to numpy.
    """
    if not isinstance(source, Path):
        yield from source()
        return
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for names in _by_index(archive.files, source):
                yield {name: _readable(archive[key]) for name, key in names.items()}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{source} cannot be read as calibration inputs: {one_line(error)}") from error


def hash_feeds(source: FeedSource) -> str:
    """64 hex digits that depend on names, types, shapes, values and order, not on how the file is packed."""
    digest = hashlib.sha256()
    for feeds in stream(source):
        for name in sorted(feeds):
            array = np.asarray(feeds[name])
            array = array.astype(np.str_) if array.dtype == object else array  # an object's bytes are its address
            digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
            digest.update(array.tobytes())
        digest.update(b"\n")
    return digest.hexdigest()


def _readable(array: Array) -> Array:
    """Strings as the objects that onnxruntime takes, everything else as it is."""
    return array.astype(object) if array.dtype.kind == "U" else array


def _by_index(keys: Iterable[str], source: Path) -> list[dict[str, str]]:
    """Input name -> key, for each index in order. Input names may hold slashes; the index does not.

    A key without an index says which arrays are only bytes of a type that numpy lacks, such as bfloat16.
    """
    feeds: dict[int, dict[str, str]] = {}
    for key in keys:
        index, slash, name = key.partition("/")
        if not (slash and name and index.isdecimal()):
            raise ModelError(
                f"{source} holds the array {key!r}, which is not named <index>/<input name>",
                hint="write calibration inputs with keys such as 0/input_ids",
            )
        feeds.setdefault(int(index), {})[name] = key
    return [feeds[index] for index in sorted(feeds)]
