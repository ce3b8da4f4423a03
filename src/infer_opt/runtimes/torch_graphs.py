"""PyTorch calls as CUDA graphs: inputs are copied into fixed device buffers, then the captured graph replays."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

WARM_UPS = 3  # calls before the capture: libraries pick their kernels and workspaces in the first ones


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: Any
    inputs: list[Any]
    outputs: Any


class TorchGraphs:
    """One captured graph for each set of input shapes and types.

    A graph replays the addresses that it was captured with, so every call copies its inputs into the same buffers and
    answers in the same ones. The caller must not run two calls at once, and takes the answer before the next.
    """

    def __init__(self, library: ModuleType, call: Callable[..., Any]) -> None:
        self._library = library
        self._call = call
        self._captured: dict[tuple[Any, ...], _Captured] = {}

    def run(self, *arguments: Any) -> Any:
        """What the call gives for `arguments`, which are on the device: in buffers of the graph's own."""
        key = tuple(
            (value.shape, value.dtype) if isinstance(value, self._library.Tensor) else value for value in arguments
        )
        captured = self._captured.get(key)
        if captured is None:
            captured = self._captured[key] = self._capture(arguments)
        for buffer, value in zip(captured.inputs, arguments, strict=True):
            if isinstance(value, self._library.Tensor):
                buffer.copy_(value)
        captured.graph.replay()
        return captured.outputs

    def _capture(self, arguments: tuple[Any, ...]) -> _Captured:
        cuda = self._library.cuda
        inputs = [value.clone() if isinstance(value, self._library.Tensor) else value for value in arguments]
        stream = cuda.Stream()
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._call(*inputs)
        cuda.current_stream().wait_stream(stream)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            outputs = self._call(*inputs)
        return _Captured(graph, inputs, outputs)
