"""Why a model is slow on this machine: named findings, each with its evidence, what to do, and what it could win.

Every rule is a pure function of one case that gives a finding or None. A rule that is not sure says nothing.
"""

from collections.abc import Callable

from infer_opt.causes import Diagnosis
from infer_opt.diagnoses.bandwidth import memory_bound, small_batch
from infer_opt.diagnoses.case import Case, Circumstances, FlushedTime, open_case
from infer_opt.diagnoses.numbers import denormals, int8_without_vnni, unfolded_qdq
from infer_opt.diagnoses.overhead import dynamic_shapes, first_run, launch_bound, transposes
from infer_opt.diagnoses.placement import cpu_fallback, provider_copies
from infer_opt.diagnoses.threads import cpu_quota, oversubscribed, spinning
from infer_opt.diagnoses.unfused import unfused_attention, unfused_gelu, unfused_layer_norm
from infer_opt.profiles.profile import Profile

__all__ = ["RULES", "Circumstances", "FlushedTime", "diagnose"]

Rule = Callable[[Case], Diagnosis | None]

RULES: tuple[Rule, ...] = (
    launch_bound,
    memory_bound,
    unfused_attention,
    unfused_layer_norm,
    unfused_gelu,
    unfolded_qdq,
    provider_copies,
    cpu_fallback,
    dynamic_shapes,
    oversubscribed,
    cpu_quota,
    spinning,
    small_batch,
    denormals,
    transposes,
    first_run,
    int8_without_vnni,
)


def diagnose(profile: Profile, around: Circumstances | None = None) -> tuple[Diagnosis, ...]:
    """What makes the model slow, the most time to be won first, and then what is no matter of a call's time.

    What several findings could win overlaps: it does not add up.
    """
    case = open_case(profile, around or Circumstances())
    if not case.nodes or case.latency_ns <= 0:
        return ()
    found = [diagnosis for rule in RULES if (diagnosis := rule(case)) is not None]
    return tuple(sorted(found, key=lambda one: -1.0 if one.gain_ns is None else one.gain_ns, reverse=True))
