"""Readings for people: three digits at most, the unit beside them, and n/a for what is not available."""

import math

from infer_opt.readings.catalogue import Unit, quantity_of

NOT_AVAILABLE = "n/a"
_SIZES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))
_CLOCKS = (("GHz", 1e9), ("MHz", 1e6), ("kHz", 1e3), ("Hz", 1.0))
_PLAIN = {Unit.CELSIUS: " °C", Unit.WATTS: " W", Unit.PER_SECOND: "/s", Unit.CORES: "", Unit.COUNT: ""}


def text_of(value: float | None, unit: Unit) -> str:
    """`12 %`, `1.25 GB`, `3.4 MB/s`, `2.1 GHz`, `61 °C`, `0x20` of a mask; n/a for None."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    if unit is Unit.RATIO:
        return f"{value * 100:.1f} %" if 0 < abs(value) < 0.0995 else f"{value * 100:.0f} %"
    if unit is Unit.BITS:
        return f"0x{int(value):x}"
    if unit in (Unit.BYTES, Unit.BYTES_PER_SECOND):
        return _scaled(value, _SIZES) + ("/s" if unit is Unit.BYTES_PER_SECOND else "")
    if unit is Unit.HERTZ:
        return _scaled(value, _CLOCKS)
    if unit is Unit.JOULES:
        return f"{digits(value / 1e3)} kJ" if value >= 1e4 else f"{digits(value)} J"
    if unit is Unit.SECONDS:
        return f"{digits(value * 1e3)} ms" if value < 1 else f"{digits(value)} s"
    return digits(value) + _PLAIN[unit]


def text_of_key(key: str, value: float | None) -> str:
    """The value of the reading with that key, in its unit.

    Raises:
        ConfigError: there is no such reading.
    """
    return text_of(value, quantity_of(key).unit)


def digits(value: float) -> str:
    """Three significant digits, whole numbers without a point: `0.071`, `2.4`, `61`, `1,230`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.2e}")
    if rounded == int(rounded):
        return f"{int(rounded):,}"
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}".rstrip("0").rstrip(".")


def _scaled(value: float, units: tuple[tuple[str, float], ...]) -> str:
    # 0.9995 of a unit rounds to 1.00 of it.
    unit, scale = next(((unit, scale) for unit, scale in units if abs(value) >= 0.9995 * scale), units[-1])
    return f"{digits(value / scale)} {unit}"
