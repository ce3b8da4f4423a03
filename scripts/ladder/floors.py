"""How fast a contestant could be at the most, from its work and the ceilings of the same run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.ladder.ceilings import best
from scripts.ladder.work import Work

BYTES = {"float32": 4, "tf32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The least time of a call, in ns, and what it comes from: `compute`, `memory` or `transfer`."""

    floor_ns: float
    bound: str


def floor_of(work: Work, precision: str, ceilings: Mapping[str, Any]) -> Floor | None:
    """The largest of three times that no call can go below; None where a ceiling that it needs was not measured.

    Products at the best rate of that precision, weights read once at the best rate of a copy, and inputs and outputs
    carried over the bus (on CUDA alone). They may overlap, so that their sum is no floor.
    """
    rate = best(ceilings.get(precision) or ceilings.get("float32", []))
    copied = best(ceilings.get("copy", []))
    if rate is None or copied is None:
        return None
    times = {
        "compute": work.operations / rate * 1e9,
        "memory": work.weights * BYTES[precision] / copied * 1e9,
    }
    for name, size in (("to_device", work.input_bytes), ("from_device", work.output_bytes)):
        speed = best(ceilings.get(name, []))
        if speed is not None:
            times["transfer"] = max(times.get("transfer", 0.0), size / speed * 1e9)
    bound = max(times, key=lambda name: times[name])
    return Floor(floor_ns=times[bound], bound=bound)
