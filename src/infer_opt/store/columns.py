"""Columns of numbers, arrays of type "d", in few bytes and back exactly.

Plain Python: a monitor has no room for numpy.
"""

import math
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Numbers = array[float]
else:  # Python 3.11 takes no parameter for it yet
    Numbers = array

_SAME, _CONSTANT, _WHOLE, _REAL = b"scwr"
_MOST_WHOLE = 2.0**53  # beyond it a float skips whole numbers


def packed(values: Numbers, *, like: Numbers | None = None, single: bool = False) -> bytes:
    """`values` in few bytes; `unpacked` gives them back bit by bit, but for the sign of zero. None may be NaN.

    Arguments:
        like: another column that is at hand when this one is read, and may be equal.
        single: all values are of single precision.
    """
    if like is not None and values == like:
        return bytes([_SAME])
    if not values or values.count(values[0]) == len(values):
        return bytes([_CONSTANT]) + struct.pack("<d", values[0] if values else 0.0)
    if all(value.is_integer() for value in values) and max(map(abs, values)) < _MOST_WHOLE:
        return bytes([_WHOLE]) + _whole([int(value) for value in values])
    return bytes([_REAL]) + _planes(array("f", values) if single else values)


def unpacked(data: bytes, count: int, *, like: Numbers | None = None, single: bool = False) -> Numbers:
    """The `count` values that `packed` was given, with the same arguments.

    Raises:
        ValueError: the bytes are damaged.
    """
    kind, rest = data[0] if data else None, data[1:]
    if kind == _SAME and like is not None:
        values = array("d", like)
    elif kind == _CONSTANT and len(rest) == 8:
        values = array("d", struct.unpack("<d", rest) * count)
    elif kind == _WHOLE:
        values = array("d", _from_whole(rest))
    elif kind == _REAL:
        values = array("d", _from_planes(rest, "f" if single else "d"))
    else:
        raise ValueError("a column of an unknown kind")
    if len(values) != count:
        raise ValueError(f"a column of {len(values)} values in the place of {count}")
    return values


def _whole(values: Sequence[int]) -> bytes:
    """Their differences, in units of what divides all of them: memory comes in pages, times in ticks."""
    steps = [after - before for before, after in pairwise(values)]
    unit = math.gcd(*steps)
    return _varints((values[0], unit, *(step // unit for step in steps)))


def _from_whole(data: bytes) -> Iterable[float]:
    numbers = _from_varints(data)
    if len(numbers) < 2:
        raise ValueError("a column without a first value")
    first, unit, *steps = numbers
    return map(float, accumulate((unit * step for step in steps), initial=first))


def _planes(values: Numbers) -> bytes:
    """All first bytes, then all second bytes, ...: signs and exponents side by side compress, mantissas do not."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    data = values.tobytes()
    return b"".join(data[plane :: values.itemsize] for plane in range(values.itemsize))


def _from_planes(data: bytes, code: str) -> Numbers:
    values: Numbers = array(code)
    size, count = values.itemsize, len(data) // values.itemsize
    mixed = bytearray(size * count)
    for plane in range(size):
        mixed[plane::size] = data[plane * count : (plane + 1) * count]
    values.frombytes(mixed)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _varints(numbers: Iterable[int]) -> bytes:
    """Seven bits a byte, the last one below 128; the sign is the lowest bit."""
    out = bytearray()
    for number in numbers:
        left = 2 * number if number >= 0 else -2 * number - 1
        while left > 127:
            out.append(left & 127 | 128)
            left >>= 7
        out.append(left)
    return bytes(out)


def _from_varints(data: bytes) -> list[int]:
    numbers, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 127) << shift
        if byte > 127:
            shift += 7
            continue
        numbers.append(-((number + 1) >> 1) if number & 1 else number >> 1)
        number = shift = 0
    if shift:
        raise ValueError("a number that is cut off")
    return numbers
