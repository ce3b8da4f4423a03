"""The libraries that can execute models. One module per library; this table is the whole plug-in mechanism."""

from importlib import import_module

from infer_opt.config import Provider
from infer_opt.errors import ConfigError
from infer_opt.protocols import Runtime

# name -> (module, class). Loaded on first use, so `--help` never imports a runtime.
RUNTIMES = {
    "onnx": ("infer_opt.runtimes.onnx", "OnnxRuntime"),
    "openvino": ("infer_opt.runtimes.openvino", "OpenVinoRuntime"),
    "torch": ("infer_opt.runtimes.torch", "TorchRuntime"),
}

# Engines that are compared with the runtime that was asked for where they are installed: name -> distribution on PyPI.
ENGINES = {"openvino": "openvino"}


# What ONNX Runtime calls its providers, in sessions and in placement records.
PROVIDER_NAMES = {Provider.CPU: "CPUExecutionProvider", Provider.CUDA: "CUDAExecutionProvider"}


def open_runtime(name: str) -> Runtime:
    """The runtime called `name` in RUNTIMES. Its library is imported when it is first asked something.

    Raises:
        ConfigError: no runtime has this name.
    """
    if name not in RUNTIMES:
        raise ConfigError(f"there is no runtime {name!r}", hint=f"choose from {', '.join(RUNTIMES)}")
    module, attribute = RUNTIMES[name]
    runtime: Runtime = getattr(import_module(module), attribute)()
    return runtime
