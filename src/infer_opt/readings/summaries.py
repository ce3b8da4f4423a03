"""A whole session in numbers: how each reading was over all samples, in bounded memory whatever the length."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from infer_opt.readings.samples import Sample

MOST_POINTS = 600  # of a reading's history, which is halved when it is full


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How one reading went: `points` are (Unix time, mean, lowest, highest) of equal numbers of samples, in order."""

    key: str
    samples: int
    missing: int
    mean: float
    low: float
    high: float
    last: float | None
    points: tuple[tuple[float, float, float, float], ...]


class Tally:
    """Adds up one reading, and keeps its history at the finest resolution that fits into MOST_POINTS."""

    __slots__ = ("_group", "_high", "_key", "_last", "_low", "_missing", "_open", "_points", "_samples", "_sum")

    def __init__(self, key: str) -> None:
        self._key, self._samples, self._missing, self._sum = key, 0, 0, 0.0
        self._low, self._high = math.inf, -math.inf
        self._last: float | None = None
        self._points: list[tuple[float, float, float, float]] = []
        self._open: list[tuple[float, float]] = []
        self._group = 1

    def add(self, at_s: float, value: float | None) -> None:
        """One sample more; None is "not available" and counts as that alone."""
        self._last = value
        if value is None or not math.isfinite(value):
            self._missing += 1
            return
        self._samples += 1
        self._sum += value
        self._low, self._high = min(self._low, value), max(self._high, value)
        self._open.append((at_s, value))
        if len(self._open) == self._group:
            self._points.append(_point(self._open))
            self._open = []
        if len(self._points) == MOST_POINTS:
            self._points = [_joined(*pair) for pair in zip(self._points[::2], self._points[1::2], strict=True)]
            self._group *= 2

    def course(self) -> Course | None:
        """How it went so far; None when it was never available."""
        if not self._samples:
            return None
        unfinished = (_point(self._open),) if self._open else ()
        return Course(
            key=self._key,
            samples=self._samples,
            missing=self._missing,
            mean=self._sum / self._samples,
            low=self._low,
            high=self._high,
            last=self._last,
            points=(*self._points, *unfinished),
        )


class Tallies:
    """A tally of every reading of a session."""

    def __init__(self) -> None:
        self._of: dict[str, Tally] = {}

    def add(self, sample: Sample) -> None:
        """One sample more."""
        for key, value in sample.values.items():
            tally = self._of.get(key)
            if tally is None:
                tally = self._of[key] = Tally(key)
            tally.add(sample.at_s, value)

    def courses(self) -> dict[str, Course]:
        """Every reading that was available at least once, in the order in which they first came."""
        found = {key: tally.course() for key, tally in self._of.items()}
        return {key: course for key, course in found.items() if course is not None}


def _point(values: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    numbers = [value for _, value in values]
    return (
        sum(at_s for at_s, _ in values) / len(values),
        sum(numbers) / len(numbers),
        min(numbers),
        max(numbers),
    )


def _joined(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    return (
        (first[0] + second[0]) / 2,
        (first[1] + second[1]) / 2,
        min(first[2], second[2]),
        max(first[3], second[3]),
    )
