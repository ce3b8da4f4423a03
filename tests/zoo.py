"""Small ONNX models for tests: one for each way in which real files differ. Weights are seeded, files a few KB.

`RUNNABLE` names every model that ONNX Runtime can execute with inputs made up from its signature, and the builder of
each, which takes no required argument and gives an `onnx.ModelProto`. Models that must be refused are in zoo_refused.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[int | str | None]

VOCABULARY = 50  # rows of the embedding of `attention_block`
OPSET, IR_VERSION = 17, 8


def tensor(name: str, kind: int, shape: Dims) -> onnx.ValueInfoProto:
    """An input or output; `kind` is a TensorProto type."""
    return helper.make_tensor_value_info(name, kind, shape)


def floats(name: str, *shape: int | str | None) -> onnx.ValueInfoProto:
    """A float32 input or output."""
    return tensor(name, TensorProto.FLOAT, shape)


def constant(name: str, values: ArrayLike, dtype: str = "float32") -> onnx.TensorProto:
    """An initialiser with these values."""
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def weights(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    """A float32 initialiser, normal with a scale that keeps activations near 1."""
    scale = 1 / np.sqrt(np.prod(shape[1:]) if len(shape) > 2 else shape[0])
    return constant(name, np.random.default_rng(seed).normal(0, scale, shape))


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    *,
    initialisers: Sequence[onnx.TensorProto] = (),
    opset: int = OPSET,
    ir_version: int = IR_VERSION,
    domains: Sequence[tuple[str, int]] = (),
) -> onnx.ModelProto:
    """A model with one graph; `domains` are opsets besides ONNX's own."""
    graph = helper.make_graph(list(nodes), "zoo", list(inputs), list(outputs), list(initialisers))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*domain) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="zoo")


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Writes the model and gives the path back."""
    path.write_bytes(model.SerializeToString())
    return path


# Networks


def mlp(*, batch: int | str | None = "batch", width: int = 16, seed: int = 0) -> onnx.ModelProto:
    """x (batch, 8) -> scores (batch, 3)."""
    return build(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
            helper.make_node("Relu", ["h"], ["a"]),
            helper.make_node("Gemm", ["a", "w2", "b2"], ["scores"]),
        ],
        [floats("x", batch, 8)],
        [floats("scores", batch, 3)],
        initialisers=[
            weights("w1", 8, width, seed=seed),
            weights("b1", width, seed=seed + 1),
            weights("w2", width, 3, seed=seed + 2),
            weights("b2", 3, seed=seed + 3),
        ],
    )


def conv_net(*, batch: int | str | None = "batch", size: int | str | None = 8) -> onnx.ModelProto:
    """image (batch, 1, size, size) -> scores (batch, 10): convolution, batch norm, pooling."""
    return build(
        [
            helper.make_node("Conv", ["image", "k"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["c", "gain", "shift", "mean", "variance"], ["n"]),
            helper.make_node("Relu", ["n"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", "w"], ["scores"]),
        ],
        [floats("image", batch, 1, size, size)],
        [floats("scores", batch, 10)],
        initialisers=[
            weights("k", 4, 1, 3, 3),
            constant("gain", [1.0, 0.9, 1.1, 1.0]),
            constant("shift", [0.0, 0.1, -0.1, 0.0]),
            constant("mean", [0.0, 0.0, 0.1, 0.1]),
            constant("variance", [1.0, 1.0, 0.9, 1.1]),
            weights("w", 4, 10, seed=1),
        ],
    )


def lstm_net(*, features: int = 4, hidden: int = 6) -> onnx.ModelProto:
    """sequence (batch, time, 4) -> value (batch, 2): a batch-first LSTM, as PyTorch exports it."""
    return build(
        [
            helper.make_node("Transpose", ["sequence"], ["time_first"], perm=[1, 0, 2]),
            helper.make_node("LSTM", ["time_first", "w", "r", "b"], ["", "last", ""], hidden_size=hidden),
            helper.make_node("Squeeze", ["last", "first_axis"], ["state"]),
            helper.make_node("MatMul", ["state", "head"], ["value"]),
        ],
        [floats("sequence", "batch", "time", features)],
        [floats("value", "batch", 2)],
        initialisers=[
            weights("w", 1, 4 * hidden, features),
            weights("r", 1, 4 * hidden, hidden, seed=1),
            weights("b", 1, 8 * hidden, seed=2),
            constant("first_axis", [0], "int64"),
            weights("head", hidden, 2, seed=3),
        ],
    )


def attention_block(*, width: int = 16) -> onnx.ModelProto:
    """input_ids, attention_mask (batch, seq) -> hidden (batch, seq, 16): an embedding and one attention layer."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"]),
        *(helper.make_node("MatMul", ["x", f"w{part}"], [part]) for part in "qkv"),
        helper.make_node("Transpose", ["k"], ["k_t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "k_t"], ["raw"]),
        helper.make_node("Mul", ["raw", "scale"], ["scaled"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "mask"], ["hole"]),
        helper.make_node("Mul", ["hole", "far_below"], ["bias"]),
        helper.make_node("Unsqueeze", ["bias", "second_axis"], ["bias_rows"]),
        helper.make_node("Add", ["scaled", "bias_rows"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["share"], axis=-1),
        helper.make_node("MatMul", ["share", "v"], ["mixed"]),
        helper.make_node("Add", ["mixed", "x"], ["residual"]),
        helper.make_node("LayerNormalization", ["residual", "gain"], ["hidden"]),
    ]
    return build(
        nodes,
        [
            tensor("input_ids", TensorProto.INT64, ["batch", "seq"]),
            tensor("attention_mask", TensorProto.INT64, ["batch", "seq"]),
        ],
        [floats("hidden", "batch", "seq", width)],
        initialisers=[
            weights("table", VOCABULARY, width),
            *(weights(f"w{part}", width, width, seed=index) for index, part in enumerate("qkv", start=1)),
            constant("scale", width**-0.5),
            constant("one", 1.0),
            constant("far_below", -10000.0),
            constant("second_axis", [1], "int64"),
            constant("gain", np.ones(width)),
        ],
    )


def spiky(*, width: int = 256) -> onnx.ModelProto:
    """x (batch, 256) -> y: three products; INT8 spoils the second, of which one channel is 1,000 times larger.

    The weights of that channel are as much smaller, so that the float model does not care.
    """
    spikes = np.ones(width)
    spikes[3] = 1000.0
    second = np.random.default_rng(2).normal(0, width**-0.5, (width, width)) / spikes[:, None]
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], name="first/MatMul"),
        helper.make_node("Tanh", ["a"], ["b"], name="first/Tanh"),
        helper.make_node("Mul", ["b", "spikes"], ["c"], name="second/Mul"),
        helper.make_node("MatMul", ["c", "w2"], ["d"], name="second/MatMul"),
        helper.make_node("Tanh", ["d"], ["e"], name="second/Tanh"),
        helper.make_node("MatMul", ["e", "w3"], ["y"], name="third/MatMul"),
    ]
    return build(
        nodes,
        [floats("x", "batch", width)],
        [floats("y", "batch", width)],
        initialisers=[
            weights("w1", width, width, seed=1),
            constant("spikes", spikes),
            constant("w2", second),
            weights("w3", width, width, seed=3),
        ],
    )


def slow_chain(*, length: int = 60, width: int = 512) -> onnx.ModelProto:
    """x (batch, width) -> y (batch, width): many products in a row, milliseconds a run. Its one weight is 1 MB."""
    nodes = [
        node
        for index in range(length)
        for node in (
            helper.make_node("MatMul", [f"h{index}", "w"], [f"p{index}"]),
            helper.make_node("Tanh", [f"p{index}"], [f"h{index + 1}" if index + 1 < length else "y"]),
        )
    ]
    nodes[0].input[0] = "x"
    return build(
        nodes, [floats("x", "batch", width)], [floats("y", "batch", width)], initialisers=[weights("w", width, width)]
    )


# Signatures


def two_in_two_out() -> onnx.ModelProto:
    """left (batch, 4), right (batch, 6) -> total (batch, 5), product (batch, 5)."""
    return build(
        [
            helper.make_node("MatMul", ["left", "wl"], ["l"]),
            helper.make_node("MatMul", ["right", "wr"], ["r"]),
            helper.make_node("Add", ["l", "r"], ["total"]),
            helper.make_node("Mul", ["l", "r"], ["product"]),
        ],
        [floats("left", "batch", 4), floats("right", "batch", 6)],
        [floats("total", "batch", 5), floats("product", "batch", 5)],
        initialisers=[weights("wl", 4, 5), weights("wr", 6, 5, seed=1)],
    )


def shared_scalar() -> onnx.ModelProto:
    """x (batch, 4), scale () -> y (batch, 4): an input that all items of a call share."""
    return build(
        [helper.make_node("Mul", ["x", "scale"], ["y"])],
        [floats("x", "batch", 4), floats("scale")],
        [floats("y", "batch", 4)],
    )


def time_major() -> onnx.ModelProto:
    """sequence (time, batch, 3) -> mean (batch, 3): items do not lie along the first axis."""
    return build(
        [helper.make_node("ReduceMean", ["sequence"], ["mean"], axes=[0], keepdims=0)],
        [floats("sequence", "time", "batch", 3)],
        [floats("mean", "batch", 3)],
    )


def fixed_batch(*, batch: int = 4) -> onnx.ModelProto:
    """The `mlp` for exactly `batch` items a call."""
    return mlp(batch=batch)


def dynamic_output() -> onnx.ModelProto:
    """x (batch, 4) -> indices (2, ?): NonZero, whose output shape depends on the values."""
    return build(
        [helper.make_node("NonZero", ["x"], ["indices"])],
        [floats("x", "batch", 4)],
        [tensor("indices", TensorProto.INT64, [2, None])],
    )


def half_precision() -> onnx.ModelProto:
    """x (batch, 4) -> y (batch, 3), all float16."""
    values = np.random.default_rng(0).normal(size=(4, 3))
    return build(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [tensor("x", TensorProto.FLOAT16, ["batch", 4])],
        [tensor("y", TensorProto.FLOAT16, ["batch", 3])],
        initialisers=[constant("w", values, "float16")],
    )


def double_precision() -> onnx.ModelProto:
    """x (batch, 4) -> y (batch, 3), all float64."""
    values = np.random.default_rng(0).normal(size=(4, 3))
    return build(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [tensor("x", TensorProto.DOUBLE, ["batch", 4])],
        [tensor("y", TensorProto.DOUBLE, ["batch", 3])],
        initialisers=[constant("w", values, "float64")],
    )


def integer_net() -> onnx.ModelProto:
    """a, b (batch, 4) int32 -> total (batch, 4) int32."""
    return build(
        [helper.make_node("Add", ["a", "b"], ["total"])],
        [tensor("a", TensorProto.INT32, ["batch", 4]), tensor("b", TensorProto.INT32, ["batch", 4])],
        [tensor("total", TensorProto.INT32, ["batch", 4])],
    )


def boolean_net() -> onnx.ModelProto:
    """flags (batch, 4) bool -> flipped (batch, 4) bool."""
    return build(
        [helper.make_node("Not", ["flags"], ["flipped"])],
        [tensor("flags", TensorProto.BOOL, ["batch", 4])],
        [tensor("flipped", TensorProto.BOOL, ["batch", 4])],
    )


def string_net() -> onnx.ModelProto:
    """text (batch, 2) strings -> same (batch, 2) strings."""
    return build(
        [helper.make_node("Identity", ["text"], ["same"])],
        [tensor("text", TensorProto.STRING, ["batch", 2])],
        [tensor("same", TensorProto.STRING, ["batch", 2])],
    )


def unnamed_dims() -> onnx.ModelProto:
    """ids (?, ?) int32 -> vectors (?, ?, 4): dynamic dimensions without names, as converters leave them."""
    return build(
        [helper.make_node("Gather", ["table", "ids"], ["vectors"])],
        [tensor("ids", TensorProto.INT32, [None, None])],
        [floats("vectors", None, None, 4)],
        initialisers=[weights("table", 20, 4)],
    )


def unknown_rank() -> onnx.ModelProto:
    """x (no declared rank) -> y: runs, but nothing can be made up for it."""
    model = build([helper.make_node("Relu", ["x"], ["y"])], [floats("x")], [floats("y")])
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    return model


# Formats


def ir_3() -> onnx.ModelProto:
    """x (batch, 4) -> y (batch, 3): IR 3, opset 9, initialisers among the inputs, weights from ConstantOfShape."""
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.25])
    return build(
        [
            helper.make_node("ConstantOfShape", ["w_shape"], ["w"], value=value),
            helper.make_node("MatMul", ["x", "w"], ["m"]),
            helper.make_node("Add", ["m", "b"], ["y"]),
        ],
        [floats("x", "batch", 4), tensor("w_shape", TensorProto.INT64, [2]), floats("b", 3)],
        [floats("y", "batch", 3)],
        initialisers=[constant("w_shape", [4, 3], "int64"), constant("b", [0.1, 0.2, 0.3])],
        opset=9,
        ir_version=3,
    )


def opset_7() -> onnx.ModelProto:
    """x (batch, 4) -> y (batch, 3), as exported in 2018."""
    return build(
        [helper.make_node("Gemm", ["x", "w", "b"], ["h"]), helper.make_node("Softmax", ["h"], ["y"], axis=1)],
        [floats("x", "batch", 4), floats("w", 4, 3), floats("b", 3)],
        [floats("y", "batch", 3)],
        initialisers=[weights("w", 4, 3), weights("b", 3, seed=1)],
        opset=7,
        ir_version=3,
    )


def branching() -> onnx.ModelProto:
    """x (batch, 4) -> y (batch, 4): an If that doubles or negates; its weight lies in a branch."""
    double = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["doubled"])],
        "then",
        [],
        [floats("doubled", None, 4)],
        [constant("two", 2.0)],
    )
    negate = helper.make_graph([helper.make_node("Neg", ["x"], ["negated"])], "else", [], [floats("negated", None, 4)])
    return build(
        [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Greater", ["sum", "zero"], ["is_positive"]),
            helper.make_node("If", ["is_positive"], ["y"], then_branch=double, else_branch=negate),
        ],
        [floats("x", "batch", 4)],
        [floats("y", "batch", 4)],
        initialisers=[constant("zero", 0.0)],
    )


def looping(*, turns: int = 5) -> onnx.ModelProto:
    """x (batch, 4) -> y (batch, 4): a Loop of `turns` turns."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["still_going"]), helper.make_node("Tanh", ["state"], ["next"])],
        "body",
        [tensor("turn", TensorProto.INT64, []), tensor("going", TensorProto.BOOL, []), floats("state", None, 4)],
        [tensor("still_going", TensorProto.BOOL, []), floats("next", None, 4)],
    )
    return build(
        [helper.make_node("Loop", ["turns", "", "x"], ["y"], body=body)],
        [floats("x", "batch", 4)],
        [floats("y", "batch", 4)],
        initialisers=[constant("turns", turns, "int64")],
    )


def local_function() -> onnx.ModelProto:
    """x (batch, 4) -> y (batch, 4): an operator that the file itself defines."""
    swish = helper.make_function(
        "zoo.functions",
        "Swish",
        ["a"],
        ["b"],
        [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])],
        [helper.make_opsetid("", OPSET)],
    )
    model = build(
        [helper.make_node("Swish", ["x"], ["y"], domain="zoo.functions")],
        [floats("x", "batch", 4)],
        [floats("y", "batch", 4)],
        domains=[("zoo.functions", 1)],
    )
    model.functions.append(swish)
    return model


def runtime_operator() -> onnx.ModelProto:
    """x (batch, 4) -> y (batch, 4): com.microsoft.Gelu, which ONNX Runtime brings along."""
    return build(
        [helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")],
        [floats("x", "batch", 4)],
        [floats("y", "batch", 4)],
        domains=[("com.microsoft", 1)],
    )


def linear_classifier() -> onnx.ModelProto:
    """x (batch, 4) -> label (batch) int64, scores (batch, 3): as scikit-learn's logistic regression."""
    return build(
        [_classifier()],
        [floats("x", "batch", 4)],
        [tensor("label", TensorProto.INT64, ["batch"]), floats("scores", "batch", 3)],
        domains=[("ai.onnx.ml", 1)],
    )


def zipmap_classifier() -> onnx.ModelProto:
    """The `linear_classifier` with its scores as a sequence of maps, which skl2onnx writes by default."""
    score_map = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, shape=[])
    )
    return build(
        [
            _classifier(),
            helper.make_node("ZipMap", ["scores"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]),
        ],
        [floats("x", "batch", 4)],
        [
            tensor("label", TensorProto.INT64, ["batch"]),
            helper.make_value_info("maps", helper.make_sequence_type_proto(score_map)),
        ],
        domains=[("ai.onnx.ml", 1)],
    )


def _classifier() -> onnx.NodeProto:
    return helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        coefficients=np.random.default_rng(0).normal(size=12).tolist(),
        intercepts=[0.1, 0.0, -0.1],
        classlabels_ints=[0, 1, 2],
        multi_class=1,
        post_transform="SOFTMAX",
    )


def tree_regressor() -> onnx.ModelProto:
    """x (batch, 2) -> y (batch, 1): one tree of three nodes."""
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.0, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[-1.0, 1.0],
    )
    return build([node], [floats("x", "batch", 2)], [floats("y", "batch", 1)], domains=[("ai.onnx.ml", 1)])


# Behaviours


def random_noise() -> onnx.ModelProto:
    """x (batch, 4) -> y (batch, 4): adds noise that differs from run to run."""
    return build(
        [
            helper.make_node("RandomNormalLike", ["x"], ["noise"]),
            helper.make_node("Add", ["x", "noise"], ["y"]),
        ],
        [floats("x", "batch", 4)],
        [floats("y", "batch", 4)],
    )


def nan_output() -> onnx.ModelProto:
    """x (batch, 4) -> y (batch, 4): the square root of -1 - |x|."""
    return build(
        [
            helper.make_node("Abs", ["x"], ["size"]),
            helper.make_node("Sub", ["minus_one", "size"], ["negative"]),
            helper.make_node("Sqrt", ["negative"], ["y"]),
        ],
        [floats("x", "batch", 4)],
        [floats("y", "batch", 4)],
        initialisers=[constant("minus_one", -1.0)],
    )


def exotic_input(kind: int) -> onnx.ModelProto:
    """x (batch, 4) of a TensorProto type such as BFLOAT16 or INT4 -> y (batch, 4) float32. Few runtimes take it."""
    return build(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        [tensor("x", kind, ["batch", 4])],
        [floats("y", "batch", 4)],
        opset=25,
        ir_version=11,
    )


# External data


def save_external(model: onnx.ModelProto, path: Path, *, location: str = "weights.bin") -> Path:
    """Writes every initialiser to the one file `location` beside the model, whatever its size."""
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    offset = 0
    with (path.parent / location).open("wb") as stream:
        for initialiser in moved.graph.initializer:
            content = numpy_helper.to_array(initialiser).tobytes()
            stream.write(content)
            point_outside(initialiser, location, offset=offset, length=len(content))
            offset += len(content)
    return save(moved, path)


def point_outside(initialiser: onnx.TensorProto, location: str, **places: int) -> None:
    """Replaces the values by a reference to an external file; nothing is written."""
    for field in ("raw_data", "float_data", "int64_data", "external_data"):
        initialiser.ClearField(field)
    initialiser.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **places}.items():
        entry = initialiser.external_data.add()
        entry.key, entry.value = key, str(value)


RUNNABLE: dict[str, Callable[[], onnx.ModelProto]] = {
    builder.__name__: builder
    for builder in (
        mlp,
        conv_net,
        lstm_net,
        attention_block,
        slow_chain,
        two_in_two_out,
        shared_scalar,
        time_major,
        fixed_batch,
        dynamic_output,
        half_precision,
        double_precision,
        integer_net,
        boolean_net,
        string_net,
        unnamed_dims,
        ir_3,
        opset_7,
        branching,
        looping,
        local_function,
        runtime_operator,
        linear_classifier,
        zipmap_classifier,
        tree_regressor,
        random_noise,
        nan_output,
    )
}


def endless() -> onnx.ModelProto:
    """As many numbers as are asked for, added up: the way to ask for more memory than there is."""
    nodes = [
        helper.make_node("ConstantOfShape", ["n"], ["ones"], value=constant("one", [1.0])),
        helper.make_node("Mul", ["ones", "x"], ["more"]),
        helper.make_node("ReduceSum", ["more"], ["y"], keepdims=0),
    ]
    return build(nodes, [tensor("n", TensorProto.INT64, (1,)), floats("x", 1)], [floats("y")])
