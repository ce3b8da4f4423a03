"""Model files that must be refused, each for the one reason that its name says."""

import onnx
from onnx import TensorProto, helper

from zoo import build, constant, floats, tensor


def broken_graph() -> onnx.ModelProto:
    """A valid protobuf whose only node takes an edge that nothing makes."""
    return build(
        [helper.make_node("Add", ["x", "nowhere"], ["y"], name="adder")],
        [floats("x", "batch", 4)],
        [floats("y", "batch", 4)],
    )


def custom_operator() -> onnx.ModelProto:
    """Needs a library that registers com.example.Frobnicate."""
    return build(
        [helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example")],
        [floats("x", "batch", 4)],
        [floats("y", "batch", 4)],
        domains=[("com.example", 1)],
    )


def unknown_operator() -> onnx.ModelProto:
    """Uses an operator that ONNX never had."""
    return build([helper.make_node("Frobnicate", ["x"], ["y"])], [floats("x", "batch", 4)], [floats("y", "batch", 4)])


def too_new_operator() -> onnx.ModelProto:
    """Uses Gelu, which came with opset 20, in opset 17."""
    return build([helper.make_node("Gelu", ["x"], ["y"])], [floats("x", "batch", 4)], [floats("y", "batch", 4)])


def removed_operator() -> onnx.ModelProto:
    """Uses Upsample, which opset 10 removed, in opset 17."""
    return build(
        [helper.make_node("Upsample", ["x", "scales"], ["y"])],
        [floats("x", 1, 1, 4, 4)],
        [floats("y", 1, 1, 8, 8)],
        initialisers=[constant("scales", [1, 1, 2, 2])],
    )


def opset_6() -> onnx.ModelProto:
    """Older than any runtime supports."""
    return build(
        [helper.make_node("Relu", ["x"], ["y"])], [floats("x", "batch", 4)], [floats("y", "batch", 4)], opset=6
    )


def no_inputs() -> onnx.ModelProto:
    """Computes a constant."""
    return build([helper.make_node("Neg", ["c"], ["y"])], [], [floats("y", 2)], initialisers=[constant("c", [1, 2])])


def huge_input() -> onnx.ModelProto:
    """One input of 16 GiB."""
    return build(
        [helper.make_node("Relu", ["x"], ["y"])],
        [floats("x", 1, 65536, 65536)],
        [floats("y", 1, 65536, 65536)],
    )


def sequence_input() -> onnx.ModelProto:
    """tensors: a sequence of float tensors -> first."""
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, shape=None))
    return build(
        [helper.make_node("SequenceAt", ["tensors", "zero"], ["first"])],
        [helper.make_value_info("tensors", kind)],
        [tensor("first", TensorProto.FLOAT, [None])],
        initialisers=[constant("zero", 0, "int64")],
    )


def optional_input() -> onnx.ModelProto:
    """maybe: an optional float tensor -> is_there."""
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, shape=[4]))
    return build(
        [helper.make_node("OptionalHasElement", ["maybe"], ["is_there"])],
        [helper.make_value_info("maybe", kind)],
        [tensor("is_there", TensorProto.BOOL, [])],
    )
