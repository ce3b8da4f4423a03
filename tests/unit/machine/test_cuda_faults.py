import pytest

import broken_cuda as made
from infer_opt.machine.cuda_faults import Failure, Missing, cuda_failure, missing_library, mixed_versions

BY_ONNXRUNTIME = (
    "[ONNXRuntimeError] : 1 : FAIL : Failed to load library /opt/capi/libonnxruntime_providers_cuda.so with "
    "error: libcublasLt.so.12: cannot open shared object file: No such file or directory"
)
BY_TORCH = (
    "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
    "NumCudaDevices() that might have already set an error? Error 803: system has unsupported display driver / cuda "
    "driver combination (Triggered internally at /opt/c10/cuda/CUDAFunctions.cpp:112.)"
)


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (made.NO_CUBLAS, Missing(name="libcublasLt", major=13)),
        (made.NO_CUDNN, Missing(name="libcudnn", major=9)),
        (made.NO_DRIVER_LIBRARY, Missing(name="libcuda", major=1)),
        (BY_ONNXRUNTIME, Missing(name="libcublasLt", major=12)),
        ("ImportError: libcudnn.so: cannot open shared object file", Missing(name="libcudnn", major=None)),
        (made.MIXED, None),
        ("OSError: /opt/lib.so: file too short", None),
    ],
)
def test_the_library_that_was_not_found_is_named(error: str, missing: Missing | None) -> None:
    assert missing_library(error) == missing
    assert missing is None or missing.file in error


def test_symbols_of_another_version_are_told_from_missing_files() -> None:
    glibc = "OSError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /opt/p.so)"

    assert mixed_versions(made.MIXED) == "cublasLtGetVersion"
    assert mixed_versions(glibc) == "GLIBCXX_3.4.30"
    assert mixed_versions(made.NO_CUBLAS) is None


def test_an_error_of_cuda_is_taken_out_of_what_is_around_it() -> None:
    insufficient = "CUDA driver version is insufficient for CUDA runtime version"

    assert cuda_failure(made.quoted(35, insufficient)) == Failure(number=35, text=insufficient)
    assert cuda_failure(BY_TORCH) == Failure(
        number=803, text="system has unsupported display driver / cuda driver combination"
    )
    assert cuda_failure("CUDA failure 100: no CUDA-capable device is detected") == Failure(
        number=100, text="no CUDA-capable device is detected"
    )
    assert cuda_failure(made.NO_CUBLAS) is None


def test_what_helps_is_known_for_what_users_meet() -> None:
    for number in (2, 35, 46, 100, 101, 209, 802, 803, 804, 999):
        assert Failure(number=number, text="").help
    assert Failure(number=1, text="").help is None
