"""Opens a model file without its external data, and says what is wrong with a file that is not one."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

from infer_opt.errors import ModelError

_EXPORT = "export the network to ONNX first, such as with torch.onnx.export"

# (offset, bytes) -> what the file is, and what helps. Each was handed to a tool as "the model" by somebody.
_LOOKALIKES = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the model itself", "fetch the file with `git lfs pull`"),
    (0, b"PK\x03\x04", "a zip archive (a PyTorch checkpoint or an npz file)", _EXPORT),
    (0, b"\x89HDF\r\n", "an HDF5 file (Keras weights)", "export the network to ONNX first, such as with tf2onnx"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it to ONNX first, such as with tf2onnx"),
    (4, b"ORTM", "a model in ONNX Runtime's own format", "tune the .onnx file that it was made from"),
    (0, b"<", "a web page or XML", "download the model again"),
)


def read_model(path: Path) -> onnx.ModelProto:
    """The protobuf at `path`. Tensors that lie in external files are not loaded.

    Raises:
        ModelError: there is no file, or it holds no ONNX model.
    """
    content = _read_bytes(path)
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise _not_a_model(path, content) from error
    if not model.HasField("graph") or not model.ir_version:
        raise _not_a_model(path, content)
    return model


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        found = sorted(file.name for file in path.glob("*.onnx"))
        hint = f"name the file, such as {path / found[0]}" if found else "name the .onnx file itself"
        raise ModelError(f"{path} is a directory, not a model file", hint=hint)
    if not path.exists():
        raise ModelError(f"there is no model file {path}", hint="check the path")
    if not path.is_file():  # reading a pipe or a device might never end
        raise ModelError(f"{path} is not a regular file", hint="save the model to a file first")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", hint="check the file's permissions") from error
    if not content:
        raise ModelError(f"{path} is empty", hint="export or download the model again")
    return content


def _not_a_model(path: Path, content: bytes) -> ModelError:
    for offset, mark, what, hint in _LOOKALIKES:
        if content[offset : offset + len(mark)] == mark:
            return ModelError(f"{path} is not an ONNX file but {what}", hint=hint)
    # Every serialiser writes field 1, the IR version, first: 0x08 and a small number.
    if content[0] == 0x08 and len(content) > 1 and 0 < content[1] < 0x20:
        return ModelError(
            f"{path} starts as an ONNX file but is cut off or damaged ({len(content)} bytes)",
            hint="copy, download or export the model again",
        )
    return ModelError(f"{path} is not an ONNX file", hint=_EXPORT)
