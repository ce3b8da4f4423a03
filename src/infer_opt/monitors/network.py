"""Network interfaces."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infer_opt.errors import UnavailableError
from infer_opt.monitors.counters import Rates, total
from infer_opt.monitors.files import content, elsewhere, integers, prefix
from infer_opt.readings.catalogue import key_of

RATES = (
    "received_bytes_per_second",
    "sent_bytes_per_second",
    "received_packets_per_second",
    "sent_packets_per_second",
    "errors_per_second",
    "dropped_per_second",
)
LOOPBACK = ("lo", "lo0")


class NetworkMonitor:
    """Readings of the family `network`: each interface that carried anything since it came up, and their sum.

    Where there are interfaces with hardware behind them, only those count: bridges, tunnels and containers' cables
    carry what passes through the hardware too. In a container there are none, and all but the loopback count.

    Arguments:
        psutil: read instead of /proc; taken by itself on systems without /proc.

    Raises:
        UnavailableError: there is neither a /proc/net/dev nor anything in its place.
    """

    name = "network"

    def __init__(
        self, *, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic, psutil: Any = None
    ) -> None:
        self._prefix, self._clock = prefix(root), clock
        self._psutil = elsewhere(root) if psutil is None else psutil
        self._rates = Rates()
        self._hardware: dict[str, bool] = {}
        if self._psutil is None and content(f"{self._prefix}/proc/net/dev") is None:
            raise UnavailableError(f"{self._prefix}/proc/net/dev cannot be read", hint="mount /proc")

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        """The readings, now; whichever processes are asked for."""
        interfaces = self._from_proc() if self._psutil is None else self._from_psutil()
        counters: dict[str, float | None] = {
            key_of("network", name, interface): count
            for interface, row in interfaces.items()
            for name, count in zip(RATES, row, strict=True)
        }
        each = self._rates.of(counters, self._clock())
        together = {
            key_of("network", name): total(each[key_of("network", name, interface)] for interface in interfaces)
            for name in RATES
        }
        return together | each

    def close(self) -> None:
        """Nothing is held open."""

    def _from_proc(self) -> dict[str, tuple[float, ...]]:
        rows: dict[str, tuple[float, ...]] = {}
        for line in (content(f"{self._prefix}/proc/net/dev") or b"").splitlines():
            name, colon, numbers = line.rpartition(b":")
            row = integers(numbers.split())
            if colon and row is not None and len(row) >= 12:
                rows[name.strip().decode(errors="replace")] = (
                    row[0], row[8], row[1], row[9], row[2] + row[10], row[3] + row[11],
                )  # fmt: skip
        hardware = {name for name in rows if self._has_hardware(name)}
        counted = hardware or rows.keys() - set(LOOPBACK)
        return {name: row for name, row in rows.items() if name in counted and any(row) and "]" not in name}

    def _has_hardware(self, name: str) -> bool:
        if name not in self._hardware:
            self._hardware[name] = Path(f"{self._prefix}/sys/class/net/{name}/device").exists()
        return self._hardware[name]

    def _from_psutil(self) -> dict[str, tuple[float, ...]]:
        try:
            found = self._psutil.net_io_counters(pernic=True) or {}
        except (self._psutil.Error, OSError):
            return {}
        return {
            name: (
                row.bytes_recv, row.bytes_sent, row.packets_recv, row.packets_sent,
                row.errin + row.errout, row.dropin + row.dropout,
            )
            for name, row in found.items()
            if name not in LOOPBACK
        }  # fmt: skip
