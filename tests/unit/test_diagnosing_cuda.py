"""Each broken state of CUDA that users meet, made by a double, is named with what helps."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest

import broken_cuda as made
from broken_cuda import failing, quoted, silent, state
from fake_nvml import FakeGpu, FakeMig, FakeNvml
from infer_opt.diagnosing import Seen, judge
from infer_opt.machine.providers import RuntimeReport
from infer_opt.results import Finding, Severity

PROBLEM, CAUTION, OK = Severity.PROBLEM, Severity.CAUTION, Severity.OK
CPU_BUILD = RuntimeReport(version="1.32.0", providers=(made.CPU,))


def found(name: str, seen: Seen) -> Finding:
    return {finding.name: finding for finding in judge(seen)}[name]


def test_a_gpu_that_works_has_only_good_findings(tmp_path: Path) -> None:
    findings = judge(state(tmp_path))

    assert {finding.severity for finding in findings} == {OK}
    words = {finding.name: finding.what for finding in findings}
    assert words["NVIDIA driver"].startswith("580.95.05; NVIDIA Fake 80GB (80 GiB)")
    assert words["GPU compute mode"] == "shared: several processes may compute"


# name -> (finding, what makes the state, what is said of it, what is to be done)
STATES: dict[str, tuple[str, Callable[[Path], Seen], str, str]] = {
    "driver too old": (
        "NVIDIA driver",
        lambda root: state(root, nvml=FakeNvml(FakeGpu(), version="550.10", cuda=12040)),
        "driver 550.10 runs CUDA up to 12.4, ONNX Runtime was built for CUDA 13.0",
        "update the driver to 580.65.06 or newer",
    ),
    "driver too old, as CUDA says it": (
        "CUDA provider",
        lambda root: state(
            root,
            runtime=failing(session_error=quoted(35, "CUDA driver version is insufficient for CUDA runtime version")),
        ),
        "CUDA failure 35, CUDA driver version is insufficient for CUDA runtime version",
        "update the driver",
    ),
    "no driver": (
        "NVIDIA driver",
        lambda root: state(root, files=made.ON_BUS, nvml=silent(made.NO_LIBRARY())),
        "1 NVIDIA GPU is on the PCI bus, and no driver is loaded",
        "sudo modprobe nvidia",
    ),
    "no GPU at all, and a build that needs one": (
        "NVIDIA driver",
        lambda root: state(root, files={}, nvml=silent(made.NO_LIBRARY())),
        "onnxruntime-gpu is installed, but the NVIDIA driver does not answer",
        "install 'infer-opt[cpu]' instead",
    ),
    "driver updated under a loaded module": (
        "NVIDIA driver",
        lambda root: state(root, nvml=silent(made.MISMATCH())),
        "of another version than its loaded kernel module, which is 580.95.05",
        "restart the machine",
    ),
    "both packages, over each other": (
        "ONNX Runtime",
        lambda root: state(
            root,
            packages=(("onnxruntime", "1.32.0"), ("onnxruntime-gpu", "1.31.1")),
            places=(("onnxruntime", "/site"), ("onnxruntime-gpu", "/site")),
        ),
        "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files",
        "pip uninstall onnxruntime onnxruntime-gpu",
    ),
    "cuDNN missing": (
        "cuDNN",
        lambda root: state(root, runtime=failing(cudnn_error=made.NO_CUDNN)),
        "asks for cuDNN 9, which does not load: libcudnn.so.9",
        "brings cuDNN",
    ),
    "cuDNN of another major": (
        "cuDNN",
        lambda root: state(
            root,
            files={**made.ON_HOST, "usr/lib64/libcudnn.so.8": ""},
            runtime=failing(cudnn_error=made.NO_CUDNN),
        ),
        "version 8 is there instead (",
        "brings cuDNN",
    ),
    "cuDNN where nobody looks": (
        "cuDNN",
        lambda root: state(
            root,
            files={**made.ON_HOST, "packages/nvidia/cudnn/lib/libcudnn.so.9": ""},
            path=[str(root / "packages")],
            runtime=failing(cudnn_error=made.NO_CUDNN),
        ),
        "packages/nvidia/cudnn/lib/libcudnn.so.9, where the loader does not look",
        "LD_LIBRARY_PATH",
    ),
    "cuBLAS missing": (
        "CUDA provider",
        lambda root: state(root, runtime=failing(error=made.NO_CUBLAS)),
        "libcublasLt.so.13: cannot open shared object file",
        "brings cuBLAS",
    ),
    "cuBLAS of CUDA 12": (
        "CUDA provider",
        lambda root: state(
            root,
            files={**made.ON_HOST, "usr/local/cuda-12.8/lib64/libcublasLt.so.12": ""},
            runtime=failing(error=made.NO_CUBLAS),
        ),
        "version 12 is there instead (",
        "brings cuBLAS",
    ),
    "libraries of two versions": (
        "CUDA provider",
        lambda root: state(root, runtime=failing(error=made.MIXED)),
        "libraries of two versions are mixed: what is loaded lacks cublasLtGetVersion",
        "LD_LIBRARY_PATH",
    ),
    "a container without the device": (
        "NVIDIA driver",
        lambda root: state(
            root,
            files={**made.IN_CONTAINER, made.KERNEL: made.MODULE.format("580.95.05")},
            nvml=silent(made.NO_LIBRARY()),
        ),
        "this container was given no GPU, though its host has driver 580.95.05",
        "docker run --gpus all",
    ),
    "a container that asks for none": (
        "NVIDIA driver",
        lambda root: state(
            root,
            files=made.IN_CONTAINER,
            nvml=silent(made.NO_LIBRARY()),
            environment={"NVIDIA_VISIBLE_DEVICES": "void"},
        ),
        "(NVIDIA_VISIBLE_DEVICES is 'void')",
        "nvidia.com/gpu",
    ),
    "a container of another runtime": (
        "NVIDIA driver",
        lambda root: state(
            root,
            files=made.IN_CONTAINER,
            nvml=silent(made.NO_LIBRARY()),
            environment={"NVIDIA_VISIBLE_DEVICES": "all"},
        ),
        "NVIDIA_VISIBLE_DEVICES=all asks for them, but NVIDIA's runtime did not start it",
        "container toolkit",
    ),
    "a container that lost its device": (
        "NVIDIA driver",
        lambda root: state(root, files={**made.IN_CONTAINER, **made.ON_HOST}, nvml=silent(made.UNKNOWN())),
        "this container lost its GPUs while it ran",
        "start the container again",
    ),
    "no device, as CUDA says it": (
        "CUDA provider",
        lambda root: state(root, runtime=failing(session_error=quoted(100, "no CUDA-capable device is detected"))),
        "CUDA failure 100, no CUDA-capable device is detected",
        "--gpus all",
    ),
    "MIG without an instance": (
        "MIG",
        lambda root: state(root, nvml=made.divided(None, None)),
        "GPU 0 is in MIG mode and has no instance",
        "nvidia-smi mig -i 0 -cgi 0 -C",
    ),
    "exclusive mode": (
        "GPU compute mode",
        lambda root: state(root, nvml=made.in_mode(pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS)),
        "GPU 0 is in exclusive mode: it takes one process at a time",
        "sudo nvidia-smi -i 0 --compute-mode=DEFAULT",
    ),
    "exclusive mode, as CUDA says it": (
        "CUDA provider",
        lambda root: state(
            root, runtime=failing(session_error=quoted(46, "CUDA-capable device(s) is/are busy or unavailable"))
        ),
        "CUDA failure 46, CUDA-capable device(s) is/are busy or unavailable",
        "compute mode",
    ),
    "prohibited mode": (
        "GPU compute mode",
        lambda root: state(root, nvml=made.in_mode(pynvml.NVML_COMPUTEMODE_PROHIBITED)),
        "GPU 0 is set to compute for nobody",
        "--compute-mode=DEFAULT",
    ),
    "WSL without the GPU": (
        "NVIDIA driver",
        lambda root: state(root, files=made.WSL, nvml=silent(made.NO_LIBRARY())),
        "WSL shows no GPU: there is no /dev/dxg",
        "wsl --update",
    ),
    "WSL whose libraries are not found": (
        "NVIDIA driver",
        lambda root: state(root, files={**made.WSL, "dev/dxg": ""}, nvml=silent(made.NO_LIBRARY())),
        "its driver libraries are not found",
        "/usr/lib/wsl/lib",
    ),
    "hidden by a variable": (
        "GPU devices",
        lambda root: state(root, environment={"CUDA_VISIBLE_DEVICES": "-1"}),
        "CUDA_VISIBLE_DEVICES='-1' hides every GPU",
        "unset CUDA_VISIBLE_DEVICES",
    ),
    "a variable that names no GPU": (
        "GPU devices",
        lambda root: state(root, environment={"CUDA_VISIBLE_DEVICES": "0,1"}),
        "names GPU 1, where there is one GPU",
        "nvidia-smi -L",
    ),
    "no fabric manager": (
        "CUDA provider",
        lambda root: state(root, runtime=failing(session_error=quoted(802, "system not yet initialized"))),
        "CUDA failure 802, system not yet initialized",
        "nvidia-fabricmanager",
    ),
    "forward compatibility": (
        "CUDA provider",
        lambda root: state(
            root, runtime=failing(session_error=quoted(804, "forward compatibility was attempted on non supported HW"))
        ),
        "CUDA failure 804, forward compatibility was attempted on non supported HW",
        "compat",
    ),
    "not allowed": (
        "NVIDIA driver",
        lambda root: state(root, nvml=silent(made.NO_PERMISSION())),
        "this user may not open",
        "usermod -aG video",
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_a_broken_state_is_a_problem_with_what_was_seen_and_what_to_do(name: str, tmp_path: Path) -> None:
    check, make, what, action = STATES[name]

    finding = found(check, make(tmp_path))

    assert finding.severity is PROBLEM
    assert what in finding.what
    assert action in (finding.action or "")
    assert len(finding.what) < 420  # the names of C++ functions are left out


def test_states_are_told_apart(tmp_path: Path) -> None:
    sentences = {
        name: found(check, make(tmp_path / str(index))).what
        for index, (name, (check, make, _, _)) in enumerate(STATES.items())
    }

    assert len(set(sentences.values())) == len(STATES)


def test_two_packages_in_folders_of_their_own_are_no_problem_but_the_one_in_use_is_named(tmp_path: Path) -> None:
    seen = state(
        tmp_path,
        packages=(("onnxruntime", "1.32.0"), ("onnxruntime-gpu", "1.31.1")),
        places=(("onnxruntime", "/site"), ("onnxruntime-gpu", "/unpacked")),
    )

    finding = found("ONNX Runtime", seen)

    assert finding.severity is CAUTION
    assert "Python takes the first that it finds, which is 1.31.1" in finding.what


def test_a_runtime_that_was_only_unpacked_is_found_without_its_metadata(tmp_path: Path) -> None:
    seen = state(tmp_path, packages=())

    assert found("ONNX Runtime", seen).severity is OK
    assert found("CUDA provider", seen).severity is OK
    # It needs a GPU all the same.
    gone = dataclasses.replace(seen, nvml_problem="the NVIDIA driver does not answer: Driver Not Loaded")
    assert found("NVIDIA driver", gone).severity is PROBLEM


def test_a_divided_gpu_is_a_caution(tmp_path: Path) -> None:
    finding = found("MIG", state(tmp_path, nvml=made.divided(FakeMig(), None, FakeMig(gpu_instance=2))))

    assert finding.severity is CAUTION
    assert "GPU 0 into 2" in finding.what


def test_a_gpu_that_nothing_drives_is_a_caution_where_nothing_needs_it(tmp_path: Path) -> None:
    seen = state(
        tmp_path,
        files=made.ON_BUS,
        nvml=silent(made.NO_LIBRARY()),
        runtime=CPU_BUILD,
        packages=(("onnxruntime", "1.32.0"),),
    )

    assert found("NVIDIA driver", seen).severity is CAUTION


def test_a_container_without_a_gpu_is_fine_where_nothing_needs_it(tmp_path: Path) -> None:
    seen = state(
        tmp_path,
        files={**made.IN_CONTAINER, made.KERNEL: made.MODULE.format("580.95.05")},
        nvml=silent(made.NO_LIBRARY()),
        runtime=CPU_BUILD,
        packages=(("onnxruntime", "1.32.0"),),
    )

    assert {finding.severity for finding in judge(seen)} == {OK}


def test_an_error_that_nobody_knows_is_quoted(tmp_path: Path) -> None:
    finding = found("CUDA provider", state(tmp_path, runtime=failing(session_error="RuntimeError: something new")))

    assert "something new" in finding.what
    assert finding.action


def test_numbers_that_have_no_advice_still_have_a_sentence(tmp_path: Path) -> None:
    runtime = failing(session_error=quoted(719, "unspecified launch failure"))

    assert (
        "CUDA failure 719, unspecified launch failure" in found("CUDA provider", state(tmp_path, runtime=runtime)).what
    )
