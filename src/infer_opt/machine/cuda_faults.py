"""What CUDA, its loader and ONNX Runtime say when they fail, in one sentence, with what helps.

The sentences that are looked for are those of the libraries themselves: of the dynamic loader (`dlerror`), of
`cudaGetErrorString` as ONNX Runtime quotes it ("CUDA failure 35: ..."), and as PyTorch does ("Error 804: ...").
"""

import re
from dataclasses import dataclass

_MISSING = re.compile(r"(lib[\w+-]+)\.so(?:\.(\d+))?[\d.]*: cannot open shared object file")
_SYMBOL = re.compile(r"(?:undefined symbol: (\S+)|version `(\S+)' not found)")
_FAILURE = re.compile(r"(?:CUDA failure|CUDA error|Error) (\d+)\s*: ([^;\n]+?)\s*(?:;|\(Triggered|\n|$)")

# CUDA's number of an error -> what helps. Source: the CUDA Runtime API, cudaError_t.
HELP = {
    2: "stop what else holds the GPU's memory (see `nvidia-smi`), or choose a smaller model or batch",
    3: "see `nvidia-smi`; after a suspend, `sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm`",
    35: "update the driver, or install an onnxruntime-gpu that was built for the driver's CUDA",
    46: "see `nvidia-smi` for its compute mode and who holds it: `sudo nvidia-smi --compute-mode=DEFAULT` shares it",
    100: "give this process a GPU: `--gpus all` for a container; unset CUDA_VISIBLE_DEVICES if it hides all of them",
    101: "correct CUDA_VISIBLE_DEVICES: it names a GPU that is not here (`nvidia-smi -L` lists them)",
    209: "install an onnxruntime-gpu that was built for this GPU's compute capability",
    222: "update the driver: it is older than the compiler that the code was built with",
    802: "start the fabric manager, which GPUs behind NVSwitch need: `sudo systemctl start nvidia-fabricmanager`",
    803: "restart the machine: the driver was updated, and its kernel module and libraries do not belong together",
    804: "update the driver; or take CUDA's `compat` folder out of LD_LIBRARY_PATH, which this GPU cannot use",
    999: "see `nvidia-smi` and `dmesg`; reload the driver (`sudo modprobe -r nvidia_uvm`), or restart the machine",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A shared library that the loader did not find: `libcublasLt`, 13. `major` is None where no version is named."""

    name: str
    major: int | None

    @property
    def file(self) -> str:
        """As the loader looks for it: `libcublasLt.so.13`."""
        return f"{self.name}.so" if self.major is None else f"{self.name}.so.{self.major}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error of CUDA's own: its number, and its sentence."""

    number: int
    text: str

    @property
    def help(self) -> str | None:
        """What to do about it; None where only CUDA's documentation knows."""
        return HELP.get(self.number)


def missing_library(error: str) -> Missing | None:
    """The library that was not found, where that is what `error` says."""
    found = _MISSING.search(error)
    if found is None:
        return None
    return Missing(name=found[1], major=None if found[2] is None else int(found[2]))


def mixed_versions(error: str) -> str | None:
    """The symbol that the loaded libraries lack: files of two versions were mixed; None where it is something else."""
    found = _SYMBOL.search(error)
    return None if found is None else (found[1] or found[2]).rstrip(",")


def cuda_failure(error: str) -> Failure | None:
    """The error of CUDA's that `error` quotes, out of the names of C++ functions around it."""
    found = _FAILURE.search(error)
    if found is None:
        return None
    return Failure(number=int(found[1]), text=" ".join(found[2].split()))
