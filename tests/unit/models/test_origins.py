"""Which nodes of the model as given an executed one stands for, and which module it is of."""

from collections.abc import Sequence

import onnx
import pytest
from onnx import helper

import zoo
from infer_opt.models.origins import NAMESPACE, SCOPES, GivenGraph, module_of, path_in


def given(nodes: Sequence[onnx.NodeProto], *, weights: Sequence[str] = ()) -> GivenGraph:
    initialisers = [zoo.constant(name, [1.0]) for name in weights]
    return GivenGraph(zoo.build(nodes, [zoo.floats("x", 4)], [zoo.floats("y", 4)], initialisers=initialisers))


def chain() -> GivenGraph:
    return given(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"], name="/net/fc/MatMul"),
            helper.make_node("Add", ["m", "b"], ["a"], name="/net/fc/Add"),
            helper.make_node("Relu", ["a"], ["r"], name="/net/act/Relu"),
            helper.make_node("Identity", ["r"], ["y"], name="/net/Identity"),
        ],
        weights=["w", "b"],
    )


def names(graph: GivenGraph, outputs: Sequence[str], available: set[str]) -> list[str]:
    return [node.name for node in graph.between(outputs, available.__contains__)]


def test_the_walk_ends_at_what_is_there_without_the_node() -> None:
    assert names(chain(), ["a"], {"x"}) == ["/net/fc/MatMul", "/net/fc/Add"]
    assert names(chain(), ["r"], {"a"}) == ["/net/act/Relu"]
    assert names(chain(), ["y"], {"a"}) == ["/net/act/Relu", "/net/Identity"]


def test_what_constants_alone_lead_to_is_nobodys_work() -> None:
    graph = given(
        [
            helper.make_node("Constant", [], ["c"], value_float=2.0),
            helper.make_node("Transpose", ["w"], ["wt"], name="fold"),
            helper.make_node("Mul", ["wt", "c"], ["scaled"], name="fold_too"),
            helper.make_node("MatMul", ["x", "scaled"], ["y"], name="product"),
        ],
        weights=["w"],
    )

    assert names(graph, ["y"], {"x"}) == ["product"]


def test_random_numbers_are_no_constants() -> None:
    graph = given(
        [
            helper.make_node("RandomNormal", [], ["n"], shape=[4], name="noise"),
            helper.make_node("Add", ["x", "n"], ["y"], name="sum"),
        ]
    )

    assert names(graph, ["y"], {"x"}) == ["noise", "sum"]


def test_nodes_without_a_name_are_called_as_the_runtime_calls_them() -> None:
    graph = given([helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Relu", ["h"], ["y"])])

    assert names(graph, ["y"], {"x"}) == ["Relu_0", "Relu_1"]


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("/net/fc/MatMul", {"m"}),
        ("/net/fc/MatMul_quant", {"m"}),
        ("/net/act/Relu_nchwc", {"r"}),
        ("r_nchwc", {"r"}),  # after the tensor
        ("/net/fc/MatMul2", set()),
        ("ReorderOutput", set()),
        ("", set()),
    ],
)
def test_what_is_made_of_a_node_is_called_after_it(name: str, tensors: set[str]) -> None:
    assert chain().named_after(name) == tensors


def test_the_bodies_of_a_loop_are_searched_too() -> None:
    graph = GivenGraph(zoo.looping())

    assert [node.operator for node in graph.between(["next"], {"state"}.__contains__)] == ["Tanh"]
    assert [node.operator for node in graph.between(["y"], {"x"}.__contains__)] == ["Loop"]


def with_notes(name: str, **notes: str) -> str:
    """The module of a node of that name with that metadata."""
    node = helper.make_node("Relu", ["x"], ["y"], name=name)
    for key, value in notes.items():
        node.metadata_props.add(key=SCOPES if key == "scopes" else NAMESPACE, value=value)
    (found,) = given([node]).between(["y"], {"x"}.__contains__)
    return found.module


def test_pytorchs_exporter_says_which_module_a_node_is_of() -> None:
    scopes = "['', 'encoder', 'encoder.layer.0', 'relu_3']"
    namespace = ": net.Model/encoder: net.Encoder/encoder.layer.1: torch.nn.ReLU/relu_3: aten.relu.default"

    assert with_notes("node_relu_3", scopes=scopes) == "encoder.layer.0"
    assert with_notes("node_relu_3", namespace=namespace) == "encoder.layer.1"
    assert with_notes("/encoder/layer.2/Relu", scopes="not a list (", namespace="") == "encoder.layer.2"
    assert with_notes("/encoder/Relu", scopes="[1, 2]") == "encoder"
    assert with_notes("relu") == ""


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("/encoder/layer.0/MatMul", "encoder.layer.0"),
        ("bert/pooler/Tanh", "bert.pooler"),
        ("Relu_3", ""),
        ("/Relu", ""),
        ("/MatmulTransposeFusion//MatMulScaleFusion/", "MatmulTransposeFusion.MatMulScaleFusion"),
    ],
)
def test_a_path_in_a_name_is_a_module(name: str, module: str) -> None:
    assert path_in(name) == module


def test_a_fusion_over_modules_is_of_the_one_around_them() -> None:
    nodes = chain().between(["r"], {"x"}.__contains__)

    assert module_of(nodes, "anything") == "net"
    assert module_of(nodes[:2], "anything") == "net.fc"
    assert module_of((), "/encoder/Cast") == "encoder"
    unnamed = given([helper.make_node("Relu", ["x"], ["y"])]).between(["y"], {"x"}.__contains__)
    assert module_of(unnamed, "/Fusion/x") == ""
