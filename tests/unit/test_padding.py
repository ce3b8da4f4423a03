"""Padding, on real models: one whose mask hides what is filled up, and one that reads it."""

import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

import zoo
from infer_opt.config import SessionOptions, Workload
from infer_opt.errors import ModelError
from infer_opt.facts import ModelFacts, TensorSpec
from infer_opt.models.inspecting import inspect
from infer_opt.padding import PaddedSession, padded
from infer_opt.parity import compare
from infer_opt.protocols import Array, Feeds, Session
from infer_opt.recipes import Buckets, Recipe
from infer_opt.runtimes.onnx import OnnxRuntime
from infer_opt.transforms.apply import build

BUCKETS: Buckets = (("seq", (8, 32)),)


class Echo:
    """Gives its inputs back, and remembers them."""

    placement = None
    inputs = (TensorSpec(name="x", dtype="float32", shape=("batch", "seq")),)
    outputs = inputs

    def __init__(self) -> None:
        self.fed: list[Feeds] = []
        self.is_closed = False

    def run(self, feeds: Feeds) -> dict[str, Array]:
        self.fed.append(feeds)
        return dict(feeds)

    def close(self) -> None:
        self.is_closed = True


def echoing(*shape: int | str | None, buckets: Buckets = BUCKETS, names: str = "x") -> tuple[Session, Echo]:
    echo = Echo()
    specs = [TensorSpec(name=name, dtype="float32", shape=shape) for name in names]
    return padded(echo, buckets, inputs=specs, outputs=specs), echo


def tokens(length: int, *, batch: int = 1, seed: int = 0) -> dict[str, Array]:
    ids = np.random.default_rng(seed).integers(0, zoo.VOCABULARY, (batch, length))
    return {"input_ids": ids, "attention_mask": np.ones((batch, length), np.int64)}


def opened(model: onnx.ModelProto, folder: Path, buckets: Buckets, *, recipe: Recipe | None = None) -> tuple[
    Session, Session, ModelFacts
]:  # fmt: skip
    """The model as given, and the padded one."""
    path = zoo.save(model, folder / "model.onnx")
    facts = inspect(path)
    artefact = path
    if recipe is not None:
        artefact = build(path, recipe, folder=folder / "built", workload=Workload().filled_up(buckets))
    stock = OnnxRuntime().open(path, SessionOptions())
    session = OnnxRuntime().open(artefact, SessionOptions())
    return stock, padded(session, buckets, inputs=facts.inputs, outputs=facts.outputs), facts


# On real models


@pytest.mark.parametrize("length", [1, 5, 8, 9, 31, 32])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_model_whose_mask_hides_the_padding_gives_the_same_outputs(tmp_path: Path, length: int, batch: int) -> None:
    stock, session, _ = opened(zoo.attention_block(), tmp_path, BUCKETS)
    feed = tokens(length, batch=batch)

    hidden = session.run(feed)["hidden"]

    assert hidden.shape == (batch, length, 16)
    np.testing.assert_allclose(hidden, stock.run(feed)["hidden"], atol=1e-5)


def test_a_graph_of_one_fixed_size_takes_all_sizes_up_to_it(tmp_path: Path) -> None:
    buckets: Buckets = (("seq", (32,)),)
    stock, session, _ = opened(zoo.attention_block(), tmp_path, buckets, recipe=Recipe(fixed_shapes=True))

    for length in (3, 32):
        feed = tokens(length)
        np.testing.assert_allclose(session.run(feed)["hidden"], stock.run(feed)["hidden"], atol=1e-5)
    with pytest.raises(ModelError, match="33"):
        session.run(tokens(33))


def test_what_is_larger_than_the_largest_bucket_runs_as_it_is(tmp_path: Path) -> None:
    stock, session, _ = opened(zoo.attention_block(), tmp_path, BUCKETS)
    feed = tokens(40)

    np.testing.assert_array_equal(session.run(feed)["hidden"], stock.run(feed)["hidden"])


def test_a_model_that_reads_the_padding_fails_parity_and_says_by_how_much(tmp_path: Path) -> None:
    stock, session, facts = opened(zoo.lstm_net(), tmp_path, (("time", (16,)),))
    feeds = [
        {facts.inputs[0].name: np.random.default_rng(seed).normal(size=(1, length, 4)).astype(np.float32)}
        for seed, length in enumerate((2, 4, 16))
    ]

    parity = compare([stock.run(feed) for feed in feeds], [session.run(feed) for feed in feeds], tolerance=0.99)
    whole = compare([stock.run(feeds[2])], [session.run(feeds[2])], tolerance=0.99)

    assert not parity.passed
    assert "below 0.99" in str(parity.reason)
    assert whole.passed, "the largest size is not filled up"


def test_many_threads_may_run_it_with_different_sizes(tmp_path: Path) -> None:
    stock, session, _ = opened(zoo.attention_block(), tmp_path, BUCKETS)
    wrong: list[int] = []

    def call(length: int) -> None:
        for seed in range(20):
            feed = tokens(length, seed=seed)
            if not np.allclose(session.run(feed)["hidden"], stock.run(feed)["hidden"], atol=1e-5):
                wrong.append(length)

    threads = [threading.Thread(target=call, args=(length,)) for length in (2, 7, 9, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


# What is filled up, and with what


def test_zeros_are_appended_up_to_the_next_bucket() -> None:
    session, echo = echoing("batch", "seq")
    x = np.ones((2, 5), np.float32)

    answer = session.run({"x": x})["x"]

    assert echo.fed[0]["x"].shape == (2, 8)
    assert echo.fed[0]["x"].dtype == np.float32
    np.testing.assert_array_equal(echo.fed[0]["x"], np.pad(x, ((0, 0), (0, 3))))
    np.testing.assert_array_equal(answer, x)


def test_what_fills_a_bucket_is_handed_on_without_a_copy() -> None:
    session, echo = echoing("batch", "seq")
    x = np.ones((2, 8), np.float32)

    session.run({"x": x})

    assert echo.fed[0]["x"] is x


def test_several_dimensions_are_filled_up_at_once_and_others_left_alone() -> None:
    session, echo = echoing("batch", "height", "width", 3, buckets=(("height", (8,)), ("width", (4, 16))))

    answer = session.run({"x": np.ones((2, 5, 6, 3), np.float32)})["x"]

    assert echo.fed[0]["x"].shape == (2, 8, 16, 3)
    assert answer.shape == (2, 5, 6, 3)
    assert answer.all()


def test_a_dimension_without_a_name_is_called_as_the_command_line_calls_it() -> None:
    session, echo = echoing(None, None, buckets=(("x:1", (8,)),))

    session.run({"x": np.ones((2, 5), np.float32)})

    assert echo.fed[0]["x"].shape == (2, 8)


def test_strings_are_filled_up_with_empty_ones() -> None:
    session, echo = echoing("batch", "seq")

    session.run({"x": np.array([["a", "b"]], dtype=object)})

    assert echo.fed[0]["x"].tolist() == [["a", "b", *[""] * 6]]


def test_inputs_that_disagree_on_a_size_are_refused() -> None:
    session, _ = echoing("batch", "seq", names="xy")

    with pytest.raises(ModelError, match="input y has 6 along seq, another input 5"):
        session.run({"x": np.ones((1, 5), np.float32), "y": np.ones((1, 6), np.float32)})


def test_an_output_that_carries_the_name_and_not_the_size_is_left_alone() -> None:
    echo = Echo()
    pooled = TensorSpec(name="y", dtype="float32", shape=("batch", "seq"))
    session = padded(echo, BUCKETS, inputs=Echo.inputs, outputs=[pooled])
    echo.run = lambda feeds: {"y": feeds["x"][:, :3]}  # type: ignore[method-assign]

    assert session.run({"x": np.ones((1, 5), np.float32)})["y"].shape == (1, 3)


@pytest.mark.parametrize("feed", [{}, {"x": [1.0]}, {"x": np.float32(1)}, {"z": np.ones((1, 5))}])
def test_what_the_runtime_is_to_refuse_reaches_it(feed: dict[str, Array]) -> None:
    session, echo = echoing("batch", "seq")

    def refuse(feeds: Feeds) -> dict[str, Array]:
        echo.fed.append(feeds)
        raise ModelError("refused")

    echo.run = refuse  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="refused"):
        session.run(feed)

    assert echo.fed == [feed]


def test_without_buckets_the_session_is_itself_and_with_them_it_closes_its_own() -> None:
    echo = Echo()

    assert padded(echo, (), inputs=(), outputs=()) is echo
    session = padded(echo, BUCKETS, inputs=Echo.inputs, outputs=Echo.outputs)
    session.close()

    assert isinstance(session, PaddedSession)
    assert echo.is_closed
    assert session.inputs == Echo.inputs
