"""Whether somebody else disturbed an interval, decided without looking at what was measured in it.

Source: measurement.md, section 2, "Interference". Only exogenous evidence counts: what a configuration does to itself
(cgroup throttling, run-queue delay, power cap) is a label on that configuration, never a reason to discard.
"""

from enum import StrEnum

from infer_opt.monitors.host import TICK_S, HostSnapshot, others_cpu_s, passed, steal_share

STEAL_SHARE = 0.05
OTHERS_SHARE = 0.10
CLOCK_JUMP_NS = 50_000_000
# /proc/stat counts in ticks of 10 ms, sampled when the timer fires: one tick may be a task that ran for microseconds.
# An interval with less than two is no evidence of anything, so a short round needs a larger share than those above.
# This departs from the contract because of resolution alone.
EVIDENCE_TICKS = 2


class Disturbance(StrEnum):
    """Who disturbed an interval."""

    CLOCK = "clock"
    STEAL = "steal"
    OTHERS = "others"
    GPU = "gpu"
    THERMAL = "thermal"


def interference(before: HostSnapshot, after: HostSnapshot, *, cores_in_use: float) -> Disturbance | None:
    """The first disturbance found between two snapshots of the same processes, or None.

    `clock`: time of day and monotonic clock moved more than 50 ms apart (clock set, machine suspended). `steal`: the
    hypervisor took more than 5 % of the CPU time that was asked for. `others`: processes other than the given ones used
    more than 10 % of a core times `cores_in_use`. `gpu`: another process computes on the GPU (hand that in only where
    the GPU is in use). `thermal`: the GPU was already slowed by heat when the interval began. A counter that this
    platform lacks is no evidence.
    """
    if _clock_jumped(before, after):
        return Disturbance.CLOCK
    if _stolen(before, after):
        return Disturbance.STEAL
    if _others_ran(before, after, cores_in_use):
        return Disturbance.OTHERS
    if before.foreign_gpu_processes or after.foreign_gpu_processes:
        return Disturbance.GPU
    return Disturbance.THERMAL if before.thermal_slowdown else None


def _clock_jumped(before: HostSnapshot, after: HostSnapshot) -> bool:
    drift_ns = (after.wall_ns - before.wall_ns) - (after.time_ns - before.time_ns)
    return abs(drift_ns) > CLOCK_JUMP_NS


def _stolen(before: HostSnapshot, after: HostSnapshot) -> bool:
    share, steal = steal_share(before, after), passed(before.steal_s, after.steal_s)
    return share is not None and share > STEAL_SHARE and _is_evidence(steal)


def _others_ran(before: HostSnapshot, after: HostSnapshot, cores_in_use: float) -> bool:
    others = others_cpu_s(before, after)
    allowed_s = OTHERS_SHARE * cores_in_use * (after.time_ns - before.time_ns) / 1e9
    return others is not None and others > allowed_s and _is_evidence(others)


def _is_evidence(seconds: float | None) -> bool:
    # Rounded, because a difference of two sums of ticks may miss a whole number by a hair.
    return seconds is not None and round(seconds / TICK_S, 6) >= EVIDENCE_TICKS
