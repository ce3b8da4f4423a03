"""The ladder's networks: what they compute, by hand, and what they have to do."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from scripts.ladder import networks, sizes
from scripts.ladder.networks import NETWORKS, Network, inputs, read_weights, weights_file, write_feeds, write_network
from scripts.ladder.onnx_networks import written
from scripts.ladder.sizes import BertSize, LstmSize, PolicySize, Size
from scripts.ladder.weights import drawn
from scripts.ladder.work import Work, work_of

from infer_opt.config import SessionOptions
from infer_opt.models.feeds import load_feeds
from infer_opt.runtimes.onnx import OnnxRuntime


class Zeros:
    """Draws nothing: for what depends on shapes alone."""

    def standard_normal(self, shape: Any, dtype: Any = np.float32) -> Any:
        return np.zeros(shape, dtype)

    def uniform(self, low: float, high: float, shape: Any) -> Any:
        return np.zeros(shape)


def work(size: Size, **dims: int) -> Work:
    return work_of(written(size, drawn(size, Zeros())), dims)  # type: ignore[arg-type]


def answers(size: Size, folder: Path, feeds: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ONNX Runtime answers, and the weights that it had."""
    write_network(folder / "model.onnx", size, [1], halves=False)
    session = OnnxRuntime().open(folder / "model.onnx", SessionOptions())
    found, weights = read_weights(weights_file(folder / "model.onnx"))
    assert found == size
    return session.run(feeds), weights


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def test_resnet50_takes_the_multiply_adds_of_its_paper() -> None:
    found = work(sizes.RESNET50, batch=1)

    assert found.operations == pytest.approx(2 * 4.09e9, rel=0.005)
    assert found.weights == pytest.approx(25.6e6, rel=0.01)
    assert found.input_bytes == 3 * 224 * 224 * 4
    assert found.output_bytes == 4000


def test_an_encoder_takes_what_its_layers_do() -> None:
    hidden, length, layers = 384, 128, 6
    products = layers * (4 * hidden**2 + 2 * hidden * 4 * hidden) * length
    attention = layers * 2 * length**2 * hidden

    found = work(sizes.MINILM, batch=8, seq=length)

    assert found.operations == 8 * 2 * (products + attention)
    # Of the table of 30,522 words only the rows that are looked up are read.
    assert found.weights < layers * 12 * hidden**2 * 1.05 + 8 * length * hidden * 3


def test_recurrent_and_dense_layers_are_counted_for_each_step_and_item() -> None:
    lstm = work(LstmSize(inputs=3, hidden=5, layers=1, length=7, classes=2), batch=2)
    policy = work(PolicySize(inputs=4, hidden=(6,), actions=3), batch=2)

    assert lstm.operations == 2 * 7 * 2 * 4 * 5 * (3 + 5) + 2 * 2 * 5 * 2
    assert policy.operations == 2 * 2 * (4 * 6 + 6 * 3)
    assert policy.weights == 4 * 6 + 6 + 6 * 3 + 3


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_every_miniature_is_a_model_that_answers_in_range(network: Network, tmp_path: Path) -> None:
    size = network.size(miniature=True)
    path = tmp_path / "model.onnx"

    known = write_network(path, size, [1, 3], halves=True)

    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert known.works[3].operations == pytest.approx(3 * known.works[1].operations)
    assert known.facts.batch_dim == "batch"
    feeds = inputs(size, 3, np.random.default_rng(0))
    whole = OnnxRuntime().open(path, SessionOptions()).run(feeds)
    assert all(np.isfinite(value).all() and 1e-3 < value.std() < 100 for value in whole.values())
    if known.problem is None:
        half = OnnxRuntime().open(networks.half_file(path), SessionOptions()).run(feeds)
        assert all(np.allclose(half[name], value, atol=0.05) for name, value in whole.items())


def test_every_network_has_its_half_or_says_why_not(tmp_path: Path) -> None:
    problems = {
        network.name: write_network(tmp_path / f"{network.name}.onnx", network.tiny, [1], halves=True).problem
        for network in NETWORKS
    }

    assert [name for name, problem in problems.items() if problem is not None] == []


def test_an_lstm_computes_what_its_equations_say(tmp_path: Path) -> None:
    size = LstmSize(inputs=3, hidden=4, layers=1, length=5, classes=2)
    feeds = inputs(size, 2, np.random.default_rng(1))

    found, weights = answers(size, tmp_path, feeds)

    state, cell = np.zeros((2, 4)), np.zeros((2, 4))
    for step in range(5):
        gates = feeds["sequence"][:, step] @ weights["lstm.weight_ih_l0"].T + weights["lstm.bias_ih_l0"]
        gates = gates + state @ weights["lstm.weight_hh_l0"].T + weights["lstm.bias_hh_l0"]
        taken, forgotten, new, shown = np.split(gates, 4, axis=1)  # PyTorch's order
        cell = sigmoid(forgotten) * cell + sigmoid(taken) * np.tanh(new)
        state = sigmoid(shown) * np.tanh(cell)
    expected = state @ weights["head.weight"].T + weights["head.bias"]
    np.testing.assert_allclose(found["scores"], expected, atol=1e-5)


def test_a_policy_computes_what_its_layers_say(tmp_path: Path) -> None:
    size = PolicySize(inputs=3, hidden=(4,), actions=2)
    feeds = inputs(size, 5, np.random.default_rng(1))

    found, weights = answers(size, tmp_path, feeds)

    hidden = np.maximum(feeds["observation"] @ weights["layers.0.weight"].T + weights["layers.0.bias"], 0)
    np.testing.assert_allclose(
        found["actions"], hidden @ weights["layers.2.weight"].T + weights["layers.2.bias"], atol=1e-5
    )


def test_padding_does_not_change_a_sentence(tmp_path: Path) -> None:
    size = BertSize(layers=1, hidden=8, heads=2, vocabulary=20, positions=8, length=6)
    feeds = inputs(size, 1, np.random.default_rng(4))
    feeds["attention_mask"][:, 4:] = 0
    other = {name: value.copy() for name, value in feeds.items()}
    other["input_ids"][:, 4:] = 7  # under the mask

    first, _ = answers(size, tmp_path, feeds)
    second, _ = answers(size, tmp_path, other)

    np.testing.assert_allclose(first["sentence_embedding"], second["sentence_embedding"], atol=1e-5)


@pytest.mark.parametrize(("room", "count"), [(1 << 20, 16), (5 * 3 * 16 * 16 * 4, 5), (1, 4)])
def test_inputs_are_several_and_few_where_they_are_large(
    room: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "FEED_BYTES", room)

    assert write_feeds(tmp_path / "feeds.npz", sizes.TINY_VIT, 1) == count

    feeds = load_feeds(tmp_path / "feeds.npz")
    assert len(feeds) == count
    assert not np.array_equal(feeds[0]["image"], feeds[1]["image"])
