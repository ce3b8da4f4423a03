from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import zoo
from infer_opt.errors import ConfigError, ModelError
from infer_opt.facts import ModelFacts
from infer_opt.models.inputs import Samples, load_samples
from infer_opt.models.inspecting import inspect
from infer_opt.protocols import Array
from infer_opt.results import Caution

GENERATOR = np.random.default_rng(0)


def facts_of(model: onnx.ModelProto, tmp_path: Path) -> ModelFacts:
    return inspect(zoo.save(model, tmp_path / "model.onnx"))


def load(model: onnx.ModelProto, tmp_path: Path, dims: dict[str, int] | None = None, /, **arrays: Array) -> Samples:
    """What is read from one npz of these arrays."""
    path = tmp_path / "inputs.npz"
    np.savez(path, allow_pickle=True, **arrays)
    return load_samples(facts_of(model, tmp_path), path, dims=dims or {})


def refusal(model: onnx.ModelProto, tmp_path: Path, **arrays: Array) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load(model, tmp_path, **arrays)
    assert "\n" not in caught.value.what
    assert caught.value.hint
    return caught.value


def rows(*shape: int) -> Array:
    return GENERATOR.normal(size=shape).astype(np.float32)


def test_the_first_axis_counts_samples(tmp_path: Path) -> None:
    x = rows(5, 8)

    samples = load(zoo.mlp(), tmp_path, x=x)

    assert len(samples.feeds) == 5
    assert not samples.is_synthetic
    assert samples.notes == ()
    assert np.array_equal(np.concatenate([feed["x"] for feed in samples.feeds]), x)


def test_one_axis_more_makes_each_row_a_whole_input(tmp_path: Path) -> None:
    x = rows(5, 1, 8)

    samples = load(zoo.mlp(), tmp_path, x=x)

    assert [feed["x"].shape for feed in samples.feeds] == [(1, 8)] * 5
    assert np.array_equal(samples.feeds[3]["x"], x[3])


def test_whole_inputs_of_several_items_are_taken_apart(tmp_path: Path) -> None:
    x = rows(3, 4, 8)

    samples = load(zoo.fixed_batch(batch=4), tmp_path, x=x)

    assert len(samples.feeds) == 12
    assert np.array_equal(samples.batched(4)[1]["x"], x[1])


def test_items_along_another_axis_are_found_there(tmp_path: Path) -> None:
    sequence = rows(7, 5, 3)

    samples = load(zoo.time_major(), tmp_path, sequence=sequence)

    assert [feed["sequence"].shape for feed in samples.feeds] == [(7, 1, 3)] * 5
    assert samples.workload.sizes == {"time": 7}
    assert np.array_equal(samples.batched(5)[0]["sequence"], sequence)


def test_a_shared_input_is_given_once_or_once_for_each_item(tmp_path: Path) -> None:
    x = rows(3, 4)

    once = load(zoo.shared_scalar(), tmp_path, x=x, scale=np.float32(2))
    each = load(zoo.shared_scalar(), tmp_path, x=x, scale=np.array([1, 2, 3], np.float32))

    assert [float(feed["scale"]) for feed in once.feeds] == [2, 2, 2]
    assert [float(feed["scale"]) for feed in each.feeds] == [1, 2, 3]
    assert all(feed["scale"].shape == () for feed in each.feeds)


def test_a_directory_is_read_in_the_order_of_names_and_may_be_ragged(tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    for name, length in (("b", 6), ("a", 4), ("c", 6)):
        ids = np.full((1, length), length)
        np.savez(folder / f"{name}.npz", input_ids=ids, attention_mask=np.ones_like(ids))

    samples = load_samples(facts_of(zoo.attention_block(), tmp_path), folder, dims={})

    assert [feed["input_ids"].shape[1] for feed in samples.feeds] == [4, 6, 6]
    assert samples.workload.sizes == {}
    assert [batch["input_ids"].shape for batch in samples.batched(2)] == [(2, 4), (2, 6)]


def test_labels_are_left_alone_and_other_strangers_are_not(tmp_path: Path) -> None:
    assert len(load(zoo.mlp(), tmp_path, x=rows(5, 8), labels=np.arange(5)).feeds) == 5

    error = refusal(zoo.mlp(), tmp_path, x=rows(5, 8), extra=rows(5, 1))
    assert "an array 'extra' that is no input of the model: expected x: float32[batch, 8], given" in error.what


def test_a_wrong_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    ids = np.zeros((2, 4), np.int64)

    error = refusal(zoo.attention_block(), tmp_path, input_id=ids, attention_mask=ids)

    assert "no input 'input_ids'" in error.what
    assert "expected input_ids: int64[batch, seq]; attention_mask: int64[batch, seq]" in error.what
    assert "given input_id: int64[2, 4]" in error.what
    assert error.hint == "did you mean 'input_ids' where you wrote 'input_id'?"


@pytest.mark.parametrize("shape", [(5, 9), (8,), (5, 1, 9), (5, 1, 1, 8)])
def test_a_wrong_shape_prints_expected_and_given(tmp_path: Path, shape: tuple[int, ...]) -> None:
    error = refusal(zoo.mlp(), tmp_path, x=rows(*shape))

    assert f"expected x: float32[batch, 8], given float32{list(shape)}" in error.what


@pytest.mark.parametrize(
    ("kind", "given", "taken"),
    [
        (TensorProto.FLOAT, np.ones((2, 4), np.float64), "float32"),
        (TensorProto.FLOAT, np.full((2, 4), 1e300), None),
        (TensorProto.FLOAT, np.full((2, 4), -np.inf), "float32"),
        (TensorProto.FLOAT, np.ones((2, 4), np.uint8), "float32"),
        (TensorProto.FLOAT, np.full((2, 4), 2**24 + 1), None),
        (TensorProto.FLOAT, np.ones((2, 4), ">f4"), "float32"),
        (TensorProto.INT32, np.ones((2, 4), np.int64), "int32"),
        (TensorProto.INT32, np.full((2, 4), 2**40), None),
        (TensorProto.INT64, np.ones((2, 4), np.float32), None),
        (TensorProto.INT64, np.ones((2, 4), bool), "int64"),
        (TensorProto.BOOL, np.ones((2, 4), np.int64), None),
        (TensorProto.BFLOAT16, np.ones((2, 4), np.float32), "bfloat16"),
        (TensorProto.FLOAT16, np.full((2, 4), 1e6, np.float32), None),
        (TensorProto.FLOAT, np.full((2, 4), "1"), None),
    ],
)
def test_element_types_are_cast_only_where_values_survive(
    tmp_path: Path, kind: int, given: Array, taken: str | None
) -> None:
    model = zoo.exotic_input(kind)
    if taken is None:
        assert f"given {given.dtype}[2, 4]" in refusal(model, tmp_path, x=given).what
    else:
        (first, _) = load(model, tmp_path, x=given).feeds
        assert first["x"].dtype.name == taken
        assert first["x"].astype(np.float64).tolist() == given[:1].astype(np.float64).tolist()


def test_text_becomes_strings_and_pickles_are_never_loaded(tmp_path: Path) -> None:
    words = np.array([["a", "b"], ["c", "d"]])

    (first, _) = load(zoo.string_net(), tmp_path, text=words).feeds
    assert first["text"].dtype == object
    assert first["text"].tolist() == [["a", "b"]]

    assert "pickled Python objects" in refusal(zoo.string_net(), tmp_path, text=words.astype(object)).what


def test_inputs_that_disagree_are_refused(tmp_path: Path) -> None:
    ids, mask = np.zeros((3, 4), np.int64), np.ones((3, 4), np.int64)

    more = refusal(zoo.attention_block(), tmp_path, input_ids=ids, attention_mask=mask[:2])
    longer = refusal(zoo.attention_block(), tmp_path, input_ids=ids, attention_mask=mask[:, :3])

    assert "different numbers of samples" in more.what
    assert "'seq' is 4 and 3 at once" in longer.what


def test_a_size_on_the_command_line_must_be_that_of_the_inputs(tmp_path: Path) -> None:
    ids = np.zeros((3, 4), np.int64)

    samples = load(zoo.attention_block(), tmp_path, {"seq": 4}, input_ids=ids, attention_mask=ids)
    assert samples.workload.sizes == {"seq": 4}
    with pytest.raises(ConfigError, match="--dim seq=9 contradicts"):
        load(zoo.attention_block(), tmp_path, {"seq": 9}, input_ids=ids, attention_mask=ids)


def test_a_token_id_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    ids = np.array([[0, zoo.VOCABULARY]])

    error = refusal(zoo.attention_block(), tmp_path, input_ids=ids, attention_mask=np.ones_like(ids))

    assert "indexes a table of 50 rows with values from 0 to 50" in error.what


def test_missing_values_are_refused_unless_the_model_may_handle_them(tmp_path: Path) -> None:
    assert "holds NaN" in refusal(zoo.mlp(), tmp_path, x=np.full((2, 8), np.nan, np.float32)).what
    assert load(zoo.tree_regressor(), tmp_path, x=np.full((2, 2), np.nan, np.float32)).feeds


def test_no_samples_at_all_is_an_error(tmp_path: Path) -> None:
    assert "holds no samples" in refusal(zoo.mlp(), tmp_path, x=rows(0, 8)).what


def test_more_than_fits_is_left_out_and_said(tmp_path: Path) -> None:
    x = rows(100, 8)
    np.savez_compressed(tmp_path / "inputs.npz", x=x)

    samples = load_samples(facts_of(zoo.mlp(), tmp_path), tmp_path / "inputs.npz", dims={}, keep_bytes=10 * 8 * 4)

    (note,) = samples.notes
    assert np.array_equal(np.concatenate([feed["x"] for feed in samples.feeds]), x[:10])
    assert note.caution is Caution.FEW_SAMPLES
    assert "first 10 of 100" in note.text


def test_the_memory_bound_holds_over_a_whole_directory(tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    for index in range(5):
        np.savez(folder / f"{index}.npz", x=rows(4, 8))

    samples = load_samples(facts_of(zoo.mlp(), tmp_path), folder, dims={}, keep_bytes=6 * 8 * 4)

    assert len(samples.feeds) == 6
    assert "first 6 of 20" in samples.notes[0].text


def test_column_major_arrays_are_read_right(tmp_path: Path) -> None:
    x = np.asfortranarray(rows(5, 8))

    samples = load(zoo.mlp(), tmp_path, x=x)

    assert np.array_equal(np.concatenate([feed["x"] for feed in samples.feeds]), x)
    assert all(feed["x"].flags.c_contiguous for feed in samples.feeds)


def test_rows_of_an_input_without_a_rank_are_whole_inputs(tmp_path: Path) -> None:
    samples = load(zoo.unknown_rank(), tmp_path, x=rows(4, 2, 3))

    assert [feed["x"].shape for feed in samples.feeds] == [(2, 3)] * 4


def test_what_is_no_npz_is_refused(tmp_path: Path) -> None:
    facts = facts_of(zoo.mlp(), tmp_path)
    empty, text, cut = tmp_path / "empty", tmp_path / "text.npz", tmp_path / "cut.npz"
    empty.mkdir()
    text.write_text("x = 1")
    np.savez(cut, x=rows(50, 8))
    cut.write_bytes(cut.read_bytes()[:-300])

    for path, said in (
        (tmp_path / "absent.npz", "there are no inputs"),
        (empty, "holds no .npz file"),
        (text, "not a readable npz file"),
        (cut, "not a readable npz file"),
    ):
        with pytest.raises(ModelError, match=said):
            load_samples(facts, path, dims={})


def test_damage_inside_an_array_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "inputs.npz"
    np.savez(path, x=rows(20_000, 8))
    content = bytearray(path.read_bytes())
    content[500_000] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(ModelError, match="damaged"):
        load_samples(facts_of(zoo.mlp(), tmp_path), path, dims={})
