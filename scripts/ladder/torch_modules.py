"""PyTorch as its users run it: a module called with tensors, eager or compiled. A runtime that only the ladder knows.

Both multiply float32 in TF32 where the GPU has it, as stock ONNX Runtime does: otherwise precisions would be compared.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from infer_opt.config import Provider, SessionOptions
from infer_opt.errors import UnavailableError
from infer_opt.facts import TensorSpec
from infer_opt.protocols import Array, Feeds
from infer_opt.runtimes.faults import explained
from infer_opt.runtimes.torch import DEVICES, TorchRuntime
from infer_opt.runtimes.torch_programs import FAULTS


class TorchModules:
    """Opens the file of weights that the ladder wrote, and builds the network around it."""

    name = "torch-module"

    def version(self) -> str:
        """PyTorch's."""
        return TorchRuntime().version()

    def providers(self) -> frozenset[Provider]:
        """Where PyTorch runs."""
        return TorchRuntime().providers()

    def why_not(self, provider: Provider) -> str | None:
        """Why PyTorch does not run there; None where it does."""
        return TorchRuntime().why_not(provider)

    def open(self, artefact: Path, options: SessionOptions) -> "TorchModuleSession":
        """The module on its device; a compiled one compiles in its first run."""
        reason = self.why_not(options.provider)
        if reason is not None:
            raise UnavailableError(reason)
        torch = import_module("torch")
        networks, modules = (import_module(f"scripts.ladder.{name}") for name in ("networks", "torch_networks"))
        torch.set_float32_matmul_precision("high")
        try:
            module = modules.built(*networks.read_weights(artefact)).to(DEVICES[options.provider])
            if options.compiled is not None:
                module = torch.compile(module, mode=options.compiled.value)
        except FAULTS as error:
            raise explained(error, "PyTorch cannot open the model") from error
        return TorchModuleSession(torch, module, DEVICES[options.provider])


class TorchModuleSession:
    """Host arrays in, host arrays out."""

    placement = None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def __init__(self, torch: Any, module: Any, device: str) -> None:
        self._torch, self._module, self._device = torch, module, device

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Returns once every output is on the host."""
        torch = self._torch
        try:
            with torch.inference_mode():
                given = {name: torch.from_numpy(value).to(self._device) for name, value in feeds.items()}
                found = self._module(**given)
                return {name: value.numpy(force=True) for name, value in found.items()}
        except FAULTS as error:
            raise explained(error, "PyTorch failed to run the model") from error

    def close(self) -> None:
        """Give back the module."""
        self._module = None
