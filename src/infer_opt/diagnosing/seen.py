"""Everything that the checks judge, and the three kinds of answers that they give."""

from dataclasses import dataclass, field

from infer_opt.facts import MachineFacts
from infer_opt.machine import cgroup
from infer_opt.machine.cuda import CudaTraces
from infer_opt.machine.providers import RuntimeReport
from infer_opt.machine.surroundings import Surroundings
from infer_opt.monitors.nvml_modes import GpuMode
from infer_opt.results import Finding, Severity

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy the machine was, our own process left out.

    `steal` is the stolen share of the CPU time asked for; `others_cores` is what other processes used, in cores. None
    where the platform does not say.
    """

    steal: float | None = None
    others_cores: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that the checks judge. None is "not readable here", which no check takes for trouble.

    `quota` is in cores; `gpu_processes` counts processes that compute on a GPU; `driver_cuda` is the newest CUDA that
    the NVIDIA driver runs; `nvml_problem` is why the driver does not answer. `places` are the folders that hold each
    of the distributions that install the module `onnxruntime`.
    """

    machine: MachineFacts
    load: Load
    allowed_cores: int
    surroundings: Surroundings
    packages: tuple[tuple[str, str], ...]
    runtime: RuntimeReport
    quota: float | None = None
    throttling: cgroup.Throttling | None = None
    available_bytes: int | None = None
    swap_used_bytes: int | None = None
    gpu_processes: int | None = None
    driver_cuda: tuple[int, int] | None = None
    nvml_problem: str | None = None
    gpu_modes: tuple[GpuMode, ...] = ()
    cuda: CudaTraces = field(default_factory=CudaTraces)
    places: tuple[tuple[str, str], ...] = ()
    can_freeze: bool = True
    clock_step_s: float = 1e-9


def ok(name: str, what: str) -> Finding:
    """All is well there."""
    return Finding(name=name, severity=Severity.OK, what=what)


def caution(name: str, what: str, action: str) -> Finding:
    """Numbers are to be trusted less."""
    return Finding(name=name, severity=Severity.CAUTION, what=what, action=action)


def problem(name: str, what: str, action: str) -> Finding:
    """Something does not work, or measuring makes no sense."""
    return Finding(name=name, severity=Severity.PROBLEM, what=what, action=action)
