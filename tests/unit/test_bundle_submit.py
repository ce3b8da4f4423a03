"""Many callers of one loaded bundle, on the real runtime."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import infer_opt
import zoo
from fakes import MODEL
from infer_opt.bundle import Contents, write
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.errors import ConfigError, ModelError
from infer_opt.machine.cpu import isa
from infer_opt.serving import LoadedBundle

ITEMS = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    model = zoo.save(zoo.mlp(), source / "model.onnx")
    write(
        tmp_path / "out",
        Contents(
            name="mlp",
            summary="as given",
            config=TrialConfig(options=SessionOptions(intra_threads=1)),
            files=(model,),
            default=(),
            samples=None,
            runtime_version=onnxruntime.__version__,
            isa=isa(),
            record={"verdict": "faster", "dims": {}},
            inputs=MODEL.inputs,
            outputs=MODEL.outputs,
            picture="<svg/>",
        ),
    )
    return tmp_path / "out"


@pytest.fixture
def bundle(folder: Path) -> Iterator[LoadedBundle]:
    with infer_opt.load(folder, max_batch=8, max_wait_s=0.005) as opened:
        yield opened


def test_threads_that_submit_get_what_run_gives(bundle: LoadedBundle) -> None:
    wanted = bundle.run({"x": ITEMS})["scores"]
    found: dict[int, np.ndarray] = {}

    def call(index: int) -> None:
        found[index] = bundle.submit({"x": ITEMS[index : index + 1]}).result(10)["scores"]

    threads = [threading.Thread(target=call, args=(index,)) for index in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    np.testing.assert_allclose(np.concatenate([found[index] for index in range(40)]), wanted, atol=1e-5)


def test_tasks_that_submit_get_what_run_gives(bundle: LoadedBundle) -> None:
    async def main() -> list[np.ndarray]:
        answers = await asyncio.gather(*(bundle.submit_async({"x": ITEMS[i : i + 1]}) for i in range(40)))
        return [answer["scores"] for answer in answers]

    np.testing.assert_allclose(np.concatenate(asyncio.run(main())), bundle.run({"x": ITEMS})["scores"], atol=1e-5)


def test_inputs_that_the_model_refuses_fail_their_own_request_alone(bundle: LoadedBundle) -> None:
    good, bad = bundle.submit({"x": ITEMS[:1]}), bundle.submit({"x": ITEMS[:1, :5]})
    wrong_name = bundle.submit({"z": ITEMS[:1]})

    assert good.result(10)["scores"].shape == (1, 3)
    for future in (bad, wrong_name):
        with pytest.raises(ModelError):
            future.result(10)


def test_closing_answers_what_was_submitted_and_refuses_the_rest(folder: Path) -> None:
    bundle = infer_opt.load(folder, max_wait_s=5.0)
    future = bundle.submit({"x": ITEMS[:1]})

    bundle.close()
    bundle.close()

    assert future.result(0)["scores"].shape == (1, 3)
    with pytest.raises(ConfigError, match="closed"):
        bundle.submit({"x": ITEMS[:1]})


def test_a_bundle_that_nobody_submits_to_starts_no_thread(folder: Path) -> None:
    before = threading.active_count()

    with infer_opt.load(folder) as bundle:
        bundle.run({"x": ITEMS[:1]})
        assert threading.active_count() == before


def test_limits_that_make_no_sense_are_refused_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_batch"):
        infer_opt.load(tmp_path / "nowhere", max_batch=0)
