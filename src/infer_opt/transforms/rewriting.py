"""Graphs rewritten by libraries made for it, beside what the runtime does by itself: onnxslim and onnxscript.

Both fold constants, remove what repeats or does nothing and fuse small patterns, each by rules of its own. onnxscript
goes on with the fusions into ONNX Runtime's own operators that it makes for the exporter of PyTorch.
"""

from collections.abc import Callable
from pathlib import Path

from onnx import ModelProto

from infer_opt.errors import ModelError, UnavailableError
from infer_opt.recipes import Rewriter
from infer_opt.transforms.changes import compare
from infer_opt.transforms.faults import step
from infer_opt.transforms.model_files import load, save
from infer_opt.transforms.normalise import OLDEST_IR


def rewrite(source: Path, target: Path, *, by: Rewriter) -> None:
    """Write the model at `source` as the library rewrites it.

    Raises:
        ModelError: the library changes nothing, or fails on this model; the sentence holds its own message.
        UnavailableError: it is not installed.
        StorageError: `target` cannot be written.
    """
    with step(f"rewriting by {by}"):
        try:
            rewritten = _REWRITERS[by](load(source))
        except ImportError as error:
            raise UnavailableError(f"{by} cannot be used: {error}", hint="pip install 'infer-opt[graph]'") from error
        if compare(load(source), rewritten).is_empty:
            raise ModelError(f"{by} changes nothing in {source.name}")
        rewritten.ir_version = max(rewritten.ir_version, OLDEST_IR)  # they take weights out of the inputs, as it asks
        save(rewritten, target)


def _slimmed(model: ModelProto) -> ModelProto:
    import onnxslim

    slimmed: ModelProto = onnxslim.slim(model)
    return slimmed


def _scripted(model: ModelProto) -> ModelProto:
    import onnx_ir
    from onnxscript import optimizer
    from onnxscript.rewriter import ort_fusions

    graph = onnx_ir.from_proto(model)
    optimizer.optimize_ir(graph)
    fused, _ = ort_fusions.optimize_for_ort(graph)
    written: ModelProto = onnx_ir.to_proto(fused)
    return written


_REWRITERS: dict[Rewriter, Callable[[ModelProto], ModelProto]] = {
    Rewriter.ONNXSLIM: _slimmed,
    Rewriter.ONNXSCRIPT: _scripted,
}
