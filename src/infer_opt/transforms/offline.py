"""onnxruntime's own graph optimisation, done once and saved, so that a deployed session opens faster.

BASIC rewrites the graph by rules that hold everywhere. EXTENDED adds fusions for the provider that it was saved with.
ALL also lays tensors out for the processor at hand (NCHWc blocks as wide as its vectors): such a file is
hardware-specific, and may be slower or refuse to open on another machine. Bundles therefore carry the instruction sets
that they were proven on.
"""

from collections import Counter
from pathlib import Path

from onnx import ModelProto

from infer_opt.config import Provider
from infer_opt.errors import ModelError, UnavailableError
from infer_opt.recipes import GraphLevel
from infer_opt.transforms.faults import step
from infer_opt.transforms.model_files import has_external_data, is_large, load, operators

_PROVIDERS = {Provider.CPU: "CPUExecutionProvider", Provider.CUDA: "CUDAExecutionProvider"}
_SILENT = 4  # failures come as exceptions; that a saved layout is for this machine only is said above


def save_optimised(source: Path, target: Path, *, level: GraphLevel, provider: Provider = Provider.CPU) -> None:
    """Write the graph that onnxruntime makes of `source` at `level` for `provider`. Runs nothing.

    Raises:
        ModelError: onnxruntime cannot open the model, or the level changes nothing.
        UnavailableError: the provider does not work here.
        StorageError: `target` cannot be written.
    """
    if level is GraphLevel.NONE:
        raise ModelError("saving at the level none would change nothing", hint="basic, extended or all")
    with step(f"optimising at level {level}"):
        before = load(source)
        shape, external = _summary(before), is_large(before) or has_external_data(source)
        del before
        open_and_save(source, target, level=level, provider=provider, external=external)
        if _summary(load(target)) == shape:
            raise ModelError(f"onnxruntime's level {level} changes nothing in {source.name}")


def open_and_save(source: Path, target: Path, *, level: GraphLevel, provider: Provider, external: bool) -> None:
    """Have onnxruntime optimise `source` and write the result, with `external` weights in a file beside it.

    A source with external weights needs `external`: else the result would go on pointing to the source's file.

    Raises:
        UnavailableError: the provider does not work here.
    """
    import onnxruntime

    wanted = _PROVIDERS[provider]
    if wanted not in onnxruntime.get_available_providers():
        raise UnavailableError(f"onnxruntime has no provider {provider} here", hint="run infer-opt doctor")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = {
        GraphLevel.BASIC: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        GraphLevel.EXTENDED: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        GraphLevel.ALL: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    }[level]
    options.optimized_model_filepath = str(target)
    options.log_severity_level = _SILENT
    if external:
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", target.name + ".data"
        )
    session = onnxruntime.InferenceSession(str(source), options, providers=[wanted])
    if wanted not in session.get_providers():
        raise UnavailableError(f"the provider {provider} did not start", hint="run infer-opt doctor")


def _summary(model: ModelProto) -> tuple[Counter[str], int]:
    """What an optimiser that did something would have changed: operators and the number of constants."""
    return operators(model), len(model.graph.initializer)
