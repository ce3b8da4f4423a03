from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import zoo
from infer_opt.errors import ConfigError
from infer_opt.facts import ModelFacts
from infer_opt.models.distributions import resolve_shapes, sort_samples, synthesise_shapes
from infer_opt.models.inspecting import inspect
from infer_opt.models.loading import load_samples
from infer_opt.preparing import Prepared, prepare
from infer_opt.results import Caution

SEQ = {"seq": ((16, 0.5), (128, 0.3), (384, 0.2))}


def facts_of(model: onnx.ModelProto, folder: Path) -> ModelFacts:
    return inspect(zoo.save(model, folder / "model.onnx"))


def decoder() -> onnx.ModelProto:
    """x (batch, seq), memory (batch, past + seq), side (batch, past) -> y: one dimension follows from two others."""
    return zoo.build(
        [helper.make_node("Concat", ["x", "memory", "side"], ["y"], axis=1)],
        [
            zoo.floats("x", "batch", "seq"),
            zoo.floats("memory", "batch", "past + seq"),
            zoo.floats("side", "batch", "past"),
        ],
        [zoo.floats("y", "batch", None)],
    )


def texts(folder: Path, counts: dict[int, int]) -> Path:
    """Samples of an `attention_block`: length -> how many."""
    place = folder / "inputs"
    place.mkdir()
    for length, count in counts.items():
        ids = np.random.default_rng(length).integers(0, zoo.VOCABULARY, (count, length))
        np.savez(place / f"{length:04}.npz", input_ids=ids, attention_mask=np.ones_like(ids))
    return place


def sorted_samples(folder: Path, counts: dict[int, int]) -> list[tuple[set[int], int, bool]]:
    """By shape: the lengths in it, how many items, and whether they were made up."""
    facts = facts_of(zoo.attention_block(), folder)
    samples = load_samples(facts, texts(folder, counts), dims={})
    parts = sort_samples(facts, samples, dims={}, distributions=SEQ, seed=0)
    return [({feed["input_ids"].shape[1] for feed in part.feeds}, len(part.feeds), part.is_synthetic) for part in parts]


# Shapes


def test_shapes_are_all_combinations_and_their_shares_multiply(tmp_path: Path) -> None:
    facts = facts_of(decoder(), tmp_path)
    distributions = {"seq": ((1, 0.75), (8, 0.25)), "past": ((10, 0.5), (20, 0.5))}

    workload, notes, sizes = resolve_shapes(facts, {}, distributions)

    assert workload.weights == (0.375, 0.375, 0.125, 0.125)
    assert [shape.dims[0] for shape in workload.shapes] == [("seq", 1), ("seq", 1), ("seq", 8), ("seq", 8)]
    assert [found["past + seq"] for found in sizes] == [11, 21, 18, 28]
    assert (workload.dims, notes) == ((), ())
    assert workload.shapes[3].label == "seq=8, past + seq=28, past=20"


def test_what_all_shapes_have_in_common_is_no_part_of_their_names(tmp_path: Path) -> None:
    workload, _, _ = resolve_shapes(facts_of(decoder(), tmp_path), {"past": 10}, {"seq": ((1, 0.75), (8, 0.25))})

    assert workload.sizes == {"past": 10}
    assert [shape.label for shape in workload.shapes] == ["seq=1, past + seq=11", "seq=8, past + seq=18"]


def test_a_guess_for_another_dimension_is_said_once(tmp_path: Path) -> None:
    _, notes, _ = resolve_shapes(facts_of(decoder(), tmp_path), {}, {"seq": ((1, 0.5), (8, 0.5))})

    assert [note.caution for note in notes] == [Caution.GUESSED_DIMENSION]


@pytest.mark.parametrize(
    ("dims", "distributions", "part"),
    [
        ({}, {"sec": ((1, 0.5), (8, 0.5))}, "no dynamic dimension 'sec'"),
        ({}, {"batch": ((1, 0.5), (8, 0.5))}, "counts the items of a batch"),
        ({"seq": 4}, {"seq": ((1, 0.5), (8, 0.5))}, "has a size and a distribution"),
        ({}, {"seq": tuple((size, 1 / 9) for size in range(1, 10))}, "9 shapes together; the most is 8"),
        (
            {},
            {"seq": ((1, 0.3), (2, 0.3), (3, 0.4)), "past": ((1, 0.3), (2, 0.3), (3, 0.4))},
            "seq and past make 9 shapes",
        ),
    ],
)
def test_distributions_that_make_no_sense_are_refused(
    tmp_path: Path, dims: dict[str, int], distributions: dict[str, tuple[tuple[int, float], ...]], part: str
) -> None:
    with pytest.raises(ConfigError, match=part) as caught:
        resolve_shapes(facts_of(decoder(), tmp_path), dims, distributions)

    assert caught.value.hint


# Inputs


def test_inputs_are_made_up_for_each_shape(tmp_path: Path) -> None:
    parts = synthesise_shapes(facts_of(zoo.attention_block(), tmp_path), dims={}, distributions=SEQ, seed=0)

    assert [{feed["input_ids"].shape for feed in part.feeds} for part in parts] == [{(1, 16)}, {(1, 128)}, {(1, 384)}]
    assert {part.workload.weights for part in parts} == {(0.5, 0.3, 0.2)}


def test_real_inputs_are_sorted_into_the_shapes_by_their_sizes(tmp_path: Path) -> None:
    assert sorted_samples(tmp_path, {384: 5, 16: 9, 128: 6}) == [({16}, 9, False), ({128}, 6, False), ({384}, 5, False)]


def test_where_no_input_has_a_shape_some_are_made_up(tmp_path: Path) -> None:
    assert sorted_samples(tmp_path, {16: 9, 128: 6}) == [({16}, 9, False), ({128}, 6, False), ({384}, 16, True)]


def test_inputs_that_have_none_of_the_sizes_are_refused_and_never_cut(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none of the 5 samples has a size .* they have seq=17; seq=18") as caught:
        sorted_samples(tmp_path, {17: 2, 18: 3})

    assert caught.value.hint


# Files of feeds


def prepared(folder: Path, *, counts: dict[int, int] | None = None, batches: tuple[int, ...] = (1,)) -> Prepared:
    facts = facts_of(zoo.attention_block(), folder)
    inputs = None if counts is None else texts(folder, counts)
    return prepare(facts, folder, inputs=inputs, dims={}, batches=batches, seed=0, distributions=SEQ)


def lengths(path: Path) -> list[tuple[int, ...]]:
    from infer_opt.models.feeds import load_feeds

    return [feed["input_ids"].shape for feed in load_feeds(path)]


@pytest.mark.parametrize("batch", [1, 4])
def test_feeds_of_several_shapes_lie_in_turn(tmp_path: Path, batch: int) -> None:
    found = prepared(tmp_path, counts={16: 9, 128: 6, 384: 2}, batches=(batch,))

    shapes = lengths(found.feeds[batch])
    assert len(shapes) >= 12, "four of each shape at least"
    assert shapes == [(batch, 16), (batch, 128), (batch, 384)] * (len(shapes) // 3)
    assert found.workload.weights == (0.5, 0.3, 0.2)
    assert not found.is_synthetic


def test_samples_that_fit_no_shape_and_shapes_without_samples_are_said(tmp_path: Path) -> None:
    found = prepared(tmp_path, counts={16: 9, 128: 6, 77: 3})

    texts_of = {note.caution: note.text for note in found.notes}
    assert "no sample of seq=384 was given" in texts_of[Caution.SYNTHETIC_INPUTS]
    few = [note.text for note in found.notes if note.caution is Caution.FEW_SAMPLES]
    assert any("3 of 18 samples were left out" in text and "seq=77" in text for text in few)
    assert found.calibration is not None
    assert {size for _, size in lengths(found.calibration)} == {16, 128}, "made-up inputs calibrate nothing"


def test_made_up_inputs_of_several_shapes_are_said_once(tmp_path: Path) -> None:
    found = prepared(tmp_path)

    assert [note.caution for note in found.notes] == [Caution.SYNTHETIC_INPUTS]
    assert (found.is_synthetic, found.calibration, found.samples) == (True, None, 48)
