"""What was found before anything is measured: the model's signature and the machine's make-up."""

from dataclasses import dataclass
from pathlib import PurePath

Dim = int | str | None  # fixed size, named dynamic dimension, unnamed dynamic dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a model.

    `dtype` is the numpy name (`float32`, `int64`, `bool`, `str`, `bfloat16`); `shape` is None for an unknown rank.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.name}: {self.dtype}[unknown rank]"
        return f"{self.name}: {self.dtype}[{', '.join('?' if dim is None else str(dim) for dim in self.shape)}]"


def model_name(model: str) -> str:
    """What a model is called: `digits` for `models/digits.onnx`, and `net` for `package.module:net`."""
    function = model.rpartition(":")[2]
    return function if ":" in model and function.isidentifier() else PurePath(model).stem


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a model file says about itself. `ir_version` and `opset` are 0 where it is no ONNX file, nor became one.

    `batch_dim` is the dynamic dimension that counts items ('' when it has no name; None when the model has none).
    `vocabularies` maps an integer input to the number of rows of the table that it indexes.
    """

    path: str
    content_hash: str
    size_bytes: int
    weight_bytes: int
    ir_version: int
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: tuple[tuple[str, int], ...]
    dynamic_dims: tuple[str, ...] = ()
    batch_dim: str | None = None
    external_files: tuple[str, ...] = ()
    vocabularies: tuple[tuple[str, int], ...] = ()
    has_control_flow: bool = False
    has_ml_operators: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One NVIDIA device, as NVML names it."""

    index: int
    name: str
    memory_bytes: int
    driver: str
    compute_capability: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """This computer, as far as it decides how fast a model runs.

    `usable_cores` is what the cgroup quota and the affinity mask leave, in cores (1.5 is possible).
    `isa` holds the instruction sets that kernels are picked by, such as avx2, avx512f, avx512_vnni, amx_int8.
    """

    fingerprint: str
    system: str
    cpu_model: str
    physical_cores: int
    logical_cores: int
    usable_cores: float
    isa: tuple[str, ...]
    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLevel:
    """One level of the processor's data caches: `level` 1 is the nearest to a core.

    `capacity_bytes` is that of one cache, which `shared_by` hardware threads have in common; there are `count` of them.
    """

    level: int
    capacity_bytes: int
    shared_by: int
    count: int
