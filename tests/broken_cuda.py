"""CUDA in every state that users meet: what lies on the disk, what NVML says, and what libraries say when they fail.

The sentences are those of the dynamic loader, of CUDA and of ONNX Runtime, as users quote them in public reports; the
one of `libcublasLt.so.13` is what onnxruntime-gpu 1.31.1 says on a machine without CUDA.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import pynvml

from fake_nvml import FakeGpu, FakeMig, FakeNvml
from file_tree import write
from infer_opt.diagnosing import Load, Seen, look_at_gpus
from infer_opt.facts import MachineFacts
from infer_opt.machine.cuda import traces
from infer_opt.machine.providers import RuntimeReport
from infer_opt.machine.surroundings import Surroundings

GIB = 1 << 30
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
MACHINE = MachineFacts(
    fingerprint="f",
    system="Linux x86_64",
    cpu_model="Fake",
    physical_cores=4,
    logical_cores=4,
    usable_cores=4.0,
    isa=("avx2", "avx_vnni"),
    memory_bytes=16 * GIB,
)
QUIET = Seen(
    machine=MACHINE,
    load=Load(steal=0.0, others_cores=0.01),
    allowed_cores=4,
    surroundings=Surroundings(governors=("performance",), clock_source="tsc"),
    packages=(("onnxruntime-gpu", "1.31.1"),),
    runtime=RuntimeReport(version="1.31.1", providers=(CUDA, CPU), cuda_version="13.0"),
    available_bytes=12 * GIB,
    swap_used_bytes=0,
)
WORKING = QUIET.runtime
KERNEL = "proc/driver/nvidia/version"
MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (root@host)  2026\nGCC 13"
ON_HOST = {KERNEL: MODULE.format("580.95.05"), "dev/nvidia0": "", "dev/nvidiactl": ""}
IN_CONTAINER = {".dockerenv": ""}
ON_BUS = {"sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de", "sys/bus/pci/devices/0000:01:00.0/class": "0x030200"}
WSL = {"proc/version": "Linux version 6.6.87.2-microsoft-standard-WSL2 (root@4) #1 SMP PREEMPT_DYNAMIC"}

NO_CUBLAS = "OSError: libcublasLt.so.13: cannot open shared object file: No such file or directory"
NO_CUDNN = "libcudnn.so.9: cannot open shared object file: No such file or directory"
NO_DRIVER_LIBRARY = "OSError: libcuda.so.1: cannot open shared object file: No such file or directory"
MIXED = "OSError: /opt/onnxruntime_providers_cuda.so: undefined symbol: cublasLtGetVersion, version libcublasLt.so.13"


def quoted(number: int, text: str) -> str:
    """An error of CUDA's as ONNX Runtime 1.31 puts it."""
    call = (
        "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:{} std::conditional_t<THRW, void, "
        "onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, SUCCTYPE, const char*, "
        "const char*, int) [with ERRTYPE = cudaError; bool THRW = true; SUCCTYPE = cudaError; std::conditional_t<THRW, "
        "void, common::Status> = void] "
    )
    end = (
        " ; GPU=-1 ; hostname=c4327188c000000 ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/"
        "cuda_execution_provider.cc ; line=336 ; expr=cudaSetDevice(info_.device_id); "
    )
    return f"RuntimeError: {call.format(122)}{call.format(114)}CUDA failure {number}: {text}{end}"


def state(
    root: Path,
    *,
    files: Mapping[str, str] = ON_HOST,
    nvml: FakeNvml | None = None,
    runtime: RuntimeReport = WORKING,
    environment: Mapping[str, str] | None = None,
    path: Sequence[str] = (),
    packages: tuple[tuple[str, str], ...] = QUIET.packages,
    places: tuple[tuple[str, str], ...] = (),
) -> Seen:
    """What `doctor` sees on a machine with these files and this driver."""
    write(root, files)
    gpus = look_at_gpus(nvml or FakeNvml(FakeGpu(), version="580.95.05", cuda=13000))
    return dataclasses.replace(
        QUIET,
        machine=dataclasses.replace(MACHINE, gpus=gpus.gpus),
        runtime=runtime,
        packages=packages,
        places=places,
        gpu_processes=gpus.processes,
        driver_cuda=gpus.cuda,
        gpu_modes=gpus.modes,
        nvml_problem=gpus.problem,
        cuda=traces(root, environment=environment or {}, path=path),
    )


def silent(error: Exception) -> FakeNvml:
    """A driver that answers nothing but this error."""
    return FakeNvml(init_error=error)


def failing(**reasons: str) -> RuntimeReport:
    """A runtime that is installed and does not work: `error`, `cudnn_error` or `session_error`."""
    return dataclasses.replace(WORKING, **reasons)  # type: ignore[arg-type]


def divided(*instances: FakeMig | None) -> FakeNvml:
    """A GPU in MIG mode with places for these instances."""
    return FakeNvml(FakeGpu(mig=list(instances)), version="580.95.05", cuda=13000)


def in_mode(mode: int) -> FakeNvml:
    """A GPU in a compute mode of NVML's."""
    return FakeNvml(FakeGpu(compute_mode=mode), version="580.95.05", cuda=13000)


NO_LIBRARY = pynvml.NVMLError_LibraryNotFound
NOT_LOADED = pynvml.NVMLError_DriverNotLoaded
MISMATCH = pynvml.NVMLError_LibRmVersionMismatch
UNKNOWN = pynvml.NVMLError_Unknown
NO_PERMISSION = pynvml.NVMLError_NoPermission
