import itertools
import math

import numpy as np
import pytest

from infer_opt.search.gaussian_process import (
    JITTER,
    PAIR_SHARES,
    Matrix,
    Observations,
    Weights,
    fit,
    fit_robustly,
    grid,
    log_likelihoods,
)


def equal_codes(left: Matrix, right: Matrix) -> tuple[Matrix, Matrix]:
    """The likeness of configurations whose knobs are all categories."""
    same = (left[:, None, :] == right[None, :, :]).astype(float)
    number = same.shape[2]
    total = same.sum(axis=2)
    return total / number, (total**2 - total) / (number * (number - 1)) if number > 1 else total


def all_codes(*levels: int) -> Matrix:
    return np.array(list(itertools.product(*(range(count) for count in levels))), dtype=float)


def seen(rows: Matrix, values: Matrix, error: float = 0.01) -> Observations:
    return Observations(rows=rows, values=values, variances=np.full(len(rows), error**2))


def test_two_observations_give_the_posterior_computed_by_hand() -> None:
    # One knob of three levels; its levels have prior variance 1 and the constant has 0.25.
    weights = Weights(constant=0.25, single=1.0, pairs=0.0, floor=0.3)
    observed = seen(np.array([[0.0], [1.0]]), np.array([1.0, -0.5]), error=0.4)
    diagonal, off = 1.25 + 0.4**2 + 0.3**2 + JITTER, 0.25
    determinant = diagonal**2 - off**2
    inverse = np.array([[diagonal, -off], [-off, diagonal]]) / determinant
    across = np.array([[1.25, 0.25], [0.25, 1.25], [0.25, 0.25]])  # of each level with the two observed ones
    rows = np.array([[0.0], [1.0], [2.0]])

    posterior = fit(equal_codes, observed, among=(weights,))
    mean, sd = posterior.mean_and_sd(rows)

    expected = np.full((3, 3), 0.25) + np.eye(3) - across @ inverse @ across.T
    assert mean == pytest.approx(across @ inverse @ np.array([1.0, -0.5]))
    assert sd**2 == pytest.approx(np.diagonal(expected))
    assert posterior.covariance(rows) == pytest.approx(expected)


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    weights = Weights(constant=0.25, single=1.0, pairs=0.0, floor=0.3)
    observed = seen(np.array([[0.0], [1.0]]), np.array([1.0, -0.5]), error=0.4)
    diagonal, off = 1.25 + 0.4**2 + 0.3**2 + JITTER, 0.25
    determinant = diagonal**2 - off**2
    quadratic = (diagonal * (1.0 + 0.25) - 2 * off * (1.0 * -0.5)) / determinant

    single, pairs = equal_codes(observed.rows, observed.rows)
    (likelihood,) = log_likelihoods((weights,), single, pairs, seen=observed)

    assert likelihood == pytest.approx(-0.5 * quadratic - 0.5 * math.log(determinant))


def test_what_is_known_exactly_stays_where_it_is() -> None:
    observed = Observations(
        rows=np.array([[0.0], [1.0]]), values=np.array([0.0, -0.4]), variances=np.array([0.0, 0.05**2])
    )

    mean, sd = fit(equal_codes, observed).mean_and_sd(observed.rows)

    assert mean[0] == pytest.approx(0.0, abs=1e-5)
    assert sd[0] < 1e-3
    assert sd[1] > 0.01


def test_single_changes_that_fit_no_pairs_leave_doubt_about_what_two_do_together() -> None:
    rows = np.array([[0.0, 0.0], *([level, 0.0] for level in range(1, 9)), *([0.0, level] for level in range(1, 9))])
    values = np.array([0.0, *([-0.3] * 8), *([0.25] * 8)])

    mean, sd = fit(equal_codes, seen(rows, values)).mean_and_sd(np.array([[1.0, 1.0]]))

    assert mean[0] - 2 * sd[0] < -0.3 < mean[0] + 2 * sd[0]  # may be better than either alone


@pytest.mark.parametrize("seed", range(5))
def test_data_that_add_up_prefer_the_smallest_share_of_pairs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = all_codes(4, 4, 4)
    effects = generator.normal(0, 0.3, (3, 4))
    values = sum(effects[knob][rows[:, knob].astype(int)] for knob in range(3)) + generator.normal(0, 0.01, len(rows))

    weights = fit(equal_codes, seen(rows, values)).weights

    assert weights.pairs / (weights.single + weights.pairs) == pytest.approx(PAIR_SHARES[0])


@pytest.mark.parametrize("seed", range(5))
def test_data_of_pairs_prefer_a_kernel_with_pairs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = all_codes(4, 4, 4)
    tables = generator.normal(0, 0.3, (3, 4, 4))
    pairs = itertools.combinations(range(3), 2)
    values = sum(tables[at][rows[:, a].astype(int), rows[:, b].astype(int)] for at, (a, b) in enumerate(pairs))

    assert fit(equal_codes, seen(rows, values)).weights.pairs > 0.0


@pytest.mark.parametrize("seed", range(5))
def test_the_floor_follows_what_processes_differ_by(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = np.repeat(all_codes(4, 4), 4, axis=0)
    values = rows[:, 0] * 0.2 + generator.normal(0, 1, len(rows)) * 0.04

    assert fit(equal_codes, seen(rows, values, error=0.003)).weights.floor == 0.04


def test_one_level_tells_about_the_others_with_it() -> None:
    # Level 1 of the first knob halves the time wherever it was seen; its last combination was not seen.
    rows = all_codes(2, 4)
    values = np.where(rows[:, 0] == 1, -0.7, 0.0)

    mean, sd = fit(equal_codes, seen(rows[:-1], values[:-1])).mean_and_sd(rows[-1:])

    assert mean[0] < -0.4
    assert mean[0] == pytest.approx(-0.7, abs=2 * sd[0])  # it was seen in three pairs only


def test_one_wild_slow_value_does_not_bend_what_its_kin_are_believed_to_do() -> None:
    generator = np.random.default_rng(3)
    rows = all_codes(4, 4, 4)
    effects = generator.normal(0, 0.3, (3, 4))
    truth = sum(effects[knob][rows[:, knob].astype(int)] for knob in range(3))
    values = truth + generator.normal(0, 0.01, len(rows))
    values[20] += 0.7

    def worst(posterior_mean: Matrix) -> float:
        return float(np.abs(posterior_mean - truth).max())

    robust = fit_robustly(equal_codes, seen(rows, values)).mean_and_sd(rows)[0]
    plain = fit(equal_codes, seen(rows, values)).mean_and_sd(rows)[0]

    assert worst(robust) < 0.03
    assert worst(plain) > 0.05


def test_a_fast_value_is_never_doubted() -> None:
    generator = np.random.default_rng(3)
    rows = all_codes(4, 4, 4)
    values = generator.normal(0, 0.01, len(rows))
    values[20] -= 0.7

    assert fit_robustly(equal_codes, seen(rows, values)).whitened == pytest.approx(
        fit(equal_codes, seen(rows, values)).whitened
    )


def test_surprises_are_what_leaving_one_out_gives() -> None:
    generator = np.random.default_rng(1)
    rows = all_codes(3, 3)
    values = generator.normal(0, 0.2, len(rows))
    weights = grid()[50]

    whole = fit(equal_codes, seen(rows, values), among=(weights,))
    without = fit(equal_codes, seen(rows[1:], values[1:]), among=(weights,))
    mean, sd = without.mean_and_sd(rows[:1])

    noise = 0.01**2 + weights.floor**2 + JITTER
    assert whole.surprises()[0] == pytest.approx((values[0] - mean[0]) / math.sqrt(sd[0] ** 2 + noise))
