"""Coarser chunks from finer ones: means that keep their lowest and highest."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, fsum

from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import CATALOGUE, Unit, split
from infer_opt.store.chunks import PRESENT, Chunk, Series
from infer_opt.store.columns import Numbers
from infer_opt.store.process_series import is_process_key, is_state_key


def fold(chunks: Sequence[Chunk], width_s: float) -> Chunk:
    """One chunk of all rows of several that follow one another, those within the same `width_s` seconds as one row.

    A row's mean is that of all its samples that had a value, to seven digits, as are its lowest and its highest. Where
    none had one it is not available, and where the reading was in none of them it is absent. A bit mask becomes the
    bits that were set in some sample, with those set in all as its lowest. What rows hold already is weighed by the
    samples that it stands for, so that folding twice gives what folding at once would.
    """
    whole = _joined(chunks)
    starts, bucket = [0], floor(whole.first_clock[0] / width_s)
    for row, clock in enumerate(whole.first_clock):
        if (here := floor(clock / width_s)) != bucket:
            starts.append(row)
            bucket = here
    groups = list(pairwise([*starts, whole.rows]))
    folded = Chunk(
        position=whole.position,
        width_s=width_s,
        numbers=array("d", (whole.numbers[stop - 1] for _, stop in groups)),
        first_at=array("d", (whole.first_at[start] for start, _ in groups)),
        last_at=array("d", (whole.last_at[stop - 1] for _, stop in groups)),
        first_clock=array("d", (whole.first_clock[start] for start, _ in groups)),
        last_clock=array("d", (whole.last_clock[stop - 1] for _, stop in groups)),
        counts=array("d", (fsum(whole.counts[start:stop]) for start, stop in groups)),
        processes=whole.processes,
    )
    for key in dict.fromkeys(key for chunk in chunks for key in chunk.series):
        if not is_state_key(key):
            folded.series[key] = _folded(_Parts.of(chunks, key), groups, is_mask=_is_mask(key))
    return folded


def extend(chunk: Chunk, finer: Chunk) -> Chunk:
    """The rows of a folded chunk and those that follow it, folded to the same width: only its last row may change."""
    last = chunk.rows - 1
    folded = fold([chunk.cut(last, chunk.rows), finer], chunk.width_s)
    if not last:
        return folded
    before = chunk.cut(0, last)
    whole = _joined([before, folded])
    whole.width_s = chunk.width_s
    for key in dict.fromkeys((*before.series, *folded.series)):
        parts = _Parts.of([before, folded], key)
        whole.series[key] = Series(
            states=parts.states, means=parts.means, lows=parts.lows, highs=parts.highs, counts=parts.counts
        )
    return whole


def _joined(chunks: Sequence[Chunk]) -> Chunk:
    """The rows of all, without their readings."""
    whole = Chunk(position=chunks[0].position)
    for chunk in chunks:
        whole.numbers.extend(chunk.numbers)
        whole.first_at.extend(chunk.first_at)
        whole.last_at.extend(chunk.last_at)
        whole.first_clock.extend(chunk.first_clock)
        whole.last_clock.extend(chunk.last_clock)
        whole.counts.extend(chunk.counts)
        whole.processes.update(chunk.processes)
    return whole


@dataclass(slots=True, kw_only=True)
class _Parts:
    """One reading over the rows of several chunks."""

    states: bytearray
    means: Numbers
    lows: Numbers
    highs: Numbers
    counts: Numbers

    @classmethod
    def of(cls, chunks: Sequence[Chunk], key: str) -> "_Parts":
        parts = cls(states=bytearray(), means=array("d"), lows=array("d"), highs=array("d"), counts=array("d"))
        for chunk in chunks:
            series = chunk.series.get(key) or Series()
            series.pad(chunk.rows)
            parts.states.extend(series.states)
            parts.means.extend(series.means)
            parts.lows.extend(series.means if series.lows is None else series.lows)
            parts.highs.extend(series.means if series.highs is None else series.highs)
            parts.counts.extend(chunk.counts if series.counts is None else series.counts)
        return parts

    def of_group(self, start: int, stop: int) -> Iterator[int]:
        """The rows of a group that have a value."""
        return (row for row in range(start, stop) if self.states[row] == PRESENT)


def _folded(parts: _Parts, groups: Sequence[tuple[int, int]], *, is_mask: bool) -> Series:
    states = bytearray()
    means, lows, highs, counts = array("d"), array("d"), array("d"), array("d")
    for start, stop in groups:
        states.append(max(parts.states[start:stop]))
        rows = list(parts.of_group(start, stop))
        mean, low, high, count = _merged(parts, rows, is_mask=is_mask) if rows else (0.0, 0.0, 0.0, 0.0)
        means.append(mean)
        lows.append(low)
        highs.append(high)
        counts.append(count)
    # All three in single precision: rounding keeps their order.
    return Series(states=states, means=_rounded(means), lows=_rounded(lows), highs=_rounded(highs), counts=counts)


def _merged(parts: _Parts, rows: list[int], *, is_mask: bool) -> tuple[float, float, float, float]:
    """Mean, lowest, highest and number of samples of rows with a value."""
    if len(rows) == 1:
        (row,) = rows
        return parts.means[row], parts.lows[row], parts.highs[row], parts.counts[row]
    count = fsum(parts.counts[row] for row in rows)
    if is_mask:
        some, every = 0, ~0
        for row in rows:
            some |= int(parts.highs[row])
            every &= int(parts.lows[row])
        return float(some), float(every), float(some), count
    low, high = min(parts.lows[row] for row in rows), max(parts.highs[row] for row in rows)
    # The sum is exact but for its last digit, and single precision has fewer: the mean stays between the two.
    return fsum(parts.means[row] * parts.counts[row] for row in rows) / count, low, high, count


def _rounded(values: Numbers) -> Numbers:
    return array("d", array("f", values))


def _is_mask(key: str) -> bool:
    if is_process_key(key):
        return False
    try:
        family, _, name = split(key)
    except ConfigError:  # whoever recorded it may name readings that the catalogue does not
        return False
    quantity = CATALOGUE.get((family, name))
    return quantity is not None and quantity.unit is Unit.BITS
