import sys
from pathlib import Path

import numpy as np
import pytest
from scripts.ladder import tensorrt
from scripts.ladder.tensorrt import PROVIDER, TensorRt

from fake_onnxruntime import CPU, CUDA, FakeOnnxRuntime
from infer_opt.config import Provider, SessionOptions
from infer_opt.errors import UnavailableError

ON_CUDA = SessionOptions(provider=Provider.CUDA)
ALL = (PROVIDER, CUDA, CPU)


def missing(name: str) -> object:
    raise OSError(f"{name}: cannot open shared object file: No such file or directory")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tensorrt, "CACHE", tmp_path / "engines")
    return tmp_path / "model.onnx"


def test_a_build_without_tensorrt_says_so() -> None:
    runtime = TensorRt(FakeOnnxRuntime(), load=lambda name: None)

    assert runtime.why_not(Provider.CUDA) == f"the installed ONNX Runtime was built without {PROVIDER}"


def test_missing_libraries_are_named_and_nothing_else_runs_instead(model: Path) -> None:
    runtime = TensorRt(FakeOnnxRuntime(available=ALL), load=missing)

    assert "libnvinfer.so.10: cannot open" in str(runtime.why_not(Provider.CUDA))
    assert runtime.providers() == frozenset()
    with pytest.raises(UnavailableError, match="TensorRT is not installed"):
        runtime.open(model, ON_CUDA)


def test_libraries_in_its_wheel_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt_libs").mkdir()
    for name in tensorrt.LIBRARIES:
        (tmp_path / "tensorrt_libs" / name).touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    loaded: list[str] = []

    assert TensorRt(FakeOnnxRuntime(available=ALL), load=loaded.append).why_not(Provider.CUDA) is None
    assert loaded == [str(tmp_path / "tensorrt_libs" / name) for name in tensorrt.LIBRARIES]


def test_a_session_has_tensorrt_first_and_runs_as_others_do(model: Path) -> None:
    library = FakeOnnxRuntime(available=ALL)
    session = TensorRt(library, load=lambda name: None).open(model, ON_CUDA)
    x = np.ones((1, 4), np.float32)

    assert [name for name, _ in library.sessions[0].asked] == list(ALL)
    assert dict(library.sessions[0].asked)[PROVIDER]["trt_fp16_enable"] == "1"
    np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x)
    assert session.placement is None
    session.close()


def test_a_provider_that_is_left_out_is_an_error(model: Path) -> None:
    library = FakeOnnxRuntime(available=ALL, not_loading=(PROVIDER,))

    with pytest.raises(UnavailableError, match="could not load"):
        TensorRt(library, load=lambda name: None).open(model, ON_CUDA)
