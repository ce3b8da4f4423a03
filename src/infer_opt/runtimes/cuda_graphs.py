"""CUDA graphs behind the same `run`: inputs are copied into fixed device buffers, then the captured graph replays."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from infer_opt.protocols import Array, Feeds

NO_CAPTURE = "-1"  # ONNX Runtime's annotation id for a run that neither captures nor replays


@dataclass(frozen=True, slots=True)
class _Captured:
    binding: Any
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    run_options: Any


class CudaGraphs:
    """One captured graph for each set of input shapes and types.

    A graph replays the addresses that it was captured with, so every call copies its inputs into the same buffers. The
    caller must not run two calls at once.
    """

    def __init__(self, library: ModuleType, session: Any, outputs: list[str]) -> None:
        self._library = library
        self._session = session
        self._outputs = outputs
        self._captured: dict[tuple[Any, ...], _Captured] = {}

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Host arrays in, host arrays out: copy in, replay, copy out."""
        # The type too: `update_inplace` copies bytes, whatever they mean.
        key = tuple((name, value.shape, value.dtype) for name, value in feeds.items())
        captured = self._captured.get(key)
        if captured is None:
            captured = self._captured[key] = self._capture(feeds)
        for name, value in feeds.items():
            captured.inputs[name].update_inplace(value)
        self._session.run_with_iobinding(captured.binding, captured.run_options)
        return {name: value.numpy() for name, value in captured.outputs.items()}

    def _capture(self, feeds: Feeds) -> _Captured:
        """Bind device buffers; the next run with them captures. Output shapes come from a run without capture."""
        device = self._library.OrtValue.ortvalue_from_numpy
        inputs = {name: device(value, "cuda", 0) for name, value in feeds.items()}
        probe = self._session.io_binding()
        for name, value in inputs.items():
            probe.bind_ortvalue_input(name, value)
        for name in self._outputs:
            probe.bind_output(name, "cuda")
        self._session.run_with_iobinding(probe, self._options(NO_CAPTURE))
        outputs = dict(zip(self._outputs, probe.get_outputs(), strict=True))
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        identity = str(len(self._captured) + 1)
        return _Captured(binding, inputs, outputs, self._options(identity))

    def _options(self, annotation: str) -> Any:
        options = self._library.RunOptions()
        options.add_run_config_entry("gpu_graph_id", annotation)
        return options
