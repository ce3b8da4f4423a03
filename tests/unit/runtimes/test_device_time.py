"""When a timed run on a device ends: with the work, wherever the call that hands it over comes back before that."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_onnxruntime import FakeOnnxRuntime, OrtValue
from infer_opt.config import Provider, SessionOptions
from infer_opt.measure import Plan, measure_block
from infer_opt.runtimes.onnx import OnnxRuntime

SUBMIT_NS, WORK_NS = 10_000, 2_000_000


class Device:
    """Takes work at once and does it one after another; whoever reads a buffer waits for all of it."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._free_ns = 0

    def submit(self) -> None:
        self.now_ns += SUBMIT_NS
        self._free_ns = max(self.now_ns, self._free_ns) + WORK_NS

    def wait(self) -> None:
        self.now_ns = max(self.now_ns, self._free_ns)

    def clock(self) -> int:
        return self.now_ns


@pytest.mark.parametrize("settings", [{}, {"io_binding": True}, {"cuda_graph": True}], ids=str)
def test_a_timed_run_ends_when_the_device_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, Any]
) -> None:
    device, library, read = Device(), FakeOnnxRuntime(), OrtValue.numpy

    def read_when_done(value: OrtValue) -> Any:
        device.wait()
        return read(value)

    library.while_computing = device.submit
    monkeypatch.setattr(OrtValue, "numpy", read_when_done)
    monkeypatch.setitem(sys.modules, "onnxruntime", library)
    (path := tmp_path / "model.onnx").touch()
    session = OnnxRuntime().open(path, SessionOptions(provider=Provider.CUDA, **settings))
    feeds = [{"x": np.full((2, 4), float(index), np.float32)} for index in range(4)]

    block = measure_block(session, feeds, plan=Plan(lead_in_runs=3, timed_runs=9), clock=device.clock)

    assert set(block.latency_ns) == {SUBMIT_NS + WORK_NS}
