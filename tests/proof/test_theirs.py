"""The rules that others use fail, on the same noise, the tests that infer-opt's rules pass."""

import numpy as np
import pytest
from benchmarks.simulation import contest
from benchmarks.simulation.noise import Noise
from benchmarks.simulation.ours import tunings
from benchmarks.simulation.rates import Rate, is_at_least, is_at_most
from benchmarks.simulation.theirs import RULES, T_TEST, best_of, repeated_test, repeated_test_with, with_gain

REPEATS = 100
SECONDS = 10.0
SCALE = 0.04


def rate(hits: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Rate:
    return Rate(hits=int(hits.sum()), trials=hits.size)


@pytest.mark.parametrize("noise", [Noise.DRIFT, Noise.PROCESSES])
@pytest.mark.parametrize("rule", RULES)
def test_others_call_a_winner_among_equals(rule: str, noise: Noise) -> None:
    found = RULES[rule](noise, np.random.default_rng(701), REPEATS, SECONDS)

    assert not is_at_most(rate(found.faster() | found.slower()), 0.05)


@pytest.mark.parametrize("noise", [Noise.DRIFT, Noise.PROCESSES])
@pytest.mark.parametrize("rule", RULES)
def test_what_others_print_misses_second_measurements(rule: str, noise: Noise) -> None:
    rng = np.random.default_rng(702)
    first, again = (RULES[rule](noise, rng, REPEATS, SECONDS) for _ in range(2))

    assert not is_at_least(rate(np.abs(again.centre - first.centre) <= first.reach), 0.93)


@pytest.mark.parametrize("rule", RULES)
def test_the_best_of_64_equals_looks_faster_to_others(rule: str) -> None:
    assert best_of(rule, Noise.GAUSSIAN, np.random.default_rng(703), repeats=10).mean() > 0.01


def test_ours_calls_no_winner_among_the_same_equals() -> None:
    found = contest.false_winners(contest.OURS, SCALE, np.random.default_rng(704))

    assert set(found) == set(Noise)
    hits, trials = (sum(int(one[name]) for one in found.values()) for name in ("hits", "trials"))
    assert is_at_most(Rate(hits=hits, trials=trials), 0.01)


def test_ours_does_not_inflate_the_best_of_64_equals() -> None:
    found = [one.printed for one in tunings(Noise.GAUSSIAN, np.random.default_rng(705), repeats=40, spread=0.0)]

    assert len(found) > 10
    assert abs(np.mean(found)) < 0.005


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_finds_a_large_gain_on_a_quiet_machine(rule: str) -> None:
    gain = float(np.log(2.0))
    found = with_gain(rule, Noise.GAUSSIAN, np.random.default_rng(706), repeats=50, seconds=SECONDS, gain=gain)

    assert found.faster(gain).all()
    assert not found.slower(gain).any()


def test_a_t_test_that_is_asked_once_is_right_as_often_as_it_says() -> None:
    rng = np.random.default_rng(707)
    first = repeated_test(Noise.GAUSSIAN, rng, 1000, 0.0)  # time for the least of rounds, so for one test only

    assert is_at_most(rate(first.faster() | first.slower()), 0.05)


def test_the_t_test_with_a_gain_is_the_one_without_moved_by_it() -> None:
    plain = repeated_test_with(Noise.STUDENT, np.random.default_rng(708), 20, seconds=0.0, gain=0.0)
    moved = with_gain(T_TEST, Noise.STUDENT, np.random.default_rng(708), repeats=20, seconds=0.0, gain=0.5)

    assert moved.centre == pytest.approx(plain.centre)
