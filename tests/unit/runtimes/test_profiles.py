import json
from pathlib import Path

import numpy as np
import pytest

import zoo
from infer_opt.config import SessionOptions
from infer_opt.errors import ModelError
from infer_opt.runtimes.onnx import OnnxRuntime
from infer_opt.runtimes.profiles import median_times


def event(name: str, microseconds: int, cat: str = "Node") -> dict[str, object]:
    return {"cat": cat, "name": name, "dur": microseconds}


def test_the_median_over_runs_is_taken_of_kernels_alone(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    events = [event("model_run", 99, "Session"), event("dense_fence_before", 50)]
    path.write_text(json.dumps([*events, *(event("dense_kernel_time", time) for time in (900, 10, 12))]))

    assert median_times(path) == {"dense": 12_000}


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"cat": "Node"}]', '{"cat": 1}'])
def test_what_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(text)

    with pytest.raises(ModelError, match="profile"):
        median_times(path)


def test_a_missing_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="profile"):
        median_times(tmp_path / "none.json")


def test_a_session_tells_what_each_node_takes(tmp_path: Path) -> None:
    path = zoo.save(zoo.spiky(), tmp_path / "m.onnx")
    feeds = [{"x": np.ones((2, 256), np.float32)}]

    times = OnnxRuntime().node_times(path, SessionOptions(intra_threads=1), feeds, runs=5)

    assert {"first/MatMul", "second/MatMul", "third/MatMul"} <= set(times)
    assert all(time >= 0 for time in times.values())
    assert not list(Path().glob("*profile*"))  # nothing is left in the working folder
