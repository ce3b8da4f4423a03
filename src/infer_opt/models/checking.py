"""Whether a graph is whole and made of operators that exist, each fault told in one sentence."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from infer_opt.errors import ModelError
from infer_opt.models.graphs import ML_DOMAIN, ONNX_DOMAINS, all_graphs, all_nodes, operator_name, stored_tensors
from infer_opt.models.tensors import dtype_name, stored_bytes

OLDEST_OPSET = 7  # what ONNX Runtime still supports; below it, broadcasting meant something else

_AGAIN = "export the model again; `python -m onnx.checker` or Netron shows where it breaks"
_UPGRADE = "upgrade onnx and onnxruntime, or export for an older opset"

# Operators that ONNX Runtime brings along, without any library of one's own.
_RUNTIME_DOMAINS = frozenset({
    *ONNX_DOMAINS, ML_DOMAIN, "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training",
    "com.microsoft", "com.microsoft.experimental", "com.microsoft.nchwc", "com.ms.internal.nhwc",
})  # fmt: skip

# ONNX Runtime defines these in ONNX's own domain, at any opset, though the standard does not (or only later).
# From `get_all_operator_schema()` of ONNX Runtime 1.32, less what no file holds.
_RUNTIME_OPERATORS = frozenset({
    "Affine", "Crop", "DynamicSlice", "GRUUnit", "GivenTensorFill", "ImageScaler", "LayerNormalization",
    "ParametricSoftplus", "Scale", "ScaledTanh", "SimplifiedLayerNormalization",
})  # fmt: skip

_HOLLOW_FROM_BYTES = 4096


def check_names(path: Path, model: onnx.ModelProto) -> None:
    """Refuses names that are not text: protobuf hands them out as bytes, and every comparison with them would fail.

    Raises:
        ModelError: a name of an operator, tensor, dimension, domain or data file is not valid UTF-8.
    """
    if any(isinstance(name, bytes) for name in _names(model)):
        raise _not_text(path)


def _not_text(path: Path) -> ModelError:
    return ModelError(f"{path} is damaged: it holds names that are not valid text", hint=_AGAIN)


def _names(model: onnx.ModelProto) -> Iterator[object]:
    yield from (opset.domain for opset in model.opset_import)
    for function in model.functions:
        yield from (function.domain, function.name, *(opset.domain for opset in function.opset_import))
    for node in all_nodes(model):
        yield from (node.op_type, node.domain, *node.input, *node.output)
    for tensor in stored_tensors(model):
        yield from (tensor.name, *(text for entry in tensor.external_data for text in (entry.key, entry.value)))
    for value in (*model.graph.input, *model.graph.output):
        yield from (value.name, *(dim.dim_param for dim in value.type.tensor_type.shape.dim))


def main_opset(path: Path, model: onnx.ModelProto) -> int:
    """The opset of ONNX's own operators; 0 for a model that uses none of them.

    Raises:
        ModelError: older than `OLDEST_OPSET`, or newer than the installed libraries.
    """
    newest = onnx.defs.onnx_opset_version()
    version = next((opset.version for opset in model.opset_import if opset.domain in ONNX_DOMAINS), 0)
    if not model.opset_import:
        raise ModelError(
            f"{path} declares no opset (IR version {model.ir_version})",
            hint=f"export the model again, for opset {OLDEST_OPSET} or newer",
        )
    if 0 < version < OLDEST_OPSET:
        raise ModelError(
            f"{path} uses opset {version}; the oldest that can run is {OLDEST_OPSET}",
            hint="export it again, or convert it with onnx.version_converter",
        )
    if version > newest:
        raise ModelError(
            f"{path} uses opset {version}, newer than the {newest} of the installed onnx library",
            hint=_UPGRADE,
        )
    return version


def check_operators(path: Path, model: onnx.ModelProto) -> None:
    """Refuses operators that nothing on this machine defines.

    Raises:
        ModelError: an operator needs a custom-operator library, or does not exist in the model's opset.
    """
    local = {(function.domain, function.name) for function in model.functions}
    custom = sorted({
        operator_name(node)
        for node in all_nodes(model)
        if node.domain not in _RUNTIME_DOMAINS and (node.domain, node.op_type) not in local
    })  # fmt: skip
    if custom:
        raise ModelError(
            f"{path} needs a custom-operator library for {_listed(custom)}",
            hint="such a library is never loaded unasked; export the model with standard operators instead",
        )
    for graph in all_graphs(model):
        _check_versions(path, graph.node, model.opset_import, local)
    for function in model.functions:
        _check_versions(path, function.node, function.opset_import, local)


def _check_versions(
    path: Path,
    nodes: Iterable[onnx.NodeProto],
    imports: Iterable[onnx.OperatorSetIdProto],
    local: set[tuple[str, str]],
) -> None:
    versions = {"" if opset.domain in ONNX_DOMAINS else opset.domain: opset.version for opset in imports}
    for node in nodes:
        domain = "" if node.domain in ONNX_DOMAINS else node.domain
        is_standard = domain in ("", ML_DOMAIN) and (node.domain, node.op_type) not in local
        if not is_standard or domain not in versions or node.op_type in _RUNTIME_OPERATORS:
            continue
        try:
            schema = onnx.defs.get_schema(node.op_type, versions[domain], domain)
        except onnx.defs.SchemaError as error:
            raise _unknown_operator(path, node, versions[domain]) from error
        if schema.deprecated:
            raise ModelError(
                f"the operator {operator_name(node)} no longer exists in opset {versions[domain]}, which {path} uses",
                hint="export the model again, so that operators and opset agree",
            )


def _unknown_operator(path: Path, node: onnx.NodeProto, version: int) -> ModelError:
    history = [
        schema.since_version
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.name == node.op_type and schema.domain == ("" if node.domain in ONNX_DOMAINS else node.domain)
    ]
    if history:
        return ModelError(
            f"the operator {operator_name(node)} came with opset {min(history)}, and {path} uses opset {version}",
            hint="export the model again, so that operators and opset agree",
        )
    return ModelError(
        f"{path} uses the operator {operator_name(node)!r}, which opset {version} does not know", hint=_UPGRADE
    )


def check_structure(path: Path, model: onnx.ModelProto) -> None:
    """Runs ONNX's own checker over the graph. Takes `model` over: large tensors are emptied on the way.

    The checker reads neither weights nor (without inference) their shapes, and would refuse links that ONNX Runtime
    follows and models of more than 2 GB; so it is given the graph alone, after sizes were checked here.

    Raises:
        ModelError: a dangling edge, a missing name, a wrong attribute and the like.
    """
    for tensor in stored_tensors(model):
        _check_raw_data(path, tensor)
        if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.raw_data) >= _HOLLOW_FROM_BYTES:
            _hollow(tensor)
    for value in (*model.graph.input, *model.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()  # the checker wants a rank where ONNX Runtime needs none
    if any(node.op_type in _RUNTIME_OPERATORS and node.domain in ONNX_DOMAINS for node in all_nodes(model)):
        return  # the checker stops at the first operator that is not in the standard; the runtime checks when it opens
    try:
        onnx.checker.check_model(model.SerializeToString())
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the graph of {path} is broken: {_one_sentence(error)}", hint=_AGAIN) from error
    except UnicodeDecodeError as error:  # the checker's own message holds bytes of the file
        raise _not_text(path) from error


def _check_raw_data(path: Path, tensor: onnx.TensorProto) -> None:
    is_raw = tensor.HasField("raw_data") and tensor.data_location != onnx.TensorProto.EXTERNAL
    if not is_raw or dtype_name(tensor.data_type) in ("unknown", "str"):
        return
    if any(size < 0 for size in tensor.dims) or len(tensor.raw_data) != stored_bytes(tensor):
        raise ModelError(
            f"the graph of {path} is broken: tensor {tensor.name!r} of shape {list(tensor.dims)} "
            f"holds {len(tensor.raw_data)} bytes instead of {stored_bytes(tensor)}",
            hint=_AGAIN,
        )


def _hollow(tensor: onnx.TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    del tensor.dims[:]
    tensor.dims.append(0)


def _one_sentence(error: Exception) -> str:
    lines = (line.strip() for line in str(error).replace("==> Context:", "").splitlines())
    return " ".join(line for line in lines if line).rstrip(".")


def _listed(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)
