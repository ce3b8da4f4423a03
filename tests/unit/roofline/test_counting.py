"""Counts against what was worked out by hand, operator by operator; each line says how."""

import onnx
import pytest

from infer_opt.profiles.nodes import Node, Tensor
from infer_opt.profiles.roofline import Work
from infer_opt.roofline.counting import COUNTERS, count
from nodes_by_hand import node, tensor, weight


def counted(one: Node) -> Work:
    work = count(one)
    assert work is not None
    return work


def u8(*shape: int) -> Tensor:
    return tensor(*shape, dtype="uint8")


def s8(*shape: int) -> Tensor:
    return weight(*shape, dtype="int8")


SCALE, POINT, VALUE = weight(), weight(dtype="uint8"), tensor(4, 6)

OPERATIONS = [
    # (4, 8) @ (8, 6): 24 elements of 8 multiply-adds
    (node("MatMul", [tensor(4, 8), weight(8, 6)], tensor(4, 6)), 2 * 24 * 8),
    # a batch of 3 and 5 broadcast: 15 products of (4, 8) @ (8, 6)
    (node("MatMul", [tensor(3, 1, 4, 8), tensor(5, 8, 6)], tensor(3, 5, 4, 6)), 15 * 2 * 24 * 8),
    # a vector by a vector
    (node("MatMul", [tensor(8), tensor(8)], tensor()), 2 * 8),
    # A is (8, 4), transposed; the bias adds once an element
    (node("Gemm", [tensor(8, 4), weight(8, 6), weight(6)], tensor(4, 6), transA=1), 2 * 24 * 8 + 24),
    (node("Gemm", [tensor(4, 8), weight(6, 8)], tensor(4, 6), transB=1), 2 * 24 * 8),
    # 3x3 over 16 channels into 32, on 10x10
    (node("Conv", [tensor(2, 16, 12, 12), weight(32, 16, 3, 3)], tensor(2, 32, 10, 10)), 2 * 6400 * 16 * 9),
    # four groups: a quarter of the channels each; dilation changes nothing; a bias
    (
        node("Conv", [tensor(1, 16, 12, 12), weight(32, 4, 3, 3), weight(32)], tensor(1, 32, 8, 8), group=4,
             dilations=(2, 2)),
        2 * 2048 * 4 * 9 + 2048,
    ),
    # depthwise
    (node("Conv", [tensor(1, 16, 10), weight(16, 1, 5)], tensor(1, 16, 6), group=16), 2 * 96 * 5),
    # each of 16x5x5 inputs meets 8 x 3 x 3 weights
    (node("ConvTranspose", [tensor(1, 16, 5, 5), weight(16, 8, 3, 3)], tensor(1, 8, 7, 7)), 2 * 400 * 72),
    # b h i d, b h j d -> b h i j: 2 x 3 x 4 x 5 x 6 multiply-adds
    (
        node("Einsum", [tensor(2, 3, 4, 6), tensor(2, 3, 5, 6)], tensor(2, 3, 4, 5), equation="bhid,bhjd->bhij"),
        2 * 2 * 3 * 4 * 5 * 6,
    ),
    (
        node("Einsum", [tensor(7, 4, 6), tensor(6, 5)], tensor(7, 4, 5), equation="...ij,jk->...ik"),
        2 * 7 * 4 * 6 * 5,
    ),
    (node("Einsum", [tensor(4), tensor(5)], tensor(4, 5), equation="i,j->ij"), 20),  # nothing is summed
    (node("Einsum", [tensor(4, 5)], tensor(5, 4), equation="ij->ji"), 0),  # only moved
    (node("Einsum", [tensor(4, 4)], tensor(), equation="ii"), 4),  # the sum of a diagonal
    # integers
    (node("MatMulInteger", [u8(4, 8), s8(8, 6)], tensor(4, 6, dtype="int32")), 2 * 24 * 8),
    (node("ConvInteger", [u8(1, 16, 12, 12), s8(32, 16, 3, 3)], tensor(1, 32, 10, 10, dtype="int32")), 2 * 3200 * 144),
    # and an operation an element to scale the sums
    (node("QLinearMatMul", [u8(4, 8), SCALE, POINT, s8(8, 6), SCALE, POINT, SCALE, POINT], u8(4, 6)), 2 * 24 * 8 + 24),
    (
        node("QLinearConv", [u8(1, 16, 12, 12), SCALE, POINT, s8(32, 16, 3, 3), SCALE, POINT, SCALE, POINT,
                             weight(32, dtype="int32")], u8(1, 32, 10, 10)),
        2 * 3200 * 144 + 3200,
    ),
    (
        node("com.microsoft.QLinearConv", [u8(1, 12, 12, 16), SCALE, POINT, s8(32, 16, 3, 3), SCALE, POINT, SCALE,
                                           POINT], u8(1, 10, 10, 32), channels_last=1),
        2 * 3200 * 144,
    ),
    (node("com.microsoft.QGemm", [u8(4, 8), SCALE, POINT, s8(8, 6), SCALE, POINT], u8(4, 6)), 2 * 24 * 8),
    (
        node("com.microsoft.DynamicQuantizeMatMul", [tensor(4, 8), s8(8, 6), SCALE, POINT, weight(6)], tensor(4, 6)),
        2 * 24 * 8 + 24 + 24,
    ),
    (
        node("com.microsoft.MatMulIntegerToFloat", [u8(4, 8), s8(8, 6), SCALE, SCALE, POINT], tensor(4, 6)),
        2 * 24 * 8 + 24,
    ),
    # (6, 64) weights in 4 bits, blocks of 32
    (
        node("com.microsoft.MatMulNBits", [tensor(4, 64), weight(6, 2, 16, dtype="uint8"), weight(6, 2)], tensor(4, 6),
             K=64, N=6, bits=4, block_size=32),
        2 * 24 * 64,
    ),
    # fused: alpha is one operation an element, so is an activation, so is what is added
    (
        node("com.microsoft.FusedMatMul", [tensor(2, 8, 4), tensor(2, 8, 6)], tensor(2, 4, 6), transA=1, alpha=0.125),
        2 * 48 * 8 + 48,
    ),
    (
        node("com.microsoft.FusedMatMul", [tensor(4, 2, 8), tensor(6, 2, 8)], tensor(2, 4, 6), transBatchA=1,
             transBatchB=1, transB=1, alpha=1.0),
        2 * 48 * 8,
    ),
    (
        node("com.microsoft.FusedGemm", [tensor(4, 8), weight(8, 6), weight(6)], tensor(4, 6), activation="Relu"),
        2 * 24 * 8 + 24 + 24,
    ),
    (
        node("com.microsoft.FusedConv", [tensor(1, 16, 12, 12), weight(32, 16, 3, 3), weight(32),
                                         tensor(1, 32, 10, 10)], tensor(1, 32, 10, 10), activation="Relu"),
        2 * 3200 * 144 + 3 * 3200,
    ),
    # blocked layout: channels are padded to a multiple of the block, and computed
    (
        node("com.microsoft.nchwc.Conv", [tensor(1, 3, 12, 12), weight(16, 3, 3, 3)], tensor(1, 16, 10, 10)),
        2 * 1600 * 27,
    ),
    # attention: 2 x 3 heads, 4 x 4 pairs, (2 x 8 + 6 + 2 x 8) each
    (node("Attention", [tensor(2, 3, 4, 8), tensor(2, 3, 4, 8), tensor(2, 3, 4, 8)], tensor(2, 3, 4, 8)), 6 * 16 * 38),
    # looking back alone: 1 + 2 + 3 + 4 pairs
    (
        node("Attention", [tensor(2, 4, 24), tensor(2, 4, 24), tensor(2, 4, 24)], tensor(2, 4, 24), q_num_heads=3,
             kv_num_heads=3, is_causal=1),
        6 * 10 * 38,
    ),
    # one new token after seven in the past
    (
        node("Attention", [tensor(1, 3, 1, 8), tensor(1, 3, 1, 8), tensor(1, 3, 1, 8), None, tensor(1, 3, 7, 8),
                           tensor(1, 3, 7, 8)], tensor(1, 3, 1, 8), is_causal=1),
        3 * 8 * 38,
    ),
    # two keys back and one ahead: 2 + 3 + 4 + 4 + 3 of 5 x 5 pairs
    (
        node("Attention", [tensor(1, 3, 5, 8)] * 3, tensor(1, 3, 5, 8), left_window_size=2, right_window_size=1),
        3 * 16 * 38,
    ),
    # more keys than queries and no past: the first query sees the first key alone
    (
        node("Attention", [tensor(1, 3, 2, 8), tensor(1, 3, 6, 8), tensor(1, 3, 6, 8)], tensor(1, 3, 2, 8),
             is_causal=1),
        3 * 3 * 38,
    ),
    # a buffer of 100 keys of which only values say how many are in use
    (
        node("Attention", [tensor(1, 3, 1, 8), tensor(1, 3, 100, 8), tensor(1, 3, 100, 8), None, None, None,
                           tensor(1, dtype="int64")], tensor(1, 3, 1, 8)),
        3 * 38,
    ),
    # projections of 2 x 4 tokens from 24 to 72 with a bias, then 3 heads of 8
    (
        node("com.microsoft.Attention", [tensor(2, 4, 24), weight(24, 72), weight(72)], tensor(2, 4, 24), num_heads=3),
        2 * 8 * 24 * 72 + 8 * 72 + 6 * 16 * 38,
    ),
    (
        node("com.microsoft.QAttention", [u8(2, 4, 24), s8(24, 72), weight(72), SCALE, SCALE], tensor(2, 4, 24),
             num_heads=3),
        2 * 8 * 24 * 72 + 8 * 72 + 6 * 16 * 38,
    ),
    # 4 queries on 5 keys
    (
        node("com.microsoft.MultiHeadAttention", [tensor(2, 4, 24), tensor(2, 5, 24), tensor(2, 5, 24)],
             tensor(2, 4, 24), num_heads=3),
        6 * 20 * 38,
    ),
    (node("com.microsoft.MultiHeadAttention", [tensor(2, 4, 3, 3, 8)], tensor(2, 4, 24), num_heads=3), 6 * 16 * 38),
    # a prompt of 4: 6 query heads see 10 pairs each; keys of 2 heads
    (
        node("com.microsoft.GroupQueryAttention", [tensor(1, 4, 48), tensor(1, 4, 16), tensor(1, 4, 16), None, None,
                                                   tensor(1, dtype="int32")], tensor(1, 4, 48), num_heads=6,
             kv_num_heads=2),
        6 * 10 * 38,
    ),
    # a window of two: 1 + 2 + 2 + 2 pairs
    (
        node("com.microsoft.GroupQueryAttention", [tensor(1, 4, 48), tensor(1, 4, 16), tensor(1, 4, 16)],
             tensor(1, 4, 48), num_heads=6, kv_num_heads=2, local_window_size=2),
        6 * 7 * 38,
    ),
    # 5 steps of 2 sequences: W (1, 32, 3), R (1, 32, 8); 30 operations a unit beside the products
    (
        node("LSTM", [tensor(5, 2, 3), weight(1, 32, 3), weight(1, 32, 8), weight(1, 64)], tensor(5, 1, 2, 8),
             hidden_size=8),
        10 * (2 * (96 + 256) + 30 * 8),
    ),
    # both directions
    (
        node("LSTM", [tensor(5, 2, 3), weight(2, 32, 3), weight(2, 32, 8)], tensor(5, 2, 2, 8), hidden_size=8,
             direction="bidirectional"),
        2 * 10 * (2 * (96 + 256) + 30 * 8),
    ),
    (node("GRU", [tensor(5, 2, 3), weight(1, 24, 3), weight(1, 24, 8)], tensor(5, 1, 2, 8)),
     10 * (2 * (72 + 192) + 23 * 8)),
    (node("RNN", [tensor(5, 2, 3), weight(1, 8, 3), weight(1, 8, 8)], tensor(5, 1, 2, 8)),
     10 * (2 * (24 + 64) + 4 * 8)),
    (
        node("com.microsoft.DynamicQuantizeLSTM", [tensor(5, 2, 3), s8(1, 3, 32), s8(1, 8, 32)], tensor(5, 1, 2, 8)),
        10 * (2 * (96 + 256) + 30 * 8),
    ),
    # an element: so many operations
    (node("Add", [tensor(4, 6), weight(6)], VALUE), 24),
    (node("Clip", [VALUE, weight(), weight()], VALUE), 48),
    (node("Max", [VALUE, VALUE, VALUE], VALUE), 48),
    (node("Sigmoid", [VALUE], VALUE), 96),
    (node("Softmax", [VALUE], VALUE), 5 * 24),
    (node("com.microsoft.FastGelu", [VALUE, weight(6)], VALUE), 6 * 24),
    (node("QuantizeLinear", [VALUE, SCALE, POINT], u8(4, 6)), 72),
    (node("DequantizeLinear", [u8(4, 6), SCALE, POINT], VALUE), 48),
    (node("com.microsoft.QLinearAdd", [u8(4, 6), SCALE, POINT, u8(4, 6), SCALE, POINT, SCALE, POINT], u8(4, 6)),
     8 * 24),
    (node("LayerNormalization", [VALUE, weight(6), weight(6)], VALUE), 7 * 24),
    (node("LayerNormalization", [VALUE, weight(6)], VALUE), 6 * 24),
    (node("com.microsoft.SkipLayerNormalization", [VALUE, VALUE, weight(6), weight(6), weight(6)], VALUE), 9 * 24),
    (node("SimplifiedLayerNormalization", [VALUE, weight(6)], VALUE), 4 * 24),
    (node("BatchNormalization", [tensor(1, 6, 4, 4)] + 4 * [weight(6)], tensor(1, 6, 4, 4)), 2 * 96),
    (node("ReduceMean", [tensor(4, 6)], tensor(4, 1), axes=(-1,)), 24),
    (node("GlobalAveragePool", [tensor(1, 8, 7, 7)], tensor(1, 8, 1, 1)), 8 * 49),
    (node("MaxPool", [tensor(1, 8, 8, 8)], tensor(1, 8, 4, 4), kernel_shape=(3, 3)), 128 * 9),
    (node("com.microsoft.nchwc.AveragePool", [tensor(1, 8, 8, 8)], tensor(1, 8, 4, 4), kernel_shape=(2, 2)), 128 * 4),
    (node("LRN", [tensor(1, 8, 2, 2)], tensor(1, 8, 2, 2), size=5), 32 * 13),
    # twice as large in two dimensions: 4 taps; in one: 2
    (node("Resize", [tensor(1, 3, 4, 4), None, weight(4)], tensor(1, 3, 8, 8), mode="linear"), 192 * 8),
    (node("Resize", [tensor(1, 3, 4, 4), None, weight(4)], tensor(1, 3, 8, 4), mode="linear"), 96 * 4),
    (node("Resize", [tensor(1, 3, 4, 4), None, weight(4)], tensor(1, 3, 8, 8), mode="nearest"), 0),
    (node("Cast", [VALUE], tensor(4, 6, dtype="float16")), 0),
    # classical learners
    (node("ai.onnx.ml.LinearClassifier", [tensor(5, 4)], tensor(5, 3), coefficients=(0.5,) * 12), 2 * 5 * 12),
    # 5 samples through two trees of 4 leaves: two comparisons each
    (
        node("ai.onnx.ml.TreeEnsembleRegressor", [tensor(5, 4)], tensor(5, 1), nodes_treeids=(0,) * 7 + (1,) * 7,
             nodes_modes=2 * ("BRANCH_LEQ", "BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "LEAF")),
        5 * 2 * 2,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("one", "operations"), OPERATIONS, ids=lambda one: getattr(one, "kind", ""))
def test_operations_are_those_worked_out_by_hand(one: Node, operations: int) -> None:
    assert counted(one).operations == operations


BYTES = [
    # (node, read, written, of which weights)
    (node("MatMul", [tensor(4, 8), weight(8, 6)], tensor(4, 6)), 4 * (32 + 48), 4 * 24, 4 * 48),
    # the same tensor twice is read once
    (node("Mul", [tensor(4, name="x"), tensor(4, name="x")], tensor(4)), 16, 16, 0),
    # 3 rows of 8 out of 1000, by 64-bit numbers
    (node("Gather", [weight(1000, 8), tensor(3, dtype="int64")], tensor(3, 8)), 3 * 32 + 24, 96, 96),
    # never more than there is: 500 rows out of 10
    (node("Gather", [weight(10, 8), tensor(500, dtype="int64")], tensor(500, 8)), 320 + 4000, 16000, 320),
    (node("Reshape", [tensor(4, 6), weight(1, dtype="int64")], tensor(24)), 0, 0, 0),
    (node("Identity", [tensor(4, 6)], tensor(4, 6)), 0, 0, 0),
    (node("Shape", [tensor(4, 6)], tensor(2, dtype="int64")), 0, 16, 0),
    (node("Transpose", [tensor(4, 6)], tensor(6, 4)), 96, 96, 0),
    (node("Concat", [tensor(4, 6), tensor(2, 6)], tensor(6, 6)), 144, 144, 0),
    (node("Slice", [tensor(100, 6), weight(1, dtype="int64")], tensor(4, 6)), 96 + 8, 96, 8),
    (node("Split", [tensor(4, 6)], tensor(2, 6), tensor(2, 6)), 96, 96, 0),
    # half a byte a weight, and a scale a block
    (
        node("com.microsoft.MatMulNBits", [tensor(1, 64), weight(6, 2, 16, dtype="uint8"), weight(6, 2)], tensor(1, 6),
             K=64, N=6),
        256 + 192 + 48, 24, 240,
    ),
    # rows of 64 in 4 bits, a scale for each 32
    (
        node("com.microsoft.GatherBlockQuantized", [weight(1000, 64, dtype="uint4"), tensor(3, dtype="int64"),
                                                    weight(1000, 2)], tensor(3, 64), block_size=32, bits=4),
        96 + 24 + 24, 768, 96 + 24,
    ),
    # three tables of which a row a token is read, and the scale and bias
    (
        node("com.microsoft.EmbedLayerNormalization", [tensor(1, 5, dtype="int32"), tensor(1, 5, dtype="int32"),
                                                       weight(1000, 8), weight(512, 8), weight(2, 8), weight(8),
                                                       weight(8)], tensor(1, 5, 8)),
        40 + 160 + 160 + 64 + 64, 160, 160 + 160 + 64 + 64,
    ),
    # 2 rows are put into a tensor that stays where it is
    (
        node("ScatterND", [tensor(100, 8), tensor(2, 1, dtype="int64"), tensor(2, 8)], tensor(100, 8)),
        16 + 64, 64, 0,
    ),
    # a cache of 100 places of which the new token fills one
    (
        node("com.microsoft.GroupQueryAttention", [tensor(1, 1, 48), tensor(1, 1, 16), tensor(1, 1, 16),
                                                   tensor(1, 2, 100, 8), tensor(1, 2, 100, 8)], tensor(1, 1, 48),
             tensor(1, 2, 100, 8), tensor(1, 2, 100, 8), num_heads=6, kv_num_heads=2),
        4 * (48 + 16 + 16 + 16 + 16), 4 * (48 + 16 + 16), 0,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("one", "read", "written", "weights"), BYTES, ids=lambda one: getattr(one, "kind", ""))
def test_bytes_are_those_worked_out_by_hand(one: Node, read: int, written: int, weights: int) -> None:
    work = counted(one)

    assert (work.read_bytes, work.written_bytes, work.weight_bytes) == (read, written, weights)


@pytest.mark.parametrize(
    ("one", "precision"),
    [
        (node("MatMul", [tensor(4, 8, dtype="float16"), weight(8, 6, dtype="float16")], tensor(4, 6)), "float16"),
        (node("MatMulInteger", [u8(4, 8), s8(8, 6)], tensor(4, 6, dtype="int32")), "int8"),
        (node("DequantizeLinear", [u8(4, 6), SCALE, POINT], VALUE), "float32"),
        (node("QuantizeLinear", [VALUE, SCALE, POINT], u8(4, 6)), "float32"),
        (node("com.microsoft.DynamicQuantizeMatMul", [tensor(4, 8), s8(8, 6), SCALE], tensor(4, 6)), "int8"),
        (node("com.microsoft.MatMulNBits", [tensor(1, 64)], tensor(1, 6), K=64), "float32"),
        (node("com.microsoft.MatMulNBits", [tensor(1, 64)], tensor(1, 6), K=64, accuracy_level=4), "int8"),
    ],
    ids=lambda one: getattr(one, "kind", one),
)
def test_the_precision_is_that_of_the_arithmetic(one: Node, precision: str) -> None:
    assert counted(one).precision == precision


@pytest.mark.parametrize(
    "one",
    [
        node("com.example.Something", [VALUE], VALUE),
        node("If", [tensor(dtype="bool")], VALUE),
        node("MatMul", [], VALUE),
        node("MatMul", [tensor(4, 8), weight(8, 6)]),
        node("MatMul", [tensor(), weight(8, 6)], VALUE),
        node("Conv", [tensor(4, 8), weight(8, 6)], VALUE),
        node("Einsum", [tensor(4, 8)], VALUE, equation="ijk->ij"),
        node("MaxPool", [VALUE], VALUE),
        node("Resize", [VALUE], VALUE, mode="by magic"),
        node("com.microsoft.MatMulNBits", [VALUE], VALUE),
        node("com.microsoft.MultiHeadAttention", [tensor(2, 4, 24)], tensor(2, 4, 24)),
        node("ai.onnx.ml.TreeEnsembleRegressor", [tensor(5, 4)], tensor(5, 1)),
    ],
    ids=lambda one: one.kind,
)
def test_what_cannot_be_told_is_not_counted(one: Node) -> None:
    assert count(one) is None


@pytest.mark.parametrize(
    ("one", "is_exact"),
    [
        (node("MatMul", [tensor(4, 8), weight(8, 6)], VALUE), True),
        (node("Add", [VALUE, VALUE], VALUE), True),
        (node("Softmax", [VALUE], VALUE), False),
        (node("ConvTranspose", [tensor(1, 16, 5), weight(16, 8, 3)], tensor(1, 8, 5), pads=(1, 1)), False),
        (node("ConvTranspose", [tensor(1, 16, 5), weight(16, 8, 3)], tensor(1, 8, 7), pads=(0, 0)), True),
        (node("LSTM", [tensor(5, 2, 3), weight(1, 32, 3), weight(1, 32, 8), None, tensor(2)], VALUE), False),
    ],
    ids=lambda one: getattr(one, "kind", ""),
)
def test_a_count_says_whether_it_is_exact(one: Node, is_exact: bool) -> None:
    assert counted(one).is_exact is is_exact


def test_every_operator_that_is_counted_exists() -> None:
    """By the schemas of ONNX and of ONNX Runtime: a name that is written wrong would never be met."""
    from onnxruntime.capi import _pybind_state

    known = {(schema.domain, schema.name) for schema in onnx.defs.get_all_schemas()}
    known |= {(schema.domain, schema.name) for schema in _pybind_state.get_all_operator_schema()}
    known |= {(kernel.domain, kernel.op_name) for kernel in _pybind_state.get_all_opkernel_def()}
    known |= {("", "MemcpyToHost"), ("", "MemcpyFromHost")}  # which a build with CUDA alone has

    assert [kind for kind in COUNTERS if tuple(kind.rpartition(".")[::2]) not in known] == []


def test_onnx_by_its_other_name_is_counted_too() -> None:
    assert count(node("ai.onnx.Relu", [VALUE], VALUE)) == count(node("Relu", [VALUE], VALUE))


def bottleneck(channels: int, width: int, side: int, stride: int) -> list[Node]:
    """One block of ResNet-50 as torchvision has it: the stride is that of the 3x3."""
    after = side // stride
    found = [
        node("Conv", [tensor(1, channels, side, side), weight(width, channels, 1, 1)], tensor(1, width, side, side)),
        node("Conv", [tensor(1, width, side, side), weight(width, width, 3, 3)], tensor(1, width, after, after)),
        node("Conv", [tensor(1, width, after, after), weight(4 * width, width, 1, 1)],
             tensor(1, 4 * width, after, after)),
    ]  # fmt: skip
    if channels != 4 * width:
        found.append(
            node("Conv", [tensor(1, channels, side, side), weight(4 * width, channels, 1, 1)],
                 tensor(1, 4 * width, after, after)),
        )  # fmt: skip
    return found


def test_resnet_50_has_the_published_number_of_multiply_adds() -> None:
    nodes = [node("Conv", [tensor(1, 3, 224, 224), weight(64, 3, 7, 7)], tensor(1, 64, 112, 112))]
    channels, side = 64, 56
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for number in range(blocks):
            stride = 2 if number == 0 and width > 64 else 1
            nodes += bottleneck(channels, width, side, stride)
            channels, side = 4 * width, side // stride
    nodes.append(node("Gemm", [tensor(1, 2048), weight(1000, 2048)], tensor(1, 1000), transB=1))

    multiply_adds = sum(counted(one).operations for one in nodes) / 2

    assert len(nodes) == 54
    assert multiply_adds / 1e9 == pytest.approx(4.089, abs=0.001)  # torchvision's ResNet50_Weights, `_ops`


def test_a_layer_of_bert_base_has_the_multiply_adds_of_its_weights() -> None:
    """7,077,888 weights of products a layer meet each token once: 12 layers are the known 85 million."""
    tokens = 128
    shapes = [(768, 768)] * 4 + [(768, 3072), (3072, 768)]
    nodes = [node("MatMul", [tensor(1, tokens, a), weight(a, b)], tensor(1, tokens, b)) for a, b in shapes]

    multiply_adds = 12 * sum(counted(one).operations for one in nodes) / 2 / tokens

    assert multiply_adds == 84_934_656
