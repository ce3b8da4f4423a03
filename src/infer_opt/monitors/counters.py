"""From counters that only grow to what they gained a second."""

from collections.abc import Iterable, Mapping


class Rates:
    """What counters gained a second since the call before.

    None in the first call, where a counter is missing on either side, and where it went backwards: it wrapped, or its
    source was replaced by another of the same name.
    """

    def __init__(self) -> None:
        self._before: Mapping[str, float | None] = {}
        self._before_s: float | None = None

    def of(self, counters: Mapping[str, float | None], now_s: float) -> dict[str, float | None]:
        """Name -> gain a second, by a monotonic clock's `now_s`."""
        passed_s = 0.0 if self._before_s is None else now_s - self._before_s
        rates = {name: per_second(self._before.get(name), value, passed_s) for name, value in counters.items()}
        self._before, self._before_s = dict(counters), now_s
        return rates


def per_second(before: float | None, now: float | None, passed_s: float) -> float | None:
    """What a counter gained a second; None where it is missing on either side, went backwards, or no time passed."""
    if before is None or now is None or now < before or passed_s <= 0:
        return None
    return (now - before) / passed_s


def share(rate: float | None) -> float | None:
    """Seconds a second as a share, 0 to 1: counter and clock are not read at the very same moment."""
    return None if rate is None else min(1.0, rate)


def total(values: Iterable[float | None]) -> float | None:
    """The sum of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def scaled(value: float | None, factor: float) -> float | None:
    """The value in another unit."""
    return None if value is None else value * factor


def difference(whole: float | None, part: float | None) -> float | None:
    """What is left of the whole; None where either is unknown."""
    return None if whole is None or part is None else whole - part
