import random
from collections.abc import Sequence
from itertools import pairwise
from math import floor

import pytest

from infer_opt.readings.samples import Sample
from infer_opt.store.chunks import ABSENT, MISSING, PRESENT, Chunk, decode, encode
from infer_opt.store.folding import fold
from made_recordings import BOOTED_S, sample

SEVEN_DIGITS = 2e-7


def chunk_of(samples: Sequence[Sample], position: int = 0) -> Chunk:
    chunk = Chunk(position=position)
    for one in samples:
        chunk.append(one)
    return chunk


def patchy(seed: int, count: int = 300) -> list[Sample]:
    """Samples at uneven times of readings that come, go, and are not available now and then."""
    noise = random.Random(seed)
    clock, samples = 0.0, []
    for number in range(count):
        clock += noise.choice((0.5, 1.0, 1.0, 7.0))
        values: dict[str, float | None] = {"whole": float(noise.randrange(1000)), "real": noise.gauss(0, 3)}
        if noise.random() < 0.5:
            values["now and then"] = None if noise.random() < 0.3 else noise.random()
        if number < count // 2:
            values["gone"] = 0.1
        samples.append(Sample(number=number, at_s=1e9 + clock, clock_s=BOOTED_S + clock, values=values))
    return samples


def expected(samples: Sequence[Sample], width_s: float, key: str) -> list[tuple[float, float, float] | int]:
    """Mean, lowest and highest of each stretch, or the state of a reading without a value."""
    stretches: dict[int, list[Sample]] = {}
    for one in samples:
        stretches.setdefault(floor(one.clock_s / width_s), []).append(one)
    found: list[tuple[float, float, float] | int] = []
    for stretch in stretches.values():
        there = [one.values[key] for one in stretch if key in one.values]
        values = [value for value in there if value is not None]
        if values:
            found.append((sum(values) / len(values), min(values), max(values)))
        else:
            found.append(MISSING if there else ABSENT)
    return found


def rows(chunk: Chunk, key: str) -> list[tuple[float, float, float] | int]:
    series = chunk.series[key]
    assert series.lows is not None
    assert series.highs is not None
    return [
        (series.means[row], series.lows[row], series.highs[row]) if state == PRESENT else state
        for row, state in enumerate(series.states)
    ]


def assert_alike(found: list[tuple[float, float, float] | int], wanted: list[tuple[float, float, float] | int]) -> None:
    assert [row if isinstance(row, int) else None for row in found] == [
        row if isinstance(row, int) else None for row in wanted
    ]
    for row, want in zip(found, wanted, strict=True):
        if not isinstance(row, int):
            assert row == pytest.approx(want, rel=SEVEN_DIGITS, abs=1e-7)


@pytest.mark.parametrize("seed", range(8))
def test_a_row_has_the_mean_the_lowest_and_the_highest_of_its_samples(seed: int) -> None:
    samples = patchy(seed)

    folded = fold([chunk_of(samples)], 10.0)

    for key in ("whole", "real", "now and then", "gone"):
        assert_alike(rows(folded, key), expected(samples, 10.0, key))
    assert folded.samples == len(samples)


@pytest.mark.parametrize("seed", range(8))
def test_folding_piece_by_piece_and_again_and_again_gives_what_folding_at_once_gives(seed: int) -> None:
    samples = patchy(seed)
    cuts = [0, *sorted(random.Random(seed).sample(range(1, len(samples)), 5)), len(samples)]
    pieces = [chunk_of(samples[start:stop], position=start) for start, stop in pairwise(cuts)]

    growing = fold([pieces[0]], 10.0)
    for piece in pieces[1:]:
        growing = decode(encode(fold([growing, piece], 10.0)))
    twice = fold([fold([growing], 60.0)], 120.0)

    for key in ("whole", "real", "now and then", "gone"):
        assert_alike(rows(twice, key), expected(samples, 120.0, key))
    at_once = fold([chunk_of(samples)], 120.0)
    assert (list(twice.numbers), list(twice.counts)) == (list(at_once.numbers), list(at_once.counts))
    assert (twice.first_at, twice.last_at) == (at_once.first_at, at_once.last_at)


@pytest.mark.parametrize("seed", range(8))
def test_a_mean_never_leaves_its_lowest_and_highest(seed: int) -> None:
    noise = random.Random(seed)
    samples = [sample(number, {"a": 1e9 + noise.random(), "b": 0.1}) for number in range(200)]

    for width_s in (10.0, 60.0, 240.0):
        folded = fold([fold([chunk_of(samples)], 10.0)], width_s)
        for key in "ab":
            assert all(
                low <= mean <= high for mean, low, high in (row for row in rows(folded, key) if isinstance(row, tuple))
            )


def test_the_mean_of_equal_values_is_that_value() -> None:
    value = 1 + 2**-23 + 2**-24 - 2**-52  # an error in its last digit, and single precision rounds the other way

    for count in range(2, 200):
        folded = fold([chunk_of([sample(number, {"a": value}) for number in range(count)])], 1e9)
        ((mean, low, high),) = (row for row in rows(folded, "a") if isinstance(row, tuple))
        assert mean == low == high


def test_a_peak_of_one_sample_survives_every_resolution() -> None:
    samples = [sample(number, {"a": 900.0 if number == 77 else 1.0}) for number in range(1200)]

    chunk = chunk_of(samples)
    for width_s in (10.0, 60.0, 120.0, 240.0, 960.0):
        chunk = fold([chunk], width_s)

    assert chunk.series["a"].highs is not None
    assert max(chunk.series["a"].highs) == 900.0


def test_a_bit_mask_becomes_the_bits_that_were_set_and_not_their_mean() -> None:
    key = "gpu[0].throttle_reasons"
    samples = [sample(number, {key: float(bits)}) for number, bits in enumerate((0b0101, 0b0100, 0b1100))]

    folded = fold([fold([chunk_of(samples[:2])], 10.0), fold([chunk_of(samples[2:])], 10.0)], 10.0)

    assert rows(folded, key) == [(0b1101, 0b0100, 0b1101)]


def test_a_reading_that_the_catalogue_does_not_know_is_folded_like_any_other() -> None:
    folded = fold([chunk_of([sample(0, {"what?": 1.0}), sample(1, {"what?": 2.0})])], 10.0)

    assert rows(folded, "what?") == [(1.5, 1.0, 2.0)]


def test_rows_are_told_apart_by_the_monotonic_clock_when_the_time_of_day_is_set() -> None:
    samples = [
        Sample(number=number, at_s=1e9 + number - (3600 if number > 4 else 0), clock_s=float(number), values={"a": 1.0})
        for number in range(20)
    ]

    assert fold([chunk_of(samples)], 10.0).rows == 2
