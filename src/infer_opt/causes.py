"""Why a model is slow, and what would help."""

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """What a diagnosis can find."""

    LAUNCH_BOUND = "launch-bound"
    MEMORY_BOUND = "memory-bound"
    UNFUSED_ATTENTION = "unfused-attention"
    UNFUSED_LAYER_NORM = "unfused-layer-norm"
    UNFUSED_GELU = "unfused-gelu"
    UNFOLDED_QDQ = "unfolded-qdq"
    PROVIDER_COPIES = "provider-copies"
    CPU_FALLBACK = "cpu-fallback"
    DYNAMIC_SHAPES = "dynamic-shapes"
    OVERSUBSCRIBED = "oversubscribed"
    CPU_QUOTA = "cpu-quota"
    SPINNING = "spinning"
    SMALL_BATCH = "small-batch"
    DENORMALS = "denormals"
    TRANSPOSES = "transposes"
    FIRST_RUN = "first-run"
    INT8_WITHOUT_VNNI = "int8-without-vnni"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One finding: what it is, what shows it, what to do, and how much time there is to be won.

    `what` is one sentence; `evidence` are the figures behind it, one phrase each; `action` is one sentence that names
    the command, option or change. `gain_ns` is about how much of a call's time it could save at the most, None where
    it is no matter of a call (a first run, say) or cannot be told. `nodes` are the nodes concerned, by name.
    `knobs` are the settings of a configuration that would answer it, by the names of their fields (`quantise`,
    `intra_threads`, `spin`): `tune` tries configurations that set one of them first.
    """

    cause: Cause
    what: str
    evidence: tuple[str, ...]
    action: str
    gain_ns: float | None = None
    nodes: tuple[str, ...] = ()
    knobs: tuple[str, ...] = ()
