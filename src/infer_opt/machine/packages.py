"""Which libraries are installed, and whether two of them claim the same module."""

import importlib.util
from collections.abc import Callable, Iterable
from importlib import metadata

# Every distribution that installs the module `onnxruntime`; with two of them, files of one overwrite the other's.
ONNXRUNTIME = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-rocm",
    "onnxruntime-migraphx",
    "onnxruntime-qnn",
    "onnxruntime-training",
    "onnxruntime-silicon",
    "ort-nightly",
    "ort-nightly-gpu",
)
OTHERS = (
    "infer-opt",
    "onnx",
    "numpy",
    "torch",
    "openvino",
    "tensorrt",
    "nvidia-cudnn-cu12",
    "nvidia-cublas-cu12",
    "nvidia-cudnn-cu13",
    "nvidia-cublas",
)


def installed(
    names: Iterable[str] = ONNXRUNTIME + OTHERS, *, version: Callable[[str], str] = metadata.version
) -> tuple[tuple[str, str], ...]:
    """Distribution and version of each that is installed, in the order of `names`. Nothing is imported."""
    found = []
    for name in names:
        try:
            found.append((name, version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def onnxruntimes(packages: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Those among `packages` that install the module `onnxruntime`."""
    return tuple(name for name, _ in packages if name in ONNXRUNTIME)


def is_importable(module: str) -> bool:
    """Whether Python finds `module`, by whatever it came there. Nothing is imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def places(
    names: Iterable[str], *, distribution: Callable[[str], metadata.Distribution] = metadata.distribution
) -> tuple[tuple[str, str], ...]:
    """The folder that holds each of the installed distributions `names`: site-packages, or one on PYTHONPATH."""
    found = []
    for name in names:
        try:
            found.append((name, str(distribution(name).locate_file(""))))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def onnxruntime_problem(packages: Iterable[tuple[str, str]], places: Iterable[tuple[str, str]] = ()) -> str | None:
    """One sentence when no distribution, or more than one in a folder, provides the module `onnxruntime`; else None.

    Two that lie in folders of their own leave each other's files alone: `places` says where they are.
    """
    found = onnxruntimes(packages)
    if not found:
        return "ONNX Runtime is not installed"
    folders = dict(places)
    if len(found) > 1 and len({folders.get(name) for name in found}) < len(found):
        return f"{' and '.join(found)} are both installed and overwrite each other's files"
    return None
