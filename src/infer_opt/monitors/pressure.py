"""Pressure stall information: how much of the time threads waited for what the machine has too little of."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infer_opt.errors import UnavailableError
from infer_opt.monitors.counters import Rates, share
from infer_opt.monitors.files import content, prefix
from infer_opt.readings.catalogue import key_of

# Name of the reading -> file below /proc/pressure, and the row in it.
ROWS = {
    "cpu_some": ("cpu", "some"),
    "memory_some": ("memory", "some"),
    "memory_full": ("memory", "full"),
    "io_some": ("io", "some"),
    "io_full": ("io", "full"),
}
TOTALS = re.compile(rb"^(some|full) .*\btotal=(\d+)", re.MULTILINE)


class PressureMonitor:
    """Readings of the family `pressure`, of the whole machine, from the counters behind the kernel's averages.

    Raises:
        UnavailableError: the kernel keeps no pressure stall information.
    """

    name = "pressure"

    def __init__(self, *, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._prefix, self._clock = prefix(root), clock
        self._rates = Rates()
        if all(value is None for value in self._waited_s().values()):
            raise UnavailableError(
                "this kernel keeps no pressure stall information",
                hint="it needs Linux 4.20 or newer, on some distributions started with psi=1",
            )

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        """The readings, now; whichever processes are asked for."""
        rates = self._rates.of(self._waited_s(), self._clock())
        return {key_of("pressure", name): share(rate) for name, rate in rates.items()}

    def close(self) -> None:
        """Nothing is held open."""

    def _waited_s(self) -> dict[str, float | None]:
        found = {
            (file, row.decode()): int(microseconds) / 1e6
            for file in ("cpu", "memory", "io")
            for row, microseconds in TOTALS.findall(content(f"{self._prefix}/proc/pressure/{file}") or b"")
        }
        return {name: found.get(place) for name, place in ROWS.items()}
