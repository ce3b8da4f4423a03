from pathlib import Path

import pytest

from file_tree import write
from infer_opt.machine.cuda import CudaTraces, kernel_driver, pci_gpus, traces

PROPRIETARY = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\nGCC version: 12"
)
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build  (dvs-builder@U16)"


@pytest.mark.parametrize(("line", "version"), [(PROPRIETARY, "535.129.03"), (OPEN, "570.124.06")])
def test_the_version_of_the_kernel_module_is_read(line: str, version: str, tmp_path: Path) -> None:
    assert kernel_driver(write(tmp_path, {"proc/driver/nvidia/version": line})) == version


def test_a_machine_without_anything_of_nvidia_has_no_traces(tmp_path: Path) -> None:
    assert traces(tmp_path, environment={}, path=[]) == CudaTraces()


def test_only_graphics_processors_of_nvidia_are_counted_on_the_bus(tmp_path: Path) -> None:
    assert pci_gpus(tmp_path) is None

    devices = {"a": ("0x10de", "0x030200"), "b": ("0x10de", "0x040300"), "c": ("0x8086", "0x030000")}
    for name, (vendor, kind) in devices.items():
        folder = f"sys/bus/pci/devices/{name}"
        write(tmp_path, {f"{folder}/vendor": f"{vendor}\n", f"{folder}/class": f"{kind}\n"})

    assert pci_gpus(tmp_path) == 1


def test_devices_are_the_numbered_nodes_alone(tmp_path: Path) -> None:
    write(tmp_path, {f"dev/{name}": "" for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm")})

    found = traces(tmp_path, environment={}, path=[])

    assert found.devices == ("/dev/nvidia0", "/dev/nvidia1")
    assert found.closed == ()


def test_libraries_are_found_where_the_loader_and_packages_keep_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "mine/libcudnn.so.9": "",
            "mine/libcudnn.so.9.12.0": "",
            "site/nvidia/cu13/lib/libcublasLt.so.13": "",
            "usr/local/cuda-12.8/lib64/libcublasLt.so.12": "",
            "usr/lib64/libcudnn.so.9": "",
            "usr/lib64/libz.so.1": "",
        },
    )

    found = traces(tmp_path, environment={"LD_LIBRARY_PATH": f"{tmp_path}/mine:"}, path=["", str(tmp_path / "site")])

    assert found.majors("libcublasLt") == (12, 13)
    assert found.place("libcudnn", 9) == str(tmp_path / "mine/libcudnn.so.9")  # the loader's order
    assert found.place("libcudnn", 8) is None


def test_wsl_is_known_by_its_kernel(tmp_path: Path) -> None:
    write(tmp_path, {"proc/version": "Linux version 6.6.87.2-microsoft-standard-WSL2", "dev/dxg": ""})

    found = traces(tmp_path, environment={}, path=[])

    assert (found.is_wsl, found.has_dxg) == (True, True)


def test_this_machine_can_be_read() -> None:
    assert isinstance(traces(), CudaTraces)
