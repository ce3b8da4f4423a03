from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import zoo
from infer_opt.models.inputs import fixed_batch, synthesise
from infer_opt.models.inspecting import inspect


@pytest.mark.parametrize("builder", zoo.RUNNABLE.values(), ids=zoo.RUNNABLE)
def test_made_up_inputs_run_in_onnx_runtime(builder: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    path = zoo.save(builder(), tmp_path / "model.onnx")
    facts = inspect(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    samples = synthesise(facts, dims={}, seed=0, count=4)

    for batch in {fixed_batch(facts) or 1, fixed_batch(facts) or 3}:
        (feed,) = samples.batched(batch, count=1)
        outputs = session.run(None, feed)
        assert len(outputs) == len(facts.outputs)
        for output, spec in zip(outputs, facts.outputs, strict=True):
            if spec.shape and spec.shape[0] == facts.batch_dim:
                assert output.shape[0] == batch


def test_builders_give_the_same_model_every_time() -> None:
    assert all(builder().SerializeToString() == builder().SerializeToString() for builder in zoo.RUNNABLE.values())


def test_external_weights_run_as_those_inside(tmp_path: Path) -> None:
    inside = zoo.save(zoo.mlp(), tmp_path / "inside.onnx")
    outside = zoo.save_external(zoo.mlp(), tmp_path / "outside.onnx")
    feed = {"x": np.ones((2, 8), np.float32)}

    first, second = (onnxruntime.InferenceSession(str(path)).run(None, feed)[0] for path in (inside, outside))

    assert np.array_equal(first, second)
