import math
import random
import sys

import pytest

from infer_opt.anomalies.levels import BLOCK, MOST_BLOCKS, Levels


def filled(*spells: tuple[float, int]) -> Levels:
    """(level, blocks) one after another."""
    levels = Levels()
    for level, blocks in spells:
        for _ in range(blocks * BLOCK):
            levels.add(level)
    return levels


def test_a_level_that_was_there_for_a_minute_is_known() -> None:
    levels = filled((10.0, 30), (80.0, 3), (10.0, 30))

    assert levels.is_known(75.0, 85.0, before=0)
    assert not levels.is_known(45.0, 55.0, before=0)


def test_two_blocks_are_too_few_and_so_is_little_of_a_long_time() -> None:
    assert not filled((10.0, 30), (80.0, 2)).is_known(75.0, 85.0, before=0)
    assert not filled((10.0, 2000), (80.0, 3)).is_known(75.0, 85.0, before=0)
    assert filled((10.0, 2000), (80.0, 21)).is_known(75.0, 85.0, before=0)


def test_the_newest_values_do_not_make_their_own_level_known() -> None:
    levels = filled((10.0, 30), (80.0, 3))

    assert levels.is_known(75.0, math.inf, before=0)
    assert not levels.is_known(75.0, math.inf, before=3 * BLOCK)
    assert not levels.is_known(75.0, math.inf, before=BLOCK + 1)


def test_a_block_that_is_being_filled_counts_as_new() -> None:
    levels = filled((10.0, 30), (80.0, 3))
    for _ in range(5):
        levels.add(80.0)

    assert levels.is_known(75.0, math.inf, before=5)


def test_the_spread_is_that_of_blocks_and_not_of_values() -> None:
    generator = random.Random(1)
    levels = Levels()
    for _ in range(180):
        level = generator.gauss(50.0, 1.0)
        for number in range(BLOCK):
            levels.add(level + 10.0 * (-1.0) ** number)

    assert levels.spread(before=0) == pytest.approx(1.0, rel=0.15)


def test_a_slow_drift_is_not_how_far_blocks_stray() -> None:
    assert filled(*((0.1 * step, 1) for step in range(180))).spread(before=0) < 0.1


def test_few_blocks_have_no_spread_yet() -> None:
    assert filled((1.0, 4), (9.0, 4)).spread(before=0) == 0.0


def test_a_load_that_comes_and_goes_all_the_time_counts_and_one_that_does_so_seldom_does_not() -> None:
    often = filled(*((level, 2) for _ in range(40) for level in (0.1, 0.9)))
    seldom = filled(*((level, 20) for _ in range(4) for level in (0.1, 0.9)))

    assert often.spread(before=0) > 0.4
    assert seldom.spread(before=0) == 0.0


def test_memory_stays_bounded_however_long_the_series() -> None:
    levels = filled((1.0, MOST_BLOCKS + 1000), (2.0, 100))

    assert sys.getsizeof(levels._blocks) < 40_000
    assert levels.is_known(1.5, 2.5, before=0)


def test_what_is_forgotten_is_not_known() -> None:
    levels = filled((1.0, 50))

    levels.forget()

    assert not levels.is_known(0.0, 2.0, before=0)
