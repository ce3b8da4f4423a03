import math

import numpy as np
import pytest

from infer_opt.errors import ConfigError
from infer_opt.stats.intervals import FloatArray
from infer_opt.stats.race import (
    PROCESS_LUCK,
    RaceState,
    allowance,
    choose_leader,
    cut,
    is_eliminated,
    judge,
    log_evidence,
)


@pytest.mark.parametrize(
    ("slower", "rounds", "entrants"),
    [(6, 6, 2), (17, 20, 2), (30, 40, 2), (10, 10, 16), (18, 20, 16), (32, 40, 16)],
)
def test_the_published_table_eliminates_and_one_loss_less_does_not(slower: int, rounds: int, entrants: int) -> None:
    assert is_eliminated(slower, rounds, entrants=entrants)
    assert not is_eliminated(slower - 1, rounds, entrants=entrants)


def test_evidence_is_a_martingale_against_a_fair_coin() -> None:
    for rounds in (0, 1, 7, 40, 119):
        for slower in range(rounds + 1):
            after = math.log(
                0.5 * math.exp(log_evidence(slower, rounds + 1)) + 0.5 * math.exp(log_evidence(slower + 1, rounds + 1))
            )
            assert after == pytest.approx(log_evidence(slower, rounds), abs=1e-9)


def test_no_rounds_are_no_evidence() -> None:
    assert log_evidence(0, 0) == pytest.approx(0.0, abs=1e-12)


def test_evidence_is_finite_at_the_end_of_a_race_and_safe_far_beyond() -> None:
    assert log_evidence(120, 120) == pytest.approx(80.90365637, abs=1e-6)
    assert log_evidence(0, 120) == pytest.approx(-5.24730657, abs=1e-6)
    assert log_evidence(5000, 5000) > 3000.0
    assert log_evidence(0, 5000) == -math.inf


def test_five_rounds_eliminate_nobody_however_loose_alpha() -> None:
    assert log_evidence(5, 5) > math.log(1 / 0.1)
    assert not is_eliminated(5, 5, entrants=2, alpha=0.1)
    assert is_eliminated(6, 6, entrants=2, alpha=0.1)


def test_more_alpha_needs_less_evidence() -> None:
    assert not is_eliminated(29, 40, entrants=2)
    assert is_eliminated(29, 40, entrants=2, alpha=0.1)


@pytest.mark.parametrize(("slower", "rounds"), [(-1, 5), (6, 5)])
def test_losses_cannot_exceed_rounds(slower: int, rounds: int) -> None:
    with pytest.raises(ConfigError):
        log_evidence(slower, rounds)


@pytest.mark.parametrize(("entrants", "alpha"), [(1, 0.05), (2, 0.0), (2, 1.0)])
def test_a_race_needs_two_and_a_level(entrants: int, alpha: float) -> None:
    with pytest.raises(ConfigError):
        is_eliminated(3, 5, entrants=entrants, alpha=alpha)


def columns(*values: list[float]) -> FloatArray:
    return np.array(values, dtype=np.float64).T


def test_the_fastest_leads_and_a_constant_loser_leaves() -> None:
    values = columns([0.0] * 6, [0.1] * 6)

    assert judge(values[:5], [0, 1]).eliminated == ()
    state = judge(values, [0, 1])

    assert state == RaceState(leader=0, survivors=(0,), eliminated=(1,), is_equivalence_set=False, rounds=6)
    assert state.is_over


def test_what_is_allowed_for_luck_is_no_loss() -> None:
    values = columns([0.0] * 10, [0.02] * 10, [0.04] * 10)

    assert judge(values, [0, 1, 2], allowed=0.03).eliminated == (2,)
    assert judge(values, [0, 1, 2]).eliminated == (1, 2)


def test_the_luck_of_several_processes_averages_out() -> None:
    assert allowance(1) == PROCESS_LUCK
    assert allowance(4) == PROCESS_LUCK / 2
    with pytest.raises(ConfigError):
        allowance(0)


def test_the_better_half_goes_on_by_the_mean_over_heats() -> None:
    seen = {"lucky once": [-0.9, 0.5], "steady": [-0.3, -0.3], "slow": [0.2, 0.2], "slower": [0.4, 0.4], "last": [1.0]}

    assert cut(seen, least=1) == ("steady", "lucky once", "slow")
    assert cut(seen, least=4) == ("steady", "lucky once", "slow", "slower")


def test_whoever_ran_in_no_heat_cannot_be_ranked() -> None:
    with pytest.raises(ConfigError, match="without a heat"):
        cut({"a": [0.1], "b": []}, least=1)


def test_the_bar_is_set_by_those_who_started_not_by_those_left() -> None:
    values = np.full((6, 16), math.nan)
    values[:, 0], values[:, 1] = 0.0, 0.1

    assert judge(values, [0, 1]).survivors == (0, 1)
    assert judge(values[:, :2], [0, 1]).survivors == (0,)


def test_a_slow_round_for_everyone_does_not_choose_the_leader() -> None:
    # Column 1 is faster in five rounds of seven; by its own plain values it looks slower: 3.15 against 3.
    weather = np.arange(7.0)
    ahead = np.array([-0.1, -0.1, -0.1, -0.1, -0.1, 0.9, 0.9])
    values = np.column_stack([weather, weather + ahead])

    assert choose_leader(values, [0, 1]) == 1
    assert choose_leader(values, [0]) == 0


def test_ties_are_not_losses_and_equal_entrants_stay() -> None:
    equal = columns([0.5] * 40, [0.5] * 40)

    state = judge(equal, [1, 0])

    assert state.leader == 1
    assert state.eliminated == ()
    assert state.is_equivalence_set


def test_ties_do_not_hide_that_one_never_wins() -> None:
    ties = [0.0] * 114
    values = columns([*ties, *[0.0] * 6], [*ties, *[0.1] * 6])

    assert judge(values, [0, 1]).eliminated == (1,)
    assert judge(values[:-1], [0, 1]).eliminated == ()


def test_discarded_rounds_count_for_nobody() -> None:
    values = columns([0.0, *[math.nan] * 4, *[0.0] * 4], [0.1, *[math.nan] * 4, *[0.1] * 4])

    state = judge(values, [0, 1])

    assert state.leader == 0
    assert state.eliminated == ()


def test_without_a_complete_round_nobody_leads_or_leaves() -> None:
    for values in (columns([], []), columns([math.nan] * 9, [0.1] * 9)):
        state = judge(values, [0, 1])
        assert (state.leader, state.survivors, state.eliminated, state.is_over) == (None, (0, 1), (), False)


def noisy(differences: list[float], *, rounds: int, noise: float) -> FloatArray:
    rng = np.random.default_rng(5)
    return np.asarray(rng.normal(0.0, noise, size=(rounds, len(differences))) + np.array(differences))


def test_survivors_within_one_percent_are_a_set() -> None:
    assert judge(noisy([0.0, 0.002, 0.002], rounds=30, noise=0.004), [0, 1, 2]).is_equivalence_set
    assert not judge(noisy([0.0, 0.002, 0.002], rounds=30, noise=0.05), [0, 1, 2]).is_equivalence_set


def against_a_rival(spread: float, *, rounds: int) -> FloatArray:
    """Two entrants that differ by -spread .. spread, evenly and 0 on the whole."""
    return np.column_stack([np.zeros(rounds), np.linspace(-spread, spread, rounds)])


def test_a_set_needs_the_whole_interval_within_one_percent() -> None:
    # Half-width 1.96 spread / sqrt(3 n): 0.54 % and 1.08 %.
    inside, beyond = (judge(against_a_rival(spread, rounds=40), [0, 1]) for spread in (0.03, 0.06))

    assert (inside.is_equivalence_set, inside.is_over) == (True, True)
    assert (beyond.is_equivalence_set, beyond.is_over) == (False, False)


def test_five_rounds_are_no_set_however_equal() -> None:
    assert not judge(noisy([0.0, 0.0], rounds=5, noise=1e-6), [0, 1]).is_equivalence_set


def test_one_alone_is_no_set_but_the_race_is_over() -> None:
    state = judge(noisy([0.0], rounds=10, noise=0.01), [0])

    assert (state.is_equivalence_set, state.is_over) == (False, True)


def test_a_race_ends_at_120_rounds() -> None:
    undecided = against_a_rival(0.5, rounds=120)

    assert judge(undecided, [0, 1]).is_over
    assert not judge(undecided[:-1], [0, 1]).is_over


@pytest.mark.parametrize("live", [[], [0, 0], [2], [-1]])
def test_live_must_name_columns(live: list[int]) -> None:
    with pytest.raises(ConfigError):
        judge(np.zeros((6, 2)), live)


def test_values_must_be_a_matrix() -> None:
    with pytest.raises(ConfigError):
        judge(np.zeros(6), [0])


def test_looking_after_every_round_loses_an_equal_entrant_in_at_most_one_of_twenty() -> None:
    rng = np.random.default_rng(6)
    slower = rng.random((4000, 120)) < 0.5
    losses = np.cumsum(slower, axis=1)
    fewest = np.array(
        [next(s for s in range(n + 1) if is_eliminated(s, n, entrants=2) or s == n) for n in range(1, 121)]
    )
    decides = np.array([is_eliminated(int(s), int(n), entrants=2) for s, n in zip(fewest, range(1, 121), strict=True)])

    lost = ((losses >= fewest) & decides).any(axis=1).mean()

    assert 0.01 < lost <= 0.05


def test_the_true_best_survives_heavy_tails() -> None:
    rng = np.random.default_rng(7)
    races, entrants, lost, finished = 80, 6, 0, 0
    for _ in range(races):
        # Student t with 1.5 degrees of freedom: no variance; the best is ahead of half of the field by 1 %.
        values = 0.03 * rng.standard_t(1.5, size=(60, entrants)) + np.array([0.0, 0.01, 0.01, 0.01, 0.2, 0.2])
        live = list(range(entrants))
        for rounds in range(6, 61, 2):
            state = judge(values[:rounds], live)
            live = list(state.survivors)
            if 0 not in live or state.is_over:
                break
        lost += 0 not in live
        finished += 4 not in live and 5 not in live

    assert lost <= 0.05 * races
    assert finished >= 0.9 * races
