"""The ladder as a table, for the terminal and for the documentation."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.ladder.ceilings import best
from scripts.ladder.rungs import Row
from tabulate import tabulate

from infer_opt.results import Estimate

HEADINGS = (
    "model", "batch", "contestant", "ms a call", "× stock", "agreement",
    "GPU memory", "W", "mJ an item", "floor / time", "n",
)  # fmt: skip
WIDEST = 100  # times the value: two processes that differ much have an interval of hundreds of digits
UNITS = {"copy": "bytes/s", "to_device": "bytes/s", "from_device": "bytes/s"}


def table(rows: Sequence[Row], *, form: str = "simple") -> str:
    """All rows, one a contestant. `form` is tabulate's."""
    return str(tabulate([_cells(row) for row in rows], HEADINGS, tablefmt=form, disable_numparse=True))


def reasons(rows: Sequence[Row]) -> list[str]:
    """A line for each reason why something was not measured, with where that was."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.reason is not None and not row.processes:
            found.setdefault((row.title, row.reason), []).append(f"{row.network} {row.batch}")
    return [f"{title}: {reason} ({', '.join(places)})" for (title, reason), places in found.items()]


def ceilings_line(ceilings: Mapping[str, Any]) -> str:
    """`copy 3.02e+12 bytes/s, float16 7.5e+14 operations/s`; or why there is none."""
    parts = [
        f"{name} {value:.3g} {UNITS.get(name, 'operations/s')}"
        for name, samples in ceilings.items()
        if isinstance(samples, list) and (value := best(samples)) is not None
    ]
    return "ceilings: " + (", ".join(parts) or str(ceilings.get("reason", "not measured")))


def _cells(row: Row) -> list[str]:
    if not row.processes:
        return [row.network, str(row.batch), row.title, *["n/a"] * 7, "0"]
    return [
        row.network,
        str(row.batch),
        row.title,
        _interval(row.latency_ns, 1e-6),
        "1" if row.ratio is None else _interval(row.ratio, 1.0),
        "n/a" if row.score is None else f"{row.score:.5f}",
        "n/a" if row.memory_bytes is None else f"{row.memory_bytes / 1e6:.0f} MB",
        "n/a" if row.power_watts is None else f"{row.power_watts:.0f}",
        "n/a" if row.energy_joules is None else f"{row.energy_joules / row.batch * 1e3:.3g}",
        "n/a" if row.share is None or row.floor is None else f"{row.share:.0%} ({row.floor.bound})",
        str(row.processes),
    ]


def _interval(found: Estimate | None, scale: float) -> str:
    """`1.23 [1.2, 1.26]`; one process has no interval, and one that says nothing is not written out."""
    if found is None:
        return "n/a"
    value = f"{found.value * scale:.3g}"
    if not math.isfinite(found.high) or found.high > WIDEST * found.value:
        return f"{value} [n/a]"
    return f"{value} [{found.low * scale:.3g}, {found.high * scale:.3g}]"
