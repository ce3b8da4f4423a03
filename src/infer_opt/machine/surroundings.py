"""Settings that steady or disturb this machine's speed: clocks, power, sharing. None means not readable."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infer_opt.machine.files import integer, text

# Set by users for other reasons, and each one changes how a runtime runs.
TELLING_VARIABLES = frozenset(
    {
        "OMP_NUM_THREADS",
        "OMP_WAIT_POLICY",
        "OMP_PROC_BIND",
        "OMP_THREAD_LIMIT",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_LAUNCH_BLOCKING",
        "NVIDIA_TF32_OVERRIDE",
        "LD_PRELOAD",
        "MALLOC_ARENA_MAX",
        "MALLOC_CONF",
    }
)
TELLING_PREFIXES = ("ORT_", "KMP_", "GOMP_", "DNNL_", "ONEDNN_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Settings outside the process that steady or disturb its speed.

    `governors` holds each frequency governor in use on some core; `turbo` is whether cores may exceed their nominal
    clock; `threads_per_core` above 1 is simultaneous multithreading; `on_battery` is None on machines without a
    battery; `hypervisor` is the virtual machine's maker as far as it is known (`yes` when only its presence is).
    """

    governors: tuple[str, ...] = ()
    turbo: bool | None = None
    threads_per_core: float = 1.0
    clock_source: str | None = None
    on_battery: bool | None = None
    hypervisor: str | None = None
    container: bool = False
    variables: tuple[tuple[str, str], ...] = ()


def surroundings(
    root: Path = Path("/"), *, threads_per_core: float = 1.0, environment: Mapping[str, str] | None = None
) -> Surroundings:
    """Read them from under `root`; `environment` is this process's own unless given."""
    return Surroundings(
        governors=governors(root),
        turbo=turbo(root),
        threads_per_core=threads_per_core,
        clock_source=text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        on_battery=on_battery(root),
        hypervisor=hypervisor(root),
        container=in_container(root),
        variables=telling_variables(os.environ if environment is None else environment),
    )


def governors(root: Path = Path("/")) -> tuple[str, ...]:
    """The frequency governors in use, each once; empty where they cannot be read (as in most virtual machines)."""
    paths = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return tuple(sorted({name for name in map(text, paths) if name}))


def turbo(root: Path = Path("/")) -> bool | None:
    """Whether cores may run above their nominal clock. Source: `intel_pstate/no_turbo`, else `cpufreq/boost`."""
    folder = root / "sys/devices/system/cpu"
    no_turbo, boost = integer(folder / "intel_pstate/no_turbo"), integer(folder / "cpufreq/boost")
    if no_turbo is not None:
        return no_turbo == 0
    return None if boost is None else boost == 1


def on_battery(root: Path = Path("/")) -> bool | None:
    """Whether a battery is being drained now; None on machines without one."""
    found = None
    for supply in sorted((root / "sys/class/power_supply").glob("*")):
        # A mouse's or headset's battery has the scope "Device" and does not power this machine.
        if text(supply / "type") == "Battery" and text(supply / "scope") != "Device":
            found = bool(found) or text(supply / "status") == "Discharging"
    return found


def hypervisor(root: Path = Path("/")) -> str | None:
    """The virtual machine's maker, `yes` if only its presence is known, None on bare metal.

    Source: the `hypervisor` flag of /proc/cpuinfo, which every common hypervisor sets, then DMI and /sys/hypervisor.
    """
    maker = text(root / "sys/hypervisor/type") or text(root / "sys/class/dmi/id/sys_vendor") or "yes"
    lines = (text(root / "proc/cpuinfo") or "").splitlines()
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    if "hypervisor" in flags or (root / "sys/hypervisor/type").exists():
        return maker
    return None


def in_container(root: Path = Path("/")) -> bool:
    """Whether Docker, Podman or Kubernetes started this process, by the marks that they leave."""
    marks = ("docker", "kubepods", "containerd", "libpod", "lxc")
    groups = text(root / "proc/self/cgroup") or ""
    return (
        (root / ".dockerenv").exists() or (root / "run/.containerenv").exists() or any(mark in groups for mark in marks)
    )


def telling_variables(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The variables in `environment` that change how a runtime runs, by name."""
    return tuple(
        (name, value)
        for name, value in sorted(environment.items())
        if name in TELLING_VARIABLES or name.startswith(TELLING_PREFIXES)
    )


def system() -> str:
    """The operating system's name: Linux, Darwin or Windows."""
    return platform.system()
