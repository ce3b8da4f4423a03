import math
import subprocess
import sys

import numpy as np
import pytest

from infer_opt.errors import ConfigError, EvidenceError
from infer_opt.stats.intervals import (
    as_sample,
    exp_ratio,
    hodges_lehmann,
    hodges_lehmann_error,
    hodges_lehmann_interval,
    hodges_lehmann_of_columns,
    is_provisional,
    mean_interval,
    median_interval,
    student_t,
)


@pytest.mark.parametrize("size", [1, 2, 3, 40, 119, 120, 121, 1001])
def test_all_columns_at_once_have_the_very_values_of_each_alone(size: int) -> None:
    # 120 is where the kept pairs end, 1000 where order statistics stand in.
    values = np.random.default_rng(size).normal(size=(size, 3))

    assert hodges_lehmann_of_columns(values).tolist() == [hodges_lehmann(column) for column in values.T]


@pytest.mark.parametrize("size", [1, 2, 7, 120, 121, 150])
def test_hodges_lehmann_of_any_size_is_that_of_every_pair_written_out(size: int) -> None:
    values = np.random.default_rng(size).normal(size=size).tolist()
    pairs = [first / 2 + second / 2 for index, first in enumerate(values) for second in values[index:]]

    assert hodges_lehmann(values) == np.median(pairs)


def test_a_column_that_is_not_finite_is_refused() -> None:
    with pytest.raises(EvidenceError):
        hodges_lehmann_of_columns(np.array([[1.0, math.nan], [1.0, 2.0]]))


def test_hodges_lehmann_is_the_median_of_all_pairwise_means() -> None:
    assert hodges_lehmann([1.0, 2.0, 6.0]) == pytest.approx(2.75)  # of 1, 1.5, 2, 3.5, 4, 6


def test_one_burst_hardly_moves_hodges_lehmann() -> None:
    quiet = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07]

    assert hodges_lehmann([*quiet[:-1], 50.0]) == pytest.approx(hodges_lehmann(quiet), abs=0.01)


def test_ten_values_have_the_textbook_interval() -> None:
    # Signed-rank tables: T <= 8 rejects at 5 % for n = 10, so the interval ends at the 9th Walsh average.
    values = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]
    walsh = sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])

    interval = hodges_lehmann_interval(values)

    assert (interval.low, interval.high, interval.confidence) == (walsh[8], walsh[-9], 0.95)


def test_six_rounds_are_the_fewest_with_an_interval() -> None:
    five = hodges_lehmann_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    six = hodges_lehmann_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])

    assert (five.value, five.low, five.high) == (3.0, -math.inf, math.inf)
    assert (six.low, six.high) == (1.0, 6.0)


def test_more_confidence_needs_more_rounds() -> None:
    assert hodges_lehmann_interval(range(7), confidence=0.99).high == math.inf
    assert hodges_lehmann_interval(range(8), confidence=0.99).high == 7.0


def test_the_exact_and_the_normal_interval_meet() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=121)

    exact, normal = (hodges_lehmann_interval(values[:size]) for size in (120, 121))

    assert normal.high - normal.low == pytest.approx(exact.high - exact.low, rel=0.03)


@pytest.mark.parametrize("noise", ["normal", "t3", "bursts"])
@pytest.mark.parametrize("size", [10, 53, 150])
def test_the_interval_covers_the_centre_whatever_the_noise(noise: str, size: int) -> None:
    rng = np.random.default_rng(size)
    hits = 0
    for _ in range(400):
        values = rng.normal(size=size) if noise == "normal" else rng.standard_t(3, size=size)
        if noise == "bursts":
            values = rng.normal(size=size) * np.where(rng.random(size) < 0.1, 10.0, 1.0)
        interval = hodges_lehmann_interval(values)
        hits += interval.low <= 0.0 <= interval.high

    assert 0.93 <= hits / 400 <= 0.985


def test_thinned_data_keep_the_answer_but_get_no_narrower_interval() -> None:
    rng = np.random.default_rng(2)
    many = rng.normal(5.0, 1.0, size=4000)

    interval = hodges_lehmann_interval(many)

    assert interval.value == pytest.approx(float(np.mean(many)), abs=0.03)
    # 2 x 1.96 / sqrt(1000), with the efficiency 3 / pi; all 4000 values would give half of it.
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * math.sqrt(math.pi / 3 / 1000), rel=0.05)
    assert hodges_lehmann(rng.permutation(many)) == interval.value


def test_the_standard_error_is_what_repeats_show() -> None:
    rng = np.random.default_rng(3)
    samples = rng.normal(size=(500, 30))

    errors = [hodges_lehmann_error(sample) for sample in samples]

    assert np.mean(errors) == pytest.approx(np.std([hodges_lehmann(sample) for sample in samples]), rel=0.1)


@pytest.mark.parametrize("size", [2, 3, 5, 6])
def test_few_rounds_have_a_standard_error_that_is_not_too_small(size: int) -> None:
    rng = np.random.default_rng(4)
    samples = rng.normal(size=(2000, size))

    errors = [hodges_lehmann_error(sample) for sample in samples]

    truth = float(np.std([hodges_lehmann(sample) for sample in samples]))
    assert truth < np.mean(errors) < 1.6 * truth


def test_one_round_has_an_infinite_standard_error() -> None:
    assert hodges_lehmann_error([0.1]) == math.inf


def test_processes_are_summarised_by_student_t_on_the_log_scale() -> None:
    logs = np.log([1.0, 2.0, 4.0, 8.0, 16.0])
    reach = 2.776445 * np.std(logs, ddof=1) / math.sqrt(5)

    estimate = median_interval(logs)

    assert estimate.value == pytest.approx(4.0)
    assert estimate.low == pytest.approx(4.0 * math.exp(-reach), rel=1e-6)
    assert estimate.high == pytest.approx(4.0 * math.exp(reach), rel=1e-6)


def test_one_process_says_nothing_about_the_next() -> None:
    estimate = median_interval([math.log(5.0)])

    assert (estimate.low, estimate.high) == (0.0, math.inf)
    assert estimate.value == pytest.approx(5.0)


def test_two_wildly_different_processes_give_a_bound_and_not_an_overflow() -> None:
    assert median_interval([0.0, 700.0]).high == math.inf
    assert exp_ratio(-math.inf) == 0.0


def test_higher_confidence_is_wider() -> None:
    wide, narrow = (mean_interval([1.0, 2.0, 4.0], confidence=level) for level in (0.99, 0.95))

    assert wide.low < narrow.low < narrow.high < wide.high


def test_student_quantiles_are_those_of_the_tables() -> None:
    found = [student_t(0.995, degrees) for degrees in (3, 5, 8, 12, 18)]

    assert found == pytest.approx([5.841, 4.032, 3.355, 3.055, 2.878], abs=6e-4)


def test_five_processes_make_a_claim_and_four_are_provisional() -> None:
    assert [is_provisional(processes) for processes in (1, 3, 4, 5, 9)] == [True, True, True, False, False]


def test_scipy_waits_until_a_statistic_needs_it() -> None:
    names = ("intervals", "rounds", "race", "confirm", "warmup", "tails")
    program = ";".join(f"import infer_opt.stats.{name}" for name in names)

    loaded = subprocess.run(
        [sys.executable, "-c", f"{program};import sys;print('scipy' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert loaded.stdout.strip() == "False"


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf], [[1.0], [2.0]]])
def test_what_is_not_a_list_of_numbers_is_no_evidence(values: list[float]) -> None:
    with pytest.raises(EvidenceError):
        as_sample(values)
    with pytest.raises(EvidenceError):
        hodges_lehmann(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ConfigError):
        hodges_lehmann_interval([1.0, 2.0], confidence=confidence)
    with pytest.raises(ConfigError):
        mean_interval([1.0, 2.0], confidence=confidence)
