"""Figures as the findings say them."""

import math
from collections.abc import Iterable

_TIMES = (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0))
_SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))
NAMED = 3  # of many, in a sentence


def number(value: float) -> str:
    """Three significant digits: `0.0712`, `26.4`, `1,230`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.2e}")
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def duration(value_ns: float) -> str:
    """`850 ns`, `71.2 µs`, `26.4 ms`."""
    return _with_unit(value_ns, _TIMES)


def size(value_bytes: float) -> str:
    """`512 B`, `23.1 MB`."""
    return _with_unit(value_bytes, _SIZES)


def percent(share: float) -> str:
    """`0.8 %`, `12 %`."""
    return f"{share * 100:.1f} %" if abs(share) < 0.0995 else f"{share * 100:.0f} %"


def count(number_of: int, noun: str) -> str:
    """`1 node`, `1,200 nodes`."""
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def some(names: Iterable[str]) -> str:
    """`Erf, Tanh and 4 more`; each name once."""
    found = [name for name in dict.fromkeys(names) if name]
    rest = len(found) - NAMED
    shown = found[:NAMED]
    if rest > 0:
        return f"{', '.join(shown)} and {rest:,} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def _with_unit(value: float, units: tuple[tuple[str, float], ...]) -> str:
    unit, scale = next(((unit, scale) for unit, scale in units if abs(value) >= 0.9995 * scale), units[-1])
    return f"{number(value / scale)} {unit}"
