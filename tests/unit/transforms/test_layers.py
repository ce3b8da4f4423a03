from pathlib import Path

from onnx import helper

import zoo
from infer_opt.transforms.layers import find_layers, title
from infer_opt.transforms.quantise import dynamic_types, prepared, static_types


def test_products_that_read_the_same_tensor_are_one_layer(tmp_path: Path) -> None:
    model = prepared(zoo.attention_block(), tmp_path)

    layers = find_layers(model, dynamic_types())

    assert [len(layer.nodes) for layer in layers] == [3]  # query, key and value; products of activations are none
    assert len(set(layers[0].nodes)) == 3


def test_each_layer_names_the_tensor_that_it_reads(tmp_path: Path) -> None:
    layers = find_layers(prepared(zoo.spiky(), tmp_path), dynamic_types())

    assert [layer.nodes for layer in layers] == [("first/MatMul",), ("second/MatMul",), ("third/MatMul",)]
    assert [layer.name for layer in layers] == ["first/MatMul", "second/MatMul", "third/MatMul"]
    assert layers[0].reads == ("x",)


def test_what_stands_between_convolutions_goes_with_the_one_that_it_follows(tmp_path: Path) -> None:
    model = prepared(zoo.conv_net(), tmp_path)
    types = static_types(model)

    layers = find_layers(model, types)

    by_name = {node.name: node.op_type for node in model.graph.node}
    assert all(by_name[layer.nodes[0]] in ("Conv", "Gemm", "MatMul") for layer in layers)
    assert "Relu" in {by_name[name] for layer in layers for name in layer.nodes} or "Relu" not in by_name.values()


def test_no_node_is_in_two_layers(tmp_path: Path) -> None:
    for model in (zoo.attention_block(), zoo.conv_net(), zoo.lstm_net(), zoo.mlp()):
        ready = prepared(model, tmp_path)
        names = [name for layer in find_layers(ready, [*static_types(ready), "LSTM"]) for name in layer.nodes]
        assert len(names) == len(set(names))


def test_too_many_are_taken_together_with_their_neighbours(tmp_path: Path) -> None:
    model = prepared(zoo.slow_chain(length=10, width=8), tmp_path)
    whole = find_layers(model, [*dynamic_types(), "Gemm"])

    few = find_layers(model, [*dynamic_types(), "Gemm"], most=3)

    assert len(few) <= 3 < len(whole)
    assert len({layer.name for layer in few}) == len(few)
    assert [name for layer in few for name in layer.nodes] == [name for layer in whole for name in layer.nodes]


def test_layers_have_names_of_their_own_however_they_are_taken_together() -> None:
    names = ["block/q/MatMul", "block/o/MatMul", "block/up/MatMul", "block/down/MatMul"]
    nodes = [
        helper.make_node("MatMul", [f"t{number}", f"w{number}"], [f"t{number + 1}"], name=name)
        for number, name in enumerate(names)
    ]
    model = zoo.build(
        nodes,
        [zoo.floats("t0", 4, 4)],
        [zoo.floats("t4", 4, 4)],
        initialisers=[zoo.weights(f"w{number}", 4, 4) for number in range(4)],
    )

    assert [layer.name for layer in find_layers(model, ["MatMul"], most=2)] == ["block (2 nodes)", "block (2 nodes), 2"]


def test_a_model_without_weights_has_no_layers() -> None:
    model = zoo.build([helper.make_node("Relu", ["x"], ["y"])], [zoo.floats("x", 2)], [zoo.floats("y", 2)])

    assert find_layers(model, ["MatMul"]) == ()


def test_several_nodes_are_called_by_the_path_that_they_share() -> None:
    assert title(["a/b/query/MatMul", "a/b/key/MatMul"]) == "a/b (2 nodes)"
    assert title(["a/b"]) == "a/b"
    assert title(["x", "y"]) == "x (2 nodes)"
