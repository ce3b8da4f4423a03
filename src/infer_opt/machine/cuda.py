"""What the NVIDIA driver and CUDA's libraries left on this system, by files and variables. Nothing is loaded."""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infer_opt.machine.files import text
from infer_opt.machine.surroundings import in_container

NVIDIA_VENDOR, DISPLAY_CLASS = "0x10de", "0x03"
WSL_LIBRARIES = "usr/lib/wsl/lib"
# The libraries that ONNX Runtime's CUDA provider and cuDNN are told apart by; the major version stands in the name.
LIBRARIES = ("libcuda.so", "libcudart.so", "libcublasLt.so", "libcufft.so", "libcudnn.so")
SYSTEM_FOLDERS = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/local/cuda/lib64",
    "usr/local/nvidia/lib64",
    WSL_LIBRARIES,
)
_VERSION = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b")
_SONAME = re.compile(r"(lib\w+)\.so\.(\d+)")
_NODE = re.compile(r"nvidia\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A shared library that lies somewhere: `libcudnn`, 9, and the file."""

    name: str
    major: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaTraces:
    """What is there of NVIDIA's, before anything is loaded.

    `kernel_driver` is the version of the loaded kernel module; `devices` the nodes /dev/nvidia0 and so on, of which
    this process may not open `closed`; `pci_gpus` counts NVIDIA's graphics processors on the bus, None where that
    cannot be read. `given_devices` is NVIDIA_VISIBLE_DEVICES, by which a container asks for GPUs, and
    `visible_devices` is CUDA_VISIBLE_DEVICES, by which a process hides them; None where they are not set. `has_dxg`
    is the device by which WSL 2 reaches the GPU of Windows.
    """

    kernel_driver: str | None = None
    devices: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    pci_gpus: int | None = None
    in_container: bool = False
    is_wsl: bool = False
    has_dxg: bool = False
    given_devices: str | None = None
    visible_devices: str | None = None
    libraries: tuple[Library, ...] = ()

    def majors(self, name: str) -> tuple[int, ...]:
        """The major versions of the library `name` that lie somewhere on this machine."""
        return tuple(sorted({library.major for library in self.libraries if library.name == name}))

    def place(self, name: str, major: int) -> str | None:
        """Where that version of the library lies; None where it was not found."""
        return next((one.path for one in self.libraries if (one.name, one.major) == (name, major)), None)


def traces(
    root: Path = Path("/"), *, environment: Mapping[str, str] | None = None, path: Sequence[str] | None = None
) -> CudaTraces:
    """Read them from under `root`; `environment` and `path` (`sys.path`) are this process's own unless given."""
    variables = os.environ if environment is None else environment
    nodes = sorted(node for node in _entries(root / "dev") if _NODE.fullmatch(node.name))
    return CudaTraces(
        kernel_driver=kernel_driver(root),
        devices=tuple(f"/dev/{node.name}" for node in nodes),
        closed=tuple(f"/dev/{node.name}" for node in nodes if not os.access(node, os.R_OK | os.W_OK)),
        pci_gpus=pci_gpus(root),
        in_container=in_container(root),
        is_wsl="microsoft" in (text(root / "proc/version") or "").lower(),
        has_dxg=(root / "dev/dxg").exists(),
        given_devices=variables.get("NVIDIA_VISIBLE_DEVICES"),
        visible_devices=variables.get("CUDA_VISIBLE_DEVICES"),
        libraries=tuple(libraries(_folders(root, variables, sys.path if path is None else path))),
    )


def kernel_driver(root: Path = Path("/")) -> str | None:
    """The version of the loaded kernel module. Source: the first line of /proc/driver/nvidia/version."""
    first = (text(root / "proc/driver/nvidia/version") or "").partition("\n")[0]
    found = _VERSION.search(first)
    return None if found is None else found[1]


def pci_gpus(root: Path = Path("/")) -> int | None:
    """NVIDIA's graphics processors on the PCI bus: `lspci -d 10de::0300` and `0302`; None where it cannot be read."""
    folder = root / "sys/bus/pci/devices"
    if not folder.is_dir():
        return None
    return sum(
        text(device / "vendor") == NVIDIA_VENDOR and (text(device / "class") or "").startswith(DISPLAY_CLASS)
        for device in _entries(folder)
    )


def libraries(folders: Iterable[Path]) -> list[Library]:
    """CUDA's libraries in `folders`, one for each name and major version: the first that is met."""
    found: dict[tuple[str, int], Library] = {}
    for folder in folders:
        for file in _entries(folder):
            match = _SONAME.fullmatch(file.name)
            if match is not None and f"{match[1]}.so" in LIBRARIES:
                one = Library(name=match[1], major=int(match[2]), path=str(file))
                found.setdefault((one.name, one.major), one)
    return list(found.values())


def _folders(root: Path, variables: Mapping[str, str], path: Sequence[str]) -> list[Path]:
    """Where the loader looks, where Python's packages keep them, and where installers put them."""
    named = [Path(part) for part in variables.get("LD_LIBRARY_PATH", "").split(":") if part]
    packaged = [folder / "lib" for entry in path if entry for folder in _entries(Path(entry) / "nvidia")]
    versioned = [folder / "lib64" for folder in _entries(root / "usr/local") if folder.name.startswith("cuda-")]
    return [*named, *packaged, *(root / folder for folder in SYSTEM_FOLDERS), *versioned]


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where it is missing or may not be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
