"""Which libraries are installed, and whether two of them claim the same module."""

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


def onnxruntime_problem(packages: Iterable[tuple[str, str]]) -> str | None:
    """One sentence when no distribution, or more than one, provides the module `onnxruntime`; None when one does."""
    found = onnxruntimes(packages)
    if not found:
        return "ONNX Runtime is not installed"
    if len(found) > 1:
        return f"{' and '.join(found)} are both installed and overwrite each other's files"
    return None
