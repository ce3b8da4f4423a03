"""The processor: its instruction sets, its cores, and how many of them this process may use.

Standard library only: a deployed bundle asks this module whether it still stands on the kind of machine that it was
proven on. Every function reads its files under `root`, so that tests hand in a small tree.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

from infer_opt.machine.cgroup import cpu_quota
from infer_opt.machine.files import text

ROOT = Path("/")

# The sets that inference kernels are picked by, as Linux writes them in /proc/cpuinfo.
X86_SETS = (
    "sse4_2", "avx", "avx2", "fma", "f16c",
    "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "avx_vnni", "avx_vnni_int8", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16",
)  # fmt: skip
ARM_SETS = ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "svei8mm", "svebf16", "sme")
KERNEL_SETS = X86_SETS + ARM_SETS

# Sets with an 8-bit dot product that accumulates in 32 bits.
DOT_PRODUCT_SETS = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimddp", "i8mm"})
BF16_SETS = frozenset({"avx512_bf16", "amx_bf16"})

# macOS has no /proc: `sysctl hw.optional machdep.cpu` says the same in other words.
MAC_NAMES = {
    "FEAT_DotProd": "asimddp",
    "FEAT_I8MM": "i8mm",
    "FEAT_BF16": "bf16",
    "FEAT_FP16": "asimdhp",
    "FEAT_SME": "sme",
    "sse4_2": "sse4_2",
    "avx1_0": "avx",
    "avx2_0": "avx2",
    "fma": "fma",
    "f16c": "f16c",
    "avx512f": "avx512f",
    "avx512bw": "avx512bw",
    "avx512vl": "avx512vl",
    "avx512vnni": "avx512_vnni",
}


def isa(root: Path = ROOT) -> tuple[str, ...]:
    """The instruction sets that kernels are picked by and that every core has, in a fixed order; empty if unknown.

    Source: the `flags` (x86) or `Features` (Arm) lines of /proc/cpuinfo; `sysctl hw.optional` on macOS.
    """
    per_core = [set(line.split()) for line in _values(_cpuinfo(root), ("flags", "Features"))]
    if per_core:
        everywhere = set.intersection(*per_core)  # a big core may know more than a little one
        return tuple(name for name in KERNEL_SETS if name in everywhere)
    return isa_of_mac(_sysctl("hw.optional")) if sys.platform == "darwin" else _isa_of(platform.machine())


def isa_of_mac(listing: str) -> tuple[str, ...]:
    """The sets in what `sysctl hw.optional` prints (`hw.optional.arm.FEAT_DotProd: 1`), in Linux's names."""
    found = set()
    for line in listing.splitlines():
        key, _, value = line.partition(":")
        if value.strip() == "1":
            found.add(MAC_NAMES.get(key.rsplit(".", 1)[-1], ""))
            found |= {"asimd"} if ".arm." in key else set()
    return tuple(name for name in KERNEL_SETS if name in found)


def has_bf16(sets: tuple[str, ...]) -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware, by its instruction sets as `isa` gives them."""
    return not BF16_SETS.isdisjoint(sets)


def has_vnni(sets: tuple[str, ...]) -> bool:
    """Whether 8-bit dot products accumulate in 32 bits here (VNNI, AMX, Arm's dot product).

    Without them, x86 kernels add pairs of products in 16 bits (`vpmaddubsw`), which saturate: INT8 models are then
    wrong, not only slow, unless their weights keep to 7 bits. Source: onnxruntime#6004.
    """
    return not DOT_PRODUCT_SETS.isdisjoint(sets)


def cpu_model(root: Path = ROOT) -> str:
    """The processor's name as its maker writes it; on Arm its implementer and part numbers; never empty."""
    cpuinfo = _cpuinfo(root)
    for name in _values(cpuinfo, ("model name", "cpu model", "Model")):
        return " ".join(name.split())
    implementers, parts = _values(cpuinfo, ("CPU implementer",)), _values(cpuinfo, ("CPU part",))
    if implementers and parts:
        # A big.LITTLE chip lists several parts.
        return f"Arm implementer {implementers[0]} part {'+'.join(sorted(set(parts)))}"
    mac = _sysctl("machdep.cpu.brand_string").partition(":")[2].strip() if sys.platform == "darwin" else ""
    return mac or platform.processor() or platform.machine() or "unknown"


def logical_cores(root: Path = ROOT) -> int:
    """Hardware threads that are online, whoever may use them."""
    online = text(root / "sys/devices/system/cpu/online")
    return len(listed(online)) or len(_values(_cpuinfo(root), ("processor",))) or os.cpu_count() or 1


def physical_cores(root: Path = ROOT) -> int:
    """Cores that are online, counting hardware threads of one core once.

    Source: `thread_siblings_list` under /sys, else the pairs of `physical id` and `core id` in /proc/cpuinfo, else
    `hw.physicalcpu` on macOS, else as many as there are hardware threads.
    """
    siblings = {
        text(path) or path.parent.parent.name
        for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    }
    if siblings:
        return len(siblings)
    cpuinfo = _cpuinfo(root)
    cores = set(zip(_values(cpuinfo, ("physical id",)), _values(cpuinfo, ("core id",)), strict=False))
    mac = _sysctl("hw.physicalcpu").partition(":")[2].strip() if sys.platform == "darwin" else ""
    return len(cores) or (int(mac) if mac.isdigit() else 0) or logical_cores(root)


def allowed_cores(root: Path = ROOT) -> int:
    """Hardware threads in this process's affinity mask; all of them where the platform has no such mask."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return logical_cores(root)


def usable_cores(root: Path = ROOT, *, affinity: int | None = None) -> float:
    """What the affinity mask and the cgroup quota leave to this process, in cores (1.5 is possible).

    `affinity` replaces the size of this process's own mask.
    """
    allowed = float(allowed_cores(root) if affinity is None else affinity)
    quota = cpu_quota(root)
    return allowed if quota is None else min(allowed, quota)


def _isa_of(machine: str) -> tuple[str, ...]:
    # Arm's 64-bit architecture always has Advanced SIMD; x86-64 promises none of the sets above.
    return ("asimd",) if machine.lower() in ("aarch64", "arm64") else ()


def _cpuinfo(root: Path) -> str:
    return text(root / "proc/cpuinfo") or ""


def _values(cpuinfo: str, keys: tuple[str, ...]) -> list[str]:
    found = []
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys:
            found.append(value.strip())
    return found


def listed(ranges: str | None) -> set[int]:
    """The numbers in a kernel list such as `0-3,8`."""
    numbers: set[int] = set()
    for part in (ranges or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            numbers |= set(range(int(first), int(last if last.isdigit() else first) + 1))
    return numbers


def _sysctl(name: str) -> str:
    try:
        done = subprocess.run(["sysctl", name], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
