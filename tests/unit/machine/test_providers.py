import json
import sys
from collections.abc import Sequence

from infer_opt.machine.providers import Finished, RuntimeReport, probe_onnxruntime


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
