"""What ONNX Runtime says that it can run on, asked in a process of its own.

Loading the CUDA provider pulls in gigabytes of libraries, keeps GPU memory, and may crash on a broken install. None of
that may happen in the process that measures, so a fresh interpreter tries it, as far as a session that runs, and
reports one line of JSON.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# y = Relu(x) over two floats, in ONNX: the smallest graph that a provider must take.
MODEL = "CAg6NwoMCgF4EgF5IgRSZWx1EgVwcm9iZVoPCgF4EgoKCAgBEgQKAggCYg8KAXkSCgoICAESBAoCCAJCBAoAEA0="
PROBE = """
import base64, ctypes, importlib, json, pathlib, sys
found = {"version": None, "providers": [], "cuda_version": None}
found |= {"error": None, "cudnn_error": None, "session_error": None}
cuda = "CUDAExecutionProvider"
try:
    import onnxruntime
    found["version"] = onnxruntime.__version__
    found["providers"] = onnxruntime.get_available_providers()
    from onnxruntime.capi import build_and_package_info
    found["cuda_version"] = getattr(build_and_package_info, "cuda_version", None)
    if cuda in found["providers"]:
        # As a session of this project does before it opens, so that what it finds is found here.
        importlib.import_module("infer_opt.runtimes.cuda_libraries").preload(onnxruntime)
        capi = pathlib.Path(onnxruntime.__file__).parent / "capi"
        prefix, suffix = ("", ".dll") if sys.platform == "win32" else ("lib", ".so")
        # The CUDA provider takes symbols from the shared one, which must be loaded first and for all to see.
        ctypes.CDLL(str(capi / f"{prefix}onnxruntime_providers_shared{suffix}"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(capi / f"{prefix}onnxruntime_providers_cuda{suffix}"))
except (ImportError, OSError, AttributeError, RuntimeError) as error:
    found["error"] = f"{type(error).__name__}: {error}"
if cuda in found["providers"] and found["error"] is None:
    try:
        # Loaded by name at the first convolution, so that the provider itself loads without it.
        ctypes.CDLL("cudnn64_9.dll" if sys.platform == "win32" else "libcudnn.so.9")
    except OSError as error:
        found["cudnn_error"] = str(error)
    try:
        model = base64.b64decode("MODEL")
        session = onnxruntime.InferenceSession(model, providers=[cuda, "CPUExecutionProvider"], enable_fallback=0)
        if cuda not in session.get_providers():
            found["session_error"] = "it was left out without an error"
        else:
            import numpy
            session.run(None, {"x": numpy.ones(2, numpy.float32)})
    except Exception as error:
        found["session_error"] = f"{type(error).__name__}: {error}"
print("\\n" + json.dumps(found))
""".replace("MODEL", MODEL)
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeReport:
    """What a fresh interpreter found.

    `cuda_version` is the one that the library was built for; `error` is why it, or its CUDA provider, does not load.
    Where it does, `cudnn_error` is why cuDNN does not, and `session_error` why no model runs on CUDA.
    """

    version: str | None = None
    providers: tuple[str, ...] = ()
    cuda_version: str | None = None
    error: str | None = None
    cudnn_error: str | None = None
    session_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a process ended: exit status (negative: the signal that killed it; None: it ran out of time) and output."""

    status: int | None
    output: str


def probe_onnxruntime(run: Callable[[Sequence[str]], Finished] | None = None) -> RuntimeReport:
    """Which providers ONNX Runtime lists in a fresh interpreter, and whether the CUDA one loads. Takes a second."""
    finished = (run or _run)([sys.executable, "-c", PROBE])
    if finished.status is None:
        return RuntimeReport(error=f"ONNX Runtime did not load within {TIMEOUT_S:.0f} s")
    try:
        found = json.loads(finished.output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return RuntimeReport(error=f"the interpreter ended with status {finished.status} while ONNX Runtime loaded")
    return RuntimeReport(
        version=found["version"],
        providers=tuple(found["providers"]),
        cuda_version=found["cuda_version"],
        error=found["error"],
        cudnn_error=found.get("cudnn_error"),
        session_error=found.get("session_error"),
    )


def _run(command: Sequence[str]) -> Finished:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Finished(status=None, output="")
    return Finished(status=done.returncode, output=done.stdout)
