"""Graphs, sparklines and meters as characters: values, a width and a height in, text out."""

import math
from collections.abc import Sequence

from infer_opt.terminal.inks import Ink, Line, level

SAMPLES_A_CELL = 2  # of a graph in braille

# Dots of a cell of braille, filled from the bottom, for its left and its right column.
_LEFT = (0x00, 0x40, 0x44, 0x46, 0x47)
_RIGHT = (0x00, 0x80, 0xA0, 0xB0, 0xB8)
_BRAILLE = tuple(tuple(chr(0x2800 + left + right) if left + right else " " for right in _RIGHT) for left in _LEFT)
_BLOCKS = " ▁▂▃▄▅▆▇█"
_NICE = (1.0, 2.0, 5.0, 10.0)


def area(values: Sequence[float], *, width: int, height: int, top: float = 1.0) -> list[str]:
    """Values as a filled area, the newest at the right, two to a cell, `top` at the upper edge.

    What is not known (NaN) stays blank; a known zero is the lowest row of dots, so that the two differ.
    """
    if width < 1 or height < 1:
        return []
    levels = _levels(values[-2 * width :], 4 * height, top)
    levels = [0] * (2 * width - len(levels)) + levels
    pairs = list(zip(levels[::2], levels[1::2], strict=True))
    rows = []
    for floor in range(4 * (height - 1), -1, -4):
        rows.append(
            "".join([_BRAILLE[min(max(left - floor, 0), 4)][min(max(right - floor, 0), 4)] for left, right in pairs])
        )
    return rows


def graph(values: Sequence[float], *, width: int, height: int, top: float = 1.0, ink: Ink | None = None) -> list[Line]:
    """The area with its inks: by height, from calm at the bottom to full at the top, unless one is given."""
    rows = area(values, width=width, height=height, top=top)
    if ink is not None:
        return [((row, ink),) for row in rows]
    return [((row, level((height - number - 0.5) / height)),) for number, row in enumerate(rows)]


def sparkline(values: Sequence[float], *, width: int, top: float | None = None) -> str:
    """Values as one line of blocks, the newest at the right; without `top` the largest of them fills a block."""
    if width < 1:
        return ""
    shown = values[-width:]
    if top is None:
        top = largest(shown)
    return "".join([_BLOCKS[step] for step in _levels(shown, 8, top)]).rjust(width)


def meter(share: float | None, width: int) -> tuple[str, str]:
    """The full and the empty part of a bar; all of it is empty where the share is not known."""
    if width < 1:
        return "", ""
    if share is None or math.isnan(share):
        return "", "┄" * width
    halves = round(min(max(share, 0.0), 1.0) * 2 * width)
    if share > 0 and not halves:
        halves = 1
    full = "━" * (halves // 2) + "╸" * (halves % 2)
    return full, "─" * (width - len(full))


def meter_line(label: str, share: float | None, value: str, *, width: int, ink: Ink | None = None) -> Line:
    """A label, a bar and a value, the bar taking what the two leave: `used ━━━━━──── 12.3 GiB`.

    The bar is left out where fewer than three cells remain for it.
    """
    room = width - len(label) - len(value) - (2 if label else 1)
    full, empty = meter(share, room) if room >= 3 else ("", "")
    bar = ((full, ink or level(share)), (empty, Ink.DIM)) if full or empty else ()
    gap = " " * (1 if bar else max(1, width - len(label) - len(value)))
    start = ((label + (" " if bar else ""), Ink.LABEL),) if label else ()
    return (*start, *bar, (gap + value, Ink.TEXT))


def block(share: float | None) -> str:
    """One character as high as the share, never quite full so that rows stay apart; a dot where it is not known."""
    if share is None or math.isnan(share):
        return "·"
    return _BLOCKS[min(7, max(1, math.ceil(share * 7)))]


def largest(values: Sequence[float]) -> float:
    """The largest known value; 0 without one."""
    return max([value for value in values if value == value], default=0.0)


def nice_top(values: Sequence[float], least: float = 1.0) -> float:
    """A round number at or above all values, so that a scale seldom changes: 1, 2 or 5 times a power of ten."""
    most = max(largest(values), least)
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in _NICE if step * power >= most * (1 - 1e-9))


def _levels(values: Sequence[float], most: int, top: float) -> list[int]:
    scale = most / top if top > 0 else 0.0
    return [0 if value != value else min(most, max(1, round(value * scale))) for value in values]
