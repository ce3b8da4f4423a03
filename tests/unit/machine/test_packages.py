from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from infer_opt.machine import packages


def versions(**installed: str) -> Callable[[str], str]:
    known = {name.replace("_", "-"): version for name, version in installed.items()}

    def version(name: str) -> str:
        if name not in known:
            raise PackageNotFoundError(name)
        return known[name]

    return version


def test_one_distribution_is_no_problem() -> None:
    found = packages.installed(version=versions(onnxruntime_gpu="1.30", numpy="2.4"))

    assert found == (("onnxruntime-gpu", "1.30"), ("numpy", "2.4"))
    assert packages.onnxruntimes(found) == ("onnxruntime-gpu",)
    assert packages.onnxruntime_problem(found) is None


def test_two_distributions_of_one_module_are_a_problem() -> None:
    found = packages.installed(version=versions(onnxruntime="1.32", onnxruntime_gpu="1.30"))

    problem = packages.onnxruntime_problem(found)

    assert problem == "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files"


def test_none_is_a_problem_too() -> None:
    found = packages.installed(version=versions(openvino="2026.1"))

    assert found == (("openvino", "2026.1"),)
    assert packages.onnxruntime_problem(found) == "ONNX Runtime is not installed"


def test_two_distributions_in_folders_of_their_own_leave_each_other_alone() -> None:
    found = packages.installed(version=versions(onnxruntime="1.32", onnxruntime_gpu="1.31.1"))

    apart = (("onnxruntime", "/site"), ("onnxruntime-gpu", "/unpacked"))
    together = (("onnxruntime", "/site"), ("onnxruntime-gpu", "/site"))
    assert packages.onnxruntime_problem(found, apart) is None
    assert "overwrite" in (packages.onnxruntime_problem(found, together) or "")


def test_the_folder_of_a_distribution_is_that_of_its_modules() -> None:
    ((name, folder),) = packages.places(["numpy", "there-is-none-of-this-name"])

    assert name == "numpy"
    assert (Path(folder) / "numpy" / "__init__.py").is_file()


def test_a_module_is_found_without_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_unpacked").mkdir()
    (tmp_path / "only_unpacked" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert packages.is_importable("only_unpacked")
    assert not packages.is_importable("there_is_none_of_this_name")
