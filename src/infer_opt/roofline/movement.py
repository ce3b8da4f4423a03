"""What only moves data, and what does not even do that."""

from collections.abc import Callable

from infer_opt.profiles.nodes import Node
from infer_opt.profiles.roofline import Work
from infer_opt.roofline.asking import UncountableError, attribute, given, optional, output, work


def _copied(node: Node) -> Work:
    """Every input is read and every output is written once."""
    return work(node, 0)


def _view(node: Node) -> Work:
    """The same values under another shape: runtimes hand the memory on."""
    return work(node, 0, reads=dict.fromkeys(range(len(node.inputs)), 0), written=0)


def _written(node: Node) -> Work:
    """Only shapes are read: what counts is what is written."""
    return work(node, 0, reads=dict.fromkeys(range(len(node.inputs)), 0))


def _part(node: Node) -> Work:
    """Only what ends up in the output is read of the first input."""
    moved = sum(tensor.bytes for tensor in node.outputs)
    return work(node, 0, reads={0: min(moved, given(node, 0).bytes)})


def _gathered(node: Node) -> Work:
    """The rows that are taken, of which some may be the same: an upper bound."""
    rows = min(output(node).bytes, given(node, 0).bytes)
    return work(node, 0, reads={0: rows}, is_exact=False)


def _scattered(updates: int) -> Callable[[Node], Work]:
    """A counter of what is put into a tensor that is otherwise left as it is: the input at `updates`."""
    return lambda node: work(node, 0, reads={0: 0}, written=given(node, updates).bytes, is_exact=False)


def _gathered_blocks(node: Node) -> Work:
    """Rows of a table in few bits, with the scales of their blocks; two operations an element to unpack it."""
    result, table, scales = output(node), given(node, 0), given(node, 2)
    bits = attribute(node, "bits", 4)
    block = attribute(node, "block_size", 128)
    if not bits or not block:
        raise UncountableError(f"{node.kind} does not say its bits and block")
    blocks = -(-result.elements // block)
    reads = {
        0: min(-(-result.elements * bits // 8), table.bytes),
        2: min(blocks * scales.bytes // max(1, scales.elements), scales.bytes),
    }
    points = optional(node, 3)
    if points is not None:
        reads[3] = min(-(-blocks * bits // 8), points.bytes)
    return work(node, 2 * result.elements, precision=result.dtype, reads=reads, is_exact=False)


VIEWS = (
    "Identity",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Dropout",
    "SequenceAt",
    "Optional",
    "OptionalGetElement",
)
COPIES = (
    "Cast", "CastLike", "Transpose", "Concat", "Split", "Pad", "Expand", "Tile", "DepthToSpace", "SpaceToDepth",
    "Trilu", "ReverseSequence", "CenterCropPad", "NonZero", "Compress", "OneHot", "Col2Im", "Where",
    "com.microsoft.nchwc.ReorderInput", "com.microsoft.nchwc.ReorderOutput",
    "com.microsoft.QLinearConcat", "com.microsoft.QLinearWhere", "com.microsoft.Trilu", "com.microsoft.Pad",
    "com.ms.internal.nhwc.DepthToSpace", "com.ms.internal.nhwc.SpaceToDepth", "com.microsoft.ExpandDims",
    "MemcpyToHost", "MemcpyFromHost", "ai.onnx.ml.ArrayFeatureExtractor", "ai.onnx.ml.FeatureVectorizer",
)  # fmt: skip
WRITES = ("Shape", "Size", "ConstantOfShape", "Constant", "Range", "EyeLike", "com.microsoft.Range")

MOVEMENT: dict[str, Callable[[Node], Work | None]] = {
    **dict.fromkeys(VIEWS, _view),
    **dict.fromkeys(COPIES, _copied),
    **dict.fromkeys(WRITES, _written),
    "Slice": _part,
    "Gather": _gathered,
    "GatherND": _gathered,
    "GatherElements": _gathered,
    "com.microsoft.GatherND": _gathered,
    **dict.fromkeys(("ScatterND", "ScatterElements", "Scatter"), _scattered(2)),
    "TensorScatter": _scattered(1),
    "com.microsoft.GatherBlockQuantized": _gathered_blocks,
}
