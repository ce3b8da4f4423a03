"""TensorRT through ONNX Runtime, where its libraries are installed: a runtime that only the ladder knows."""

import ctypes
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from infer_opt.config import Provider, SessionOptions
from infer_opt.errors import UnavailableError
from infer_opt.facts import TensorSpec
from infer_opt.protocols import Array, Feeds, Session
from infer_opt.runtimes.onnx import OnnxRuntime, OnnxSession

PROVIDER = "TensorrtExecutionProvider"
LIBRARIES = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")
SETTINGS = {"device_id": "0", "trt_fp16_enable": "1", "trt_engine_cache_enable": "1"}
CACHE = Path(tempfile.gettempdir()) / "infer-opt-tensorrt"  # an engine takes minutes; a later process reads it


def why_not() -> str | None:
    """Why there is no TensorRT here; None where there is."""
    return TensorRt().why_not(Provider.CUDA)


class TensorRtSession:
    """One session, run as ONNX Runtime's are; where its nodes went is not counted against CUDA."""

    placement = None

    def __init__(self, inner: OnnxSession) -> None:
        self._inner = inner
        self.inputs: tuple[TensorSpec, ...] = inner.inputs
        self.outputs: tuple[TensorSpec, ...] = inner.outputs
        self.run_inner = inner.run

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Host arrays in, host arrays out."""
        return self.run_inner(feeds)

    def close(self) -> None:
        """Give back the session."""
        self._inner.close()


class TensorRt:
    """ONNX Runtime with its TensorRT provider first, and CUDA for what TensorRT leaves."""

    name = "tensorrt"

    def __init__(self, library: ModuleType | None = None, *, load: Any = ctypes.CDLL) -> None:
        self._given, self._load = library, load

    def version(self) -> str:
        """ONNX Runtime's version."""
        return str(self._library().__version__)

    def providers(self) -> frozenset[Provider]:
        """CUDA, where the libraries load."""
        return frozenset() if self.why_not(Provider.CUDA) else frozenset({Provider.CUDA})

    def why_not(self, provider: Provider) -> str | None:
        """One sentence that says why TensorRT does not work here; None when it does."""
        if PROVIDER not in self._library().get_available_providers():
            return f"the installed ONNX Runtime was built without {PROVIDER}"
        for name in LIBRARIES:
            for place in (*_packaged(name), name):
                try:
                    self._load(place)
                    break
                except OSError as error:
                    problem = str(error)
            else:
                return f"TensorRT is not installed: {problem}"
        return None

    def open(self, artefact: Path, options: SessionOptions) -> Session:
        """Load `artefact`, building its engine where the cache has none.

        Raises:
            UnavailableError: TensorRT is not installed.
        """
        reason = self.why_not(Provider.CUDA)
        if reason is not None:
            raise UnavailableError(reason, hint="pip install tensorrt-cu13")
        CACHE.mkdir(exist_ok=True)
        library = self._library()
        settings = library.SessionOptions()
        settings.log_severity_level = 3
        providers: Sequence[Any] = [
            (PROVIDER, SETTINGS | {"trt_engine_cache_path": str(CACHE)}),
            ("CUDAExecutionProvider", {"device_id": "0"}),
            ("CPUExecutionProvider", {}),
        ]
        session = library.InferenceSession(str(artefact), settings, providers=providers, enable_fallback=0)
        if PROVIDER not in session.get_providers():
            raise UnavailableError(f"ONNX Runtime could not load {PROVIDER}")
        return TensorRtSession(OnnxSession(library, session, options))

    def _library(self) -> ModuleType:
        if self._given is None:
            runtime = OnnxRuntime()
            runtime.version()  # loads CUDA's libraries first
            import onnxruntime

            self._given = onnxruntime
        return self._given


def _packaged(name: str) -> list[str]:
    """Where the wheels of TensorRT keep their libraries."""
    import sys

    folders = [Path(entry) / "tensorrt_libs" for entry in sys.path if entry]
    return [str(folder / name) for folder in folders if (folder / name).is_file()]
