"""Random search: what every cleverer one has to beat."""

import random
from collections.abc import Sequence

from infer_opt.config import TrialConfig
from infer_opt.results import Trial, TrialResult
from infer_opt.search.screen import promising
from infer_opt.search.strategies import Problem


class Shuffled:
    """`most` candidates in an order that the seed decides, then nothing.

    A Strategy without a model: it never says how likely an untried one is to be better.
    """

    chance_left: float | None = None

    def __init__(self, problem: Problem) -> None:
        order = list(problem.candidates)
        random.Random(problem.seed).shuffle(order)
        self._first = order[: problem.most]

    def next(self, done: Sequence[Trial]) -> tuple[TrialConfig, ...]:
        """Those of the order that were not tried yet."""
        tried = {trial.config for trial in done}
        return tuple(config for config in self._first if config not in tried)

    def promising(self, done: Sequence[Trial], *, most: int) -> tuple[TrialResult, ...]:
        """By what each showed."""
        return promising(done, most=most)
