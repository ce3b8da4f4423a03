"""From a profile to why: held against what this machine can do, so that each node has a floor."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from infer_opt.budget import Budget
from infer_opt.ceilings import MEASURED, cautions, ceilings_of, kept_ceilings
from infer_opt.config import SessionOptions
from infer_opt.errors import InferOptError
from infer_opt.facts import MachineFacts
from infer_opt.profiles.profile import Profile
from infer_opt.profiles.roofline import Ceilings
from infer_opt.results import Caution, Note, Progress
from infer_opt.roofline.floors import roofline
from infer_opt.setting_up import cache_folder

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


def explain(found: Profile, limits: Limits) -> Profile:
    """The profile with the floors of its nodes, as far as the limits are known, and what is to be said of them."""
    if limits.ceilings is None:
        return replace(found, notes=(*found.notes, *limits.notes))
    floors = roofline(found.nodes, limits.ceilings)
    notes = (*found.notes, *limits.notes, *cautions(floors, found.nodes))
    return replace(found, roofline=floors, notes=notes)


def _without(why: str, found: Ceilings | None) -> Limits:
    if found is not None:  # measured beside others: better than nothing, and their own caution says so
        return Limits(ceilings=found)
    return Limits(ceilings=None, notes=(Note(caution=Caution.LOW_CEILING, text=f"there are no floors: {why}"),))
