"""Numbers for people: three significant digits, the unit beside them, and n/a for what is not known."""

import math
from collections.abc import Iterable
from decimal import ROUND_FLOOR, Decimal
from statistics import median

from infer_opt.results import Estimate

NOT_KNOWN = "n/a"

_EQUAL = 1 - 2**-22  # two steps of a 32-bit float: the cosine of equal outputs comes to 0.99999994

_TIME_UNITS = (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0))
_SIZE_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))
_MEMORY_UNITS = (("TiB", 2.0**40), ("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10), ("B", 1.0))


def number(value: float | None) -> str:
    """Three significant digits: `0.0712`, `26.4`, `1,230`; n/a for None and NaN."""
    if value is None or math.isnan(value):
        return NOT_KNOWN
    if math.isinf(value) or value == 0:
        return f"{value:g}"
    rounded = float(f"{value:.2e}")
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def duration(value_ns: float | None) -> str:
    """Nanoseconds in the unit that fits: `850 ns`, `71.2 µs`, `26.4 ms`, `1.80 s`."""
    return _with_unit(value_ns, _TIME_UNITS)


def size(value_bytes: float | None) -> str:
    """Bytes in decimal units: `512 B`, `23.1 MB`, `1.20 GB`."""
    return _with_unit(value_bytes, _SIZE_UNITS)


def memory(value_bytes: float | None) -> str:
    """What a machine or a card has, as both are sold and as the system's own tools say it: `23.5 GiB`, `512 MiB`."""
    return _with_unit(value_bytes, _MEMORY_UNITS)


def time_unit(values_ns: Iterable[float | None]) -> tuple[str, float]:
    """One unit for a whole column of times, and how many ns it has: the one that fits the middle value."""
    known = [value for value in values_ns if value]
    return _fitting(median(known), _TIME_UNITS) if known else ("ms", 1e6)


def size_unit(value_bytes: float) -> tuple[str, float]:
    """The unit that fits a size, and how many bytes it has."""
    return _fitting(value_bytes, _SIZE_UNITS)


def elapsed(seconds: float) -> str:
    """Wall time: `8.2 s`, `61 s`, `3 min 5 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def ratio(value: float | None) -> str:
    """A speed-up, 2 is twice as fast: `2.31x`."""
    if value is None or math.isnan(value):
        return NOT_KNOWN
    return f"{value:.2f}x" if 0.1 <= value < 10 else f"{number(value)}x"


def ratio_and_interval(estimate: Estimate) -> tuple[str, str]:
    """A speed-up and its interval, with as many decimals as tell the ends apart: `2.31x`, `2.10 to 2.52`."""
    if not math.isfinite(estimate.high):
        return f"{estimate.value:.2f}x", "no interval yet"
    decimals = 3 if estimate.high - estimate.low < 0.05 else 2
    low, high = (f"{end:.{decimals}f}" for end in (estimate.low, estimate.high))
    return f"{estimate.value:.{decimals}f}x", f"{low} to {high}"


def percent(share: float | None) -> str:
    """A share of 1: `0.8 %`, `12 %`."""
    if share is None or not math.isfinite(share):
        return NOT_KNOWN
    return f"{share * 100:.1f} %" if abs(share) < 0.0995 else f"{share * 100:.0f} %"


def agreement(score: float | None) -> str:
    """A parity score with five decimals, rounded down, so that a miss never reads as 1.00000."""
    if score is None or math.isnan(score):
        return NOT_KNOWN
    if score >= _EQUAL:
        return "1.00000"
    return str(Decimal(repr(float(score))).quantize(Decimal("0.00001"), rounding=ROUND_FLOOR))


def with_unit(value: float | None, unit: str) -> str:
    """A number with its unit: `65.2 W`; n/a without one."""
    return NOT_KNOWN if value is None else f"{number(value)} {unit}"


def _with_unit(value: float | None, units: tuple[tuple[str, float], ...]) -> str:
    if value is None or math.isnan(value):
        return NOT_KNOWN
    unit, scale = _fitting(value, units)
    return f"{number(value / scale)} {unit}"


def _fitting(value: float, units: tuple[tuple[str, float], ...]) -> tuple[str, float]:
    # 0.9995 of a unit rounds to 1.00 of it.
    return next(((unit, scale) for unit, scale in units if abs(value) >= 0.9995 * scale), units[-1])
