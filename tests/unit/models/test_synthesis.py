from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import zoo
from infer_opt.errors import ConfigError, ModelError
from infer_opt.facts import ModelFacts
from infer_opt.models.inputs import synthesise
from infer_opt.models.inspecting import inspect
from infer_opt.protocols import Array
from infer_opt.results import Caution


def facts_of(model: onnx.ModelProto, tmp_path: Path) -> ModelFacts:
    return inspect(zoo.save(model, tmp_path / "model.onnx"))


def made_up(name: str, kind: int, tmp_path: Path) -> Array:
    """One made-up item for an input of that name and type, of shape (1, 64)."""
    model = zoo.build(
        [helper.make_node("Identity", ["out"], ["y"]), helper.make_node("Identity", [name], ["out"])][::-1],
        [zoo.tensor(name, kind, ["batch", "seq"])],
        [zoo.tensor("y", kind, ["batch", "seq"])],
    )
    return synthesise(facts_of(model, tmp_path), dims={"seq": 64}, seed=0).feeds[0][name]


def test_token_ids_lie_within_the_vocabulary_and_masks_are_ones(tmp_path: Path) -> None:
    samples = synthesise(facts_of(zoo.attention_block(), tmp_path), dims={"seq": 64}, seed=0)

    ids = np.concatenate([feed["input_ids"] for feed in samples.feeds])
    assert ids.shape == (16, 64)
    assert (ids.min(), ids.max()) == (0, zoo.VOCABULARY - 1)
    assert all((feed["attention_mask"] == 1).all() for feed in samples.feeds)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("token_type_ids", TensorProto.INT64, [0] * 64),
        ("position_ids", TensorProto.INT64, list(range(64))),
        ("input_lengths", TensorProto.INT32, [64] * 64),
        ("attention_mask", TensorProto.FLOAT, [1.0] * 64),
        ("mask", TensorProto.BOOL, [True] * 64),
    ],
)
def test_what_a_name_says_is_believed(tmp_path: Path, name: str, kind: int, expected: list[float]) -> None:
    assert made_up(name, kind, tmp_path).ravel().tolist() == expected


def test_other_values_follow_their_type(tmp_path: Path) -> None:
    floats = made_up("x", TensorProto.FLOAT, tmp_path)
    assert abs(floats.mean()) < 0.5
    assert 0.7 < floats.std() < 1.3

    assert set(made_up("x", TensorProto.INT64, tmp_path).ravel()) == {0, 1}
    assert made_up("x", TensorProto.UINT8, tmp_path).max() > 200
    assert set(made_up("x", TensorProto.BOOL, tmp_path).ravel()) == {False, True}
    strings = made_up("x", TensorProto.STRING, tmp_path)
    assert strings.dtype == object
    assert all(isinstance(text, str) for text in strings.ravel())
    assert made_up("x", TensorProto.BFLOAT16, tmp_path).dtype.name == "bfloat16"


def test_the_seed_decides_the_values(tmp_path: Path) -> None:
    facts = facts_of(zoo.mlp(), tmp_path)
    first, same, other = (synthesise(facts, dims={}, seed=seed).feeds[0]["x"] for seed in (1, 1, 2))

    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_items_differ_from_each_other(tmp_path: Path) -> None:
    feeds = synthesise(facts_of(zoo.mlp(), tmp_path), dims={}, seed=0, count=8).feeds

    assert len({feed["x"].tobytes() for feed in feeds}) == 8


def test_made_up_inputs_carry_a_caution_and_so_does_each_guess(tmp_path: Path) -> None:
    samples = synthesise(facts_of(zoo.attention_block(), tmp_path), dims={}, seed=0)

    assert samples.is_synthetic
    assert [note.caution for note in samples.notes] == [Caution.SYNTHETIC_INPUTS, Caution.GUESSED_DIMENSION]


def test_a_fixed_shape_is_honoured(tmp_path: Path) -> None:
    samples = synthesise(facts_of(zoo.fixed_batch(batch=4), tmp_path), dims={}, seed=0)

    assert samples.feeds[0]["x"].shape == (1, 8)
    assert samples.batched(4, count=1)[0]["x"].shape == (4, 8)


def test_what_a_batch_shares_is_the_same_for_all_items(tmp_path: Path) -> None:
    samples = synthesise(facts_of(zoo.shared_scalar(), tmp_path), dims={}, seed=0)

    (batch,) = samples.batched(8, count=1)
    assert batch["scale"].shape == ()
    assert len(np.unique(batch["x"], axis=0)) == 8


def test_large_items_are_fewer_and_too_large_ones_refused(tmp_path: Path) -> None:
    model = zoo.build(
        [helper.make_node("Not", ["x"], ["y"])],
        [zoo.tensor("x", TensorProto.BOOL, ["batch", "seq"])],
        [zoo.tensor("y", TensorProto.BOOL, ["batch", "seq"])],
    )
    facts = facts_of(model, tmp_path)

    assert len(synthesise(facts, dims={"seq": 100}, seed=0, keep_bytes=350).feeds) == 3
    assert len(synthesise(facts, dims={"seq": 1000}, seed=0, keep_bytes=350).feeds) == 1
    with pytest.raises(ConfigError, match="more than 2 GiB an item"):
        synthesise(facts, dims={"seq": 2**31 + 1}, seed=0)


def test_nothing_is_made_up_for_an_input_without_a_rank(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="declares no rank"):
        synthesise(facts_of(zoo.unknown_rank(), tmp_path), dims={}, seed=0)
