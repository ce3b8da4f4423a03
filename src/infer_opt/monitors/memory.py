"""Main memory and swap of the machine."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infer_opt.errors import UnavailableError
from infer_opt.monitors.counters import Rates, difference, scaled
from infer_opt.monitors.files import KIB, PAGE_BYTES, content, elsewhere, prefix, rows_named, table
from infer_opt.readings.catalogue import key_of

MEMINFO = rows_named("MemTotal", "MemAvailable", "Buffers", "Cached", "SReclaimable", "Dirty", "SwapTotal", "SwapFree")
VMSTAT = rows_named("pswpin", "pswpout", "pgmajfault", "oom_kill")
RATES = ("swapped_in_bytes_per_second", "swapped_out_bytes_per_second", "major_faults_per_second")

Values = dict[str, float | None]


class MemoryMonitor:
    """Readings of the family `memory`.

    Arguments:
        psutil: read instead of /proc; taken by itself on systems without /proc.

    Raises:
        UnavailableError: there is neither a /proc/meminfo nor anything in its place.
    """

    name = "memory"

    def __init__(
        self, *, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic, psutil: Any = None
    ) -> None:
        self._prefix, self._clock = prefix(root), clock
        self._psutil = elsewhere(root) if psutil is None else psutil
        self._rates = Rates()
        if self._psutil is None and content(f"{self._prefix}/proc/meminfo") is None:
            raise UnavailableError(f"{self._prefix}/proc/meminfo cannot be read", hint="mount /proc")

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        """The readings, now; whichever processes are asked for."""
        held, counters = self._from_proc() if self._psutil is None else self._from_psutil()
        rates = self._rates.of(counters, self._clock())
        held["used_bytes"] = difference(held["total_bytes"], held["available_bytes"])
        return {key_of("memory", name): value for name, value in {**held, **rates}.items()}

    def close(self) -> None:
        """Nothing is held open."""

    def _from_proc(self) -> tuple[Values, Values]:
        kib = table(content(f"{self._prefix}/proc/meminfo"), MEMINFO)
        memory = {name: amount * KIB for name, amount in kib.items()}
        counts = table(content(f"{self._prefix}/proc/vmstat"), VMSTAT)
        held: Values = {
            "total_bytes": memory.get("MemTotal"),
            "available_bytes": memory.get("MemAvailable"),
            "cached_bytes": _cached(memory),
            "dirty_bytes": memory.get("Dirty"),
            "swap_total_bytes": memory.get("SwapTotal"),
            "swap_used_bytes": difference(memory.get("SwapTotal"), memory.get("SwapFree")),
            "oom_kills": counts.get("oom_kill"),
        }
        swapped = [scaled(counts.get(name), PAGE_BYTES) for name in ("pswpin", "pswpout")]
        return held, dict(zip(RATES, (*swapped, counts.get("pgmajfault")), strict=True))

    def _from_psutil(self) -> tuple[Values, Values]:
        try:
            memory, swap = self._psutil.virtual_memory(), self._psutil.swap_memory()
        except (self._psutil.Error, OSError):
            memory = swap = None
        held: Values = {
            "total_bytes": getattr(memory, "total", None),
            "available_bytes": getattr(memory, "available", None),
            "cached_bytes": getattr(memory, "cached", None),
            "dirty_bytes": None,
            "swap_total_bytes": getattr(swap, "total", None),
            "swap_used_bytes": getattr(swap, "used", None),
            "oom_kills": None,
        }
        return held, dict(zip(RATES, (getattr(swap, "sin", None), getattr(swap, "sout", None), None), strict=True))


def _cached(memory: Mapping[str, int]) -> int | None:
    """What `free` calls buff/cache. A container's own meminfo may have no SReclaimable."""
    if "Buffers" not in memory or "Cached" not in memory:
        return None
    return memory["Buffers"] + memory["Cached"] + memory.get("SReclaimable", 0)
