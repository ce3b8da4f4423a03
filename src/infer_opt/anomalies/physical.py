"""Physical rules: what is wrong whatever a series usually does, each as a row of data.

`key` is the reading that a finding concerns, with `*` where there may be several of a kind. `holds` and `says` take the
values of `key`, `needs` and `may_have`, in that order; `*` there is the same instance. Where one of `key` and `needs`
is not available, nothing can be said; what `may_have` names may be None. A counter comes as what it gained.
"""

from collections.abc import Callable
from dataclasses import dataclass

from infer_opt.anomalies.wording import counted, said
from infer_opt.readings.catalogue import Unit
from infer_opt.readings.findings import Severity

SLOW_CLOCK = 0.75  # of the highest
BUSY_GPU, IDLE_GPU = 0.5, 0.02
_B, _BPS, _R = Unit.BYTES, Unit.BYTES_PER_SECOND, Unit.RATIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `hold_s` and `clear_s` as in `Episode`.

    `directness` is how far the condition is the thing itself (1: a driver or kernel says so) and not a sign of it. A
    finding's confidence is that times the share of the moments since it began in which the condition held.
    """

    name: str
    key: str
    holds: Callable[..., bool]
    says: Callable[..., str]
    needs: tuple[str, ...] = ()
    may_have: tuple[str, ...] = ()
    hold_s: float = 5.0
    clear_s: float = 15.0
    severity: Severity = Severity.WARNING
    directness: float = 1.0
    causes: tuple[str, ...] = ()


def _holding(temperature: float | None) -> str:
    return "" if temperature is None else f" at {temperature:.0f} °C"


def _in_cores(throttled: float | None, quota: float | None) -> str:
    lost = "" if throttled is None else f", {throttled:.2g} cores' time lost"
    return lost + ("" if quota is None else f"; its quota is {quota:.3g} cores")


def _of_threads(threads: float | None) -> str:
    return "" if threads is None else f"; the chosen processes have {threads:.0f} threads"


RULES: tuple[Rule, ...] = (
    Rule(
        name="gpu-throttled-by-heat",
        key="gpu[*].throttled_by_heat",
        may_have=("gpu[*].temperature_celsius",),
        holds=lambda bit, _: bit >= 0.5,
        says=lambda bit, celsius: f"heat holds the clock down{_holding(celsius)}",
        hold_s=3.0,
        causes=("airflow is blocked, or a fan failed", "neighbouring boards heat it", "the room is too warm"),
    ),
    Rule(
        name="gpu-throttled-by-power",
        key="gpu[*].throttled_by_power",
        may_have=("gpu[*].power_watts", "gpu[*].power_limit_watts"),
        holds=lambda bit, *_: bit >= 0.5,
        says=lambda bit, watts, limit: (
            "a power limit holds the clock down"
            + ("" if watts is None or limit is None else f": {watts:.0f} W of {limit:.0f} W")
        ),
        hold_s=10.0,
        severity=Severity.INFO,
        causes=(
            "full load: ordinary for large matrices",
            "a limit was set with nvidia-smi -pl",
            "a power supply fails",
        ),
    ),
    Rule(
        name="gpu-slow-clock",
        key="gpu[*].sm_clock_hertz",
        needs=("gpu[*].sm_clock_most_hertz", "gpu[*].utilisation"),
        holds=lambda clock, most, used: used >= BUSY_GPU and clock < SLOW_CLOCK * most,
        says=lambda clock, most, used: (
            f"the clock is at {said(clock, Unit.HERTZ)}, {clock / most:.0%} of its highest, while {used:.0%} busy"
        ),
        causes=("heat or a power limit", "a clock that somebody locked (nvidia-smi -lgc)", "a power-saving mode"),
    ),
    Rule(
        name="gpu-idle-with-work",
        key="gpu[*].utilisation",
        needs=("gpu[*].process_memory_bytes", "process.cpu_cores"),
        holds=lambda used, held, cores: used <= IDLE_GPU and held > 0.0 and cores >= 0.5,
        says=lambda used, held, cores: (
            f"idle while the chosen processes hold {said(held, _B)} there and keep {cores:.2g} CPU cores busy"
        ),
        hold_s=10.0,
        directness=0.8,
        causes=(
            "the CPU prepares data: tokenisation, decoding, loading",
            "operators run on the CPU for want of a GPU version",
            "a compilation or the first run of a new shape",
        ),
    ),
    Rule(
        name="gpu-shared",
        key="gpu[*].foreign_processes",
        needs=("gpu[*].process_memory_bytes",),
        holds=lambda others, held: others >= 1.0 and held > 0.0,
        says=lambda others, held: f"{counted(others, 'other process', 'other processes')} there too",
        hold_s=3.0,
        severity=Severity.INFO,
        causes=("another user or service has the same device", "an earlier run that did not end"),
    ),
    Rule(
        name="gpu-memory-errors",
        key="gpu[*].uncorrected_errors",
        holds=lambda gained: gained > 0.0,
        says=lambda gained: f"{counted(gained, 'memory error')} that could not be corrected",
        hold_s=0.0,
        clear_s=60.0,
        severity=Severity.CRITICAL,
        causes=("device memory fails: results may be wrong; reset or replace the board",),
    ),
    Rule(
        name="gpu-memory-nearly-full",
        key="gpu[*].memory_free_bytes",
        needs=("gpu[*].memory_total_bytes",),
        holds=lambda free, total: free < 0.01 * total,
        says=lambda free, total: f"{said(free, _B)} of device memory left of {said(total, _B)}",
        severity=Severity.INFO,
        causes=("a library that takes all memory at its start", "batches too large", "another process holds memory"),
    ),
    Rule(
        name="pcie-narrow",
        key="gpu[*].pcie_width",
        needs=("gpu[*].pcie_width_most", "gpu[*].utilisation"),
        holds=lambda lanes, most, used: used >= 0.2 and lanes < most,
        says=lambda lanes, most, used: f"PCIe runs {lanes:.0f} of {most:.0f} lanes",
        hold_s=10.0,
        causes=("the board is not seated well, or in a narrow slot", "lanes are shared with another slot"),
    ),
    Rule(
        name="pcie-slow",
        key="gpu[*].pcie_generation",
        needs=("gpu[*].pcie_generation_most", "gpu[*].utilisation"),
        holds=lambda now, most, used: used >= BUSY_GPU and now < most,
        says=lambda now, most, used: f"PCIe runs at generation {now:.0f}, not {most:.0f}, while busy",
        hold_s=10.0,
        causes=("link training fell back: a riser, a cable, dirt", "a limit in the firmware"),
    ),
    Rule(
        name="cpu-stolen",
        key="cpu.steal",
        holds=lambda stolen: stolen >= 0.05,
        says=lambda stolen: f"the hypervisor gives {said(stolen, _R)} of CPU time to others",
        hold_s=10.0,
        causes=("the host is oversold", "the virtual machine has used up its CPU credits"),
    ),
    Rule(
        name="cpu-oversubscribed",
        key="pressure.cpu_some",
        needs=("cpu.busy",),
        may_have=("process.threads",),
        holds=lambda waiting, busy, _: waiting >= 0.3 and busy >= 0.9,
        says=lambda waiting, busy, threads: (
            f"threads wait for a CPU {said(waiting, _R)} of the time, while all are busy" + _of_threads(threads)
        ),
        hold_s=10.0,
        directness=0.9,
        causes=("more threads than cores: set fewer threads", "several sessions side by side", "another program"),
    ),
    Rule(
        name="cgroup-throttled",
        key="cgroup.throttled",
        may_have=("cgroup.throttled_cores", "cgroup.quota_cores"),
        holds=lambda share, *_: share >= 0.05,
        says=lambda share, lost, quota: (
            f"stopped for its quota in {said(share, _R)} of the periods" + _in_cores(lost, quota)
        ),
        causes=("more threads than the quota has cores: set as many threads as cores", "the quota is too small"),
    ),
    Rule(
        name="thrashing",
        key="memory.swapped_in_bytes_per_second",
        may_have=("memory.swapped_out_bytes_per_second", "pressure.memory_full"),
        holds=lambda into, out, full: into >= 1e6 and (full >= 0.05 if full is not None else (out or 0.0) >= 1e6),
        says=lambda into, out, full: (
            f"memory is read back from swap at {said(into, _BPS)}"
            + ("" if full is None else f"; everything waits for it {said(full, _R)} of the time")
        ),
        severity=Severity.CRITICAL,
        causes=("more memory is in use than there is: a smaller model, batch or number of sessions", "a leak"),
    ),
    Rule(
        name="memory-stalls",
        key="pressure.memory_full",
        holds=lambda full: full >= 0.1,
        says=lambda full: f"everything waits for memory {said(full, _R)} of the time",
        hold_s=10.0,
        causes=("memory is nearly full, and files are dropped and read again", "a memory limit of the control group"),
    ),
    Rule(
        name="memory-nearly-full",
        key="memory.available_bytes",
        needs=("memory.total_bytes",),
        holds=lambda left, total: left < 0.03 * total,
        says=lambda left, total: f"{said(left, _B)} left of {said(total, _B)}",
        severity=Severity.CRITICAL,
        causes=("a model or batch too large for this machine", "a leak", "another program"),
    ),
    Rule(
        name="oom-kill",
        key="memory.oom_kills",
        holds=lambda gained: gained > 0.0,
        says=lambda gained: f"the kernel ended {counted(gained, 'process', 'processes')} for want of memory",
        hold_s=0.0,
        clear_s=60.0,
        severity=Severity.CRITICAL,
        causes=("memory or the limit of a control group was used up",),
    ),
    Rule(
        name="oom-kill",
        key="cgroup.oom_kills",
        holds=lambda gained: gained > 0.0,
        says=lambda gained: (
            f"the kernel ended {counted(gained, 'process', 'processes')} of this group at its memory limit"
        ),
        hold_s=0.0,
        clear_s=60.0,
        severity=Severity.CRITICAL,
        causes=("the limit of the control group is too small for what runs in it", "a leak"),
    ),
    Rule(
        name="disk-bound",
        key="pressure.io_full",
        may_have=("disk.busy",),
        holds=lambda full, _: full >= 0.2,
        says=lambda full, busy: (
            f"everything waits for a disk {said(full, _R)} of the time"
            + ("" if busy is None else f"; the busiest is busy {said(busy, _R)}")
        ),
        hold_s=10.0,
        causes=("weights or data are read that are not in memory", "logs or checkpoints are written", "a slow disk"),
    ),
    Rule(
        name="weights-read-again",
        key="process.major_faults_per_second",
        holds=lambda faults: faults >= 100.0,
        says=lambda faults: f"{faults:,.0f} page faults a second read a disk",
        hold_s=10.0,
        directness=0.9,
        causes=("mapped weights do not stay in memory: too little is free", "a first pass over a mapped file"),
    ),
    Rule(
        name="disk-nearly-full",
        key="filesystem[*].free_bytes",
        needs=("filesystem[*].total_bytes",),
        holds=lambda free, total: total > 0.0 and free < 0.02 * total,
        says=lambda free, total: f"{said(free, _B)} left of {said(total, _B)}",
        causes=("logs, checkpoints or caches", "files that are deleted but still open"),
    ),
    Rule(
        name="network-errors",
        key="network.errors_per_second",
        holds=lambda errors: errors >= 1.0,
        says=lambda errors: f"{errors:.3g} packets with errors a second",
        hold_s=10.0,
        causes=("a bad cable, plug or transceiver", "a driver or firmware fault"),
    ),
    Rule(
        name="network-drops",
        key="network.dropped_per_second",
        holds=lambda dropped: dropped >= 10.0,
        says=lambda dropped: f"{dropped:.3g} packets dropped a second",
        hold_s=10.0,
        severity=Severity.INFO,
        causes=("more arrives than is taken in time", "packets that nobody here asked for"),
    ),
)
