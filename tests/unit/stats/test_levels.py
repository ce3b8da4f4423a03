import pytest

from infer_opt.stats.levels import SLOW, is_slow, quiet_level


def test_the_quiet_level_is_low_but_not_the_luckiest() -> None:
    levels = [0.0] * 10 + [0.47] * 9 + [-0.3]

    assert quiet_level(levels) == pytest.approx(0.0)


def test_a_machine_that_is_slow_most_of_the_time_has_a_quiet_level_all_the_same() -> None:
    assert quiet_level([0.47] * 15 + [0.0] * 5) == pytest.approx(0.0)


def test_nothing_is_known_without_levels() -> None:
    assert quiet_level([]) is None
    assert not is_slow(99.0, None)


def test_slow_is_what_lies_clearly_above_the_quiet_level() -> None:
    assert not is_slow(3.0 + SLOW - 0.01, 3.0)
    assert is_slow(3.0 + SLOW + 0.01, 3.0)
    assert not is_slow(2.0, 3.0)
