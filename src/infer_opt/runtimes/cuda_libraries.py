"""CUDA's libraries out of Python's packages, loaded before the CUDA provider looks for them.

ONNX Runtime's own `preload_dlls` looks in `nvidia` beside its own package alone. Where it was unpacked in a folder of
its own on PYTHONPATH, the libraries that PyTorch brought along lie in another one.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

# In the order in which they need each other; the number in the name is the interface's, which goes with CUDA's major.
NAMES = {
    "12": (
        "libcudart.so.12", "libnvrtc.so.12", "libcublasLt.so.12", "libcublas.so.12", "libcurand.so.10",
        "libcufft.so.11", "libcudnn.so.9",
    ),
    "13": (
        "libcudart.so.13", "libnvrtc.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10",
        "libcufft.so.12", "libcudnn.so.9",
    ),
}  # fmt: skip


def preload(
    onnxruntime: ModuleType, *, path: Sequence[str] | None = None, load: Callable[[str], object] = ctypes.CDLL
) -> tuple[str, ...]:
    """Let ONNX Runtime load what it finds, then load the rest from the packages on `path`; the files loaded by us.

    A file that does not load is passed over: opening a session says what is missing.
    """
    if hasattr(onnxruntime, "preload_dlls"):
        _quietly(onnxruntime.preload_dlls)
    try:
        built = import_module("onnxruntime.capi.build_and_package_info")
    except ImportError:
        return ()
    names = NAMES.get(str(getattr(built, "cuda_version", "") or "").partition(".")[0], ())
    beside = Path(getattr(onnxruntime, "__file__", None) or "").parent.parent
    found = []
    for name in names:
        for file in _files(name, sys.path if path is None else path):
            if file.is_relative_to(beside / "nvidia"):
                break  # ONNX Runtime looked there itself
            with contextlib.suppress(OSError):
                load(str(file))
                found.append(str(file))
                break
    return tuple(found)


def _files(name: str, path: Sequence[str]) -> list[Path]:
    """`nvidia/cu13/lib/NAME`, `nvidia/cudnn/lib/NAME` and so on, in the order of `path`."""
    folders = [Path(entry) / "nvidia" for entry in path if entry]
    return [file for folder in folders if folder.is_dir() for file in sorted(folder.glob(f"*/lib/{name}"))]


def _quietly(call: Callable[[], object]) -> None:
    """Run `call` with file descriptor 1 closed to it: preload_dlls prints what it could not find."""
    sys.stdout.flush()
    keep, sink = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        call()
        sys.stdout.flush()
    finally:
        os.dup2(keep, 1)
        os.close(keep)
        os.close(sink)
