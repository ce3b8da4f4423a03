"""Numbers and texts for the screen: short, the unit beside them, and n/a for what is not known."""

import math
from collections.abc import Callable
from datetime import datetime, tzinfo

from rich.cells import cell_len, set_cell_size

from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import Unit, quantity_of

NOT_KNOWN = "n/a"

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_RATES = ("B/s", "kB/s", "MB/s", "GB/s", "TB/s")
_CLOCKS = ("Hz", "kHz", "MHz", "GHz")
_COUNTS = ("", "k", "M", "G")


def share(value: float | None) -> str:
    """A share of 1, at most five cells wide: `0.4 %`, `37 %`, `100 %`."""
    if value is None or math.isnan(value):
        return NOT_KNOWN
    percent = value * 100
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"


def percent_of_a_core(cores: float | None) -> str:
    """CPU time as `top` writes it: 100 is one core."""
    if cores is None or math.isnan(cores):
        return NOT_KNOWN
    percent = cores * 100
    return f"{percent:.1f}" if percent < 99.95 else f"{percent:.0f}"


def size(value_bytes: float | None) -> str:
    """Memory, in binary units, at most eight cells wide: `512 B`, `1.20 MiB`, `23.4 GiB`."""
    return _scaled(value_bytes, 1024, _SIZES)


def size_of(used_bytes: float | None, total_bytes: float | None) -> str:
    """A part and its whole in the whole's unit: `12.3 of 24.0 GiB`."""
    if used_bytes is None or total_bytes is None or not total_bytes:
        return f"{size(used_bytes)} of {size(total_bytes)}"
    power = _power(total_bytes, 1024, len(_SIZES))
    return f"{_three_digits(used_bytes / 1024**power)} of {_three_digits(total_bytes / 1024**power)} {_SIZES[power]}"


def rate(bytes_per_second: float | None) -> str:
    """Bytes a second, in decimal units, at most nine cells wide: `0 B/s`, `1.20 MB/s`."""
    return _scaled(bytes_per_second, 1000, _RATES)


def per_second(value: float | None) -> str:
    """Events a second: `950/s`, `12.3 k/s`."""
    text = count(value)
    return text if text == NOT_KNOWN else f"{text}/s"


def count(value: float | None) -> str:
    """A number of things: `17`, `9,999`, `12.3 k`."""
    if value is None or math.isnan(value):
        return NOT_KNOWN
    return f"{value:,.0f}" if abs(value) < 9999.5 else _scaled(value, 1000, _COUNTS)


def decimal(value: float | None) -> str:
    """A number with two decimals below ten, as loads and cores are written: `0.75`, `12.3`."""
    if value is None or math.isnan(value):
        return NOT_KNOWN
    return f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}" if abs(value) < 99.95 else f"{value:,.0f}"


def clock(hertz: float | None) -> str:
    """A frequency: `850 MHz`, `1.98 GHz`."""
    return _scaled(hertz, 1000, _CLOCKS)


def clock_of(hertz: float | None, most_hertz: float | None) -> str:
    """A clock and the highest that it can be: `1.75 of 1.98 GHz`."""
    if hertz is None or most_hertz is None or most_hertz <= 0:
        return clock(hertz)
    power = _power(most_hertz, 1000, len(_CLOCKS))
    return f"{_three_digits(hertz / 1000**power)} of {_three_digits(most_hertz / 1000**power)} {_CLOCKS[power]}"


def celsius(value: float | None) -> str:
    """A temperature: `64 °C`."""
    return NOT_KNOWN if value is None or math.isnan(value) else f"{value:.0f} °C"


def watts(value: float | None) -> str:
    """Power: `512 W`."""
    return NOT_KNOWN if value is None or math.isnan(value) else f"{value:.0f} W"


def number(key: str, value: float | None) -> str:
    """The value of a reading in the unit that the catalogue states for it, as people write it."""
    try:
        unit = quantity_of(key).unit
    except ConfigError:
        return decimal(value)
    return _WRITERS.get(unit, decimal)(value)


def span(seconds: float | None) -> str:
    """How long something lasts or lasted: `0:12:33`, `3 d 4:00:00`."""
    if seconds is None or math.isnan(seconds):
        return NOT_KNOWN
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock_part = f"{hour}:{minute:02}:{second:02}"
    return f"{days} d {clock_part}" if days else clock_part


def about(seconds: float | None) -> str:
    """A time in the unit that fits: `12 s`, `3 min`, `2.1 h`, `3.0 d`."""
    if seconds is None or math.isnan(seconds):
        return NOT_KNOWN
    if abs(seconds) < 99.5:
        return f"{seconds:.0f} s"
    if abs(seconds) < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if abs(seconds) < 48 * 3600 else f"{seconds / 86400:.1f} d"


def time_of_day(at_s: float, zone: tzinfo | None = None) -> str:
    """Unix time as `14:03:22`, in the machine's zone unless another is given."""
    return datetime.fromtimestamp(at_s, tz=zone).strftime("%H:%M:%S")


def interval(seconds: float) -> str:
    """How often samples are taken: `every 0.5 s`."""
    return f"every {seconds:g} s"


def clean(text: str) -> str:
    """The text without what could steer a terminal: names of processes are anybody's to choose."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " if character.isspace() else "·" for character in text)


def width_of(text: str) -> int:
    """How many cells of a terminal the text takes: letters of some scripts take two."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, *, is_right: bool = False) -> str:
    """The text in exactly `width` cells: filled up with blanks, or cut and ended by an ellipsis."""
    if width <= 0:
        return ""
    taken = width_of(text)
    if taken > width:
        return text[: width - 1] + "…" if text.isascii() else set_cell_size(text, width - 1) + "…"
    blanks = " " * (width - taken)
    return blanks + text if is_right else text + blanks


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` cells (two or more), broken at blanks, and within words that are longer."""
    lines, line, width = [], "", max(2, width)
    for word in text.split():
        while width_of(word) > width:
            room = width - width_of(line) - 1 if line else width
            if room < 8 and line:
                lines.append(line)
                line, room = "", width
            head = word[:room] if word.isascii() else set_cell_size(word, room).rstrip()
            lines.append(f"{line} {head}" if line else head)
            line, word = "", word[len(head) :]
        if word and line and width_of(line) + 1 + width_of(word) > width:
            lines.append(line)
            line = word
        elif word:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


def _power(value: float, step: int, powers: int) -> int:
    power = 0
    while abs(value) >= 999.5 and power < powers - 1:
        value /= step
        power += 1
    return power


def _scaled(value: float | None, step: int, units: tuple[str, ...]) -> str:
    if value is None or math.isnan(value):
        return NOT_KNOWN
    power = _power(value, step, len(units))
    number = f"{value:.0f}" if power == 0 else _three_digits(value / step**power)
    return f"{number} {units[power]}".rstrip()


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}" if abs(value) < 99.95 else f"{value:.0f}"


_WRITERS: dict[Unit, Callable[[float | None], str]] = {
    Unit.RATIO: share,
    Unit.BYTES: size,
    Unit.BYTES_PER_SECOND: rate,
    Unit.PER_SECOND: per_second,
    Unit.CORES: decimal,
    Unit.COUNT: decimal,
    Unit.HERTZ: clock,
    Unit.CELSIUS: celsius,
    Unit.WATTS: watts,
    Unit.SECONDS: about,
    Unit.BITS: count,
}
