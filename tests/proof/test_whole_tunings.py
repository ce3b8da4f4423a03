"""Whole tunings through the real chapters, on machines that disturb: what is claimed, and what is lost.

The figures are shares over seeded worlds; `most_allowed` gives how many failures chance explains at the target.
"""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from fakes import MS, make_rig
from infer_opt.confirming import Confirmation
from infer_opt.racing import race
from infer_opt.results import Verdict
from proof.worlds import (
    FAST,
    STOCK,
    CoRunner,
    Influence,
    Machine,
    Noise,
    Tuned,
    always,
    cold_after_idle,
    confirmed,
    identical,
    most_allowed,
    quota,
    tuned,
    verdict_of,
)

# Configurations to choose from -> tunings under each of the six noise models.
SPACES = {16: 6, 64: 4, 200: 2}
RACE_ROUNDS = 40  # as a budget of minutes leaves; whatever the race picks among equals, the claim must be none
HOSTS, HOSTS_WITH_A_DIFFERENCE = 30, 20


def machine_with(shape: Noise, seed: int) -> Machine:
    """3 % from block to block by that model, 1 % from process to process."""
    return Machine(seed=seed, shape=shape, noise=0.03, process_effect=0.01)


def tunings_over_equals(count: int) -> list[Tuned]:
    return [
        tuned(machine_with(shape, seed), identical(count), race_rounds=RACE_ROUNDS, whole_trials=seed == 0)
        for shape in Noise
        for seed in range(SPACES[count])
    ]


@pytest.mark.parametrize("count", SPACES)
def test_the_best_of_many_equals_is_not_called_faster(count: int) -> None:
    found = tunings_over_equals(count)

    assert sum(one.claims_a_winner for one in found) <= most_allowed(0.01, len(found))
    # They had every chance to: more looked promising than can be confirmed, and somebody seemed to win the race.
    assert all(len(one.entrants) > 3 for one in found)
    confirmations = [one.confirmation for one in found if one.confirmation is not None]
    assert len(confirmations) > len(found) / 2
    assert sum(seems_faster(one) for one in confirmations) > len(confirmations) / 4


def seems_faster(found: Confirmation) -> bool:
    """Whether some first epoch says so, by more than the smallest margin."""
    return any(value < -0.01 for value in found.epochs[0].values.values())


def test_the_truly_best_is_seldom_lost_in_the_race() -> None:
    rivals = {config.key: config for config in identical(8)}
    slow = [config for config in rivals.values() if config != FAST][:3]
    found = []
    for shape in Noise:
        for seed in range(6):
            machine = machine_with(shape, seed)
            machine.latency_ns = {FAST: 0.98 * MS} | dict.fromkeys(slow, 1.1 * MS)
            found.append(race(make_rig(machine), rivals, STOCK, generator=random.Random(seed), goes_on=always))

    lost = sum(FAST.key not in one.survivors for one in found)
    assert lost <= most_allowed(0.05, len(found))
    assert all(len(one.survivors) < 9 for one in found)  # it was a race, in which others left


def test_a_winner_by_ten_per_cent_among_many_equals_is_found_and_named() -> None:
    found = []
    for shape in Noise:
        machine = machine_with(shape, seed=1)
        machine.latency_ns = {FAST: 0.9 * MS}
        found.append(tuned(machine, identical(16), race_rounds=RACE_ROUNDS))

    named = [one.confirmation.comparisons[FAST.key].verdict for one in found if one.confirmation is not None]
    assert named == [Verdict.FASTER] * len(Noise)


# Hostile machines


HOSTILE: dict[str, Callable[[], Influence]] = {
    "a co-runner that computes half of the time": CoRunner,
    "one whose phases last for epochs": lambda: CoRunner(slow_down=2.0, shortest_ms=300.0, longest_ms=1500.0),
    "a quota that stops everybody in each 100 ms": lambda: quota,
    "a first block after an idle gap that is slow": lambda: cold_after_idle,
}


def host(influence: Influence, seed: int, ratio: float) -> Machine:
    return Machine(seed=seed, latency_ns={FAST: ratio * MS}, noise=0.02, process_effect=0.01, influences=(influence,))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_machine_makes_no_difference_out_of_nothing(name: str) -> None:
    found = [verdict_of(confirmed(host(HOSTILE[name](), seed, 1.0))) for seed in range(HOSTS)]

    assert sum(one in (Verdict.FASTER, Verdict.SLOWER) for one in found) <= most_allowed(0.05, HOSTS)


@pytest.mark.parametrize(("ratio", "wrong"), [(0.95, Verdict.SLOWER), (1.05, Verdict.FASTER)])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_machine_never_turns_a_difference_round(name: str, ratio: float, wrong: Verdict) -> None:
    found = [
        confirmed(host(HOSTILE[name](), seed, ratio)).comparisons["fast"] for seed in range(HOSTS_WITH_A_DIFFERENCE)
    ]

    verdicts = Counter(one.verdict for one in found)
    assert verdicts[wrong] == verdicts[Verdict.EQUIVALENT] == 0
    assert verdicts.total() - verdicts[Verdict.INCONCLUSIVE] > 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ratio", [0.95, 1.0, 1.05])
def test_a_co_runner_that_is_seen_leaves_no_answer_but_too_noisy(seed: int, ratio: float) -> None:
    co_runner = CoRunner()

    found = confirmed(host(co_runner, seed, ratio), watch=co_runner.watch)

    assert verdict_of(found) is Verdict.TOO_NOISY
