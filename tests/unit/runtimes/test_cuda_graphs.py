import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_onnxruntime import FakeOnnxRuntime, InferenceSession, OrtValue
from infer_opt.config import Provider, SessionOptions
from infer_opt.errors import ModelError
from infer_opt.parity import find_stale
from infer_opt.protocols import Session
from infer_opt.runtimes.onnx import OnnxRuntime

OPTIONS = SessionOptions(provider=Provider.CUDA, cuda_graph=True)
INPUTS = [np.full((2, 4), float(index), np.float32) for index in range(4)]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeOnnxRuntime:
    module = FakeOnnxRuntime()
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    return module


@pytest.fixture
def session(library: FakeOnnxRuntime, tmp_path: Path) -> Session:
    path = tmp_path / "model.onnx"
    path.touch()
    return OnnxRuntime().open(path, OPTIONS)


def raw(library: FakeOnnxRuntime) -> InferenceSession:
    return library.sessions[0]


def test_a_graph_is_captured_once_and_replayed_after_that(library: FakeOnnxRuntime, session: Session) -> None:
    for x in INPUTS:
        session.run({"x": x})

    # The first run finds the output shapes without capturing anything.
    assert raw(library).runs == ["bound", "capture 1", "replay 1", "replay 1", "replay 1"]


def test_every_call_copies_its_inputs_into_the_captured_buffers(library: FakeOnnxRuntime, session: Session) -> None:
    answers = [session.run({"x": x}) for x in INPUTS]

    for x, answer in zip(INPUTS, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * x)
    assert find_stale([{"y": 2 * x} for x in INPUTS], answers) is None


def test_a_replay_that_does_not_copy_its_inputs_is_caught_as_stale(
    library: FakeOnnxRuntime, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OrtValue, "update_inplace", lambda self, array: None)

    answers = [session.run({"x": x}) for x in INPUTS]

    assert find_stale([{"y": 2 * x} for x in INPUTS], answers) == (
        "output y stays the same when the inputs change: a stale replay"
    )


def test_outputs_belong_to_the_caller(session: Session) -> None:
    first = session.run({"x": INPUTS[1]})["y"]
    session.run({"x": INPUTS[3]})

    np.testing.assert_array_equal(first, 2 * INPUTS[1])


def test_each_set_of_shapes_has_a_graph_of_its_own(library: FakeOnnxRuntime, session: Session) -> None:
    small, large = np.ones((1, 4), np.float32), np.ones((8, 4), np.float32)

    shapes = [session.run({"x": x})["y"].shape for x in (small, large, small, large)]

    assert shapes == [(1, 4), (8, 4), (1, 4), (8, 4)]
    assert raw(library).runs == ["bound", "capture 1", "bound", "capture 2", "replay 1", "replay 2"]


def test_inputs_of_another_type_never_reach_a_captured_buffer(library: FakeOnnxRuntime, session: Session) -> None:
    session.run({"x": INPUTS[1]})

    with pytest.raises(ModelError):
        session.run({"x": INPUTS[1].astype(np.float64)})

    np.testing.assert_array_equal(session.run({"x": INPUTS[2]})["y"], 2 * INPUTS[2])


def test_a_capture_that_fails_is_tried_again_by_the_next_call(library: FakeOnnxRuntime, session: Session) -> None:
    library.run_error = RuntimeError("out of memory")
    with pytest.raises(ModelError, match="out of memory"):
        session.run({"x": INPUTS[1]})
    library.run_error = None

    np.testing.assert_array_equal(session.run({"x": INPUTS[2]})["y"], 2 * INPUTS[2])


@pytest.mark.parametrize("feeds", [{}, {"z": INPUTS[0]}])
def test_missing_inputs_are_refused(session: Session, feeds: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        session.run(feeds)


@pytest.mark.parametrize("options", [OPTIONS, SessionOptions(io_binding=True)], ids=lambda options: options.label)
def test_a_second_call_waits_until_the_first_has_its_outputs(
    library: FakeOnnxRuntime, tmp_path: Path, options: SessionOptions
) -> None:
    (tmp_path / "model.onnx").touch()
    session = OnnxRuntime().open(tmp_path / "model.onnx", options)
    session.run({"x": INPUTS[0]})
    answers: dict[str, Any] = {}
    is_in = threading.Event()
    second = threading.Thread(target=lambda: answers.update(second=session.run({"x": INPUTS[3]})["y"]))

    def let_the_second_try() -> None:
        library.while_computing = is_in.set
        second.start()
        assert not is_in.wait(0.05)  # both would use the same buffers

    library.while_computing = let_the_second_try
    answers["first"] = session.run({"x": INPUTS[1]})["y"]
    second.join()

    np.testing.assert_array_equal(answers["first"], 2 * INPUTS[1])
    np.testing.assert_array_equal(answers["second"], 2 * INPUTS[3])
