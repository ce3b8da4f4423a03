"""Weights that are read from memory for the sake of few items."""

import math
from dataclasses import dataclass

from infer_opt.causes import Cause, Diagnosis
from infer_opt.diagnoses.case import Case
from infer_opt.diagnoses.wiring import computed, constants
from infer_opt.diagnoses.wording import count, duration, number, percent, size
from infer_opt.profiles.nodes import BITS, Node
from infer_opt.profiles.roofline import Bound

PRODUCTS = frozenset({
    "MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulNBits", "MatMulInteger", "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat", "QLinearMatMul", "QGemm",
})  # fmt: skip
FEW_ROWS = 8  # each weight is used so many times a call: less than any machine's balance of arithmetic and memory
BEYOND_CACHES = 16_000_000  # bytes of weights: where no roofline says which level they come from
LEAST_RATE = 2e9  # bytes a second: what takes longer to read does not wait for memory
MOST_OF_A_CALL = 0.4
NEAR_FLOOR = 0.4  # of the time is the floor of reading: then reading is what it waits for
MOST_OF_THE_BYTES = 0.5
BETTER_BY = 1.2  # items a second, for a larger batch to be worth waiting for
INT8_BITS, INT4_BITS = 8, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A node that waits for its weights: `bits` of each of them, and the ns of its time that reading them takes."""

    index: int
    weight_bytes: int
    bits: int
    ns: float


def memory_bound(case: Case) -> Diagnosis | None:
    """Most of a call is waiting for weights, each of which is used for few items."""
    found = _readings(case)
    indices = [reading.index for reading in found]
    spent_ns, weights = case.spent_ns(indices), sum(reading.weight_bytes for reading in found)
    reading_ns = sum(reading.ns for reading in found)
    whole_ns = case.latency_ns if case.is_on_cpu else _busy_ns(case)
    if not found or whole_ns <= 0 or reading_ns < MOST_OF_A_CALL * whole_ns:
        return None
    gain_ns = sum(reading.ns * (1.0 - _fewer_bits(reading.bits) / reading.bits) for reading in found)
    if not case.is_worth(gain_ns):
        return None
    wide = any(reading.bits > INT8_BITS for reading in found)
    fewer = "Quantise the weights to 8 bits" if wide else "Take 4 bits a weight"
    more = ", or answer more items with each reading of them (--batch)" if _can_batch(case) else ""
    rows = max(_rows(case.nodes[index]) for index in indices)
    evidence = [
        f"{size(weights)} of weights read a call in {count(len(found), 'node')}, for "
        f"{'one row' if rows <= 1 else f'at most {rows:.0f} rows'} of data each",
    ]
    if case.is_on_cpu:
        evidence.append(
            f"together {duration(spent_ns)}, {percent(case.share(spent_ns))} of a call: "
            f"{number(weights / spent_ns)} GB/s"
        )
    if case.profile.roofline is not None:
        evidence.append(f"at this machine's bandwidth reading alone takes {duration(reading_ns)}")
    return Diagnosis(
        cause=Cause.MEMORY_BOUND,
        what="Weights are read from memory once a call and used for few items: most of a call waits for memory.",
        evidence=tuple(evidence),
        action=f"{fewer} (infer-opt tune does, and checks the outputs){more}.",
        gain_ns=gain_ns,
        nodes=case.names(indices),
        knobs=("quantise", "fp16") if not case.is_on_cpu else ("quantise",),
    )


def small_batch(case: Case) -> Diagnosis | None:
    """Larger batches give more items a second: as measured, or since each reading of the weights serves few."""
    return _measured(case) if case.around.items_per_s else _expected(case)


def _measured(case: Case) -> Diagnosis | None:
    batch = case.profile.config.batch
    rates = dict(case.around.items_per_s)
    now = rates.get(batch) or batch * 1e9 / case.latency_ns
    best = max(rates, key=lambda one: rates[one])
    if best <= batch or rates[best] < BETTER_BY * now:
        return None
    # The smallest batch that gives nearly as much: beyond the knee only the latency grows.
    knee = min(one for one in rates if rates[one] >= rates[best] / 1.05)
    knee = knee if knee > batch else best
    gain_ns = case.latency_ns * (1.0 - now / rates[knee])
    return Diagnosis(
        cause=Cause.SMALL_BATCH,
        what="A call answers few items: with more of them it would answer more a second.",
        evidence=(
            f"{number(now)} items/s with {count(batch, 'item')} a call, {number(rates[knee])} with {knee:,}",
            f"an item then takes {duration(1e9 / rates[knee])} instead of {duration(1e9 / now)}",
        ),
        action=f"Collect requests into calls of {knee:,} items (infer-opt tune --objective throughput finds how many, "
        "and the bundle's submit collects them).",
        gain_ns=gain_ns,
        knobs=("batch",),
    )


def _expected(case: Case) -> Diagnosis | None:
    """Where weights are waited for, a larger batch waits no longer: an item costs its arithmetic alone."""
    found = _readings(case) if case.is_on_cpu and _can_batch(case) else []
    roofline = case.profile.roofline
    peaks = {} if roofline is None else dict(roofline.ceilings.operations_per_s)
    gain_ns = 0.0
    for reading in found:
        floor = case.floors[reading.index]
        work = None if floor is None else floor.work
        peak = None if work is None else peaks.get(work.precision)
        if work is None or peak is None or peak.value <= 0:
            continue
        gain_ns += max(0.0, reading.ns - work.operations / peak.value * 1e9)
    if case.share(gain_ns) < 1.0 - 1.0 / BETTER_BY:
        return None
    batch = case.profile.config.batch
    return Diagnosis(
        cause=Cause.SMALL_BATCH,
        what="A call answers few items: with more of them it would answer more a second.",
        evidence=(
            f"{count(batch, 'item')} a call; {duration(gain_ns)} of it is reading weights that "
            "further items would share",
        ),
        action="Collect requests into larger calls (infer-opt tune --objective throughput finds how many, and the "
        "bundle's submit collects them).",
        gain_ns=gain_ns,
        nodes=case.names(reading.index for reading in found),
        knobs=("batch",),
    )


def _readings(case: Case) -> list[Reading]:
    """The nodes that wait for their weights. Without a roofline, only where there are too many of them for caches."""
    if case.profile.roofline is not None:
        return [reading for index in range(len(case.nodes)) if (reading := _by_floor(case, index)) is not None]
    if not case.is_on_cpu:
        return []
    found = []
    for index, node in enumerate(case.nodes):
        weight = max(constants(node), key=lambda tensor: tensor.bytes, default=None)
        if node.operator not in PRODUCTS or weight is None or _rows(node) > FEW_ROWS:
            continue
        spent_ns = case.spent_ns([index])
        if spent_ns > 0 and weight.bytes / spent_ns * 1e9 >= LEAST_RATE:
            bits = BITS.get(weight.dtype, 32)
            found.append(Reading(index=index, weight_bytes=weight.bytes, bits=bits, ns=spent_ns))
    return found if sum(reading.weight_bytes for reading in found) >= BEYOND_CACHES else []


def _by_floor(case: Case, index: int) -> Reading | None:
    floor, node = case.floors[index], case.nodes[index]
    work = None if floor is None else floor.work
    if floor is None or work is None or floor.bound is not Bound.MEMORY:
        return None
    if node.operator not in PRODUCTS or work.weight_bytes < MOST_OF_THE_BYTES * work.moved_bytes:
        return None
    spent_ns = case.spent_ns([index])
    if case.is_on_cpu and floor.floor_ns < NEAR_FLOOR * spent_ns:
        return None
    weight = max(constants(node), key=lambda tensor: tensor.bytes, default=None)
    bits = 32 if weight is None else BITS.get(weight.dtype, 32)
    # A ceiling that was measured beside other work is too low, and floors then exceed what nodes take.
    ns = min(floor.floor_ns, spent_ns if case.is_on_cpu else math.inf) * work.weight_bytes / work.moved_bytes
    return Reading(index=index, weight_bytes=work.weight_bytes, bits=bits, ns=ns)


def _fewer_bits(bits: int) -> int:
    return INT8_BITS if bits > INT8_BITS else INT4_BITS if bits > INT4_BITS else bits


def _rows(node: Node) -> float:
    """How often each weight is used: of (r, k) x (k, n), elements in x out / weights is r squared."""
    weight = max((tensor.elements for tensor in constants(node)), default=0)
    data = max((tensor.elements for tensor in computed(node)), default=0)
    written = max((tensor.elements for tensor in node.outputs), default=0)
    return math.sqrt(data * written / weight) if weight else math.inf


def _busy_ns(case: Case) -> float:
    return 0.0 if case.profile.device is None else case.profile.device.busy_ns


def _can_batch(case: Case) -> bool:
    return case.profile.model.batch_dim is not None
