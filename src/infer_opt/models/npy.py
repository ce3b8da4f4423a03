"""Reads arrays out of npz files by rows, so that a file larger than memory costs no more than what is kept of it."""

import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from infer_opt.errors import ModelError
from infer_opt.protocols import Array

_HOW = "write it with numpy.savez(file, NAME=array, ...)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayHeader:
    """What an npz file says about one of its arrays."""

    name: str
    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"
    is_column_major: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of one step along the first axis."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


def read_headers(path: Path) -> dict[str, ArrayHeader]:
    """Array name -> header, without reading the arrays.

    Raises:
        ModelError: not a readable npz file, or it holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            headers = [_header(path, archive, member) for member in archive.namelist() if member.endswith(".npy")]
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise ModelError(f"the inputs {path} are not a readable npz file: {error}", hint=_HOW) from error
    except OSError as error:
        raise ModelError(
            f"the inputs {path} cannot be read: {error.strerror}", hint="check the path given to --inputs"
        ) from error
    return {header.name: header for header in headers}


def read_arrays(path: Path, headers: Mapping[str, ArrayHeader], rows: Mapping[str, int]) -> dict[str, Array]:
    """The first `rows` of each named array, read-only.

    Raises:
        ModelError: the file is cut off or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _rows(archive, headers[name], count) for name, count in rows.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
        raise ModelError(f"the inputs {path} are damaged: {error}", hint=_HOW) from error


def _header(path: Path, archive: zipfile.ZipFile, member: str) -> ArrayHeader:
    with archive.open(member) as stream:
        shape, is_column_major, dtype = _read_header(stream)
    name = member.removesuffix(".npy")
    if dtype.hasobject:
        raise ModelError(
            f"the array {name!r} of {path} holds pickled Python objects, which are never loaded",
            hint="save strings as a unicode array: array.astype(str)",
        )
    return ArrayHeader(name=name, shape=shape, dtype=dtype, is_column_major=is_column_major)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, "np.dtype[Any]"]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"npy format {version} is not supported")


def _rows(archive: zipfile.ZipFile, header: ArrayHeader, count: int) -> Array:
    with archive.open(f"{header.name}.npy") as stream:
        _read_header(stream)
        # Column-major arrays have no contiguous rows.
        wanted = header.shape if header.is_column_major or not header.shape else (count, *header.shape[1:])
        size = math.prod(wanted) * header.dtype.itemsize
        content = stream.read(size)
    if len(content) != size:
        raise EOFError(f"the array {header.name!r} ends after {len(content)} of {size} bytes")
    array = np.frombuffer(content, header.dtype) if size else np.zeros(0, header.dtype)
    array = array.reshape(wanted, order="F" if header.is_column_major else "C")
    return array[:count] if header.shape else array
