"""How values and times are said in a finding's sentence."""

from infer_opt.readings.catalogue import CATALOGUE, Unit, split

_SCALES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
_SUFFIXES = {
    Unit.BYTES: "B",
    Unit.BYTES_PER_SECOND: "B/s",
    Unit.PER_SECOND: "/s",
    Unit.HERTZ: "Hz",
    Unit.CELSIUS: "°C",
    Unit.WATTS: "W",
    Unit.JOULES: "J",
    Unit.SECONDS: "s",
    Unit.CORES: "cores",
}
_SPANS = (("day", 86_400.0), ("hour", 3600.0), ("minute", 60.0))
_SCALED = frozenset({Unit.BYTES, Unit.BYTES_PER_SECOND, Unit.HERTZ, Unit.JOULES})


def unit_of(key: str) -> Unit | None:
    """The unit of a reading of the catalogue; None for any other name."""
    family, found, rest = key.partition("[")
    if not found:
        family, _, name = key.partition(".")
    else:
        name = rest.rpartition("].")[2]
    quantity = CATALOGUE.get((family, name))
    return None if quantity is None else quantity.unit


def said(value: float, unit: Unit | None) -> str:
    """`61 %`, `3.20 GB`, `1.41 GHz`, `83 °C`; a number alone where there is no unit."""
    if unit is Unit.RATIO:
        return f"{100.0 * value:.3g} %"
    if unit in _SCALED:
        for prefix, scale in _SCALES:
            if abs(value) >= scale:
                return f"{value / scale:.3g} {prefix}{_SUFFIXES[unit]}"
    suffix = _SUFFIXES.get(unit) if unit is not None else None
    number = f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"
    return number if suffix is None else f"{number}{suffix}" if suffix == "/s" else f"{number} {suffix}"


def span(seconds: float) -> str:
    """`45 seconds`, `12 minutes`, `3.5 hours`, `6 days`: as exactly as anybody needs it."""
    for name, size in _SPANS:
        if seconds >= 2.0 * size:
            amount = seconds / size
            return f"{amount:.1f} {name}s" if amount < 10.0 and name != "minute" else f"{amount:.0f} {name}s"
    return f"{seconds:.0f} second" if round(seconds) == 1 else f"{seconds:.0f} seconds"


def when(in_s: float, low_s: float, high_s: float | None) -> str:
    """`in about 40 minutes (25 to 70)`, in one unit; `(25 or more)` where it may never be."""
    name, size = next(((name, size) for name, size in _SPANS if in_s >= 2.0 * size), ("second", 1.0))
    digits = 1 if in_s < 10.0 * size and size > 60.0 else 0
    low = f"{low_s / size:.{digits}f}"
    until = f"{low} or more" if high_s is None else f"{low} to {high_s / size:.{digits}f}"
    return f"in about {in_s / size:.{digits}f} {name}s ({until})"


def counted(count: float, one: str, many: str | None = None) -> str:
    """`1 process`, `3 processes`; without `many`, an s is added."""
    return f"{count:.0f} {one}" if round(count) == 1 else f"{count:.0f} {many or one + 's'}"


def place(key: str) -> str:
    """`GPU 0`, `disk vda`, `/home`: whose reading it is; the family alone where there is only one."""
    family, instance, _ = split(key)
    name = "GPU" if family == "gpu" else family
    if family == "filesystem" and instance is not None:
        return instance
    return name if instance is None else f"{name} {instance}"
