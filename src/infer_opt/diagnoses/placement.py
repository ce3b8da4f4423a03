"""What runs elsewhere than it was asked to, and what is copied back and forth for it."""

from infer_opt.causes import Cause, Diagnosis
from infer_opt.diagnoses.case import CPU_PROVIDER, Case
from infer_opt.diagnoses.wiring import is_of_sizes
from infer_opt.diagnoses.wording import count, duration, percent, size, some

COPIES = "Memcpy"  # MemcpyToHost, MemcpyFromHost: what the runtime puts between providers


def provider_copies(case: Case) -> Diagnosis | None:
    """Tensors are copied between host and device inside a call."""
    copies = _copies(case)
    spent_ns = max(case.spent_ns(copies), _on_device_ns(case) if copies else 0.0)
    if not copies or not case.is_worth(spent_ns):
        return None
    moved = sum(tensor.bytes for index in copies for tensor in case.nodes[index].outputs)
    partners = [
        case.wiring.operator(other)
        for index in copies
        for other in (*case.wiring.before(index), *case.wiring.after(index))
        if case.nodes[other].provider == CPU_PROVIDER
    ]
    because = f" for {some(partners)}, which run on the host" if partners else ""
    return Diagnosis(
        cause=Cause.PROVIDER_COPIES,
        what="Tensors are copied between the host and the GPU in the middle of a call.",
        evidence=(
            f"{'copy' if len(copies) == 1 else 'copies'}: {len(copies):,} a call{because}, {size(moved)}",
            f"they take {duration(spent_ns)}, {percent(case.share(spent_ns))} of a call",
        ),
        action="Replace the operators that have no CUDA kernel, or move them to the model's beginning or end; outputs "
        "that stay on the device need io_binding (infer-opt tune tries it).",
        gain_ns=spent_ns,
        nodes=case.names(copies),
        knobs=("io_binding", "rewrite", "fuse"),
    )


def cpu_fallback(case: Case) -> Diagnosis | None:
    """Nodes of a CUDA session run on the host. Arithmetic on shapes belongs there, and is left out."""
    if case.is_on_cpu:
        return None
    fallen = [
        index
        for index, node in enumerate(case.nodes)
        if node.provider == CPU_PROVIDER and not node.operator.startswith(COPIES) and not is_of_sizes(node)
    ]
    around = [index for index in _copies(case) if set(fallen) & {*case.wiring.before(index), *case.wiring.after(index)}]
    floors = [floor.floor_ns for index in fallen if (floor := case.floors[index]) is not None]
    gain_ns = case.spent_ns([*fallen, *around]) - sum(floors)
    if not fallen or not case.is_worth(gain_ns):
        return None
    operators = some(case.nodes[index].kind for index in fallen)
    return Diagnosis(
        cause=Cause.CPU_FALLBACK,
        what="Part of the model runs on the CPU although CUDA was asked for.",
        evidence=(
            f"{len(fallen):,} of {count(len(case.nodes), 'node')} are on {CPU_PROVIDER}: {operators}",
            f"with the copies around them they take {duration(case.spent_ns([*fallen, *around]))}, "
            f"{percent(case.share(case.spent_ns([*fallen, *around])))} of a call",
        ),
        action=f"CUDA has no kernel for {operators} with these types: write the model without them, export it with "
        "another opset, or cast their inputs to a type that has one.",
        gain_ns=gain_ns,
        nodes=case.names(fallen),
        knobs=("rewrite", "fuse"),
    )


def _copies(case: Case) -> list[int]:
    return [index for index, node in enumerate(case.nodes) if node.operator.startswith(COPIES)]


def _on_device_ns(case: Case) -> float:
    device = case.profile.device
    return 0.0 if device is None else sum(ns for what, _, _, ns in device.copies if COPIES in what)
