"""onnxruntime's transformer fusions: attention, layer normalisation and GELU as single operators.

Needs no torch: with `opt_level=0` only the fusions written in Python run. Two of their helpers need sympy, which the
extras [cpu] and [gpu] name.
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from infer_opt.errors import ModelError
from infer_opt.transforms.faults import step
from infer_opt.transforms.model_files import CONTRIB_DOMAIN, FUSED_OPERATORS, load, name_nodes, operators, opset, save
from infer_opt.transforms.normalise import OLDEST_OPSET, normalised


def fuse(source: Path, target: Path, *, model_type: str) -> None:
    """Write the model at `source` with the fusions of `model_type` (bert, vit, gpt2 ...) applied.

    Raises:
        ModelError: an unknown type, or no fusion matched.
        StorageError: `target` cannot be written.
    """
    with step(f"fusing as {model_type}"):
        model = load(source)
        before = operators(model)
        if opset(model) < OLDEST_OPSET:  # the fused operators keep the converter from raising it later
            model, _ = normalised(model)
        name_nodes(model)
        _complete_norms(model)
        fused = fused_model(model, model_type)
        if not new_fusions(before, operators(fused)):
            raise ModelError(
                f"no {model_type} fusion matched {source.name}",
                hint="the fusions know the graphs of common exporters; another model type may match",
            )
        save(fused, target)


def fused_model(model: ModelProto, model_type: str) -> ModelProto:
    """The model after onnxruntime's fusions for that type, whether any matched or not.

    Raises:
        ModelError: an unknown type.
    """
    heads, hidden = detect_heads(model)
    with transformer_tools():
        from onnxruntime.transformers.optimizer import MODEL_TYPES, optimize_model

        if model_type not in MODEL_TYPES:
            raise ModelError(
                f"{model_type!r} is no model type to fuse as", hint=f"one of {', '.join(sorted(MODEL_TYPES))}"
            )
        # bert's fusions find the heads themselves, attention by attention; gpt2's take what they are told.
        told = {} if model_type in ("bert", "vit", "swin") else {"num_heads": heads, "hidden_size": hidden}
        if model_type.startswith("gpt") and not heads:
            raise ModelError("the number of attention heads cannot be told from the graph", hint="try the type bert")
        optimiser = optimize_model(model, model_type=model_type, opt_level=0, **told)
    fused: ModelProto = optimiser.model
    if all(entry.domain != CONTRIB_DOMAIN for entry in fused.opset_import):
        fused.opset_import.append(helper.make_opsetid(CONTRIB_DOMAIN, 1))  # the optimiser does so only when it saves
    return fused


def new_fusions(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    """Fused operator -> how many more there are than before."""
    return {name: after[name] - before[name] for name in sorted(FUSED_OPERATORS) if after[name] > before[name]}


def detect_heads(model: ModelProto) -> tuple[int, int]:
    """(number of heads, hidden size) by the reshape to (batch, sequence, heads, head size); (0, 0) if none is found."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = node.attribute[0].t
    found: Counter[tuple[int, int]] = Counter()
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            shape = numpy_helper.to_array(constants[node.input[1]]).tolist()
            if len(shape) == 4 and shape[2] > 1 and shape[3] > 1:
                found[shape[2], shape[3]] += 1
    if not found:
        return 0, 0
    (heads, size), _ = found.most_common(1)[0]
    return heads, heads * size


def _complete_norms(model: ModelProto) -> None:
    """Write out what LayerNormalization may leave to a default, without changing what it computes.

    The fusion into SkipLayerNormalization fails without a bias (IndexError), and without an epsilon it takes its own
    default, 1e-12, in place of LayerNormalization's 1e-5.
    """
    scales = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "LayerNormalization":
            continue
        if all(attribute.name != "epsilon" for attribute in node.attribute):
            node.attribute.append(helper.make_attribute("epsilon", 1e-5))
        if len(node.input) == 2 and node.input[1] in scales:
            name = f"{node.name}/zero_bias"
            zeros = np.zeros_like(numpy_helper.to_array(scales[node.input[1]]))
            model.graph.initializer.append(numpy_helper.from_array(zeros, name))
            node.input.append(name)


@contextlib.contextmanager
def transformer_tools() -> Iterator[None]:
    """Make onnxruntime's transformer scripts importable, and only for so long.

    Importing `onnxruntime.transformers` puts its folder on `sys.path` for good, where its modules are called `metrics`,
    `profiler`, `constants` and the like, and would answer to anybody's import.
    """
    before = list(sys.path)
    import onnxruntime.transformers as tools

    folder = Path(tools.__file__).parent
    sys.path += [str(folder), str(folder.parent / "tools")]
    try:
        yield
    finally:
        sys.path[:] = before
