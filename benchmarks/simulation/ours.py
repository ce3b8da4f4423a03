"""infer-opt's own rules on simulated epochs, epoch by epoch as `infer_opt.confirming` applies them.

Data is drawn in arrays; every verdict, interval and elimination comes from the functions that a tuning calls. The one
rule with a form of its own here is `epoch_values`, Hodges-Lehmann over a whole array: tests/proof holds it to the real
one, and `confirmed` to `confirming.confirm`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.simulation.noise import ROUND_SD, Array, Noise, blocks

from infer_opt.concluding import finalists_of
from infer_opt.confirming import plan_rounds
from infer_opt.racing import Course
from infer_opt.results import Verdict
from infer_opt.rig import BASELINE, CLONE
from infer_opt.stats.confirm import LOOKS, Decision, decide_all
from infer_opt.stats.intervals import hodges_lehmann, hodges_lehmann_error, mean_interval
from infer_opt.stats.race import HEAT_ROUNDS
from infer_opt.workers.rounds import Round

CHUNK = 250  # repeats that are drawn at a time: a few ten megabytes
SCREEN_ROUNDS = 5
ENTRANTS, FINALISTS = 8, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What an epoch takes, in seconds: `come_up_s` and `warm_up_s` for each process, then `block_s` for each block.

    As recorded on two cores (benchmarks/grids): a process comes up in 0.32 s, two at a time, and warms up alone.
    """

    come_up_s: float = 0.16
    warm_up_s: float = 0.41
    block_s: float = 0.0143
    processes: int = 3

    @property
    def setup_s(self) -> float:
        """Until all processes are ready."""
        return self.processes * (self.come_up_s + self.warm_up_s)

    @property
    def round_s(self) -> float:
        """One block of each process."""
        return self.processes * self.block_s

    def epoch_s(self, rounds: int) -> float:
        """An epoch of `rounds`."""
        return self.setup_s + rounds * self.round_s

    def rounds_within(self, seconds: float) -> int:
        """The rounds of an epoch that a confirmation of this length plans."""
        return plan_rounds(self.setup_s, self.round_s, round_noise=ROUND_SD, left_s=seconds)

    def epochs_within(self, seconds: float, rounds: int) -> int:
        """How many whole epochs fit."""
        return int(seconds / self.epoch_s(rounds) + 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """Epoch values of contenders (repeats, contenders, epochs) and of the clone (repeats, epochs); the truth is 0."""

    contenders: Array
    clone: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """Where a confirmation of one claim ended."""

    verdict: Verdict
    decision: Decision


def epoch_values(differences: Array) -> Array:
    """`infer_opt.stats.confirm.epoch_value` of each row: Hodges-Lehmann over the last axis."""
    first, second = np.triu_indices(differences.shape[-1])
    half = differences / 2.0
    return np.asarray(np.median(half[..., first] + half[..., second], axis=-1))


def epochs(
    noise: Noise, rng: np.random.Generator, *, repeats: int, rounds: int, count: int = LOOKS[-1], contenders: int = 1
) -> Epochs:
    """Epochs of identical configurations, drawn in chunks: fresh processes of stock, clone and contenders each."""
    sizes = [min(CHUNK, repeats - begin) for begin in range(0, repeats, CHUNK)]
    costs = Costs(processes=2 + contenders)
    parts = [epoch_values(_differences(noise, rng, (size, count, rounds), costs)) for size in sizes]
    values = np.concatenate(parts)  # (repeats, epochs, clone and contenders)
    return Epochs(contenders=values[:, :, 1:].transpose(0, 2, 1), clone=values[:, :, 0])


def _differences(noise: Noise, rng: np.random.Generator, shape: tuple[int, int, int], costs: Costs) -> Array:
    """(repeats, epochs, clone and contenders, rounds): each round's block less that of stock."""
    repeats, count, rounds = shape
    size = (repeats, count, costs.processes, rounds)
    position = rng.random(size).argsort(axis=2)  # each round in an order of its own
    begin_s = np.arange(count)[:, None, None] * costs.epoch_s(rounds) + costs.setup_s
    at_s = begin_s + np.arange(rounds) * costs.round_s + position * costs.block_s
    found = blocks(noise, at_s, rng)
    return found[:, :, 1:] - found[:, :, :1]


def confirmed(epochs: Sequence[float] | Array, clone: Sequence[float] | Array, *, most: int = LOOKS[-1]) -> Confirmed:
    """One claim, looked at until it is decided, or `most` epochs are over."""
    return confirmed_all({"it": np.asarray(epochs)}, np.asarray(clone), most=most)["it"]


def confirmed_all(claims: Mapping[str, Array], clone: Array, *, most: int = LOOKS[-1]) -> dict[str, Confirmed]:
    """Several claims, the first that of the race's winner: over when it is proven, or none is undecided."""
    decisions: dict[str, Decision] = {}
    seen = 0
    for look in [look for look in LOOKS if look <= most]:
        seen = look
        decisions = decide_all({name: values[:look] for name, values in claims.items()}, clone[:look])
        if _is_settled(decisions):
            return _ended(decisions)
    if seen != most:  # the time ended between two looks: what a look has proven stands, the rest gets the last interval
        latest = decide_all({name: values[:most] for name, values in claims.items()}, clone[:most])
        decisions = latest | {k: one for k, one in decisions.items() if one.verdict is not Verdict.INCONCLUSIVE}
    return _ended(decisions)


def _is_settled(decisions: Mapping[str, Decision]) -> bool:
    first = next(iter(decisions.values()))
    if first.verdict is Verdict.FASTER:
        return True
    return all(decision.verdict is not Verdict.INCONCLUSIVE for decision in decisions.values())


def _ended(decisions: Mapping[str, Decision]) -> dict[str, Confirmed]:
    return {name: Confirmed(verdict=one.verdict, decision=one) for name, one in decisions.items()}


def differs_at_a_look(epochs: Array, clone: Array) -> bool:
    """The same looks without a margin: whether the interval of any of them leaves zero out."""
    for look in LOOKS:
        found = decide_all({"it": epochs[:look]}, clone[:look])["it"]
        if found.low > 0.0 or found.high < 0.0:
            return True
    return False


def differs_at_any_epoch(epochs: Array, *, confidence: float = 0.95) -> bool:
    """What the looks replace: an ordinary interval after every epoch from the third on."""
    intervals = (mean_interval(epochs[:n], confidence=confidence) for n in range(3, len(epochs) + 1))
    return any(one.low > 0.0 or one.high < 0.0 for one in intervals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """One simulated tuning: what would be printed, on the log scale, and what a second measurement then gives.

    All are ln(stock's time / time): above 0 is faster. `printed` is the confirmed number of the finalist in front;
    `screened` is the best that the screen saw, and `screened_again` the truth of that one, measured afresh.
    """

    is_claimed: bool
    printed: float
    again: float
    screened: float
    screened_again: float


def tunings(
    noise: Noise, rng: np.random.Generator, *, repeats: int, spread: float, candidates: int = 64, rounds: int = 20,
) -> Iterator[Tuned]:  # fmt: skip
    """Whole tunings over `candidates` whose true log ratios to stock have the standard deviation `spread`.

    Screen (five rounds beside stock), race of the best eight, confirmation of the best three, then the same
    confirmation again. A tuning whose race stock wins prints nothing and is left out, as in life.
    """
    for _ in range(repeats):
        truth = spread * rng.standard_normal(candidates)
        screen = truth[:, None] + _screened(noise, rng, candidates)
        finalists = _raced(noise, rng, truth, _promising(screen))
        if finalists:
            yield _confirmed_twice(noise, rng, truth, finalists, epoch_values(screen), rounds)


def _screened(noise: Noise, rng: np.random.Generator, candidates: int) -> Array:
    """(candidates, rounds): blocks of each candidate's fresh process less those of the one process of stock."""
    costs = Costs(processes=2)
    begin_s = np.arange(candidates)[:, None] * (costs.setup_s / 2 + SCREEN_ROUNDS * costs.round_s)
    stock_s = (begin_s + np.arange(SCREEN_ROUNDS) * costs.round_s).reshape(-1)
    # Everybody is drawn at all times and used at its own: that keeps one world for all of them.
    at_s = np.vstack([stock_s, np.tile(stock_s + costs.block_s, (candidates, 1))])
    found = blocks(noise, at_s[None], rng)[0].reshape(candidates + 1, candidates, SCREEN_ROUNDS)
    own = np.arange(candidates)
    return np.asarray(found[1:][own, own] - found[0])


def _promising(rounds: Array) -> list[int]:
    """The best eight, of those that may be faster than stock: the better end of their 95 % interval is below it."""
    centres = epoch_values(rounds)
    best = [int(index) for index in np.argsort(centres)]
    return [index for index in best if centres[index] - 1.96 * hodges_lehmann_error(rounds[index]) < 0.0][:ENTRANTS]


def _raced(noise: Noise, rng: np.random.Generator, truth: Array, entrants: Sequence[int]) -> list[int]:
    """Who is confirmed, the best first; nobody where stock leads. On the score sheet of the real race."""
    if len(entrants) < 2:
        return list(entrants)
    keys = (BASELINE, *map(str, entrants))
    course = Course(keys=keys, finalists=FINALISTS, racing=set(keys))
    begin_s = 0.0
    while not course.is_over:
        present = (*course.contenders, CLONE, BASELINE)
        costs = Costs(processes=len(present))
        rounds = np.arange(HEAT_ROUNDS) + rng.random((len(present), HEAT_ROUNDS))
        values = blocks(noise, begin_s + rounds[None] * costs.round_s, rng)[0]
        values[:-2] += truth[[int(key) for key in course.contenders], None]
        course.begin_heat()
        for number in range(HEAT_ROUNDS):
            if not course.is_over:
                course.add(_round(number, dict(zip(present, values[:, number], strict=True))))
        course.end_heat()
        begin_s += costs.epoch_s(HEAT_ROUNDS)
    raced = course.result({})
    if raced.is_equivalence_set and BASELINE in raced.survivors:
        return []
    return [int(key) for key in finalists_of(raced, most=FINALISTS)]


def _round(number: int, values: Mapping[str, float]) -> Round:
    return Round(number=number, order=tuple(values), blocks={}, values=values, discarded=None, lost={}, cost_s=0.0)


def _confirmed_twice(
    noise: Noise, rng: np.random.Generator, truth: Array, finalists: Sequence[int], screen: Array, rounds: int
) -> Tuned:
    drawn = epochs(noise, rng, repeats=3, rounds=rounds, contenders=len(finalists))
    first, again, other = drawn.contenders
    claims = {str(index): truth[index] + first[place] for place, index in enumerate(finalists)}
    found = confirmed_all(claims, drawn.clone[0])
    proven = [name for name, one in found.items() if one.verdict is Verdict.FASTER]
    name = proven[0] if proven else str(finalists[0])
    place, decision, chosen = finalists.index(int(name)), found[name].decision, int(np.argmin(screen))
    return Tuned(
        is_claimed=bool(proven),
        printed=-decision.log_centre,
        again=-hodges_lehmann(truth[int(name)] + again[place][: decision.epochs]),
        screened=-float(screen[chosen]),
        screened_again=-hodges_lehmann(truth[chosen] + other[0][: decision.epochs]),
    )
