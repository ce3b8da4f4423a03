"""What is told of two graphs: what came, what went, what differs, and that names alone are no difference."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import zoo
from infer_opt.recipes import Quantisation
from infer_opt.transforms.changes import MOST_NAMES, compare
from infer_opt.transforms.model_files import load, name_nodes
from infer_opt.transforms.quantise import quantise


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


@pytest.mark.parametrize("builder", zoo.RUNNABLE.values(), ids=list(zoo.RUNNABLE))
def test_a_model_is_like_itself_and_like_itself_with_names(builder: Callable[[], onnx.ModelProto]) -> None:
    model, named = builder(), builder()
    name_nodes(named)

    assert compare(model, copied(model)).is_empty
    assert compare(model, named).is_empty


def test_operators_are_counted_and_nodes_named() -> None:
    before, after = zoo.spiky(), zoo.spiky()
    for node in [node for node in after.graph.node if node.op_type == "Tanh"]:
        after.graph.node.remove(node)
    after.graph.node.append(helper.make_node("Erf", ["a"], ["b"], name="first/Erf"))

    found = compare(before, after)

    assert (found.operators_added, found.operators_removed) == ((("Erf", 1),), (("Tanh", 2),))
    assert (found.nodes_added, found.nodes_removed) == (("first/Erf",), ("first/Tanh", "second/Tanh"))
    assert (found.added, found.removed, found.changed) == (1, 2, 0)


def test_other_weights_change_the_node_that_reads_them_and_equal_ones_of_another_name_do_not() -> None:
    before, after = zoo.spiky(), zoo.spiky()
    weights = {tensor.name: tensor for tensor in after.graph.initializer}
    weights["w1"].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights["w1"]) * 2, "w1"))
    weights["w3"].name = after.graph.node[-1].input[1] = "another name"

    assert compare(before, after).nodes_changed == ("first/MatMul",)


def test_an_attribute_or_another_input_changes_a_node() -> None:
    before, after = zoo.spiky(), zoo.spiky()
    after.graph.node[1].op_type = "LeakyRelu"  # of the same name
    after.graph.node[4].input[0] = "c"

    found = compare(before, after)

    assert found.nodes_changed == ("first/Tanh", "second/Tanh")
    assert (found.operators_added, found.operators_removed) == ((("LeakyRelu", 1),), (("Tanh", 1),))


def test_a_constant_is_the_same_however_it_is_stored() -> None:
    before, after = zoo.spiky(), zoo.spiky()
    weight = next(tensor for tensor in after.graph.initializer if tensor.name == "w1")
    after.graph.node.insert(0, helper.make_node("Constant", [], ["w1"], name="weight", value=weight))
    after.graph.initializer.remove(weight)

    assert compare(before, after).is_empty


def test_fixed_shapes_and_another_opset_are_changes_without_nodes() -> None:
    before, after = zoo.mlp(), zoo.mlp(batch=4)
    after.opset_import[0].version += 1

    found = compare(before, after)

    assert found.besides == ("inputs", "opset")
    assert (found.added, found.removed, found.changed, found.is_empty) == (0, 0, 0, False)


def test_the_names_of_a_large_graph_are_cut_and_the_counts_are_not() -> None:
    found = compare(zoo.mlp(), zoo.slow_chain(length=200, width=2))

    assert len(found.nodes_added) == MOST_NAMES
    assert found.added == 400


def test_nodes_in_branches_count_too() -> None:
    before, after = zoo.branching(), zoo.branching()
    chosen = next(node for node in after.graph.node if node.op_type == "If")
    branch = next(attribute.g for attribute in chosen.attribute if attribute.name == "else_branch")
    branch.node[0].op_type = "Abs"

    assert compare(before, after).operators_added == (("Abs", 1),)


def test_what_a_quantiser_did_is_told(tmp_path: Path) -> None:
    given = zoo.save(zoo.spiky(), tmp_path / "given.onnx")
    quantise(given, tmp_path / "quantised.onnx", how=Quantisation(per_channel=True, floats=("first/MatMul",)))

    found = compare(load(given), load(tmp_path / "quantised.onnx"))

    assert dict(found.operators_removed) == {"MatMul": 2}
    assert dict(found.operators_added)["MatMulInteger"] == 2
    assert set(found.nodes_removed) == {"second/MatMul", "third/MatMul"}
    assert np.isclose(found.added - found.removed, sum(dict(found.operators_added).values()) - 2)
