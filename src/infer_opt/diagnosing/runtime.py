"""Whether there is one ONNX Runtime, and whether its CUDA provider works as far as a session that runs."""

from infer_opt.diagnosing.gpu import CUDA_PROVIDER
from infer_opt.diagnosing.seen import Seen, caution, ok, problem
from infer_opt.machine import packages
from infer_opt.machine.cuda_faults import Missing, cuda_failure, missing_library, mixed_versions
from infer_opt.results import Finding

INSTALL = "pip install 'infer-opt[cpu]', or 'infer-opt[gpu]' on a machine with an NVIDIA GPU"
FURTHER = "pip install 'infer-opt[gpu]' brings the CUDA libraries"
CUDNN = Missing(name="libcudnn", major=9)  # what every build since onnxruntime-gpu 1.19 asks for
# Part of a missing library's name -> where it comes from.
LIBRARY_ORIGINS = {
    "libcuda": "install the NVIDIA driver; in a container start with `--gpus all`",
    "libcudnn": "pip install 'infer-opt[gpu]' brings cuDNN; or put an installed one on LD_LIBRARY_PATH",
    "libcublas": "pip install 'infer-opt[gpu]' brings cuBLAS; or put an installed CUDA on LD_LIBRARY_PATH",
    "libcublasLt": "pip install 'infer-opt[gpu]' brings cuBLAS; or put an installed CUDA on LD_LIBRARY_PATH",
}


def check_onnxruntime(seen: Seen) -> Finding:
    """Whether there is exactly one ONNX Runtime, and it can be imported."""
    found = [name for name, _ in seen.packages if name in packages.ONNXRUNTIME]
    wrong = packages.onnxruntime_problem(seen.packages, seen.places)
    if wrong is not None and (found or seen.runtime.version is None):
        action = f"pip uninstall {' '.join(found)}, then install the one that you want" if found else INSTALL
        return problem("ONNX Runtime", wrong, action)
    if seen.runtime.version is None:
        name, version = next(package for package in seen.packages if package[0] == found[0])
        return problem(
            "ONNX Runtime",
            f"{name} {version} does not load: {seen.runtime.error or 'no reason given'}",
            f"pip install --force-reinstall {name}",
        )
    providers = ", ".join(seen.runtime.providers)
    if not found:
        return ok("ONNX Runtime", f"{seen.runtime.version}, which no package manager installed: {providers}")
    if len(found) > 1:
        places = ", ".join(f"{name} in {folder}" for name, folder in seen.places)
        return caution(
            "ONNX Runtime",
            f"{' and '.join(found)} lie in folders of their own ({places}): Python takes the first that it finds, "
            f"which is {seen.runtime.version}: {providers}",
            "fine where that is meant; otherwise uninstall the other, or change PYTHONPATH",
        )
    name, version = next(package for package in seen.packages if package[0] == found[0])
    return ok("ONNX Runtime", f"{name} {version}: {providers}")


def check_cuda(seen: Seen) -> Finding:
    """Whether the CUDA provider, if it is listed, really loads and runs a model."""
    if CUDA_PROVIDER not in seen.runtime.providers:
        if seen.machine.gpus:
            what = "this machine has an NVIDIA GPU, and the installed ONNX Runtime cannot use it"
            return caution("CUDA provider", what, "pip uninstall onnxruntime; pip install 'infer-opt[gpu]'")
        return ok("CUDA provider", "not part of the installed ONNX Runtime")
    if seen.runtime.error is not None:
        return _not_loading(seen, seen.runtime.error)
    if seen.runtime.session_error is not None:
        return _not_running(seen.runtime.session_error)
    return ok("CUDA provider", "its libraries load, and it ran a model")


def _not_loading(seen: Seen, error: str) -> Finding:
    what = f"listed, but its libraries do not load: {error}"
    missing, symbol = missing_library(error), mixed_versions(error)
    if missing is not None:
        other = _elsewhere(seen, missing)
        return problem("CUDA provider", f"{what}{other}", LIBRARY_ORIGINS.get(missing.name, FURTHER))
    if symbol is not None:
        return problem(
            "CUDA provider",
            f"{what}; libraries of two versions are mixed: what is loaded lacks {symbol}",
            "take other CUDA folders out of LD_LIBRARY_PATH, then pip install --force-reinstall 'infer-opt[gpu]'",
        )
    return problem("CUDA provider", what, FURTHER)


def _not_running(error: str) -> Finding:
    failure = cuda_failure(error)
    if failure is None:
        return problem(
            "CUDA provider", f"its libraries load, but no model runs on it: {error}", "see the finding of the driver"
        )
    return problem(
        "CUDA provider",
        f"its libraries load, but no model runs on it: CUDA failure {failure.number}, {failure.text}",
        failure.help or "see `nvidia-smi`, and the finding of the driver",
    )


def check_cudnn(seen: Seen) -> Finding:
    """Whether cuDNN is there. Without it a provider may load, and then has no fast convolution or none at all."""
    if CUDA_PROVIDER not in seen.runtime.providers:
        return ok("cuDNN", "nothing installed here needs it")
    error = seen.runtime.cudnn_error
    if error is None:
        return ok("cuDNN", f"cuDNN {CUDNN.major} loads" if seen.runtime.error is None else "not tried")
    missing = missing_library(error) or CUDNN
    return problem(
        "cuDNN",
        f"the CUDA provider asks for cuDNN {CUDNN.major}, which does not load: {error}{_elsewhere(seen, missing)}",
        LIBRARY_ORIGINS["libcudnn"],
    )


def _elsewhere(seen: Seen, missing: Missing) -> str:
    """Whether it lies where the loader does not look, or lies there in another major version."""
    if missing.major is None:
        return ""
    place = seen.cuda.place(missing.name, missing.major)
    if place is not None:
        return f"; it lies in {place}, where the loader does not look"
    others = [major for major in seen.cuda.majors(missing.name) if major != missing.major]
    if not others:
        return ""
    return f"; version {others[-1]} is there instead ({seen.cuda.place(missing.name, others[-1])})"
