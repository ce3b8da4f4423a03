"""Many callers of one loaded bundle, on the real runtime."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import infer_opt
import zoo
from infer_opt import serving
from infer_opt.batching import BatchingLimits
from infer_opt.bundle import BundleWarning, read, write
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.errors import ConfigError, ModelError
from infer_opt.results import Caution
from infer_opt.serving import LoadedBundle
from made_bundles import contents

ITEMS = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)


ONE = TrialConfig(options=SessionOptions(intra_threads=1))
TWO = TrialConfig(options=SessionOptions(intra_threads=1), instances=2)
PLAN = {"instances": 2, "threads": 1, "cores": [], "batch": 4, "max_batch": 4, "max_wait_s": 0.003, "points": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path)


def written(tmp_path: Path, config: TrialConfig = ONE, plan: Mapping[str, Any] | None = None) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    model = zoo.save(zoo.mlp(), source / "model.onnx")
    write(tmp_path / "out", contents(model, config=config, plan=plan))
    return tmp_path / "out"


def at_once(call: Callable[[int], None]) -> None:
    """A thread for each of `ITEMS`, which calls with its index."""
    threads = [threading.Thread(target=call, args=(index,)) for index in range(len(ITEMS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)


@pytest.fixture
def bundle(folder: Path) -> Iterator[LoadedBundle]:
    with infer_opt.load(folder, max_batch=8, max_wait_s=0.005) as opened:
        yield opened


def test_threads_that_submit_get_what_run_gives(bundle: LoadedBundle) -> None:
    wanted = bundle.run({"x": ITEMS})["scores"]
    found: dict[int, np.ndarray] = {}

    def call(index: int) -> None:
        found[index] = bundle.submit({"x": ITEMS[index : index + 1]}).result(10)["scores"]

    at_once(call)

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


# Several instances


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of two instances, on a machine that has room for both."""
    monkeypatch.setattr(serving, "usable_cores", lambda: 2.0)
    monkeypatch.setattr(serving, "hardware_threads", lambda: ())
    return written(tmp_path, TWO, PLAN)


@pytest.mark.filterwarnings("ignore::infer_opt.bundle.BundleWarning")
def test_threads_that_run_and_submit_at_once_get_the_same_from_two_instances(two: Path) -> None:
    with infer_opt.load(two) as bundle:
        wanted = bundle.run({"x": ITEMS})["scores"]
        found: dict[int, np.ndarray] = {}

        def call(index: int) -> None:
            feed = {"x": ITEMS[index : index + 1]}
            answer = bundle.submit(feed).result(10) if index % 2 else bundle.run(feed)
            found[index] = answer["scores"]

        at_once(call)

    np.testing.assert_allclose(np.concatenate([found[index] for index in range(40)]), wanted, atol=1e-5)


@pytest.mark.filterwarnings("ignore::infer_opt.bundle.BundleWarning")
def test_what_one_of_two_instances_refuses_harms_nobody_else(two: Path) -> None:
    with infer_opt.load(two) as bundle:
        good = [bundle.submit({"x": ITEMS[:1]}) for _ in range(6)]
        bad = bundle.submit({"x": ITEMS[:1, :5]})
        cancelled = bundle.submit({"x": ITEMS[:1]})
        cancelled.cancel()
        more = [bundle.submit({"x": ITEMS[:1]}) for _ in range(6)]

        assert [future.result(10)["scores"].shape for future in good + more] == [(1, 3)] * 12
        with pytest.raises(ModelError):
            bad.result(10)


def test_a_bundles_plan_says_how_far_to_batch_unless_the_caller_does(tmp_path: Path) -> None:
    folder = written(tmp_path, ONE, PLAN)

    assert read(folder).limits == BatchingLimits(max_batch=4, max_wait_s=0.003)
    with infer_opt.load(folder, max_batch=2, max_wait_s=0.02) as bundle:
        futures = [bundle.submit({"x": ITEMS[:1]}) for _ in range(4)]
        assert all(future.result(10) for future in futures)
        assert bundle._batcher is not None
        assert bundle._batcher.counters.largest <= 2


@pytest.mark.parametrize("plan", [None, PLAN | {"max_batch": None, "max_wait_s": None}])
def test_a_bundle_that_does_not_say_how_far_batches_as_is_usual(tmp_path: Path, plan: Mapping[str, Any] | None) -> None:
    assert read(written(tmp_path, ONE, plan)).limits == BatchingLimits()


def test_a_machine_with_fewer_cores_opens_as_many_instances_as_it_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "usable_cores", lambda: 1.5)

    with pytest.warns(BundleWarning, match="measured with 2 instances of 1 threads; 1.5 cores may be used here"):
        bundle = infer_opt.load(written(tmp_path, TWO, PLAN))

    with bundle:
        assert [note.caution for note in bundle.notes] == [Caution.OTHER_MACHINE]
        assert bundle.run({"x": ITEMS[:1]})["scores"].shape == (1, 3)
        assert bundle.submit({"x": ITEMS[:1]}).result(10)["scores"].shape == (1, 3)


def test_instances_that_cannot_be_pinned_are_a_caution(two: Path) -> None:
    with pytest.warns(BundleWarning, match="no cores of their own"), infer_opt.load(two) as bundle:
        assert [note.caution for note in bundle.notes] == [Caution.UNPINNED]


def test_limits_that_make_no_sense_are_refused_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_batch"):
        infer_opt.load(tmp_path / "nowhere", max_batch=0)
