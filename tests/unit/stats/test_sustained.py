"""The best rate that is kept up."""

import random

import pytest

from infer_opt.errors import EvidenceError
from infer_opt.stats.sustained import sustained

TRUE_RATE = 100.0


def disturbed(generator: random.Random, *, blocks: int, share: float) -> list[float]:
    """A rate of 100 with 1 % of jitter, of which disturbances take 10 to 60 % in a share of the blocks."""
    return [
        TRUE_RATE
        * generator.gauss(1.0, 0.01)
        * (generator.uniform(0.4, 0.9) if generator.random() < share else 1.0)
        for _ in range(blocks)
    ]  # fmt: skip


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_disturbances_do_not_lower_what_is_kept_up(share: float) -> None:
    generator = random.Random(7)
    found = [sustained(disturbed(generator, blocks=60, share=share)).value for _ in range(100)]

    assert all(0.98 * TRUE_RATE < value < 1.03 * TRUE_RATE for value in found)


def test_one_block_that_a_late_timer_flattered_does_not_count() -> None:
    rates = [TRUE_RATE] * 59 + [3 * TRUE_RATE]

    assert sustained(rates).value == TRUE_RATE


def test_the_band_holds_the_quantile_as_often_as_it_says() -> None:
    generator = random.Random(11)
    truth = 0.9  # of a uniform rate between 0 and 1
    bands = [sustained([generator.random() for _ in range(60)]) for _ in range(400)]

    assert sum(band.low <= truth <= band.high for band in bands) >= 0.94 * 400


def test_a_few_blocks_tell_no_more_than_their_range() -> None:
    found = sustained([90.0, 100.0, 95.0])

    assert (found.low, found.high) == (90.0, 100.0)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("rates", [[], [0.0, 1.0], [float("inf")]])
def test_no_rates_and_rates_of_nothing_are_refused(rates: list[float]) -> None:
    with pytest.raises(EvidenceError):
        sustained(rates)
