"""Live readings of one kind of device each, taken from outside the process that works."""

from importlib import import_module

from infer_opt.errors import ConfigError
from infer_opt.protocols import Monitor

# name -> (module, class). Loaded on first use: NVML stays out of processes that do not read it.
MONITORS = {
    "cpu": ("infer_opt.monitors.cpu", "CpuMonitor"),
    "pressure": ("infer_opt.monitors.pressure", "PressureMonitor"),
    "memory": ("infer_opt.monitors.memory", "MemoryMonitor"),
    "disk": ("infer_opt.monitors.disk", "DiskMonitor"),
    "network": ("infer_opt.monitors.network", "NetworkMonitor"),
    "cgroup": ("infer_opt.monitors.cgroup", "CgroupMonitor"),
    "process": ("infer_opt.monitors.processes", "ProcessMonitor"),
    "nvml": ("infer_opt.monitors.nvml", "NvmlMonitor"),
}


def open_monitor(name: str) -> Monitor:
    """The monitor of that name, opened.

    Raises:
        ConfigError: no monitor has that name.
        UnavailableError: this machine has no such device, or its driver does not answer.
    """
    if name not in MONITORS:
        raise ConfigError(f"no monitor is named {name!r}", hint=f"choose from {', '.join(MONITORS)}")
    module, attribute = MONITORS[name]
    monitor: Monitor = getattr(import_module(module), attribute)()
    return monitor
