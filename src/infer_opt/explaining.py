"""From a profile to why: held against what this machine can do, so that each node has a floor, and diagnosed."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from infer_opt.budget import Budget
from infer_opt.ceilings import MEASURED, cautions, ceilings_of, kept_ceilings
from infer_opt.config import Provider, SessionOptions
from infer_opt.diagnoses import Circumstances, diagnose
from infer_opt.errors import InferOptError
from infer_opt.facts import MachineFacts
from infer_opt.glancing import circumstances, flushed_times
from infer_opt.machine.cgroup import Throttling
from infer_opt.profiles.profile import Profile
from infer_opt.profiles.roofline import Ceilings
from infer_opt.results import Caution, Note, Progress
from infer_opt.roofline.floors import roofline
from infer_opt.setting_up import cache_folder
from infer_opt.tracing import Subject
from infer_opt.workers.process import run_task

GLANCE_S, STARTING_S = 0.5, 1.0  # for each of two looks besides the profile, and until it begins
CEILINGS_S, CEILINGS_SHARE = 20.0, 0.4  # that measuring ceilings takes, and of what is left of the time at the most


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What this machine can do for a session; None with a note that says why it is not known."""

    ceilings: Ceilings | None
    notes: tuple[Note, ...] = ()


def find_limits(
    machine: MachineFacts, options: SessionOptions, version: str, *, budget: Budget, show: Callable[[Progress], None]
) -> Limits:
    """What this machine can do: kept from before, or measured where the time allows. Nothing else should run beside."""
    cache = cache_folder()
    found, will_do = kept_ceilings(machine, options=options, runtime=MEASURED, version=version, cache=cache)
    if will_do:
        return Limits(ceilings=found)
    if budget.left_s < CEILINGS_S / CEILINGS_SHARE:
        return _without(
            f"measuring what this machine can do takes {CEILINGS_S:.0f} s, once: give it "
            f"--budget {CEILINGS_S / CEILINGS_SHARE:.0f}s or more",
            found,
        )
    show(Progress(stage="ceilings", detail="what this machine can do"))
    try:
        return Limits(ceilings=ceilings_of(machine, options=options, runtime=MEASURED, version=version, cache=cache))
    except InferOptError as error:  # a profile is worth having without them
        return _without(error.what, found)


def find_circumstances(
    machine: MachineFacts, subject: Subject, *, before: Throttling | None, wall_ns: float, budget: Budget,
    show: Callable[[Progress], None],
) -> Circumstances:  # fmt: skip
    """What a profile does not hold: what the machine left to it, and, where there is time, what two more looks show.

    One of them is as the profiled session is; the other takes subnormal numbers for zero.

    Arguments:
        before: the control group's counters when the profiled processes began, `wall_ns` before now.
    """
    options = subject.options
    around = circumstances(machine, options, before=before, wall_ns=wall_ns)
    is_plain = options.provider is Provider.CPU and not subject.buckets and not options.flush_denormals
    if not is_plain or not budget.fits(2 * (GLANCE_S + STARTING_S)):
        return around
    show(Progress(stage="look", detail="what slows nodes down"))
    try:
        seen, flushed = (
            run_task(
                "infer_opt.glancing:glance", subject.artefact, looked, subject.feeds, seconds=GLANCE_S, rests=True,
                timeout_s=max(GLANCE_S, budget.left_s),
            )
            for looked in (options, replace(options, flush_denormals=True))
        )  # fmt: skip
    except InferOptError:  # a profile is worth having without it
        return around
    return replace(
        around,
        cores_after=seen.cores_after,
        flushed=flushed_times(seen, flushed),
        subnormal_weights=seen.subnormal_weights,
    )


def explain(found: Profile, limits: Limits, around: Circumstances) -> Profile:
    """The profile with the floors of its nodes, as far as the limits are known, and why it is slow."""
    if limits.ceilings is None:
        made = replace(found, notes=(*found.notes, *limits.notes))
    else:
        floors = roofline(found.nodes, limits.ceilings)
        made = replace(found, roofline=floors, notes=(*found.notes, *limits.notes, *cautions(floors, found.nodes)))
    return replace(made, diagnoses=diagnose(made, around))


def _without(why: str, found: Ceilings | None) -> Limits:
    if found is not None:  # measured beside others: better than nothing, and their own caution says so
        return Limits(ceilings=found)
    return Limits(ceilings=None, notes=(Note(caution=Caution.LOW_CEILING, text=f"there are no floors: {why}"),))
