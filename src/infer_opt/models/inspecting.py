"""What a model file says about itself, read without loading its external data, running it, or trusting it."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx

from infer_opt.errors import ModelError
from infer_opt.facts import Dim, ModelFacts, TensorSpec
from infer_opt.models.axes import find_batch_dim
from infer_opt.models.checking import check_names, check_operators, check_structure, main_opset
from infer_opt.models.external import external_locations
from infer_opt.models.files import read_model
from infer_opt.models.graphs import ML_DOMAIN, all_nodes, initialiser_names, operator_name, stored_tensors
from infer_opt.models.tensors import dtype_name, numpy_dtype, stored_bytes
from infer_opt.models.vocabularies import find_vocabularies

LARGEST_INPUT_BYTES = 2**31

_CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
_CHUNK_BYTES = 1 << 20


def inspect(path: Path, *, custom_ops: bool = False) -> ModelFacts:
    """Everything that is known of the model before it runs.

    `content_hash` is the sha256 of the file followed by its external data files in the order of their names, so for a
    model in one file it is what `sha256sum` prints. `weight_bytes` counts stored tensors, not those that the graph
    computes. `operators` are counted with the bodies of control flow and local functions, most frequent first.

    Raises:
        ModelError: not a readable, whole model that can be fed with tensors; the sentence says why.
    """
    model = read_model(path)
    check_names(path, model)
    opset = main_opset(path, model)
    if not custom_ops:  # a library that was named may bring any operator
        check_operators(path, model)
    external = external_locations(path, stored_tensors(model))
    inputs, outputs = _inputs(path, model.graph), tuple(tensor_spec(value) for value in model.graph.output)
    batch_dim = find_batch_dim(inputs)
    operators = Counter(operator_name(node) for node in all_nodes(model))
    files = [path, *(path.parent / location for location in external)]
    facts = ModelFacts(
        path=str(path),
        content_hash=_content_hash(files),
        size_bytes=sum(file.stat().st_size for file in files),
        weight_bytes=sum(stored_bytes(tensor) for tensor in stored_tensors(model)),
        ir_version=model.ir_version,
        opset=opset,
        inputs=inputs,
        outputs=outputs,
        operators=tuple(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        dynamic_dims=tuple(name for name in _dim_names(inputs) if name != batch_dim),
        batch_dim=batch_dim,
        external_files=external,
        vocabularies=find_vocabularies(model.graph, inputs),
        has_control_flow=not _CONTROL_FLOW.isdisjoint(operators),
        has_ml_operators=any(node.domain == ML_DOMAIN for node in all_nodes(model)),
    )
    check_structure(path, model)  # last: it empties the tensors
    return facts


def tensor_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    """The signature of a graph's input or output.

    What is no tensor has a dtype such as `sequence(map(int64, float32))` and no shape.
    """
    kind = value.type.WhichOneof("value")
    tensor = value.type.tensor_type if kind == "tensor_type" else None
    shape = tuple(_dim(dim) for dim in tensor.shape.dim) if tensor is not None and tensor.HasField("shape") else None
    return TensorSpec(name=value.name, dtype=_type_name(value.type), shape=shape)


def _inputs(path: Path, graph: onnx.GraphProto) -> tuple[TensorSpec, ...]:
    given = initialiser_names(graph)
    values = [value for value in graph.input if value.name not in given]
    if not values:
        raise ModelError(
            f"{path} has no inputs: it computes the same outputs every time",
            hint="store its outputs instead of running it",
        )
    for value in values:
        if value.type.WhichOneof("value") != "tensor_type":
            raise ModelError(
                f"the input {value.name!r} of {path} has the type {_type_name(value.type)}, and only tensors "
                "can be fed: the model cannot be tuned",
                hint="export it with tensors as inputs",
            )
    specs = tuple(tensor_spec(value) for value in values)
    for spec in specs:
        _check_size(path, spec)
    return specs


def _check_size(path: Path, spec: TensorSpec) -> None:
    if spec.dtype == "unknown":
        raise ModelError(
            f"the input {spec.name!r} of {path} has an element type that the installed onnx library does not know",
            hint="upgrade onnx and onnxruntime",
        )
    elements = math.prod(dim for dim in spec.shape or () if isinstance(dim, int))
    if elements * numpy_dtype(spec.dtype).itemsize > LARGEST_INPUT_BYTES:
        raise ModelError(
            f"the input {spec} of {path} takes {elements * numpy_dtype(spec.dtype).itemsize / 2**30:.3g} GiB a call; "
            f"the most is {LARGEST_INPUT_BYTES // 2**30} GiB",
            hint="export the model with smaller or dynamic dimensions",
        )


def _type_name(kind: onnx.TypeProto) -> str:
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        return dtype_name(kind.tensor_type.elem_type)
    if which == "sparse_tensor_type":
        return f"sparse({dtype_name(kind.sparse_tensor_type.elem_type)})"
    if which == "sequence_type":
        return f"sequence({_type_name(kind.sequence_type.elem_type)})"
    if which == "optional_type":
        return f"optional({_type_name(kind.optional_type.elem_type)})"
    if which == "map_type":
        return f"map({dtype_name(kind.map_type.key_type)}, {_type_name(kind.map_type.value_type)})"
    return "unknown"


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    # Some exporters write -1 or "?" where they mean "any size".
    if dim.WhichOneof("value") == "dim_value":
        return dim.dim_value if dim.dim_value >= 0 else None
    return None if dim.dim_param in ("", "?") else dim.dim_param


def _dim_names(inputs: Sequence[TensorSpec]) -> list[str]:
    return list(dict.fromkeys(dim for spec in inputs for dim in spec.shape or () if isinstance(dim, str)))


def _content_hash(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        try:
            with file.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise ModelError(f"{file} cannot be read: {error.strerror}", hint="check the file's permissions") from error
    return digest.hexdigest()
