"""Whether the work of nodes is counted rightly: against another counter and against published figures.

Every node of every model is counted twice, by infer-opt and by onnx-tool (extra `counting`), with the shapes that the
model's tensors have when it runs. Matrix products and convolutions are compared node by node: a multiply-add is two
operations here and one there, and a bias one in both. The other operators are conventions (how many operations an
exponential is, say), so that only their share is shown. Models are those of models/, those that the onnx package
brings, and those of models/large/ where they were built. Totals are compared with the figures that torchvision
publishes with its weights, where the architecture is the same; those leave everything but products out.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from benchmarks import record
from benchmarks.record import ROOT, Target
from onnx import helper

from infer_opt.config import SessionOptions
from infer_opt.models.inspecting import inspect
from infer_opt.profiles.nodes import Node, Tensor
from infer_opt.recipes import GraphLevel
from infer_opt.roofline.counting import count
from infer_opt.roofline.products import PRODUCTS
from infer_opt.runtimes import open_runtime

NAME = "counting"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
BATCH, TOKENS = 1, 64  # sizes of dynamic dimensions: items, and anything else
TOLERANCE = 1e-9
# Multiply-adds of one image of 224x224, in 1e9. Source: the `_ops` entries of torchvision's weights (VGG19,
# DenseNet121, ResNet50, GoogLeNet; the last has kernels of 3 where the light model has those of 5).
PUBLISHED = {"light_vgg19": 19.632, "light_densenet121": 2.834, "light_resnet50": 4.089, "light_inception_v1": 1.498}
PUBLISHED_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One node in both counts, in operations of its products."""

    name: str
    operator: str
    ours: float
    theirs: float

    @property
    def difference(self) -> float:
        """Relative to theirs."""
        return abs(self.ours - self.theirs) / max(self.theirs, 1.0)


def models() -> Iterator[Path]:
    yield from sorted((ROOT / "models").glob("*.onnx"))
    yield from sorted(LIGHT.glob("light_*.onnx"))
    yield from sorted(path for path in (ROOT / "models" / "large").glob("*.onnx") if not path.name.startswith("light_"))


def fed(path: Path) -> dict[str, Any]:
    """One made-up input a tensor; only shapes matter."""
    feeds = {}
    for spec in inspect(path).inputs:
        shape = [
            size if isinstance(size, int) else BATCH if at == 0 else TOKENS for at, size in enumerate(spec.shape or ())
        ]
        feeds[spec.name] = np.ones(shape, spec.dtype)
    return feeds


def with_shapes(path: Path, feeds: Mapping[str, Any], folder: Path) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The model, and every tensor of it as it is when the model runs."""
    model = onnx.load(path)
    known = {value.name for value in model.graph.output}
    more = [name for node in model.graph.node for name in node.output if name and name not in known]
    every = onnx.ModelProto()
    every.CopyFrom(model)
    every.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(more))
    changed = folder / "every.onnx"
    onnx.save(every, changed)
    session = open_runtime("onnx").open(changed, SessionOptions(graph_level=GraphLevel.NONE))
    values = {**feeds, **session.run(feeds)}
    session.close()
    values |= {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    return model, values


def as_nodes(model: onnx.ModelProto, values: Mapping[str, Any]) -> list[Node]:
    """The graph as profiles have it."""
    constants = {one.name for one in model.graph.initializer}

    def tensor(name: str) -> Tensor:
        value = np.asarray(values[name])
        return Tensor(name=name, dtype=str(value.dtype), shape=value.shape, is_constant=name in constants)

    return [
        Node(
            name=node.name or node.output[0],
            operator=node.op_type,
            domain=node.domain,
            inputs=tuple(tensor(name) if name else None for name in node.input),
            outputs=tuple(tensor(name) for name in node.output if name in values),
            attributes=tuple((one.name, _plain(helper.get_attribute_value(one))) for one in node.attribute),
        )
        for node in model.graph.node
    ]


def theirs(model: onnx.ModelProto, values: Mapping[str, Any]) -> dict[str, float]:
    """What onnx-tool counts for each node, by its first output: multiply-adds."""
    from onnx_tool.node import NODE_REGISTRY

    found = {}
    for node in model.graph.node:
        kind = NODE_REGISTRY.get(f"{node.op_type}Node")
        if kind is None:
            continue

        inputs, outputs = ([_their_tensor(name, values) for name in names] for names in (node.input, node.output))
        try:
            found[node.output[0]] = float(kind(node).profile(inputs, outputs)[0])
        except (AssertionError, AttributeError, IndexError, KeyError, NotImplementedError, TypeError, ValueError):
            continue  # a counter of theirs that does not suit this node
    return found


def _their_tensor(name: str, values: Mapping[str, Any]) -> Any:
    from onnx_tool.tensor import Tensor as TheirTensor

    tensor = TheirTensor(name)
    if name in values:
        value = np.asarray(values[name])
        tensor.update_shape(list(value.shape))
        tensor.update_dtype(value.dtype.type)
    return tensor


def compare(nodes: Sequence[Node], others: Mapping[str, float]) -> list[Compared]:
    """All products that both count."""
    found = []
    for node in nodes:
        mine, other = count(node), others.get(node.outputs[0].name)
        if node.kind not in PRODUCTS or mine is None or not other:
            continue
        added = node.outputs[0].elements * (len(node.inputs) > 2 and node.inputs[2] is not None)
        found.append(
            Compared(
                name=node.name,
                operator=node.kind,
                ours=float(mine.operations - added),
                theirs=2.0 * (other - added),
            )
        )
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list):
        return tuple(_plain(one) for one in value)
    return value if isinstance(value, int | float | str) else str(type(value).__name__)


def summary(path: Path, folder: Path) -> tuple[dict[str, Any], list[Compared]]:
    model, values = with_shapes(path, fed(path), folder)
    nodes = as_nodes(model, values)
    compared = compare(nodes, theirs(model, values))
    works = [count(node) for node in nodes]
    products = sum(
        work.operations for node, work in zip(nodes, works, strict=True) if work is not None and node.kind in PRODUCTS
    )
    everything = sum(work.operations for work in works if work is not None)
    return {
        "nodes": len(nodes),
        "not_counted": sorted({node.kind for node, work in zip(nodes, works, strict=True) if work is None}),
        "operations": everything,
        "multiply_adds_of_products": products / 2,
        "share_of_products": products / everything if everything else None,
        "moved_bytes": sum(work.moved_bytes for work in works if work is not None),
        "compared": len(compared),
        "largest_difference": max((one.difference for one in compared), default=None),
        "published": PUBLISHED.get(path.stem),
    }, compared


def main(argv: Sequence[str]) -> int:
    options = record.parser(NAME, __doc__).parse_args(argv)
    begun = record.begin(NAME, argv)
    results, samples = {}, {}
    for path in models():
        with tempfile.TemporaryDirectory() as folder:
            results[path.stem], compared = summary(path, Path(folder))
        samples[path.stem] = [[one.operator, one.ours, one.theirs] for one in compared]
    differences = [one["largest_difference"] for one in results.values() if one["largest_difference"] is not None]
    published = [
        abs(one["multiply_adds_of_products"] / 1e9 / one["published"] - 1)
        for one in results.values()
        if one["published"] is not None
    ]
    targets = [
        Target(name="largest difference of a node from onnx-tool", unit="of its count", measured=max(differences),
               at_most=TOLERANCE),
        Target(name="largest difference from a published total", unit="of it", measured=max(published),
               at_most=PUBLISHED_TOLERANCE),
        Target(name="operators that are not counted", unit="in all models",
               measured=float(len({kind for one in results.values() for kind in one["not_counted"]})), at_most=0.0),
    ]  # fmt: skip
    begun.write(options.result, method=__doc__ or "", targets=targets, results=results, samples=samples)
    rows = [
        [name, one["nodes"], one["compared"], one["multiply_adds_of_products"] / 1e9, one["published"],
         one["largest_difference"], ", ".join(one["not_counted"])]
        for name, one in results.items()
    ]  # fmt: skip
    headings = ["model", "nodes", "compared", "G multiply-adds", "published", "difference", "not counted"]
    return record.report(headings, rows, targets, options.result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
