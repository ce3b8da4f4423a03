"""Attention, normalisation and GELU that are spelled out, where one operator could do the work."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from infer_opt.causes import Cause, Diagnosis
from infer_opt.diagnoses.case import Case
from infer_opt.diagnoses.patterns import Pattern, attentions, gelus, normalisations
from infer_opt.diagnoses.wiring import Wiring
from infer_opt.diagnoses.wording import count, duration, percent, some
from infer_opt.recipes import GraphLevel

UNOPTIMISED = (GraphLevel.NONE, GraphLevel.BASIC)  # at these levels the runtime fuses nothing of the kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is looked for, what it is called (one, several), and which operator of ONNX would do it from which opset."""

    cause: Cause
    find: Callable[[Wiring], Iterator[Pattern]]
    one: str
    several: str
    operator: str
    opset: int


ATTENTION = Kind(
    cause=Cause.UNFUSED_ATTENTION, find=attentions, one="attention", several="attentions", operator="Attention",
    opset=23,
)  # fmt: skip
NORMALISATION = Kind(
    cause=Cause.UNFUSED_LAYER_NORM, find=normalisations, one="normalisation", several="normalisations",
    operator="LayerNormalization", opset=17,
)  # fmt: skip
GELU = Kind(cause=Cause.UNFUSED_GELU, find=gelus, one="GELU", several="GELUs", operator="Gelu", opset=20)


def unfused_attention(case: Case) -> Diagnosis | None:
    """Products, softmax and transposes in the place of one attention operator."""
    return _unfused(case, ATTENTION)


def unfused_layer_norm(case: Case) -> Diagnosis | None:
    """Means, squares and roots in the place of one normalisation."""
    return _unfused(case, NORMALISATION)


def unfused_gelu(case: Case) -> Diagnosis | None:
    """Erf or tanh with products around it in the place of one GELU."""
    return _unfused(case, GELU)


def _unfused(case: Case, kind: Kind) -> Diagnosis | None:
    patterns = list(kind.find(case.wiring))
    members = _once(index for pattern in patterns for index in pattern.nodes)
    kept = {index for pattern in patterns for index in pattern.kept}
    saved = [index for index in members if index not in kept]
    # What is kept does its work all the same; the others' passes over the data, and their starts, are saved.
    gain_ns = case.spent_ns(saved) + case.between_ns * len(saved)
    if not patterns or not case.is_worth(gain_ns):
        return None
    spent_ns = case.spent_ns(members)
    named = f"{len(patterns):,} {kind.several}" if len(patterns) > 1 else f"one {kind.one}"
    return Diagnosis(
        cause=kind.cause,
        what=f"{'Every' if len(patterns) > 1 else 'The'} {kind.one} is spelled out in small operators, each of which "
        "reads and writes its data anew.",
        evidence=(
            f"{named} in {count(len(members), 'node')} ({some(case.wiring.operator(index) for index in members)}): "
            f"{duration(spent_ns)}, {percent(case.share(spent_ns))} of a call",
            f"{duration(gain_ns)} of it around what one operator would still have to do",
        ),
        action=_action(case, kind),
        gain_ns=gain_ns,
        nodes=case.names(members),
        knobs=("graph_level",) if _is_unoptimised(case) else ("fuse", "rewrite"),
    )


def _action(case: Case, kind: Kind) -> str:
    if _is_unoptimised(case):
        return "Open the session with the stock graph_optimization_level, at which the runtime fuses them."
    return (
        "Let them be fused (infer-opt tune tries the transformer fusions and, with the extra graph, rewriters), or "
        f"export the model with opset {kind.opset}, which has {kind.operator}."
    )


def _is_unoptimised(case: Case) -> bool:
    config = case.profile.config
    return config.options.graph_level in UNOPTIMISED and config.recipe.saved_level is None


def _once(indices: Iterable[int]) -> list[int]:
    return sorted(set(indices))
