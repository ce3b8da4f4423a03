"""Weights that lie in files beside the model: found, checked to be there, and never looked for elsewhere."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from infer_opt.errors import ModelError
from infer_opt.models.tensors import stored_bytes

_TOGETHER = "keep the model and its data files in one folder, or save the model again with its weights inside"


def external_locations(path: Path, tensors: Iterable[onnx.TensorProto]) -> tuple[str, ...]:
    """The files, relative to the model's folder, that hold external tensors; sorted.

    The same rule as ONNX Runtime's: a file counts as inside when, links followed, it lies below the model's folder or
    below the folder of the file that the model links to (how the Hugging Face cache lays out its models).

    Raises:
        ModelError: a file is missing, too short, or outside the model's folder.
    """
    sizes: dict[str, int] = {}
    for tensor in tensors:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if location not in sizes:
            sizes[location] = _data_file(path, location).stat().st_size
        _check_range(path, tensor, entries, sizes[location])
    return tuple(sorted(sizes))


def _data_file(path: Path, location: str) -> Path:
    if not location:
        raise ModelError(f"{path} has a tensor with external data in no named file", hint="export the model again")
    if PureWindowsPath(location).is_absolute() or location.startswith("/") or ".." in PurePosixPath(location).parts:
        raise _outside(path, location)
    file = path.parent / location
    if not file.is_file():
        raise ModelError(f"the external data {location!r} of {path} is missing", hint=_TOGETHER)
    folders = (path.parent.resolve(), path.resolve().parent)
    if not any(file.resolve().is_relative_to(folder) for folder in folders):
        raise _outside(path, location)
    return file


def _outside(path: Path, location: str) -> ModelError:
    return ModelError(
        f"the external data {location!r} of {path} lies outside the model's folder: refused", hint=_TOGETHER
    )


def _check_range(path: Path, tensor: onnx.TensorProto, entries: dict[str, str], file_bytes: int) -> None:
    location = entries["location"]
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or stored_bytes(tensor))
    except ValueError as error:
        raise ModelError(
            f"the tensor {tensor.name!r} of {path} has an offset or length that is no number",
            hint="export the model again",
        ) from error
    if offset < 0 or length < stored_bytes(tensor) or offset + length > file_bytes:
        raise ModelError(
            f"the external data {location!r} of {path} is too short for the tensor {tensor.name!r}: "
            f"it needs {stored_bytes(tensor)} bytes from byte {offset}, the file has {file_bytes}",
            hint="copy or download the data file again",
        )
