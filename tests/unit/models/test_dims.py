from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import zoo
from infer_opt.errors import ConfigError
from infer_opt.facts import ModelFacts
from infer_opt.models.dims import check_dims, resolve_dims
from infer_opt.models.inspecting import inspect
from infer_opt.results import Caution


def facts_of(model: onnx.ModelProto, tmp_path: Path) -> ModelFacts:
    return inspect(zoo.save(model, tmp_path / "model.onnx"))


def identity(*shape: int | str | None, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    return zoo.build(
        [helper.make_node("Identity", ["x"], ["y"])], [zoo.tensor("x", kind, shape)], [zoo.tensor("y", kind, shape)]
    )


def test_a_given_size_is_used_without_a_caution(tmp_path: Path) -> None:
    workload, notes = resolve_dims(facts_of(zoo.attention_block(), tmp_path), {"seq": 32})

    assert workload.sizes == {"seq": 32}
    assert notes == ()


def test_a_guess_is_said_with_the_option_that_replaces_it(tmp_path: Path) -> None:
    workload, (note,) = resolve_dims(facts_of(zoo.attention_block(), tmp_path), {})

    assert workload.sizes == {"seq": 128}
    assert note.caution is Caution.GUESSED_DIMENSION
    assert "'seq'" in note.text
    assert "--dim seq=VALUE" in note.text


@pytest.mark.parametrize(
    ("shape", "kind", "expected"),
    [
        (("batch", "sequence_length"), TensorProto.INT64, {"sequence_length": 128}),
        (("batch", 3, "height", "width"), TensorProto.FLOAT, {"height": 224, "width": 224}),
        (("batch", "features"), TensorProto.FLOAT, {"features": 16}),
        ((None, 3, None, None), TensorProto.FLOAT, {"x:2": 224, "x:3": 224}),
        ((None, None, None, 3), TensorProto.FLOAT, {"x:1": 224, "x:2": 224}),
        ((None, None), TensorProto.INT64, {"x:1": 128}),
        ((None, None), TensorProto.FLOAT, {"x:1": 16}),
        ((None, 4), TensorProto.FLOAT, {}),
    ],
)
def test_guesses_follow_names_and_layouts(
    tmp_path: Path, shape: tuple[int | str | None, ...], kind: int, expected: dict[str, int]
) -> None:
    workload, notes = resolve_dims(facts_of(identity(*shape, kind=kind), tmp_path), {})

    assert workload.sizes == expected
    assert len(notes) == len(expected)


def test_a_dimension_without_a_name_can_be_set_by_input_and_axis(tmp_path: Path) -> None:
    workload, notes = resolve_dims(facts_of(zoo.unnamed_dims(), tmp_path), {"ids:1": 7})

    assert workload.sizes == {"ids:1": 7}
    assert notes == ()


def test_sums_and_products_of_dimensions_are_worked_out(tmp_path: Path) -> None:
    facts = facts_of(identity("batch", "past + seq", "2*seq", "past", "seq"), tmp_path)

    workload, notes = resolve_dims(facts, {"seq": 3, "past": 10})

    assert workload.sizes == {"past + seq": 13, "2*seq": 6, "past": 10, "seq": 3}
    assert notes == ()


def test_an_unknown_dimension_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no dynamic dimension 'sec'") as caught:
        check_dims(facts_of(zoo.attention_block(), tmp_path), {"sec": 8})

    assert caught.value.hint == "did you mean 'seq'?"


def test_the_batch_is_not_set_as_a_dimension(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="counts the items") as caught:
        check_dims(facts_of(zoo.mlp(), tmp_path), {"batch": 8})

    assert caught.value.hint == "say --batch 8"


def test_a_size_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 or more, got 0"):
        check_dims(facts_of(zoo.attention_block(), tmp_path), {"seq": 0})
