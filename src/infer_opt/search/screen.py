"""Which configuration to screen next. Small spaces are screened whole; then the best ones' neighbours."""

import math
from collections.abc import Sequence

from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.recipes import Recipe
from infer_opt.results import Trial, TrialResult
from infer_opt.search.quiet import in_quiet
from infer_opt.search.space import neighbours
from infer_opt.search.strategies import Problem

POLISHED = 2  # how many of the best have their neighbours tried


class Exhaustive:
    """Every candidate up to `most`, in order of promise, then the untried neighbours of the best two.

    A Strategy without a model: it never says how likely an untried one is to be better.
    """

    chance_left: float | None = None

    def __init__(self, problem: Problem) -> None:
        self._candidates = problem.candidates
        self._first = self._candidates[: problem.most]

    def next(self, done: Sequence[Trial]) -> tuple[TrialConfig, ...]:
        """The rest of the first wave; after it, what is one step away from the best two; then nothing.

        Neighbours come in the order of what recipe and options did on their own, added up on the log scale. One whose
        parts add up to no gain is not tried: a recipe that gives wrong answers gives them with any options.
        """
        tried = {trial.config for trial in done}
        rest = tuple(config for config in self._first if config not in tried)
        if rest:
            return rest
        done = in_quiet(done)
        leaders = best(done)[:POLISHED]
        near = (other for leader in leaders for other in neighbours(leader.config, self._candidates))
        expected = {config: predicted(config, done) for config in near if config not in tried}
        return tuple(sorted((config for config, value in expected.items() if value < 0), key=lambda c: expected[c]))

    def promising(self, done: Sequence[Trial], *, most: int) -> tuple[TrialResult, ...]:
        """By what each showed."""
        return promising(done, most=most)


def predicted(config: TrialConfig, done: Sequence[Trial]) -> float:
    """ln(time / stock's time) if what the recipe and the options of `config` did on their own adds up.

    What was not tried on its own counts as no change; what failed on its own is infinitely slow.
    """
    alone = {
        (trial.config.recipe, trial.config.options, trial.config.instances): (
            trial.log_ratio if isinstance(trial, TrialResult) else math.inf
        )
        for trial in done
        if (trial.config.batch, trial.config.runtime) == (config.batch, config.runtime)
    }
    plain = SessionOptions(provider=config.options.provider, custom_ops=config.options.custom_ops)
    engine = alone.get((Recipe(), plain, 1), 0.0)  # what another engine does on its own is in both parts
    if math.isinf(engine):
        return math.inf
    opened = alone.get((Recipe(), config.options, config.instances), engine)
    return alone.get((config.recipe, plain, 1), engine) + opened - engine


def best(done: Sequence[Trial]) -> tuple[TrialResult, ...]:
    """The trials that ran, the fastest first."""
    return tuple(sorted((trial for trial in done if isinstance(trial, TrialResult)), key=lambda trial: trial.log_ratio))


def promising(done: Sequence[Trial], *, most: int) -> tuple[TrialResult, ...]:
    """Those that may be faster than stock on the quiet machine, the best first, at most `most`.

    The best end of their 95 % interval is below it.
    """
    measured = {trial.config: trial for trial in best(done)}
    hopeful = (trial for trial in best(in_quiet(done)) if trial.log_ratio - 1.96 * trial.log_ratio_error < 0)
    return tuple(measured[trial.config] for trial in hopeful)[:most]
