"""Elimination with a guarantee: rounds are compared by sign, and losers leave as soon as the evidence is in."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from infer_opt.errors import ConfigError
from infer_opt.stats.intervals import FloatArray, hodges_lehmann_interval, hodges_lehmann_of_columns

ALPHA = 0.05
MINIMUM_ROUNDS = 6
MAXIMUM_ROUNDS = 120
EQUIVALENCE = 0.01  # survivors this close to the leader, as a share, are one set
HEAT_ROUNDS = 10  # after which everybody is started anew: processes differ by more than rounds of one process
HEATS_A_CUT = 2
# ln(time) by which a process may be luckier than another. On a recorded machine of two cores one ran at 1.6 times the
# speed of the other, and sessions of one thread kept the core that they were started on.
PROCESS_LUCK = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceState:
    """Where a race stands after some rounds. Entrants are named by their column.

    `eliminated` leave now, by this call; `survivors` include the leader. An elimination saves time and is never
    reported as "slower". `leader` is None while no round holds every live entrant.
    """

    leader: int | None
    survivors: tuple[int, ...]
    eliminated: tuple[int, ...]
    is_equivalence_set: bool
    rounds: int

    @property
    def is_over(self) -> bool:
        """One survivor, all of them within 1 % of the leader, or 120 rounds."""
        return len(self.survivors) == 1 or self.is_equivalence_set or self.rounds >= MAXIMUM_ROUNDS


def log_evidence(slower: int, rounds: int) -> float:
    """ln E_n: the evidence of `slower` losses in `rounds` that a challenger loses more often than it wins.

    E_n = 2^(n+1) B(S+1/2, n-S+1/2) [1 - I_{1/2}(S+1/2, n-S+1/2)] / B(1/2, 1/2): a Beta(1/2, 1/2) mixture of
    likelihood ratios over loss rates above 1/2, against 1/2. A test martingale: it may be looked at after every round.

    Raises:
        ConfigError: not 0 <= slower <= rounds.

    Source: Ville 1939; Howard & Ramdas 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences".
    """
    if not 0 <= slower <= rounds:
        raise ConfigError(f"slower must lie between 0 and {rounds} rounds, got {slower}")
    from scipy.special import betainc, betaln

    losses, wins = slower + 0.5, rounds - slower + 0.5
    # 1 - I_{1/2}(a, b) = I_{1/2}(b, a): the same number without the cancellation.
    upper_half = float(betainc(wins, losses, 0.5))
    if upper_half == 0.0:  # underflows beyond a thousand rounds won: no evidence at all that it loses
        return -math.inf
    return (rounds + 1) * math.log(2.0) + float(betaln(losses, wins)) + math.log(upper_half) - math.log(math.pi)


def is_eliminated(slower: int, rounds: int, *, entrants: int, alpha: float = ALPHA) -> bool:
    """Whether a challenger that was slower than the leader in `slower` of `rounds` leaves a race of `entrants`.

    E_n >= (entrants - 1) / alpha: by Ville's inequality and a union bound over the leaders, the true best is lost with
    probability at most `alpha`, whatever the noise, if rounds are exchangeable. `entrants` counts those who started.

    Raises:
        ConfigError: fewer than two entrants, `alpha` outside (0, 1), or not 0 <= slower <= rounds.
    """
    if entrants < 2:
        raise ConfigError(f"a race needs two entrants or more, got {entrants}")
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"alpha lies between 0 and 1, got {alpha}")
    evidence = log_evidence(slower, rounds)
    return rounds >= MINIMUM_ROUNDS and evidence >= math.log((entrants - 1) / alpha)


def allowance(heats: int) -> float:
    """The ln(time) by which an entrant may be slower than the leader for its processes' luck alone, after some heats.

    Rounds of one process share its luck, so the evidence of a thousand rounds is still that of one process: an entrant
    leaves for being slower than the leader *and* its luck. The luck of several processes averages out.

    Raises:
        ConfigError: no heat.
    """
    if heats < 1:
        raise ConfigError(f"a race has one heat or more, got {heats}")
    return PROCESS_LUCK / math.sqrt(heats)


def judge(values: FloatArray, live: Sequence[int], *, alpha: float = ALPHA, allowed: float = 0.0) -> RaceState:
    """Who leads, who leaves and whether the rest are one set, after the rounds so far.

    `values` is (rounds, entrants): block values, smaller is faster, nan where an entrant was not live or the round
    was discarded. `live` are the columns still racing. A round counts as lost when the entrant is slower than the
    leader by more than `allowed`.

    Rounds in which two values are equal say nothing about either: they count neither as slower nor as rounds (Dixon &
    Mood 1946). Given that a round decides, the true best still loses it at most half of the time, so the guarantee
    stands; and clock ticks that tie two fast configurations cannot hide that one of them never wins.

    Raises:
        ConfigError: `values` is not a matrix, or `live` is empty, repeated or outside its columns.
    """
    if values.ndim != 2:
        raise ConfigError(f"values must be (rounds, entrants), got shape {values.shape}")
    entrants = values.shape[1]
    if not live or len(set(live)) != len(live) or not all(0 <= column < entrants for column in live):
        raise ConfigError(f"live must name some of the {entrants} entrants once each, got {list(live)}")
    leader = choose_leader(values, live)
    if leader is None:
        return RaceState(
            leader=None, survivors=tuple(live), eliminated=(), is_equivalence_set=False, rounds=len(values)
        )
    eliminated = tuple(
        column
        for column in live
        if column != leader and _loses(differences(values, column, leader) - allowed, entrants=entrants, alpha=alpha)
    )
    survivors = tuple(column for column in live if column not in eliminated)
    return RaceState(
        leader=leader,
        survivors=survivors,
        eliminated=eliminated,
        is_equivalence_set=len(survivors) > 1
        and all(_is_near(differences(values, column, leader)) for column in survivors if column != leader),
        rounds=len(values),
    )


def cut(log_ratios: Mapping[str, Sequence[float]], *, least: int) -> tuple[str, ...]:
    """Who goes on after some heats: the better half by the mean over heats, at least `least` of them, the best first.

    `log_ratios` are each entrant's values, one a heat. Equals keep their order.

    Raises:
        ConfigError: an entrant without a value.

    Source: Karnin, Koren & Somekh 2013, "Almost optimal exploration in multi-armed bandits" (sequential halving).
    """
    if not all(len(values) for values in log_ratios.values()):
        raise ConfigError("an entrant without a heat cannot be ranked")
    ranked = sorted(log_ratios, key=lambda key: sum(log_ratios[key]) / len(log_ratios[key]))
    return tuple(ranked[: max(least, math.ceil(len(ranked) / 2))])


def choose_leader(values: FloatArray, live: Sequence[int]) -> int | None:
    """The live column with the lowest Hodges-Lehmann value, each round centred on its own median.

    Centring takes out what a round did to everyone. Only rounds that hold every live entrant count; None without one.
    Equal entrants are led by the one named first in `live`.
    """
    columns = list(live)
    complete = values[np.isfinite(values[:, columns]).all(axis=1)][:, columns]
    if not len(complete):
        return None
    centred = complete - np.median(complete, axis=1, keepdims=True)
    return columns[int(np.argmin(hodges_lehmann_of_columns(centred)))]


def differences(values: FloatArray, column: int, reference: int) -> FloatArray:
    """`column` minus `reference`, over the rounds that hold both."""
    both = values[:, column] - values[:, reference]
    return np.asarray(both[np.isfinite(both)], dtype=np.float64)


def _loses(paired: FloatArray, *, entrants: int, alpha: float) -> bool:
    slower, decided = int((paired > 0.0).sum()), int((paired != 0.0).sum())
    return is_eliminated(slower, decided, entrants=entrants, alpha=alpha)


def _is_near(paired: FloatArray) -> bool:
    if not len(paired):
        return False
    interval, reach = hodges_lehmann_interval(paired), math.log1p(EQUIVALENCE)
    return -reach < interval.low and interval.high < reach
