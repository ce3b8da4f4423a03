"""Who stands on the ladder: a literal tuple, from PyTorch as it is to what `tune` found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from infer_opt.config import Compilation, Provider, SessionOptions, TrialConfig
from infer_opt.recipes import Recipe
from infer_opt.rig import BASELINE, CLONE
from infer_opt.runtimes import RUNTIMES as known  # noqa: N811  (a dict that is added to)
from infer_opt.runtimes import open_runtime

TENSORRT, TORCH = "tensorrt", "torch-module"
# The runtimes that the ladder brings along: name -> (module, class). A worker is told of them before it opens one.
RUNTIMES = {
    TENSORRT: ("scripts.ladder.tensorrt", "TensorRt"),
    TORCH: ("scripts.ladder.torch_modules", "TorchModules"),
}


class Source(StrEnum):
    """What is opened: the ONNX file, the same in FP16, the weights for PyTorch, or the bundle that a tuning made."""

    ONNX = "onnx"
    HALF = "half"
    WEIGHTS = "weights"
    BUNDLE = "bundle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One rung. `options` are fields of SessionOptions; `precision` names the ceiling that its arithmetic has."""

    name: str
    title: str
    precision: str
    source: Source = Source.ONNX
    runtime: str = "onnx"
    recipe: Recipe = field(default_factory=Recipe)
    options: Mapping[str, object] = field(default_factory=dict)
    only_cuda: bool = False

    def config(self, provider: Provider, batch: int) -> TrialConfig:
        """How it is opened."""
        options = SessionOptions(provider=provider, **self.options)  # type: ignore[arg-type]
        return TrialConfig(recipe=self.recipe, options=options, batch=batch, runtime=self.runtime)


def wake(runtime: str, provider: Provider | None) -> None:
    """Make the ladder's runtimes known in this process, and load one's library and device where `provider` is given.

    Called in a worker before it opens a session. What does not work is said when it opens one.
    """
    known.update(RUNTIMES)
    if provider is not None:
        open_runtime(runtime).why_not(provider)


# Stock ONNX Runtime multiplies in TF32 on the GPUs that have it, and so does PyTorch here; the ceiling of float32
# contestants is therefore TF32's.
CONTESTANTS = (
    Contestant(
        name="torch-eager", title="PyTorch eager", precision="tf32", source=Source.WEIGHTS, runtime=TORCH
    ),
    Contestant(
        name="torch-compile",
        title="torch.compile, max-autotune",
        precision="tf32",
        source=Source.WEIGHTS,
        runtime=TORCH,
        options={"compiled": Compilation.MAX_AUTOTUNE},
    ),
    Contestant(name=BASELINE, title="ONNX Runtime, stock FP32", precision="tf32"),
    Contestant(name=CLONE, title="the same again (control)", precision="tf32"),
    Contestant(name="ort-binding", title="+ IO binding", precision="tf32", options={"io_binding": True}),
    Contestant(
        name="ort-graph", title="+ CUDA graph", precision="tf32", options={"cuda_graph": True}, only_cuda=True
    ),
    Contestant(
        name="ort-fp16",
        title="FP16",
        precision="float16",
        source=Source.HALF,
        recipe=Recipe(fp16=True),
        only_cuda=True,
    ),
    Contestant(
        name="ort-fp16-graph",
        title="FP16 + CUDA graph",
        precision="float16",
        source=Source.HALF,
        recipe=Recipe(fp16=True),
        options={"cuda_graph": True},
        only_cuda=True,
    ),
    Contestant(name="tune", title="infer-opt tune", precision="float16", source=Source.BUNDLE),
    Contestant(
        name=TENSORRT, title="TensorRT, FP16", precision="float16", runtime=TENSORRT, only_cuda=True
    ),
)  # fmt: skip
BY_NAME = {one.name: one for one in CONTESTANTS}
