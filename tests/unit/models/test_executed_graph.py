"""Nodes that a profile saw, joined with the optimised graph and the model as given."""

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

import zoo
from infer_opt.models.executed_graph import join_nodes, weight_bytes
from infer_opt.profiles.executed import Key, SeenNode, TensorSeen
from infer_opt.profiles.nodes import Node

CPU = "CPUExecutionProvider"


def seen(
    operator: str, name: str, index: int, *, reads: Sequence[TensorSeen] = (), writes: Sequence[TensorSeen] = (),
    outer: Key = (),
) -> SeenNode:  # fmt: skip
    return SeenNode(
        key=(*outer, f"{operator}:{name}:{index}"),
        name=name,
        operator=operator,
        provider=CPU,
        index=index,
        inputs=tuple(reads),
        outputs=tuple(writes),
    )


def f32(*shape: int) -> TensorSeen:
    return "float32", shape


def joined(nodes: Sequence[SeenNode], optimised: onnx.ModelProto, given: onnx.ModelProto | None = None) -> list[Node]:
    return list(join_nodes(nodes, optimised, given or optimised).values())


def fused() -> onnx.ModelProto:
    """What ONNX Runtime makes of `zoo.mlp()`: its fusion of nodes without names is called `fused `."""
    return zoo.build(
        [
            helper.make_node("FusedGemm", ["x", "w1", "b1"], ["a"], name="fused ", domain="com.microsoft", alpha=1.0),
            helper.make_node("Gemm", ["a", "w2", "b2"], ["scores"], transB=0),
        ],
        [zoo.floats("x", "batch", 8)],
        [zoo.floats("scores", "batch", 3)],
        initialisers=[zoo.weights("w1", 8, 16), zoo.weights("b1", 16), zoo.weights("w2", 16, 3), zoo.weights("b2", 3)],
        domains=[("com.microsoft", 1)],
    )


def test_a_weight_that_was_laid_out_anew_is_found_in_the_graph() -> None:
    nodes = [
        seen("FusedGemm", "fused", 3, reads=[f32(2, 8), f32(16)], writes=[f32(2, 16)]),
        seen("Gemm", "Gemm_2", 2, reads=[f32(2, 16), f32(16, 3), f32(3)], writes=[f32(2, 3)]),
    ]

    first, second = joined(nodes, fused(), zoo.mlp())

    assert [(t.name, t.shape, t.is_constant) for t in first.inputs if t is not None] == [
        ("x", (2, 8), False),
        ("w1", (8, 16), True),
        ("b1", (16,), True),
    ]
    assert [t.name for t in second.inputs if t is not None] == ["a", "w2", "b2"]
    assert second.outputs[0].name == "scores"
    assert weight_bytes(fused()) == 4 * (8 * 16 + 16 + 16 * 3 + 3)


def test_attributes_domains_and_origins_come_from_the_graphs() -> None:
    nodes = [
        seen("FusedGemm", "fused", 3, reads=[f32(2, 8), f32(16)], writes=[f32(2, 16)]),
        seen("Gemm", "Gemm_2", 2, reads=[f32(2, 16), f32(3)], writes=[f32(2, 3)]),
    ]

    first, second = joined(nodes, fused(), zoo.mlp())

    assert (first.kind, first.name) == ("com.microsoft.FusedGemm", "FusedGemm_3")
    assert first.origins == ("Gemm_0", "Relu_1")
    assert dict(first.attributes) == {"alpha": 1.0}
    assert (second.kind, second.name, second.origins) == ("Gemm", "Gemm_2", ("Gemm_2",))
    assert dict(second.attributes) == {"transB": 0}


def test_equal_names_in_a_body_are_told_apart() -> None:
    loop = seen("Loop", "Loop_0", 0, reads=[("int64", ()), f32(2, 4)], writes=[f32(2, 4)])
    body = [
        seen("Tanh", "Tanh_1", 1, reads=[f32(2, 4)], writes=[f32(2, 4)], outer=loop.key),
        seen("Identity", "Identity_0", 0, reads=[("bool", ())], writes=[("bool", ())], outer=loop.key),
    ]
    after = seen("Tanh", "Tanh_1", 1, reads=[f32(2, 4)], writes=[f32(2, 4)])
    model = zoo.looping()
    model.graph.node[0].output[0] = "looped"
    model.graph.node.append(helper.make_node("Tanh", ["looped"], ["y"]))

    nodes = join_nodes([loop, *body, after], model, model)

    assert [nodes[one.key].name for one in (loop, after, *body)] == ["Loop_0", "Tanh_1", "Loop_0/Tanh_1", "Identity_0"]
    assert [t.name for t in nodes[body[0].key].outputs] == ["next"]
    assert [t.name for t in nodes[after.key].outputs] == ["y"]
    turns, condition, state = nodes[loop.key].inputs
    assert turns is not None
    assert turns.is_constant
    assert condition is None  # left out
    assert state is not None
    assert state.name == "x"


def test_of_the_branches_of_an_if_the_one_that_was_taken_is_found() -> None:
    choice = seen("If", "If_2", 2, reads=[("bool", ())], writes=[f32(2, 4)])
    negated = seen("Neg", "Neg_0", 0, reads=[f32(2, 4)], writes=[f32(2, 4)], outer=choice.key)
    doubled = seen("Mul", "Mul_0", 0, reads=[f32(2, 4), f32()], writes=[f32(2, 4)], outer=choice.key)

    for taken, tensor in ((negated, "negated"), (doubled, "doubled")):
        _, node = joined([choice, taken], zoo.branching())
        assert [t.name for t in node.outputs] == [tensor]
    assert node.inputs[1] is not None
    assert (node.inputs[1].name, node.inputs[1].is_constant) == ("two", True)


def nchwc() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A convolution with its activation, and the same in blocks of channels, brought back by another node."""
    conv = helper.make_node("Conv", ["image", "k"], ["c"], name="/stem/conv/Conv")
    relu = helper.make_node("Relu", ["c"], ["r"], name="/stem/act/Relu")
    flat = helper.make_node("Flatten", ["r"], ["y"], name="/head/Flatten")
    ends = [zoo.floats("image", 1, 1, 8, 8)], [zoo.floats("y", 1, 144)]
    given = zoo.build([conv, relu, flat], *ends, initialisers=[zoo.weights("k", 4, 1, 3, 3)])
    blocked = helper.make_node("Conv", ["image", "reorder"], ["token"], name="r_nchwc", domain="com.microsoft.nchwc")
    back = helper.make_node("ReorderOutput", ["token"], ["r"], name="ReorderOutput", domain="com.microsoft.nchwc")
    made = zoo.build([blocked, back, flat], *ends, initialisers=[zoo.weights("reorder", 16, 1, 3, 3)])
    return given, made


def test_other_layouts_are_traced_back_to_the_model_as_given() -> None:
    given, made = nchwc()
    nodes = [
        seen("Conv", "r_nchwc", 7, reads=[f32(1, 1, 8, 8), f32(16, 1, 3, 3)], writes=[f32(1, 16, 6, 6)]),
        seen("ReorderOutput", "ReorderOutput", 8, reads=[f32(1, 16, 6, 6)], writes=[f32(1, 4, 6, 6)]),
        seen("Flatten", "/head/Flatten", 2, reads=[f32(1, 4, 6, 6)], writes=[f32(1, 144)]),
    ]

    conv, back, flat = joined(nodes, made, given)

    assert (conv.origins, conv.module) == (("/stem/conv/Conv", "/stem/act/Relu"), "stem")
    assert (back.origins, back.module) == ((), "")
    assert (flat.origins, flat.module) == (("/head/Flatten",), "head")


def test_a_cast_that_was_put_in_does_nobodys_work() -> None:
    given = zoo.build(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"], name="product"),
            helper.make_node("Softmax", ["m"], ["y"], name="soft"),
        ],
        [zoo.floats("x", 1, 4)],
        [zoo.floats("y", 1, 4)],
        initialisers=[zoo.weights("w", 4, 4)],
    )
    made = zoo.build(
        [
            helper.make_node("Cast", ["x"], ["inserted_0"], name="InsertedCast_x", to=TensorProto.FLOAT16),
            helper.make_node("MatMul", ["inserted_0", "w16"], ["m16"], name="product"),
            helper.make_node("Cast", ["m16"], ["m"], name="InsertedCast_m", to=TensorProto.FLOAT),
            helper.make_node("Softmax", ["m"], ["y"], name="soft"),
        ],
        [zoo.floats("x", 1, 4)],
        [zoo.floats("y", 1, 4)],
        initialisers=[zoo.constant("w16", [[0.0] * 4] * 4, "float16")],
    )
    half = ("float16", (1, 4))
    nodes = [
        seen("Cast", "InsertedCast_x", 4, reads=[f32(1, 4)], writes=[half]),
        seen("MatMul", "product", 0, reads=[half, ("float16", (4, 4))], writes=[half]),
        seen("Cast", "InsertedCast_m", 5, reads=[half], writes=[f32(1, 4)]),
        seen("Softmax", "soft", 1, reads=[f32(1, 4)], writes=[f32(1, 4)]),
    ]

    assert [node.origins for node in joined(nodes, made, given)] == [(), ("product",), (), ("soft",)]


def test_optional_inputs_and_what_is_no_tensor_are_left_out() -> None:
    lstm = seen("LSTM", "LSTM_1", 1, reads=[f32(5, 2, 4), f32(1, 48)], writes=[f32(1, 2, 6)])
    transpose = seen("Transpose", "Transpose_0", 0, reads=[f32(2, 5, 4)], writes=[f32(5, 2, 4)])
    zipped = seen("ZipMap", "ZipMap_1", 1, reads=[f32(2, 3)])

    _, node = joined([transpose, lstm], zoo.lstm_net())
    assert [(t.name, t.is_constant) for t in node.inputs if t is not None] == [
        ("time_first", False), ("w", True), ("r", True), ("b", True)
    ]  # fmt: skip
    assert [t.name for t in node.outputs] == ["last"]
    (zipmap,) = joined([zipped], zoo.zipmap_classifier())
    assert zipmap.outputs == ()


def test_a_node_that_the_graph_does_not_have_is_kept_as_the_profile_saw_it() -> None:
    (node,) = joined([seen("Mystery", "/net/Mystery", 9, reads=[f32(2)], writes=[f32(3)])], zoo.mlp())

    assert (node.name, node.module, node.origins) == ("/net/Mystery", "net", ())
    assert [t.shape for t in node.inputs if t is not None] == [(2,)]
    assert [t.shape for t in node.outputs] == [(3,)]


def test_tensors_that_do_not_fit_the_graph_lose_their_names_alone() -> None:
    (node,) = joined([seen("Gemm", "Gemm_0", 0, reads=[f32(1)] * 5, writes=[f32(1), f32(2)])], zoo.mlp())

    assert [t.name for t in node.inputs if t is not None] == [""] * 5
    assert [t.name for t in node.outputs] == [""] * 2


def test_several_fusions_without_names_have_names_of_their_own() -> None:
    model = fused()
    model.graph.node[1].CopyFrom(
        helper.make_node("FusedGemm", ["a", "w2", "b2"], ["scores"], name="fused ", domain="com.microsoft", alpha=2.0)
    )
    nodes = [seen("FusedGemm", "fused", 3), seen("FusedGemm", "fused", 4)]

    first, second = joined(nodes, model)

    assert (first.name, second.name) == ("FusedGemm_3", "FusedGemm_4")
    assert (dict(first.attributes), dict(second.attributes)) == ({"alpha": 1.0}, {"alpha": 2.0})
