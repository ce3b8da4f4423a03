"""What this machine is and what would spoil a measurement on it, each with what to do.

`see` looks once; every check is a pure function of what was seen, and reports what is well too.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from infer_opt.diagnosing import gpu, host, runtime
from infer_opt.diagnosing.seen import Load, Seen
from infer_opt.errors import UnavailableError
from infer_opt.facts import Gpu
from infer_opt.machine import cgroup, cpu, cuda, memory, packages
from infer_opt.machine.describe import describe
from infer_opt.machine.providers import RuntimeReport, probe_onnxruntime
from infer_opt.machine.surroundings import surroundings
from infer_opt.monitors.host import others_cpu_s, snapshot, steal_share
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.monitors.nvml_asking import Nvml
from infer_opt.monitors.nvml_modes import GpuMode
from infer_opt.results import Finding

__all__ = ["CHECKS", "Gpus", "Load", "Seen", "diagnose", "judge", "look_at_gpus", "sample_load", "see"]


def diagnose(*, sample_s: float = 1.0) -> tuple[Finding, ...]:
    """Look at this machine, about `sample_s` seconds for its load, and judge everything that was seen."""
    return judge(see(sample_s=sample_s))


def judge(seen: Seen) -> tuple[Finding, ...]:
    """Every check's finding, in the order of `CHECKS`."""
    return tuple(check(seen) for check in CHECKS)


def see(*, sample_s: float = 1.0) -> Seen:
    """Read the machine. Missing files, libraries and drivers are part of the answer, never an error."""
    load = sample_load(sample_s)
    gpus = look_at_gpus()  # before ONNX Runtime is tried on them
    found = packages.installed()
    machine = describe(gpus=gpus.gpus, versions=dict(found))
    return Seen(
        machine=machine,
        load=load,
        allowed_cores=cpu.allowed_cores(),
        surroundings=surroundings(threads_per_core=machine.logical_cores / machine.physical_cores),
        packages=found,
        runtime=probe_onnxruntime() if packages.is_importable("onnxruntime") else RuntimeReport(),
        quota=cgroup.cpu_quota(),
        throttling=cgroup.throttling(),
        available_bytes=memory.available_bytes(),
        swap_used_bytes=memory.swap_used_bytes(),
        gpu_processes=gpus.processes,
        driver_cuda=gpus.cuda,
        nvml_problem=gpus.problem,
        gpu_modes=gpus.modes,
        cuda=cuda.traces(),
        places=packages.places(packages.onnxruntimes(found)),
        can_freeze=hasattr(signal, "SIGSTOP"),
        clock_step_s=time.get_clock_info("perf_counter").resolution,
    )


def sample_load(sample_s: float, *, pass_time: Callable[[float], None] | None = None) -> Load:
    """The machine's load over `sample_s` seconds in which this process keeps one core busy.

    It must: a hypervisor can only take time that somebody asks for, so on an idle machine no steal would show.
    """
    before = snapshot([os.getpid()])
    (pass_time or _keep_busy)(sample_s)
    after = snapshot([os.getpid()])
    others, wall_s = others_cpu_s(before, after), (after.time_ns - before.time_ns) / 1e9
    return Load(
        steal=steal_share(before, after),
        others_cores=None if others is None or wall_s <= 0 else others / wall_s,
    )


def _keep_busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """What the driver says, or why it says nothing."""

    gpus: tuple[Gpu, ...] = ()
    processes: int | None = None
    cuda: tuple[int, int] | None = None
    modes: tuple[GpuMode, ...] = ()
    problem: str | None = None


def look_at_gpus(nvml: Nvml = None) -> Gpus:
    """Ask NVML, or `nvml` in its place."""
    try:
        monitor = NvmlMonitor(nvml, detailed=False)
    except UnavailableError as error:
        return Gpus(problem=error.what)
    try:
        return Gpus(
            gpus=monitor.gpus(),
            processes=monitor.foreign_processes(()),
            cuda=monitor.cuda_version(),
            modes=monitor.modes(),
        )
    finally:
        monitor.close()


CHECKS: tuple[Callable[[Seen], Finding], ...] = (
    host.check_processor,
    host.check_int8,
    host.check_memory,
    host.check_swap,
    host.check_steal,
    host.check_background,
    host.check_quota,
    host.check_affinity,
    host.check_governor,
    host.check_turbo,
    host.check_smt,
    host.check_power,
    host.check_virtual,
    host.check_clock,
    host.check_freezing,
    host.check_variables,
    runtime.check_onnxruntime,
    gpu.check_driver,
    gpu.check_devices,
    gpu.check_compute_mode,
    gpu.check_mig,
    runtime.check_cuda,
    runtime.check_cudnn,
    gpu.check_sharing,
)
