import math

import numpy as np
import pytest

from infer_opt.errors import ConfigError, EvidenceError
from infer_opt.stats.differences import (
    Difference,
    judged,
    paired_difference,
    sums_by_call,
    trimmed_mean,
    welch_difference,
)


def test_a_burst_does_not_move_a_trimmed_mean() -> None:
    assert trimmed_mean([10.0, 11.0, 9.0, 10.0, 500.0]) == pytest.approx(31 / 3)


def test_whole_microseconds_average_out() -> None:
    assert trimmed_mean([3.0] * 6 + [4.0] * 4) == pytest.approx(20 / 6)


def test_a_few_values_are_not_trimmed() -> None:
    assert trimmed_mean([1.0, 2.0, 9.0]) == 4.0


def test_paired_differences_are_those_of_a_textbook() -> None:
    # Student 1908, the hours of sleep gained by ten patients under two drugs.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

    found = paired_difference(second, first)

    assert found.value == pytest.approx(1.58)
    assert found.value / found.error == pytest.approx(4.0621, abs=1e-3)
    assert found.strength == pytest.approx(0.002833, abs=1e-5)
    interval = found.interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((0.7001, 2.4599), abs=1e-3)


def test_welch_is_that_of_scipy() -> None:
    from scipy.stats import ttest_ind

    random = np.random.default_rng(1)
    first, second = random.normal(10, 1, 5), random.normal(11, 4, 9)

    found = welch_difference(first, second)
    reference = ttest_ind(first, second, equal_var=False)
    expected = reference.confidence_interval(0.99)

    assert found.strength == pytest.approx(reference.pvalue)
    interval = found.interval(0.99)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_one_process_says_nothing_of_its_own_spread() -> None:
    for found in (paired_difference([9.0], [1.0]), welch_difference([9.0], [1.0, 2.0])):
        assert found.strength == 1.0
        assert found.interval(0.9).low == -math.inf


def test_equal_values_are_no_difference_and_unequal_constants_are_one() -> None:
    assert paired_difference([2.0, 2.0], [2.0, 2.0]).strength == 1.0
    assert welch_difference([3.0, 3.0], [2.0, 2.0]).strength == 0.0


def test_a_coarse_clock_widens_an_interval_however_alike_the_processes_are() -> None:
    found = paired_difference([3000.0] * 9, [2000.0] * 9, resolution=500.0)

    assert found.interval(0.99).low < 0.0 < found.interval(0.99).high
    assert found.strength == pytest.approx(0.0455, abs=1e-3)  # two of its standard errors, by the normal law


def test_few_processes_do_not_make_the_clock_coarser() -> None:
    found = paired_difference([3000.0, 3001.0, 2999.0], [1000.0, 1001.0, 999.0], resolution=408.0)

    assert found.interval(0.99).low > 0.0
    assert found.interval(1.0 - found.strength).low == pytest.approx(0.0, abs=1.0)


def test_pairs_need_as_many_of_each() -> None:
    with pytest.raises(EvidenceError, match="got 2 and 1"):
        paired_difference([1.0, 2.0], [1.0])


def test_of_many_groups_the_more_certain_one_is_judged_more_strictly() -> None:
    # As Holm does: the first at a third of the level, the next at a half, the last at what is left.
    made = {name: Difference(value=value, error=1.0, degrees=1000.0) for name, value in
            (("small", 2.1), ("large", 9.0), ("middle", 2.3))}  # fmt: skip

    found = judged(made, level=0.05)

    assert [1 - found[name].confidence for name in made] == pytest.approx([0.05, 0.05 / 3, 0.025])
    assert all(estimate.low > 0 for estimate in found.values())


def test_what_follows_an_uncertain_group_is_uncertain_too() -> None:
    made = {name: Difference(value=value, error=1.0, degrees=1000.0) for name, value in
            (("a", 2.2), ("b", 2.1), ("c", 2.05))}  # fmt: skip

    assert all(estimate.low < 0 for estimate in judged(made, level=0.05).values())


def test_the_chance_of_any_false_group_stays_within_the_level() -> None:
    random = np.random.default_rng(4)
    wrong = 0
    for _ in range(600):
        made = {str(one): paired_difference(*random.normal(0, 1, (2, 6))) for one in range(12)}
        wrong += any(estimate.low > 0 or estimate.high < 0 for estimate in judged(made, level=0.05).values())

    assert wrong <= 0.05 * 600 + 2 * math.sqrt(0.05 * 0.95 * 600)
    assert wrong > 0


def test_nodes_add_up_call_by_call() -> None:
    assert sums_by_call([(1, 2, 3), (), (10, 20, 30)]) == [11.0, 22.0, 33.0]
    assert sums_by_call([(), ()]) == []
    with pytest.raises(EvidenceError, match="over 1 and 2 calls"):
        sums_by_call([(1, 2), (3,)])


def test_a_confidence_lies_between_0_and_1() -> None:
    with pytest.raises(ConfigError):
        Difference(value=1.0, error=1.0, degrees=2.0).interval(1.0)
