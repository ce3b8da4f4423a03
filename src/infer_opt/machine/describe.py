"""This computer as facts, with a fingerprint of what decides speed."""

import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from infer_opt.facts import Gpu, MachineFacts
from infer_opt.machine import cpu, memory

GIB = 1 << 30
NO_VERSIONS: Mapping[str, str] = MappingProxyType({})


def describe(
    *, gpus: Sequence[Gpu] = (), versions: Mapping[str, str] = NO_VERSIONS, root: Path = Path("/")
) -> MachineFacts:
    """What this machine is. GPUs and library versions are handed in by whoever can ask for them.

    `memory_bytes` is what this process may hold (0 where the platform does not say).
    """
    facts = MachineFacts(
        fingerprint="",
        system=f"{platform.system()} {platform.machine()}",
        cpu_model=cpu.cpu_model(root),
        physical_cores=cpu.physical_cores(root),
        logical_cores=cpu.logical_cores(root),
        usable_cores=cpu.usable_cores(root),
        isa=cpu.isa(root),
        memory_bytes=memory.usable_bytes(root) or 0,
        gpus=tuple(gpus),
        versions=tuple(sorted(versions.items())),
    )
    return dataclasses.replace(facts, fingerprint=fingerprint(facts))


def fingerprint(facts: MachineFacts) -> str:
    """16 hex digits of what decides speed: processor, cores, quota, instruction sets, memory, GPUs and their driver.

    Host names and library versions are left out; memory counts in GiB, since kernels keep a varying share.
    """
    decisive = {
        "system": facts.system,
        "cpu": facts.cpu_model,
        "cores": [facts.physical_cores, facts.logical_cores, round(facts.usable_cores, 2)],
        "isa": sorted(facts.isa),
        "memory_gib": round(facts.memory_bytes / GIB),
        "gpus": sorted([gpu.name, round(gpu.memory_bytes / GIB), gpu.driver] for gpu in facts.gpus),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
