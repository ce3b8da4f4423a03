from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, helper, numpy_helper

import zoo
from infer_opt.transforms.folding import drop_dead, fold_constants
from infer_opt.transforms.model_files import infer_shapes


def model_of(*nodes: NodeProto, constants: dict[str, Any], shape: tuple[int | str, ...] = (2, 3)) -> ModelProto:
    """The nodes, then y = x + k of the last one's output."""
    return zoo.build(
        [*nodes, helper.make_node("Add", ["x", nodes[-1].output[0]], ["y"])],
        [zoo.floats("x", *shape)],
        [zoo.floats("y", None)],
        initialisers=[zoo.constant(name, value, dtype) for name, (value, dtype) in constants.items()],
    )


def folded_value(model: ModelProto, name: str) -> Any:
    return next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)


def test_a_chain_of_constants_becomes_one() -> None:
    model = model_of(
        helper.make_node("Mul", ["a", "a"], ["b"]),
        helper.make_node("Concat", ["b", "a"], ["c"], axis=0),
        helper.make_node("Unsqueeze", ["c", "axes"], ["k"]),
        constants={"a": ([2.0], "float32"), "axes": ([0], "int64")},
    )

    assert fold_constants(model) == 3
    drop_dead(model)

    assert [tensor.name for tensor in model.graph.initializer] == ["k"]
    np.testing.assert_array_equal(folded_value(model, "k"), [[4.0, 2.0]])


def test_integer_division_rounds_towards_zero_as_the_runtime_does() -> None:
    model = model_of(
        helper.make_node("Div", ["a", "b"], ["q"]),
        helper.make_node("Cast", ["q"], ["k"], to=1),
        constants={"a": ([-7], "int64"), "b": ([2], "int64")},
    )

    fold_constants(model)

    assert folded_value(model, "k").tolist() == [-3.0]


def test_what_would_make_the_file_explode_is_not_folded() -> None:
    model = model_of(
        helper.make_node("ConstantOfShape", ["size"], ["k"]), constants={"size": ([1000, 1000, 3], "int64")}
    )

    assert fold_constants(model, limit_bytes=2**20) == 0
    assert fold_constants(model, limit_bytes=2**25) == 1


def test_the_limit_counts_all_that_is_added() -> None:
    nodes = [helper.make_node("ConstantOfShape", ["size"], [f"k{index}"]) for index in range(4)]
    model = model_of(*nodes, constants={"size": ([250], "int64")})

    # Each is 1000 bytes, and predicted at 2000 before its type is known.
    assert fold_constants(model, limit_bytes=3500) == 2


@pytest.mark.parametrize(("operator", "expected"), [("Shape", [2, 3]), ("Size", 6)])
def test_static_shapes_are_constants(operator: str, expected: Any) -> None:
    model = infer_shapes(
        model_of(
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node(operator, ["r"], ["s"]),
            helper.make_node("Cast", ["s"], ["k"], to=1),
            constants={},
        )
    )

    assert fold_constants(model) == 2
    np.testing.assert_array_equal(folded_value(model, "s"), expected)


def test_dynamic_shapes_are_not_constants() -> None:
    model = infer_shapes(
        model_of(
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Cast", ["s"], ["k"], to=1),
            constants={},
            shape=("batch", 3),
        )
    )

    assert fold_constants(model) == 0


def test_a_default_that_the_caller_may_override_is_no_constant() -> None:
    model = model_of(helper.make_node("Neg", ["a"], ["k"]), constants={"a": ([1.0], "float32")})
    model.graph.input.append(zoo.floats("a", 1))

    assert fold_constants(model) == 0


@pytest.mark.parametrize("operator", ["RandomNormal", "DequantizeLinear"])
def test_random_numbers_and_quantised_weights_stay_as_they_are(operator: str) -> None:
    if operator == "RandomNormal":
        node = helper.make_node("RandomNormal", [], ["k"], shape=[3])
    else:
        node = helper.make_node("DequantizeLinear", ["q", "scale"], ["k"])
    model = model_of(node, constants={"q": ([1], "int8"), "scale": (1.0, "float32")})

    assert fold_constants(model) == 0


def test_a_weight_shared_through_identity_is_not_copied() -> None:
    model = model_of(helper.make_node("Identity", ["a"], ["k"]), constants={"a": ([1.0], "float32")})

    assert fold_constants(model) == 1

    assert [tensor.name for tensor in model.graph.initializer] == ["a"]
    assert list(model.graph.node[0].input) == ["x", "a"]


def test_an_output_of_the_graph_is_still_made_by_a_node() -> None:
    model = zoo.build(
        [helper.make_node("Neg", ["a"], ["y"])],
        [zoo.floats("x", 1)],
        [zoo.floats("y", 1)],
        initialisers=[zoo.constant("a", [1.0])],
    )

    assert fold_constants(model) == 0
    assert drop_dead(model) == 0
