"""What a library's error means: the device is out of memory, it cannot be used, or the model is at fault.

The CPU is a device too: ONNX Runtime's arena says the same of it.
"""

import re

from infer_opt.errors import DeviceMemoryError, InferOptError, ModelError, UnavailableError

MOST_CHARACTERS = 400
# ONNX Runtime's arena (with and without a limit of its own), CUDA through it and through PyTorch, cuBLAS and cuDNN.
_MEMORY = re.compile(
    r"Failed to allocate memory for requested buffer of size \d+"
    r"|Available memory of \d+ is smaller than requested bytes of \d+"
    r"|CUDA failure 2: out of memory|CUDA out of memory[^;]*|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
)
# "CUDA failure 35: CUDA driver version is insufficient ... ; GPU=0 ; hostname=...", behind names of C++ functions.
_CUDA = re.compile(r"CUDA failure (\d+): ([^;]+?)\s*(?:;|$)")
# Numbers of cudaError_t that say that the device cannot be used at all, whatever the model.
UNUSABLE = frozenset({3, 35, 46, 100, 101, 209, 222, 802, 803, 804, 999})


def explained(error: BaseException, doing: str) -> InferOptError:
    """The error for `doing`, such as `ONNX Runtime cannot open the model`, that ended in `error`."""
    text = " ".join(str(error).split())
    memory = _MEMORY.search(text)
    if memory is not None:
        return DeviceMemoryError(
            f"{doing}: the device has too little memory ({memory[0][:200]})",
            hint="choose a smaller batch, or stop what else holds memory: see `nvidia-smi`, or `top` on a CPU",
        )
    cuda = _CUDA.search(text)
    if cuda is not None and int(cuda[1]) in UNUSABLE:
        return UnavailableError(f"{doing}: CUDA failure {cuda[1]}, {cuda[2]}", hint="infer-opt doctor says what helps")
    if cuda is not None:
        return ModelError(f"{doing}: CUDA failure {cuda[1]}, {cuda[2]}")
    return ModelError(f"{doing}: {text[:MOST_CHARACTERS] or type(error).__name__}")
