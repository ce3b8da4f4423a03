from collections.abc import Callable
from importlib.metadata import PackageNotFoundError

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
