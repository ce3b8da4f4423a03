"""PyTorch: the only module that opens its sessions. Models are exported programs (`.pt2`)."""

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from infer_opt.config import Provider, SessionOptions
from infer_opt.errors import InferOptError, ModelError, UnavailableError
from infer_opt.protocols import Array, Feeds, Session
from infer_opt.results import Placement
from infer_opt.runtimes.faults import explained
from infer_opt.runtimes.signatures import require_fit, signature
from infer_opt.runtimes.torch_graphs import TorchGraphs
from infer_opt.runtimes.torch_programs import FAULTS, Program, callable_of, eager, library, load_program

DEVICES = {Provider.CPU: "cpu", Provider.CUDA: "cuda"}


class TorchRuntime:
    """PyTorch, operator by operator (eager), compiled by `torch.compile`, or as a CUDA graph."""

    name = "torch"

    @cached_property
    def _library(self) -> ModuleType:
        return library()

    def version(self) -> str:
        """The installed library's version."""
        return str(self._library.__version__)

    def providers(self) -> frozenset[Provider]:
        """The CPU, and CUDA where PyTorch finds a device that it was built for."""
        return frozenset(provider for provider in Provider if self.why_not(provider) is None)

    def why_not(self, provider: Provider) -> str | None:
        """One sentence that says why `provider` does not work here; None when it does."""
        try:
            cuda = self._library.cuda
        except InferOptError as error:
            return error.what
        if provider is Provider.CPU or cuda.is_available():
            return None
        built = self._library.version.cuda
        if built is None:
            return f"the installed PyTorch {self.version()} was built without CUDA"
        return f"PyTorch {self.version()} finds no device for the CUDA {built} that it was built for"

    def open(self, artefact: Path, options: SessionOptions) -> Session:
        """Load `artefact` as `options` say, or not at all. What PyTorch has no setting for is left as it is.

        A compiled session compiles in its first run, and again for the first other shape.
        """
        reason = self.why_not(options.provider)
        if reason is not None:
            raise UnavailableError(reason, hint="choose --provider cpu")
        for path in options.custom_ops:
            raise UnavailableError(f"the custom-operator library {path} is ONNX Runtime's, not PyTorch's")
        if options.bf16:
            raise UnavailableError("PyTorch has no bfloat16 mode for float32 models here", hint="leave bf16 out")
        if options.compiled is not None and options.provider is Provider.CPU:
            _require_compiler()
        program = load_program(artefact)
        try:
            return TorchSession(self._library, program, options)
        except FAULTS as error:
            raise explained(error, "PyTorch cannot open the model") from error


class TorchSession:
    """One program. `run` may be called from several threads; on CUDA with graphs or compiled they take turns.

    Asked for a number of threads, it sets PyTorch's for the whole process: from `open`, and again at each call that
    finds another, until `close` puts back what was there.
    """

    def __init__(self, library: ModuleType, program: Program, options: SessionOptions) -> None:
        self._library = library
        self.inputs, self.outputs = program.inputs, program.outputs
        self._wanted = signature(program.inputs)
        self._arguments, self._kept = program.arguments, program.kept
        self._device = DEVICES[options.provider]
        # Copies from the device, and resolves what complex numbers leave undone; it costs 2 us a tensor.
        self._forced = self._device != "cpu" or any(
            "complex" in spec.dtype for spec in program.inputs + program.outputs
        )
        self._threads = options.intra_threads
        self._threads_before = library.get_num_threads()
        self._set_threads()
        module = callable_of(_moved(program, self._device))
        # An output may be one of these, or a view of it: callers get a copy.
        self._own = {tensor.untyped_storage().data_ptr() for tensor in module.state_dict().values()}
        self._lock = threading.Lock() if options.provider is Provider.CUDA and _shares_buffers(options) else None
        self._call: Callable[..., Any] | None = self._prepared(module, options)

    @property
    def placement(self) -> Placement | None:
        """None: every operator runs where the program was put."""
        return None

    def _prepared(self, module: Any, options: SessionOptions) -> Callable[..., Any]:
        if options.compiled is not None:
            # fullgraph: what it cannot compile it refuses, and does not run some of it eagerly.
            compiled: Callable[..., Any] = self._library.compile(
                module.forward, mode=options.compiled.value, fullgraph=True
            )
            return compiled
        call = eager(module)
        return TorchGraphs(self._library, call).run if options.cuda_graph else call

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Host arrays in, host arrays out."""
        call = self._call
        if call is None:
            raise ModelError("the session is closed")
        require_fit(feeds, self._wanted)
        self._set_threads()
        try:
            with self._library.inference_mode():
                if self._lock is None:
                    return self._run(call, feeds)
                with self._lock:
                    return self._run(call, feeds)
        except FAULTS as error:
            raise explained(error, "PyTorch failed to run the model") from error

    def _run(self, call: Callable[..., Any], feeds: Feeds) -> dict[str, Array]:
        given = {name: self._tensor(feeds[name]) for name in self._wanted}
        found = call(*[constant if name is None else given[name] for name, constant in self._arguments])
        if not isinstance(found, tuple | list):
            found = (found,)
        shared = self._own | {tensor.untyped_storage().data_ptr() for tensor in given.values()}
        answer = {}
        for spec, index in zip(self.outputs, self._kept, strict=True):
            tensor = found[index]
            if tensor.untyped_storage().data_ptr() in shared:
                tensor = tensor.clone()
            answer[spec.name] = tensor.numpy(force=self._forced)
        return answer

    def _tensor(self, array: Array) -> Any:
        flags = array.flags
        if not (flags.c_contiguous and flags.writeable):
            array = array.copy("C")  # PyTorch has no tensors that may only be read, nor negative strides
        tensor = self._library.from_numpy(array)
        return tensor if self._device == "cpu" else tensor.to(self._device)

    def _set_threads(self) -> None:
        if self._threads and self._library.get_num_threads() != self._threads:
            self._library.set_num_threads(self._threads)

    def close(self) -> None:
        """Give back the session, and the number of threads that it found. Safe to call twice."""
        if self._call is not None and self._threads:
            self._library.set_num_threads(self._threads_before)
        self._call = None


def _require_compiler() -> None:
    """`torch.compile` writes C++ for the CPU. Source: `torch._inductor.config.cpp.cxx`."""
    name = os.environ.get("CXX", "g++")
    if shutil.which(name) is None:
        raise UnavailableError(
            f"torch.compile needs a C++ compiler for the CPU, and {name} is not there",
            hint="install g++, or name another compiler in CXX",
        )


def _shares_buffers(options: SessionOptions) -> bool:
    return options.cuda_graph or options.compiled is not None


def _moved(program: Program, device: str) -> Program:
    """The program with its weights, and the tensors that it makes itself, on `device`."""
    if device == "cpu":
        return program
    return replace(program, exported=import_module("torch.export.passes").move_to_device_pass(program.exported, device))
