"""What about the processor, the memory and the system would spoil a measurement."""

from infer_opt.diagnosing.seen import GIB, Seen, caution, ok, problem
from infer_opt.machine import cpu
from infer_opt.results import Finding

STEADY_CLOCKS = frozenset({"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"})


def check_processor(seen: Seen) -> Finding:
    """What the processor is; nothing about it is wrong."""
    machine = seen.machine
    cores = f"{machine.physical_cores} cores, {machine.logical_cores} hardware threads, {machine.usable_cores:g} usable"
    return ok("processor", f"{machine.cpu_model}: {cores}; {' '.join(machine.isa) or 'instruction sets unknown'}")


def check_int8(seen: Seen) -> Finding:
    """Whether INT8 kernels may saturate."""
    sets = seen.machine.isa
    if not sets:
        return ok("int8", "the instruction sets are not readable; parity decides about INT8")
    if cpu.has_vnni(sets) or not any(name in cpu.X86_SETS for name in sets):
        return ok("int8", "8-bit products are summed in 32 bits: INT8 does not saturate")
    return caution(
        "int8",
        "no VNNI: 8-bit products are summed in 16 bits, so INT8 models may saturate and answer wrongly",
        "nothing: parity checks every INT8 candidate, and candidates with 7-bit weights are tried",
    )


def check_steal(seen: Seen) -> Finding:
    """Whether the hypervisor gives this machine's CPU time to others. Limits: measurement.md, Interference."""
    steal = seen.load.steal
    if steal is None:
        return ok("steal", "not counted on this platform")
    what = f"the hypervisor took {steal:.1%} of the CPU time asked for"
    if steal <= 0.01:
        return ok("steal", what)
    action = "wait for a quieter hour, or use a dedicated or bare-metal machine"
    return problem("steal", what, action) if steal > 0.05 else caution("steal", what, action)


def check_background(seen: Seen) -> Finding:
    """Whether other processes use the cores. More than 10 % of what a configuration uses discards its rounds."""
    others = seen.load.others_cores
    if others is None:
        return ok("background load", "not readable on this platform")
    what = f"other processes use {others:.2f} of {seen.machine.usable_cores:g} usable cores"
    share = others / max(seen.machine.usable_cores, 1e-9)
    if share <= 0.03:
        return ok("background load", what)
    action = "stop them (see `top`), or measure on a subset of cores that they leave alone: `taskset -c`"
    return (problem if share > 0.10 else caution)("background load", what, action)


def check_quota(seen: Seen) -> Finding:
    """Whether the control group limits CPU time, and whether the limit bites."""
    if seen.quota is None:
        return ok("CPU quota", "none")
    what = f"the control group may use {seen.quota:g} cores of {seen.allowed_cores}"
    throttled = seen.throttling.throttled_periods if seen.throttling is not None else 0
    if throttled and seen.throttling is not None:
        what += f"; it was throttled in {throttled} of {seen.throttling.periods} periods"
    if seen.quota >= seen.allowed_cores:
        return ok("CPU quota", what)
    action = "give the container whole cores (`--cpuset-cpus`) instead of a share of time"
    if throttled:
        return problem("CPU quota", what, action)
    if seen.quota != int(seen.quota):
        what += "; the fraction cannot be a thread of its own"
    return caution("CPU quota", what, action)


def check_affinity(seen: Seen) -> Finding:
    """Whether this process may run on every core."""
    allowed, logical = seen.allowed_cores, seen.machine.logical_cores
    if allowed >= logical:
        return ok("affinity", "every hardware thread may be used")
    return caution(
        "affinity",
        f"this process may run on {allowed} of {logical} hardware threads",
        "fine if the deployment is bound the same way; otherwise start without `taskset` or `--cpuset-cpus`",
    )


def check_governor(seen: Seen) -> Finding:
    """Whether clocks stay up between runs."""
    found = seen.surroundings.governors
    if not found:
        return ok("frequency governor", "not readable, as usual in a virtual machine: the host decides")
    if found == ("performance",):
        return ok("frequency governor", "performance")
    action = "sudo cpupower frequency-set -g performance"
    return caution("frequency governor", f"{', '.join(found)}: clocks fall between runs", action)


def check_turbo(seen: Seen) -> Finding:
    """Whether clocks depend on heat and on what other cores do. Paired rounds cancel most of it."""
    words = {None: "not readable", True: "on: clocks vary with heat; paired rounds cancel most of it", False: "off"}
    return ok("turbo", words[seen.surroundings.turbo])


def check_smt(seen: Seen) -> Finding:
    """Whether two hardware threads share a core."""
    threads = seen.surroundings.threads_per_core
    if threads <= 1:
        return ok("hardware threads", "one a core")
    return ok("hardware threads", f"{threads:g} a core; both counts of threads are tried")


def check_power(seen: Seen) -> Finding:
    """Whether the machine saves power."""
    if not seen.surroundings.on_battery:
        return ok("power", "no battery" if seen.surroundings.on_battery is None else "on mains")
    return problem("power", "on battery: clocks are held down", "plug the charger in")


def check_virtual(seen: Seen) -> Finding:
    """Whether neighbours on the same host may disturb what no counter shows, such as caches and memory bandwidth."""
    where = "in a container " if seen.surroundings.container else ""
    maker = seen.surroundings.hypervisor
    if maker is None:
        return ok("virtual machine", f"{where}on bare metal" if where else "no")
    return caution(
        "virtual machine",
        f"{where}in a virtual machine{'' if maker == 'yes' else f' ({maker})'}: neighbours share caches and memory",
        "fine for a choice on this machine; take numbers to publish from a dedicated one",
    )


def check_clock(seen: Seen) -> Finding:
    """Whether reading the clock is quick and fine."""
    source, step_s = seen.surroundings.clock_source, seen.clock_step_s
    what = f"{source or 'source unknown'}, steps of {step_s * 1e9:g} ns"
    if (source is None or source in STEADY_CLOCKS) and step_s <= 1e-6:
        return ok("clock", what)
    return caution(
        "clock",
        f"{what}: slow or coarse, so short runs are timed several at once",
        "boot with `tsc=reliable`, or ask the host for kvm-clock",
    )


def check_memory(seen: Seen) -> Finding:
    """Whether there is room for several sessions at once."""
    free = seen.available_bytes
    if free is None:
        return ok("memory", "not readable on this platform")
    what = f"{free / GIB:.1f} GiB available of {seen.machine.memory_bytes / GIB:.1f} GiB"
    if free >= 2 * GIB:
        return ok("memory", what)
    action = "stop what holds memory, or raise the container's limit; sessions are measured side by side"
    return (problem if free < GIB / 2 else caution)("memory", what, action)


def check_swap(seen: Seen) -> Finding:
    """Whether memory lies on disk."""
    used = seen.swap_used_bytes
    if not used:
        return ok("swap", "not readable" if used is None else "none in use")
    return caution("swap", f"{used / GIB:.2f} GiB in use: page faults would be timed", "sudo swapoff -a")


def check_freezing(seen: Seen) -> Finding:
    """Whether idle workers can be stopped while another one is timed."""
    if seen.can_freeze:
        return ok("freezing", "idle workers are stopped while another one is timed")
    return caution(
        "freezing",
        "this platform has no SIGSTOP, so one worker lives at a time and comparisons are weaker",
        "measure under Linux (WSL 2 on Windows)",
    )


def check_variables(seen: Seen) -> Finding:
    """Whether the environment changes how runtimes run."""
    found = seen.surroundings.variables
    if not found:
        return ok("environment", "no variable that changes how a runtime runs")
    names = [name for name, _ in found]
    what = f"set: {', '.join(f'{name}={value}' for name, value in found)}"
    return caution("environment", what, f"unset {' '.join(names)} unless the deployment sets the same")
