"""More threads than cores, a quota that holds them back, and cores that wait busily."""

import math

from infer_opt.causes import Cause, Diagnosis
from infer_opt.config import Spin
from infer_opt.diagnoses.case import WORTH, Case
from infer_opt.diagnoses.wording import count, duration, number, percent

BUSY_AFTER = 0.05  # cores, on the mean of the 200 ms after a call: 10 ms of one. An idle process shows a tenth of that
REST_MS = 200
FEWEST_PERIODS = 5  # of a quota, to say how many of them used it up


def threads_of(case: Case) -> int:
    """Threads that calls are spread over, in all instances: as seen, as asked for, or one a physical core."""
    config = case.profile.config
    each = case.around.threads or config.options.intra_threads or case.profile.machine.physical_cores
    return max(1, each) * config.instances


def oversubscribed(case: Case) -> Diagnosis | None:
    """More threads than hardware threads that they may run on."""
    threads, allowed = threads_of(case), _allowed(case)
    if not case.is_on_cpu or threads <= math.ceil(allowed):
        return None
    return Diagnosis(
        cause=Cause.OVERSUBSCRIBED,
        what="There are more threads than cores to run them: at the end of each operator some wait for others that do "
        "not run.",
        evidence=(f"{count(threads, 'thread')} on {count(math.ceil(allowed), 'core')}",),
        action=f"Use {count(max(1, int(allowed)), 'thread')} (intra_op_num_threads = {max(1, int(allowed))}).",
        knobs=("intra_threads", "instances") if case.profile.config.instances > 1 else ("intra_threads",),
    )


def cpu_quota(case: Case) -> Diagnosis | None:
    """The control group's quota is less than the threads use, so that they are held back in bursts."""
    around, threads = case.around, threads_of(case)
    held = _held_share(case)
    is_short = around.quota is not None and around.quota < threads
    if not case.is_on_cpu or around.quota is None or not (is_short or held >= WORTH):
        return None
    evidence = [f"{count(threads, 'thread')}, and a quota of {count_of_cores(around.quota)}"]
    if around.periods and around.throttled_periods is not None:
        evidence.append(f"{around.throttled_periods:,} of {around.periods:,} periods used it up")
    share = around.throttled_share
    if share is not None and held >= WORTH:
        evidence.append(f"threads were held back for {percent(share)} of the time")
    gain_ns = None if share is None or held < WORTH else min(1.0, share) * case.latency_ns
    fits = max(1, int(around.quota))
    return Diagnosis(
        cause=Cause.CPU_QUOTA,
        what="The control group's CPU quota is less than the threads ask for: they are stopped until its next period.",
        evidence=tuple(evidence),
        action=f"Use {count(fits, 'thread')} (intra_op_num_threads = {fits}), or raise the quota (Kubernetes: "
        "resources.limits.cpu; Docker: --cpus).",
        gain_ns=gain_ns,
        knobs=("intra_threads", "spin"),
    )


def spinning(case: Case) -> Diagnosis | None:
    """Threads wait for the next call by spinning: cores are burnt that others could use."""
    after, options = case.around.cores_after, case.profile.config.options
    if not case.is_on_cpu or after is None or after < BUSY_AFTER or options.spin is Spin.NEVER:
        return None
    return Diagnosis(
        cause=Cause.SPINNING,
        what="After a call its threads go on spinning: whatever else runs on this machine lacks those cores meanwhile.",
        evidence=(
            f"after a call of {duration(case.latency_ns)}, {number(after * REST_MS)} ms of a core are spent on waiting "
            "for the next one",
        ),
        action="Where the machine is shared, set session.intra_op.allow_spinning = 0, or "
        "session.force_spinning_stop = 1, which ends it with the call (infer-opt tune tries both).",
        knobs=("spin",),
    )


def count_of_cores(cores: float) -> str:
    """`1 core`, `1.5 cores`."""
    return f"{number(cores)} core{'' if cores == 1 else 's'}"


def _allowed(case: Case) -> float:
    machine = case.profile.machine
    if case.around.allowed_cores is not None:
        return case.around.allowed_cores
    # A quota narrows the usable cores too, and is a finding of its own.
    return machine.usable_cores if case.around.quota is None else machine.logical_cores


def _held_share(case: Case) -> float:
    periods, throttled = case.around.periods, case.around.throttled_periods
    if not periods or periods < FEWEST_PERIODS or throttled is None:
        return 0.0
    return throttled / periods
