"""Numbers in a form that costs time: quantised in vain, subnormal, or in 8 bits where the CPU has no use for them."""

from infer_opt.causes import Cause, Diagnosis
from infer_opt.diagnoses.case import Case
from infer_opt.diagnoses.wiring import constants
from infer_opt.diagnoses.wording import count, duration, percent, some
from infer_opt.profiles.nodes import Node
from infer_opt.recipes import GraphLevel

CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
INT8_OPERATORS = frozenset({
    "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "DynamicQuantizeMatMul", "MatMulIntegerToFloat",
    "QGemm", "QAttention", "DynamicQuantizeLSTM", "QLinearAveragePool", "QLinearGlobalAveragePool",
})  # fmt: skip
# Times what a node takes with subnormal numbers taken for zero. Two processes may differ by 1.6, by the core that each
# was started on, and by what else ran; arithmetic on such numbers is slower by ten times and more.
SLOWER = 3.0
MANY_SUBNORMAL = 0.01  # of a weight's values


def unfolded_qdq(case: Case) -> Diagnosis | None:
    """Conversions to and from 8 bits around operators that compute in float all the same."""
    found = [index for index in range(len(case.nodes)) if _is_between_floats(case, index)]
    spent_ns = case.spent_ns(found)
    gain_ns = spent_ns + case.between_ns * len(found)
    if not found or not case.is_worth(gain_ns):
        return None
    weights = [index for index in found if _is_of_a_weight(case.nodes[index])]
    neighbours = [
        case.wiring.operator(other)
        for index in found
        for other in (*case.wiring.before(index), *case.wiring.after(index))
        if case.wiring.operator(other) not in CONVERSIONS
    ]
    evidence = [
        f"{count(len(found), 'conversion')} (QuantizeLinear, DequantizeLinear) beside {some(neighbours)}: "
        f"{duration(spent_ns)}, {percent(case.share(spent_ns))} of a call"
    ]
    if weights:
        evidence.append(
            f"{count(len(weights), 'weight')} {'is' if len(weights) == 1 else 'are'} made float again in every call"
        )
    is_basic = case.profile.config.options.graph_level in (GraphLevel.NONE, GraphLevel.BASIC)
    is_basic = is_basic and case.profile.config.recipe.saved_level is None
    return Diagnosis(
        cause=Cause.UNFOLDED_QDQ,
        what="The model is quantised, but operators compute in float: conversions are paid for, and INT8 is not used.",
        evidence=tuple(evidence),
        action="Open the session with the stock graph_optimization_level, at which the runtime folds them."
        if is_basic
        else "Leave these operators in float when the model is quantised (op_types_to_quantize, nodes_to_exclude), or "
        "give infer-opt tune the float model: it quantises what gains by it.",
        gain_ns=gain_ns,
        nodes=case.names(found),
        knobs=("graph_level",) if is_basic else ("rewrite",),
    )


def _is_of_a_weight(node: Node) -> bool:
    return bool(node.inputs) and node.inputs[0] is not None and node.inputs[0].is_constant


def _is_between_floats(case: Case, index: int) -> bool:
    """A conversion with a neighbour that computes in float. Those of the model's own inputs and outputs are none."""
    node = case.nodes[index]
    if node.operator not in CONVERSIONS:
        return False
    beside = case.wiring.after(index) if node.operator == "DequantizeLinear" else case.wiring.before(index)
    floats = [other for other in beside if case.wiring.operator(other) not in CONVERSIONS | INT8_OPERATORS]
    return bool(floats)


def denormals(case: Case) -> Diagnosis | None:
    """Numbers next to zero, which a CPU works on many times slower."""
    timed = [one for one in case.around.flushed if one.plain_ns > SLOWER * one.flushed_ns]
    gain_ns = sum(one.plain_ns - one.flushed_ns for one in timed)
    weights = [(name, share) for name, share in case.around.subnormal_weights if share >= MANY_SUBNORMAL]
    is_slow = case.is_worth(gain_ns)
    if not case.is_on_cpu or case.profile.config.options.flush_denormals:
        return None
    # Weights alone cost nothing where timing says so: what they are multiplied with may be large.
    if not is_slow and (not weights or case.around.flushed):
        return None
    evidence = []
    if is_slow:
        evidence.append(
            f"{count(len(timed), 'node')}: {duration(sum(one.plain_ns for one in timed))} a call, and "
            f"{duration(sum(one.flushed_ns for one in timed))} with such numbers taken for zero"
        )
    if weights:
        name, share = max(weights, key=lambda pair: pair[1])
        evidence.append(f"{percent(share)} of {name} are subnormal (such values in {count(len(weights), 'weight')})")
    return Diagnosis(
        cause=Cause.DENORMALS,
        what="Numbers so close to zero that the CPU works on them many times slower.",
        evidence=tuple(evidence),
        action="Take them for zero: session.set_denormal_as_zero = 1 (flush_denormals, which infer-opt tune tries); "
        "or set such weights to zero in the file.",
        gain_ns=gain_ns if is_slow else None,
        nodes=tuple(one.node for one in timed) if is_slow else (),
        knobs=("flush_denormals",),
    )


def int8_without_vnni(case: Case) -> Diagnosis | None:
    """8-bit arithmetic on a CPU without an 8-bit dot product."""
    found = [index for index, node in enumerate(case.nodes) if node.operator in INT8_OPERATORS]
    spent_ns = case.spent_ns(found)
    if not case.is_on_cpu or case.around.has_vnni is not False or not found or not case.is_worth(spent_ns):
        return None
    in_float_ns = _in_float_ns(case, found)
    gain_ns = None if in_float_ns is None else spent_ns - in_float_ns
    if gain_ns is not None and gain_ns <= 0:
        gain_ns = None  # 8 bits are no slower here; sums may still overflow
    evidence = [
        f"{count(len(found), 'node')} ({some(case.wiring.operator(index) for index in found)}): "
        f"{duration(spent_ns)}, {percent(case.share(spent_ns))} of a call",
        "this CPU has neither VNNI nor AMX, nor Arm's dot product",
    ]
    if gain_ns is not None and in_float_ns is not None:
        evidence.append(f"in float32 this machine could do their work in {duration(in_float_ns)}")
    return Diagnosis(
        cause=Cause.INT8_WITHOUT_VNNI,
        what="The model computes in 8 bits on a CPU without an instruction for it: that is seldom faster than float32, "
        "and sums of 16 bits may overflow.",
        evidence=tuple(evidence),
        action="Take the float model here, or quantise with 7 bits (reduce_range, which infer-opt tune does on such "
        "CPUs) and compare the outputs.",
        gain_ns=gain_ns,
        nodes=case.names(found),
    )


def _in_float_ns(case: Case, indices: list[int]) -> float | None:
    """The least that the same work takes in float32, its weights four times as large; None without a roofline."""
    roofline = case.profile.roofline
    peak = None if roofline is None else dict(roofline.ceilings.operations_per_s).get("float32")
    if peak is None or peak.value <= 0:
        return None
    total = 0.0
    for index in indices:
        floor = case.floors[index]
        work = None if floor is None else floor.work
        if work is None or floor is None:
            return None
        operands = constants(case.nodes[index])
        reading_ns = 4 * floor.floor_ns * work.weight_bytes / work.moved_bytes if operands and work.moved_bytes else 0.0
        total += max(work.operations / peak.value * 1e9, reading_ns)
    return total
