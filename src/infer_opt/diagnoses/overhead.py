"""Time that goes into starting nodes, moving data and finding shapes rather than into the model's arithmetic."""

import itertools
import statistics

from infer_opt.causes import Cause, Diagnosis
from infer_opt.diagnoses.case import Case
from infer_opt.diagnoses.wiring import computed
from infer_opt.diagnoses.wording import count, duration, percent, some
from infer_opt.profiles.roofline import Bound
from infer_opt.results import ShapeReadings

NEAR_LAUNCH = 3.0  # times the smallest node: up to there, a node is mostly being started
FEWEST_TINY = 12  # of so few nodes, hardly one can be saved
# What remains a node of its own, whatever is done within it.
LASTING = frozenset({
    "MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulNBits", "MatMulInteger", "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat", "QLinearMatMul", "QGemm", "Conv", "ConvTranspose", "FusedConv", "QLinearConv",
    "ConvInteger", "LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention", "Loop", "If", "Scan",
})  # fmt: skip
LAUNCH_SHARE = 0.5  # of a call: what is bound by something spends most of its time there
FEWEST_KERNELS = 20
SHAPE_SOURCES = frozenset({"Shape", "Size"})
FIRST_SEEN = 1.5  # times the median: a shape that is met for the first time
SLOW_FIRST, WORTH_NS = 5.0, 50e6  # times a steady call, and what it takes longer at least
LAYOUT = frozenset({"Transpose", "ReorderInput", "ReorderOutput"})


def launch_bound(case: Case) -> Diagnosis | None:
    """Most of a call is spent on starting nodes that have next to nothing to do."""
    return _launches(case) if case.is_on_cpu else _kernels(case)


def _launches(case: Case) -> Diagnosis | None:
    tiny = [index for index in range(len(case.nodes)) if _is_tiny(case, index)]
    if case.launch_ns is None or sum(case.executions(index) for index in tiny) < FEWEST_TINY:
        return None
    total_ns = case.spent_ns(tiny) + case.between_ns * len(tiny)
    saved = [index for run in _runs(tiny) for index in _fusible(case, run)]
    gain_ns = case.spent_ns(saved) + case.between_ns * len(saved)
    if case.share(total_ns) < LAUNCH_SHARE or not case.is_worth(gain_ns):
        return None
    return Diagnosis(
        cause=Cause.LAUNCH_BOUND,
        what="Most of a call goes into starting nodes that have next to nothing to do.",
        evidence=(
            f"{len(tiny):,} of {count(len(case.nodes), 'node')} take no more than {NEAR_LAUNCH:g} times what starting "
            f"one takes ({duration(case.launch_ns)})",
            f"with what passes between them, {duration(total_ns)} of {duration(case.latency_ns)} "
            f"({percent(case.share(total_ns))})",
        ),
        action="Use one thread (intra_op_num_threads = 1), let nodes be fused (infer-opt tune tries fusions and, with "
        "the extra graph, rewriters), or answer more items a call (--batch).",
        gain_ns=gain_ns,
        nodes=case.names(tiny),
        knobs=("intra_threads", "fuse", "rewrite"),
    )


def _is_tiny(case: Case, index: int) -> bool:
    floor = case.floors[index]
    if floor is not None and floor.bound is not Bound.LAUNCH:
        return False
    each_ns = case.spent_ns([index]) / case.executions(index)
    return case.launch_ns is not None and each_ns <= NEAR_LAUNCH * case.launch_ns


def _runs(indices: list[int]) -> list[list[int]]:
    """Neighbours in the order of execution, together."""
    grouped = itertools.groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0])
    return [[index for _, index in group] for _, group in grouped]


def _fusible(case: Case, run: list[int]) -> list[int]:
    """Of neighbours, those that could be done within others: all but products and the like, or but the longest."""
    others = [index for index in run if case.wiring.operator(index) not in LASTING]
    if len(others) < len(run):
        return others
    longest = max(run, key=lambda index: case.spent_ns([index]))
    return [index for index in run if index != longest]


def _kernels(case: Case) -> Diagnosis | None:
    device = case.profile.device
    if device is None or device.launches < FEWEST_KERNELS:
        return None
    if case.share(device.gaps_ns) < LAUNCH_SHARE:
        return None
    return Diagnosis(
        cause=Cause.LAUNCH_BOUND,
        what="The GPU waits for its next kernel longer than it computes.",
        evidence=(
            f"{device.launches:,} kernels a call, which take {duration(device.busy_ns)} together, "
            f"{duration(device.busy_ns / device.launches)} each",
            f"between them no kernel runs for {duration(device.gaps_ns)}, {percent(case.share(device.gaps_ns))} of a "
            "call",
        ),
        action="Record the call as a CUDA graph (enable_cuda_graph; infer-opt tune --provider cuda tries it), or "
        "answer more items a call (--batch).",
        gain_ns=device.gaps_ns,
        knobs=("cuda_graph", "fuse", "rewrite"),
    )


def dynamic_shapes(case: Case) -> Diagnosis | None:
    """Sizes are computed again in every call, or a size that is met for the first time costs extra."""
    sizing = _shape_arithmetic(case)
    gain_ns = case.spent_ns(sizing) + case.between_ns * len(sizing)
    seen = [one for one in case.around.shapes[1:] if _excess_ns(one) > (FIRST_SEEN - 1.0) * (one.median_ns or 0.0)]
    extra_ns = statistics.fmean(_excess_ns(one) for one in seen) if seen else 0.0
    is_costly = bool(sizing) and case.is_worth(gain_ns)
    if not is_costly and not (seen and extra_ns > (FIRST_SEEN - 1.0) * case.latency_ns):
        return None
    evidence = []
    if is_costly:
        evidence.append(
            f"from sizes alone, in every call: {count(len(sizing), 'node')} "
            f"({some(case.wiring.operator(index) for index in sizing)}), {duration(gain_ns)}, "
            f"{percent(case.share(gain_ns))} of it"
        )
    if seen:
        evidence.append(
            f"the first call in each of {count(len(seen), 'shape')} took {duration(extra_ns)} longer than later ones"
        )
    free = some(case.profile.model.dynamic_dims)
    named = f" ({free})" if free else ""
    return Diagnosis(
        cause=Cause.DYNAMIC_SHAPES,
        what="Sizes that are known only when a call comes are worked out in every call, and nothing can be prepared.",
        evidence=tuple(evidence),
        action=f"Fix the free dimensions{named}: infer-opt tune --dim NAME=SIZE tries the model with its shapes fixed; "
        "with several sizes, --dim NAME=SIZE:SHARE,... tries padding to few of them.",
        gain_ns=gain_ns if is_costly else None,
        nodes=case.names(sizing) if is_costly else (),
        knobs=("fixed_shapes", "buckets"),
    )


def _excess_ns(seen: ShapeReadings) -> float:
    return 0.0 if seen.median_ns is None else seen.first_seen_ns - seen.median_ns


def _shape_arithmetic(case: Case) -> list[int]:
    """Shape itself, and what follows from nothing but sizes, data among it: with fixed shapes all of it is constant."""
    sizes: set[str] = set()
    found = []
    for index, node in enumerate(case.nodes):
        reads = computed(node)
        if node.operator in SHAPE_SOURCES or (reads and all(tensor.name in sizes for tensor in reads)):
            sizes |= {tensor.name for tensor in node.outputs if tensor.name}
            found.append(index)
    return found


def transposes(case: Case) -> Diagnosis | None:
    """Data is written down in another order rather than computed with."""
    found = [index for index, node in enumerate(case.nodes) if node.operator in LAYOUT]
    spent_ns = case.spent_ns(found)
    if not found or not case.is_worth(spent_ns):
        return None
    reorders = [index for index in found if case.wiring.operator(index) != "Transpose"]
    moved = sum(tensor.bytes for index in found for tensor in case.nodes[index].outputs)
    if 2 * case.spent_ns(reorders) > spent_ns:
        action = (
            "The runtime's own layout for convolutions costs more than it gives here: try graph_optimization_level "
            "extended, which leaves it out (infer-opt tune does)."
        )
        knobs: tuple[str, ...] = ("graph_level",)
    else:
        action = (
            "Let attention be fused, which needs no transposes (infer-opt tune tries it), or export the model in the "
            "order that its operators want (channels first for convolutions)."
        )
        knobs = ("fuse", "rewrite") if case.is_on_cpu else ("fuse", "nhwc", "rewrite")
    seconds = spent_ns / 1e9
    return Diagnosis(
        cause=Cause.TRANSPOSES,
        what="Time goes into writing data down in another order.",
        evidence=(
            f"{count(len(found), 'node')} ({some(case.wiring.operator(index) for index in found)}): "
            f"{duration(spent_ns)}, {percent(case.share(spent_ns))} of a call",
            f"they move {moved / 1e6:,.3g} MB at {2 * moved / seconds / 1e9:,.3g} GB/s",
        ),
        action=action,
        gain_ns=spent_ns,
        nodes=case.names(found),
        knobs=knobs,
    )


def first_run(case: Case) -> Diagnosis | None:
    """The first call takes far longer than those that follow."""
    call = case.profile.call
    excess_ns = call.first_ns - case.latency_ns
    if excess_ns < WORTH_NS or call.first_ns < SLOW_FIRST * case.latency_ns:
        return None
    waits = "have it ready before the first request comes: call the session once with inputs of the usual size"
    saved = "or tune for it: infer-opt tune --objective cold-start"
    if not case.is_on_cpu:
        saved = "or let cuDNN choose without trying (cudnn_conv_algo_search = HEURISTIC)"
    return Diagnosis(
        cause=Cause.FIRST_RUN,
        what="The first call takes far longer than those that follow.",
        evidence=(
            f"the first call takes {duration(call.first_ns)}, a later one {duration(case.latency_ns)}",
            f"opening the session takes {duration(call.open_ns)} before it",
        ),
        action=f"{waits[0].upper()}{waits[1:]}, {saved}.",
        knobs=("saved_level",) if case.is_on_cpu else ("cudnn_search",),
    )
