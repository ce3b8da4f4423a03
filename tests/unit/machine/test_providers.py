import _ctypes
import base64
import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import infer_opt
from broken_cuda import quoted
from infer_opt.machine.providers import MODEL, Finished, RuntimeReport, probe_onnxruntime


def ending(status: int | None, output: str) -> RuntimeReport:
    def run(command: Sequence[str]) -> Finished:
        return Finished(status=status, output=output)

    return probe_onnxruntime(run)


def test_what_the_runtime_prints_before_its_answer_is_skipped() -> None:
    answer = {
        "version": "1.31.1",
        "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
        "cuda_version": "13.0",
        "error": "OSError: libcublasLt.so.13: cannot open shared object file: No such file or directory",
    }

    report = ending(0, "Failed to load libcudnn.so.9\n\n" + json.dumps(answer) + "\n")

    assert report.providers == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert report.cuda_version == "13.0"
    assert report.error is not None
    assert "libcublasLt.so.13" in report.error


def test_a_crash_while_loading_is_an_answer() -> None:
    report = ending(-11, "")

    assert report == RuntimeReport(error="the interpreter ended with status -11 while ONNX Runtime loaded")


def test_a_hang_while_loading_is_an_answer() -> None:
    report = ending(None, "")

    assert report.version is None
    assert report.error == "ONNX Runtime did not load within 60 s"


def test_the_probe_is_a_program_for_this_interpreter() -> None:
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> Finished:
        commands.append(command)
        return Finished(status=1, output="")

    probe_onnxruntime(run)

    interpreter, flag, program = commands[0]
    assert (interpreter, flag) == (sys.executable, "-c")
    compile(program, "probe", "exec")


def test_the_installed_runtime_answers() -> None:
    report = probe_onnxruntime()

    assert "CPUExecutionProvider" in report.providers
    assert report.version is not None


def unpacked(folder: Path, *, session: str) -> dict[str, str]:
    """A build for CUDA that lies in `folder`, whose libraries load; `session` is what opening one does."""
    package = folder / "onnxruntime"
    (package / "capi").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "__version__ = '1.31.1'\n"
        "def get_available_providers():\n    return ['CUDAExecutionProvider', 'CPUExecutionProvider']\n"
        "def preload_dlls():\n    print('Failed to load libcudnn.so.9')\n"
        f"class InferenceSession:\n    def __init__(self, model, providers, enable_fallback):\n        {session}\n"
        "    def get_providers(self):\n        return ['CPUExecutionProvider']\n"
    )
    (package / "capi" / "__init__.py").write_text("")
    (package / "capi" / "build_and_package_info.py").write_text("cuda_version = '13.0'\n")
    # Any library that loads stands for those of the provider.
    for name in ("shared", "cuda"):
        shutil.copyfile(_ctypes.__file__, package / "capi" / f"libonnxruntime_providers_{name}.so")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(infer_opt.__file__).parents[1])])}


def probed(environment: dict[str, str]) -> RuntimeReport:
    def run(command: Sequence[str]) -> Finished:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
        return Finished(status=done.returncode, output=done.stdout)

    return probe_onnxruntime(run)


def test_a_provider_that_loads_and_cannot_run_says_why(tmp_path: Path) -> None:
    error = quoted(35, "CUDA driver version is insufficient for CUDA runtime version").removeprefix("RuntimeError: ")

    report = probed(unpacked(tmp_path, session=f"raise RuntimeError({error!r})"))

    assert (report.version, report.cuda_version, report.error) == ("1.31.1", "13.0", None)
    assert "CUDA failure 35" in (report.session_error or "")


def test_a_provider_that_is_left_out_silently_is_noticed(tmp_path: Path) -> None:
    report = probed(unpacked(tmp_path, session="pass"))

    assert report.session_error == "it was left out without an error"


def test_cudnn_is_tried_although_the_provider_loads_without_it(tmp_path: Path) -> None:
    try:
        ctypes.CDLL("libcudnn.so.9")
    except OSError as error:
        assert probed(unpacked(tmp_path, session="pass")).cudnn_error == str(error)
    else:
        assert probed(unpacked(tmp_path, session="pass")).cudnn_error is None


def test_the_probes_model_is_one_that_a_runtime_runs() -> None:
    import onnx
    import onnxruntime

    model = base64.b64decode(MODEL)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    assert session.run(None, {"x": np.array([-1, 2], np.float32)})[0].tolist() == [0, 2]
