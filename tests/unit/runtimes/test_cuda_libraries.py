import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from file_tree import write
from infer_opt.runtimes.cuda_libraries import preload


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """ONNX Runtime for CUDA 13 in a folder of its own, which finds nothing."""
    module, capi, built = (ModuleType(f"onnxruntime{part}") for part in ("", ".capi", ".capi.build_and_package_info"))
    module.__file__ = str(tmp_path / "unpacked/onnxruntime/__init__.py")
    module.__path__, capi.__path__ = [], []
    built.cuda_version = "13.0"  # type: ignore[attr-defined]
    module.preload_dlls = lambda: os.write(1, b"Failed to load libcublasLt.so.13")  # type: ignore[attr-defined]
    for one in (module, capi, built):
        monkeypatch.setitem(sys.modules, one.__name__, one)
    return module


FILES = (
    "site/nvidia/cudnn/lib/libcudnn.so.9",
    "site/nvidia/cu13/lib/libcublasLt.so.13",
    "site/nvidia/cu13/lib/libcublas.so.13",
    "site/nvidia/cublas/lib/libcublasLt.so.12",
    "later/nvidia/cudnn/lib/libcudnn.so.9",
)


def test_libraries_that_lie_in_another_folder_are_loaded_in_the_order_of_their_needs(
    unpacked: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, dict.fromkeys(FILES, ""))
    loaded: list[str] = []

    found = preload(unpacked, path=["", str(tmp_path / "site"), str(tmp_path / "later")], load=loaded.append)

    assert [Path(file).name for file in found] == ["libcublasLt.so.13", "libcublas.so.13", "libcudnn.so.9"]
    assert all(file.startswith(str(tmp_path / "site")) for file in found)
    assert list(found) == loaded
    assert capfd.readouterr().out == ""


def test_one_that_does_not_load_gives_way_to_the_next(unpacked: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys(FILES, ""))

    def load(file: str) -> None:
        if "site" in file:
            raise OSError("file too short")

    found = preload(unpacked, path=[str(tmp_path / "site"), str(tmp_path / "later")], load=load)

    assert found == (str(tmp_path / "later/nvidia/cudnn/lib/libcudnn.so.9"),)


def test_what_lies_beside_it_is_left_to_the_runtime(unpacked: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, {"unpacked/nvidia/cudnn/lib/libcudnn.so.9": ""})

    assert preload(unpacked, path=[str(tmp_path / "unpacked")], load=lambda file: None) == ()


def test_a_build_without_cuda_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    assert preload(onnxruntime, load=lambda file: pytest.fail(file)) == ()
