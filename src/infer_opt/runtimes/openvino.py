"""OpenVINO: the only module that opens its sessions. CPU only; models are read as ONNX files."""

import threading
from collections import deque
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from infer_opt.config import Provider, SessionOptions
from infer_opt.errors import ModelError, UnavailableError
from infer_opt.facts import TensorSpec
from infer_opt.protocols import Array, Feeds, Session
from infer_opt.results import Placement
from infer_opt.runtimes.signatures import require_fit, signature

EXTRA = "pip install 'infer-opt[openvino]'"
SINK = "/sink_port_0"  # what its ONNX reader appends to an output's name for the node that gives it


class OpenVinoRuntime:
    """Intel's OpenVINO on the CPU, with one stream: a call is answered as soon as it can be."""

    name = "openvino"

    @cached_property
    def _library(self) -> ModuleType:
        try:
            return import_module("openvino")
        except ImportError as error:
            raise UnavailableError(f"OpenVINO is not installed or does not load ({error})", hint=EXTRA) from error

    def version(self) -> str:
        """The installed library's version."""
        return str(self._library.__version__)

    def providers(self) -> frozenset[Provider]:
        """The CPU, wherever the library loads."""
        return frozenset({Provider.CPU})

    def why_not(self, provider: Provider) -> str | None:
        """One sentence that says why `provider` does not work here; None when it does."""
        return None if provider is Provider.CPU else f"OpenVINO runs on the CPU here, and has no {provider}"

    def open(self, artefact: Path, options: SessionOptions) -> Session:
        """Load `artefact` as `options` say, or not at all. What OpenVINO has no setting for is left as it is."""
        reason = self.why_not(options.provider)
        if reason is not None:
            raise UnavailableError(reason, hint="choose --provider cpu")
        if not artefact.is_file():
            raise ModelError(f"there is no model at {artefact}")
        core = self._library.Core()
        for path in options.custom_ops:
            try:
                core.add_extension(path)
            except (RuntimeError, TypeError) as error:
                raise UnavailableError(
                    f"the custom-operator library {path} does not load: {_one_line(error)}"
                ) from error
        try:
            compiled = core.compile_model(core.read_model(str(artefact)), "CPU", _settings(options))
        except (RuntimeError, TypeError, ValueError) as error:
            raise ModelError(f"OpenVINO cannot open the model: {_one_line(error)}") from error
        if any(_dtype(port).startswith("|S") for port in (*compiled.inputs, *compiled.outputs)):
            raise ModelError("OpenVINO is not given text here: the model takes or gives strings")
        return OpenVinoSession(compiled)


class OpenVinoSession:
    """One compiled model. `run` may be called from several threads: each call has an inference request of its own."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self.inputs = tuple(_spec(port, port.any_name) for port in compiled.inputs)
        self.outputs = tuple(_spec(port, _output_name(port)) for port in compiled.outputs)
        self._names = [output.name for output in self.outputs]
        self._wanted = signature(self.inputs)
        self._idle: deque[Any] = deque([compiled.create_infer_request()])
        self._lock = threading.Lock()

    @property
    def placement(self) -> Placement | None:
        """None: everything is on the CPU, and what it made of the nodes has other names."""
        return None

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Host arrays in, host arrays out."""
        if self._compiled is None:
            raise ModelError("the session is closed")
        require_fit(feeds, self._wanted)
        request = self._request()
        try:
            found = request.infer(
                # Of a scalar numpy's ascontiguousarray would make a row of one.
                {name: np.require(array, requirements="C") for name, array in feeds.items()},
                share_inputs=True,
                share_outputs=False,
            )
        except (RuntimeError, TypeError, ValueError) as error:
            raise ModelError(f"OpenVINO failed to run the model: {_one_line(error)}") from error
        finally:
            self._idle.append(request)
        return {name: found[index] for index, name in enumerate(self._names)}

    def _request(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with self._lock:
            if self._compiled is None:
                raise ModelError("the session is closed")
            return self._compiled.create_infer_request()

    def close(self) -> None:
        """Give back the session. Safe to call twice."""
        with self._lock:
            self._compiled = None
            self._idle.clear()


def _settings(options: SessionOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        # On CPUs with bfloat16 units it would otherwise choose that for float32 models, without being asked.
        "INFERENCE_PRECISION_HINT": "bf16" if options.bf16 else "f32",
    }
    if options.intra_threads:
        settings["INFERENCE_NUM_THREADS"] = options.intra_threads
    if options.flush_denormals:
        settings["CPU_DENORMALS_OPTIMIZATION"] = True
    return settings


def _spec(port: Any, name: str) -> TensorSpec:
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        return TensorSpec(name=name, dtype=_dtype(port), shape=None)
    sizes = tuple(None if size.is_dynamic else int(size.get_length()) for size in shape)
    return TensorSpec(name=name, dtype=_dtype(port), shape=sizes)


def _dtype(port: Any) -> str:
    return str(np.dtype(port.element_type.to_dtype()))


def _output_name(port: Any) -> str:
    """The name of the output in the file; where a tensor has several, that of the node that gives it."""
    given = str(port.node.friendly_name).removesuffix(SINK)
    names = port.names
    return given if given in names else str(port.any_name)


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[-2:]) or type(error).__name__
