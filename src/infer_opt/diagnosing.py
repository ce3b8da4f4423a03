"""What this machine is and what would spoil a measurement on it, each with what to do.

`see` looks once; every check is a pure function of what was seen, and reports what is well too.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from infer_opt.errors import UnavailableError
from infer_opt.facts import Gpu, MachineFacts
from infer_opt.machine import cgroup, cpu, memory, packages
from infer_opt.machine.describe import describe
from infer_opt.machine.providers import RuntimeReport, probe_onnxruntime
from infer_opt.machine.surroundings import Surroundings, surroundings
from infer_opt.monitors.host import others_cpu_s, snapshot, steal_share
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.results import Finding, Severity

GIB = 1 << 30
STEADY_CLOCKS = frozenset({"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"})
CUDA_PROVIDER = "CUDAExecutionProvider"
# Part of a missing library's name -> where it comes from.
LIBRARY_ORIGINS = {
    "libcuda.so": "install the NVIDIA driver; in a container start with `--gpus all`",
    "cudnn": "pip install 'infer-opt[gpu]' brings cuDNN; or put an installed one on LD_LIBRARY_PATH",
    "cublas": "pip install 'infer-opt[gpu]' brings cuBLAS; or put an installed CUDA on LD_LIBRARY_PATH",
}
GPU_WORDS = {None: "the driver does not list processes", 0: "no other process computes on the GPU"}
INSTALL = "pip install 'infer-opt[cpu]', or 'infer-opt[gpu]' on a machine with an NVIDIA GPU"


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
    the NVIDIA driver runs; `nvml_problem` is why the driver does not answer.
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
    can_freeze: bool = True
    clock_step_s: float = 1e-9


def diagnose(*, sample_s: float = 1.0) -> tuple[Finding, ...]:
    """Look at this machine, about `sample_s` seconds for its load, and judge everything that was seen."""
    return judge(see(sample_s=sample_s))


def judge(seen: Seen) -> tuple[Finding, ...]:
    """Every check's finding, in the order of `CHECKS`."""
    return tuple(check(seen) for check in CHECKS)


def see(*, sample_s: float = 1.0) -> Seen:
    """Read the machine. Missing files, libraries and drivers are part of the answer, never an error."""
    load = sample_load(sample_s)
    gpus, gpu_processes, driver_cuda, nvml_problem = _gpus()
    found = packages.installed()
    machine = describe(gpus=gpus, versions=dict(found))
    return Seen(
        machine=machine,
        load=load,
        allowed_cores=cpu.allowed_cores(),
        surroundings=surroundings(threads_per_core=machine.logical_cores / machine.physical_cores),
        packages=found,
        runtime=probe_onnxruntime() if packages.onnxruntimes(found) else RuntimeReport(),
        quota=cgroup.cpu_quota(),
        throttling=cgroup.throttling(),
        available_bytes=memory.available_bytes(),
        swap_used_bytes=memory.swap_used_bytes(),
        gpu_processes=gpu_processes,
        driver_cuda=driver_cuda,
        nvml_problem=nvml_problem,
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


def _gpus() -> tuple[tuple[Gpu, ...], int | None, tuple[int, int] | None, str | None]:
    try:
        monitor = NvmlMonitor()
    except UnavailableError as error:
        return (), None, None, error.what
    try:
        return monitor.gpus(), monitor.foreign_processes(()), monitor.cuda_version(), None
    finally:
        monitor.close()


def check_processor(seen: Seen) -> Finding:
    """What the processor is; nothing about it is wrong."""
    machine = seen.machine
    cores = f"{machine.physical_cores} cores, {machine.logical_cores} hardware threads, {machine.usable_cores:g} usable"
    return _ok("processor", f"{machine.cpu_model}: {cores}; {' '.join(machine.isa) or 'instruction sets unknown'}")


def check_int8(seen: Seen) -> Finding:
    """Whether INT8 kernels may saturate."""
    sets = seen.machine.isa
    if not sets:
        return _ok("int8", "the instruction sets are not readable; parity decides about INT8")
    if cpu.has_vnni(sets) or not any(name in cpu.X86_SETS for name in sets):
        return _ok("int8", "8-bit products are summed in 32 bits: INT8 does not saturate")
    return _caution(
        "int8",
        "no VNNI: 8-bit products are summed in 16 bits, so INT8 models may saturate and answer wrongly",
        "nothing: parity checks every INT8 candidate, and candidates with 7-bit weights are tried",
    )


def check_steal(seen: Seen) -> Finding:
    """Whether the hypervisor gives this machine's CPU time to others. Limits: measurement.md, Interference."""
    steal = seen.load.steal
    if steal is None:
        return _ok("steal", "not counted on this platform")
    what = f"the hypervisor took {steal:.1%} of the CPU time asked for"
    if steal <= 0.01:
        return _ok("steal", what)
    action = "wait for a quieter hour, or use a dedicated or bare-metal machine"
    return _problem("steal", what, action) if steal > 0.05 else _caution("steal", what, action)


def check_background(seen: Seen) -> Finding:
    """Whether other processes use the cores. More than 10 % of what a configuration uses discards its rounds."""
    others = seen.load.others_cores
    if others is None:
        return _ok("background load", "not readable on this platform")
    what = f"other processes use {others:.2f} of {seen.machine.usable_cores:g} usable cores"
    share = others / max(seen.machine.usable_cores, 1e-9)
    if share <= 0.03:
        return _ok("background load", what)
    action = "stop them (see `top`), or measure on a subset of cores that they leave alone: `taskset -c`"
    return (_problem if share > 0.10 else _caution)("background load", what, action)


def check_quota(seen: Seen) -> Finding:
    """Whether the control group limits CPU time, and whether the limit bites."""
    if seen.quota is None:
        return _ok("CPU quota", "none")
    what = f"the control group may use {seen.quota:g} cores of {seen.allowed_cores}"
    throttled = seen.throttling.throttled_periods if seen.throttling is not None else 0
    if throttled and seen.throttling is not None:
        what += f"; it was throttled in {throttled} of {seen.throttling.periods} periods"
    if seen.quota >= seen.allowed_cores:
        return _ok("CPU quota", what)
    action = "give the container whole cores (`--cpuset-cpus`) instead of a share of time"
    if throttled:
        return _problem("CPU quota", what, action)
    if seen.quota != int(seen.quota):
        what += "; the fraction cannot be a thread of its own"
    return _caution("CPU quota", what, action)


def check_affinity(seen: Seen) -> Finding:
    """Whether this process may run on every core."""
    allowed, logical = seen.allowed_cores, seen.machine.logical_cores
    if allowed >= logical:
        return _ok("affinity", "every hardware thread may be used")
    return _caution(
        "affinity",
        f"this process may run on {allowed} of {logical} hardware threads",
        "fine if the deployment is bound the same way; otherwise start without `taskset` or `--cpuset-cpus`",
    )


def check_governor(seen: Seen) -> Finding:
    """Whether clocks stay up between runs."""
    found = seen.surroundings.governors
    if not found:
        return _ok("frequency governor", "not readable, as usual in a virtual machine: the host decides")
    if found == ("performance",):
        return _ok("frequency governor", "performance")
    action = "sudo cpupower frequency-set -g performance"
    return _caution("frequency governor", f"{', '.join(found)}: clocks fall between runs", action)


def check_turbo(seen: Seen) -> Finding:
    """Whether clocks depend on heat and on what other cores do. Paired rounds cancel most of it."""
    words = {None: "not readable", True: "on: clocks vary with heat; paired rounds cancel most of it", False: "off"}
    return _ok("turbo", words[seen.surroundings.turbo])


def check_smt(seen: Seen) -> Finding:
    """Whether two hardware threads share a core."""
    threads = seen.surroundings.threads_per_core
    if threads <= 1:
        return _ok("hardware threads", "one a core")
    return _ok("hardware threads", f"{threads:g} a core; both counts of threads are tried")


def check_power(seen: Seen) -> Finding:
    """Whether the machine saves power."""
    if not seen.surroundings.on_battery:
        return _ok("power", "no battery" if seen.surroundings.on_battery is None else "on mains")
    return _problem("power", "on battery: clocks are held down", "plug the charger in")


def check_virtual(seen: Seen) -> Finding:
    """Whether neighbours on the same host may disturb what no counter shows, such as caches and memory bandwidth."""
    where = "in a container " if seen.surroundings.container else ""
    maker = seen.surroundings.hypervisor
    if maker is None:
        return _ok("virtual machine", f"{where}on bare metal" if where else "no")
    return _caution(
        "virtual machine",
        f"{where}in a virtual machine{'' if maker == 'yes' else f' ({maker})'}: neighbours share caches and memory",
        "fine for a choice on this machine; take numbers to publish from a dedicated one",
    )


def check_clock(seen: Seen) -> Finding:
    """Whether reading the clock is quick and fine."""
    source, step_s = seen.surroundings.clock_source, seen.clock_step_s
    what = f"{source or 'source unknown'}, steps of {step_s * 1e9:g} ns"
    if (source is None or source in STEADY_CLOCKS) and step_s <= 1e-6:
        return _ok("clock", what)
    return _caution(
        "clock",
        f"{what}: slow or coarse, so short runs are timed several at once",
        "boot with `tsc=reliable`, or ask the host for kvm-clock",
    )


def check_memory(seen: Seen) -> Finding:
    """Whether there is room for several sessions at once."""
    free = seen.available_bytes
    if free is None:
        return _ok("memory", "not readable on this platform")
    what = f"{free / GIB:.1f} GiB available of {seen.machine.memory_bytes / GIB:.1f} GiB"
    if free >= 2 * GIB:
        return _ok("memory", what)
    action = "stop what holds memory, or raise the container's limit; sessions are measured side by side"
    return (_problem if free < GIB / 2 else _caution)("memory", what, action)


def check_swap(seen: Seen) -> Finding:
    """Whether memory lies on disk."""
    used = seen.swap_used_bytes
    if not used:
        return _ok("swap", "not readable" if used is None else "none in use")
    return _caution("swap", f"{used / GIB:.2f} GiB in use: page faults would be timed", "sudo swapoff -a")


def check_freezing(seen: Seen) -> Finding:
    """Whether idle workers can be stopped while another one is timed."""
    if seen.can_freeze:
        return _ok("freezing", "idle workers are stopped while another one is timed")
    return _caution(
        "freezing",
        "this platform has no SIGSTOP, so one worker lives at a time and comparisons are weaker",
        "measure under Linux (WSL 2 on Windows)",
    )


def check_variables(seen: Seen) -> Finding:
    """Whether the environment changes how runtimes run."""
    found = seen.surroundings.variables
    if not found:
        return _ok("environment", "no variable that changes how a runtime runs")
    names = [name for name, _ in found]
    what = f"set: {', '.join(f'{name}={value}' for name, value in found)}"
    return _caution("environment", what, f"unset {' '.join(names)} unless the deployment sets the same")


def check_onnxruntime(seen: Seen) -> Finding:
    """Whether there is exactly one ONNX Runtime, and it can be imported."""
    found = [name for name, _ in seen.packages if name in packages.ONNXRUNTIME]
    problem = packages.onnxruntime_problem(seen.packages)
    if problem is not None:
        action = f"pip uninstall {' '.join(found)}, then install the one that you want" if found else INSTALL
        return _problem("ONNX Runtime", problem, action)
    name, version = next(package for package in seen.packages if package[0] == found[0])
    if seen.runtime.version is None:
        return _problem(
            "ONNX Runtime",
            f"{name} {version} does not load: {seen.runtime.error or 'no reason given'}",
            f"pip install --force-reinstall {name}",
        )
    return _ok("ONNX Runtime", f"{name} {version}: {', '.join(seen.runtime.providers)}")


def check_driver(seen: Seen) -> Finding:
    """Whether a build for NVIDIA GPUs has a driver that is new enough."""
    built_for, driver = seen.runtime.cuda_version, seen.driver_cuda
    if seen.nvml_problem is not None:
        if "onnxruntime-gpu" not in dict(seen.packages):
            return _ok("NVIDIA driver", "none, and nothing installed here needs one")
        return _problem(
            "NVIDIA driver",
            f"onnxruntime-gpu is installed, but {seen.nvml_problem}",
            "install the driver; in a container start with `--gpus all`; or install 'infer-opt[cpu]' instead",
        )
    names = ", ".join(f"{gpu.name} ({gpu.memory_bytes / GIB:.0f} GiB)" for gpu in seen.machine.gpus)
    version = seen.machine.gpus[0].driver if seen.machine.gpus else "unknown"
    # Within a major version, older drivers run newer builds ("minor version compatibility").
    if driver is not None and built_for is not None and driver[0] < int(built_for.split(".")[0]):
        return _problem(
            "NVIDIA driver",
            f"driver {version} runs CUDA up to {driver[0]}.{driver[1]}, ONNX Runtime was built for CUDA {built_for}",
            "update the driver, or install an onnxruntime-gpu built for the driver's CUDA",
        )
    return _ok("NVIDIA driver", f"{version}; {names or 'no GPU gave its name'}")


def check_cuda(seen: Seen) -> Finding:
    """Whether the CUDA provider, if it is listed, really loads."""
    if CUDA_PROVIDER not in seen.runtime.providers:
        if seen.machine.gpus:
            what = "this machine has an NVIDIA GPU, and the installed ONNX Runtime cannot use it"
            return _caution("CUDA provider", what, "pip uninstall onnxruntime; pip install 'infer-opt[gpu]'")
        return _ok("CUDA provider", "not part of the installed ONNX Runtime")
    if seen.runtime.error is None:
        return _ok("CUDA provider", "its libraries load")
    missing = next((part for part in LIBRARY_ORIGINS if part in seen.runtime.error), None)
    action = LIBRARY_ORIGINS.get(missing or "", "pip install 'infer-opt[gpu]' brings the CUDA libraries")
    return _problem("CUDA provider", f"listed, but its libraries do not load: {seen.runtime.error}", action)


def check_gpu_sharing(seen: Seen) -> Finding:
    """Whether other processes compute on the GPUs."""
    count = seen.gpu_processes
    if not count:
        return _ok("GPU sharing", "no NVIDIA GPU" if not seen.machine.gpus else GPU_WORDS[count])
    return _problem(
        "GPU sharing",
        f"{count} other process{'es' * (count > 1)} computing on the GPU",
        "stop them (see `nvidia-smi`), or choose another device with CUDA_VISIBLE_DEVICES",
    )


CHECKS: tuple[Callable[[Seen], Finding], ...] = (
    check_processor,
    check_int8,
    check_memory,
    check_swap,
    check_steal,
    check_background,
    check_quota,
    check_affinity,
    check_governor,
    check_turbo,
    check_smt,
    check_power,
    check_virtual,
    check_clock,
    check_freezing,
    check_variables,
    check_onnxruntime,
    check_driver,
    check_cuda,
    check_gpu_sharing,
)


def _ok(name: str, what: str) -> Finding:
    return Finding(name=name, severity=Severity.OK, what=what)


def _caution(name: str, what: str, action: str) -> Finding:
    return Finding(name=name, severity=Severity.CAUTION, what=what, action=action)


def _problem(name: str, what: str, action: str) -> Finding:
    return Finding(name=name, severity=Severity.PROBLEM, what=what, action=action)
