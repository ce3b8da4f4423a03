import pytest

from infer_opt.facts import Dim, ModelFacts, TensorSpec
from infer_opt.models.axes import batch_axis, find_batch_dim, fixed_batch


def spec(*shape: Dim, name: str = "x") -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=shape)


def facts(inputs: list[TensorSpec], outputs: list[TensorSpec] | None = None) -> ModelFacts:
    return ModelFacts(
        path="model.onnx",
        content_hash="0",
        size_bytes=0,
        weight_bytes=0,
        ir_version=8,
        opset=17,
        inputs=tuple(inputs),
        outputs=tuple(outputs or []),
        operators=(),
        batch_dim=find_batch_dim(inputs),
    )


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([spec("batch", 3)], "batch"),
        ([spec("N", 3, 224, 224)], "N"),
        ([spec(None, 3)], ""),
        ([spec(1, 3)], None),
        ([spec("items", 3), spec("items", 5)], "items"),
        ([spec("batch_size", "seq"), spec("batch_size", 12, "past", 64)], "batch_size"),
        ([spec("time", "batch", 3)], "batch"),
        ([spec(2, "batch", 64), spec("batch", 1)], "batch"),
        ([spec("seq")], None),
        ([spec("num_nodes", 16), spec(2, "num_edges")], None),
        ([spec("unk_1", "unk_2"), spec("unk_3", "unk_4")], None),
        ([spec(None, 8), spec(1, 64)], ""),
        ([spec()], None),
        ([TensorSpec(name="x", dtype="float32", shape=None)], None),
    ],
)
def test_the_batch_is_the_dynamic_dimension_that_counts_items(inputs: list[TensorSpec], expected: str | None) -> None:
    assert find_batch_dim(inputs) == expected


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        ([spec("batch", 3)], [spec("batch", 2)], None),
        ([spec(1, 3)], [spec(1, 2)], 1),
        ([spec(4, 3)], [spec(4, 2)], 4),
        ([spec(3, 224, 224)], [spec(1000)], 1),
        ([spec(10)], [spec(10)], 1),
        ([spec(4, 3), spec(5, 3)], [spec(4, 2)], 1),
    ],
)
def test_a_fixed_first_axis_is_a_batch_only_if_all_tensors_share_it(
    inputs: list[TensorSpec], outputs: list[TensorSpec], expected: int | None
) -> None:
    assert fixed_batch(facts(inputs, outputs)) == expected


def test_items_lie_where_the_batch_dimension_is_and_scalars_are_shared() -> None:
    state, flag, plain = spec(2, "batch", 64, name="state"), spec(name="flag"), spec("batch", 4, name="plain")
    found = facts([state, flag, plain])

    assert [batch_axis(found, one) for one in (state, flag, plain)] == [1, None, 0]
