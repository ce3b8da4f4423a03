"""A small onnxruntime with a CUDA provider, for machines without a GPU. Install it as `sys.modules["onnxruntime"]`.

Its one model doubles its inputs. What is real is what the runtime relies on: names, which settings arrive, which
errors there are, and that a captured CUDA graph replays the very buffers that it was captured with.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class Fail(Exception):
    """One of onnxruntime's error classes, which have no common base but Exception."""


class InvalidArgument(Exception):
    """Another."""


class OrtValue:
    """A buffer on a device."""

    def __init__(self, array: Any) -> None:
        self.array = np.array(array)

    @staticmethod
    def ortvalue_from_numpy(array: Any, device: str, device_id: int) -> "OrtValue":
        assert (device, device_id) == ("cuda", 0)
        return OrtValue(array)

    def update_inplace(self, array: Any) -> None:
        if array.size != self.array.size:
            raise RuntimeError("The input size of numpy arrays does not match the size of the OrtValue.")
        # Bytes are copied as far as the buffer reaches, whatever their type.
        raw = np.frombuffer(array.tobytes()[: self.array.nbytes], self.array.dtype)
        self.array[...] = raw.reshape(self.array.shape)

    def numpy(self) -> Any:
        return self.array.copy()


class RunOptions:
    """Entries of one run."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_run_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


class SessionOptions:
    """Records what it is told."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.libraries: list[str] = []
        self.log_severity_level = 2
        self.intra_op_num_threads = 0
        self.inter_op_num_threads = 0
        self.enable_mem_pattern = True
        self.enable_cpu_mem_arena = True
        self.execution_mode = "sequential"
        self.graph_optimization_level = "untouched"

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value

    def register_custom_ops_library(self, path: str) -> None:
        self.libraries.append(path)


class IoBinding:
    """Buffers by name."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self.inputs: dict[str, OrtValue] = {}
        self.outputs: dict[str, OrtValue | None] = {}
        self._names = outputs

    def bind_ortvalue_input(self, name: str, value: OrtValue) -> None:
        self.inputs[name] = value

    def bind_ortvalue_output(self, name: str, value: OrtValue) -> None:
        self.outputs[name] = value

    def bind_cpu_input(self, name: str, value: Any) -> None:
        self.inputs[name] = OrtValue(value)

    def bind_output(self, name: str, device: str) -> None:
        self.outputs[name] = None

    def clear_binding_inputs(self) -> None:
        self.inputs.clear()

    def clear_binding_outputs(self) -> None:
        self.outputs.clear()

    def get_outputs(self) -> list[Any]:
        return list(self.outputs.values())

    def copy_outputs_to_cpu(self) -> list[Any]:
        return [value.numpy() for value in self.outputs.values() if value is not None]


class InferenceSession:
    """y = 2 x over any shape of float32."""

    def __init__(self, library: "FakeOnnxRuntime", model: object, options: SessionOptions, providers: Any) -> None:
        if library.open_error is not None:
            raise library.open_error
        self.options = options
        self.asked = list(providers)
        self.runs: list[str] = []  # "run", "bound", "capture 1", "replay 1", ...
        self._library = library
        self._graphs: dict[str, IoBinding] = {}
        library.sessions.append(self)

    def get_providers(self) -> list[str]:
        wanted = [name for name, _ in self.asked]
        # A provider whose libraries do not load is left out with a warning: onnxruntime's own silent fallback.
        return [name for name in wanted if name not in self._library.not_loading]

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="x", type="tensor(float)", shape=["batch", 4])]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="y", type="tensor(float)", shape=["batch", None])]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        if self.options.entries.get("session.record_ep_graph_assignment_info") != "1":
            raise Fail("nothing was recorded")
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda count=count: [object()] * count)
            for name, count in self._library.assigned
        ]

    def io_binding(self) -> IoBinding:
        return IoBinding(["y"])

    def run(self, names: object, feeds: Mapping[str, Any]) -> list[Any]:
        self.runs.append("run")
        self._library.while_computing()
        return [OrtValue(self._double(feeds["x"])).numpy()]

    def run_with_iobinding(self, binding: IoBinding, options: RunOptions | None = None) -> None:
        graph = (options.entries if options else {}).get("gpu_graph_id", "-1")
        captures = dict(self.asked).get(CUDA, {}).get("enable_cuda_graph") == "1" and graph != "-1"
        if not captures:
            self.runs.append("bound")
            self._compute(binding)
        elif graph not in self._graphs:
            self.runs.append(f"capture {graph}")
            self._graphs[graph] = binding
            self._compute(binding)
        else:
            self.runs.append(f"replay {graph}")
            # A replay reads and writes the addresses of its capture, whatever is bound now.
            self._compute(self._graphs[graph])

    def _compute(self, binding: IoBinding) -> None:
        self._library.while_computing()
        if "x" not in binding.inputs:
            raise InvalidArgument("Missing Input: x")
        result = self._double(binding.inputs["x"].array)
        target = binding.outputs["y"]
        if target is None:
            binding.outputs["y"] = OrtValue(result)
        else:
            target.array[...] = result

    def _double(self, x: Any) -> Any:
        if self._library.run_error is not None:
            raise self._library.run_error
        if getattr(x, "dtype", None) != np.float32:
            raise InvalidArgument("Unexpected input data type")
        return x * np.float32(2)


class FakeOnnxRuntime(ModuleType):
    """The module itself. Its attributes set the scene: what is built in, what loads, which nodes go where."""

    def __init__(
        self,
        *,
        available: Sequence[str] = (CUDA, CPU),
        not_loading: Sequence[str] = (),
        assigned: Sequence[tuple[str, int]] = ((CUDA, 3),),
    ) -> None:
        super().__init__("onnxruntime")
        self.not_loading = not_loading
        self.assigned = assigned
        self.sessions: list[InferenceSession] = []
        self.open_error: Exception | None = None
        self.run_error: Exception | None = None
        self.while_computing: Callable[[], None] = lambda: None
        self.preloaded = 0
        self.__version__ = "9.9.9"
        self.SessionOptions = SessionOptions
        self.RunOptions = RunOptions
        self.OrtValue = OrtValue
        self.ExecutionMode = SimpleNamespace(ORT_PARALLEL="parallel")
        levels = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
        self.GraphOptimizationLevel = SimpleNamespace(**{level: level for level in levels})
        self.capi = SimpleNamespace(
            onnxruntime_pybind11_state=SimpleNamespace(Fail=Fail, InvalidArgument=InvalidArgument)
        )
        self._available = list(available)

    def get_available_providers(self) -> list[str]:
        return self._available

    def InferenceSession(
        self, model: object, options: SessionOptions, providers: Any, enable_fallback: int
    ) -> InferenceSession:
        assert enable_fallback == 0  # it would go on with the CPU when a device fails
        return InferenceSession(self, model, options, providers)

    def preload_dlls(self) -> None:
        self.preloaded += 1
        os.write(1, b"a library that was looked for and not found\n")
