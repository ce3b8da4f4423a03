# mypy: ignore-errors
"""ONNX Runtime on a pretended GPU: put this folder before the real one on PYTHONPATH, and CUDA is the CPU.

Everything is computed by the installed ONNX Runtime. What is pretended is what decides the way there: the provider is
listed and takes all nodes, device buffers are the host's, and a graph replays the buffers that it was captured with.
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
HERE = Path(__file__).resolve().parents[1]

_path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
_spec = importlib.machinery.PathFinder.find_spec("onnxruntime", _path)
assert _spec is not None and _spec.loader is not None
real = importlib.util.module_from_spec(_spec)
sys.modules["onnxruntime"] = real
_spec.loader.exec_module(real)


class Binding(real.IOBinding):
    """Buffers, all of them the host's."""

    def bind_output(self, name, device_type="cpu", *arguments, **keywords):
        super().bind_output(name, "cpu", *arguments, **keywords)


class InferenceSession(real.InferenceSession):
    """A session of the CPU that goes by another name."""

    def __init__(self, model, sess_options=None, providers=(), enable_fallback=1, **keywords):
        self._asked = [one if isinstance(one, str) else one[0] for one in providers]
        self._settings = dict(one for one in providers if not isinstance(one, str)).get(CUDA, {})
        assert enable_fallback == 0 or CUDA not in self._asked
        super().__init__(model, sess_options, providers=[CPU], **keywords)

    def get_providers(self):
        return self._asked or [CPU]

    def get_provider_graph_assignment_info(self):
        name = self._asked[0] if self._asked else CPU
        found = super().get_provider_graph_assignment_info()
        return [SimpleNamespace(ep_name=name, get_nodes=one.get_nodes) for one in found]

    def io_binding(self):
        return Binding(self)


# A device's buffer is no array of the caller's, and what is read from it is a copy: on the host both would be views.
_from_numpy, _numpy = real.OrtValue.ortvalue_from_numpy, real.OrtValue.numpy
real.OrtValue.ortvalue_from_numpy = staticmethod(lambda array, *device, **keywords: _from_numpy(array.copy(), "cpu", 0))
real.OrtValue.numpy = lambda self: _numpy(self).copy()
real.InferenceSession = InferenceSession
real.get_available_providers = lambda: [CUDA, CPU]
real.preload_dlls = lambda: None
