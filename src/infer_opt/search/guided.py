"""Model-guided search: seeds, then batches where a Gaussian process expects or hopes for something better.

What is asked next depends on the problem and on what is done alone: a search that was cut off goes on exactly as it
would have. Batches end at positions in `done`, and each draws from a generator seeded by its own beginning.
"""

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from infer_opt.config import TrialConfig
from infer_opt.results import Trial, TrialResult
from infer_opt.search.belief import Belief, Space, believe
from infer_opt.search.feasibility import hopeless
from infer_opt.search.promise import alone
from infer_opt.search.screen import POLISHED, promising
from infer_opt.search.seeds import seeds
from infer_opt.search.space import neighbours
from infer_opt.search.strategies import Problem

SCREENED_WHOLE = 64  # a space of so many candidates needs no model
BATCH = 8
FEWEST, MOST, A_LEVEL = 48, 128, 4  # evaluations: four for each level of each knob, within these bounds
CHANCE_TO_STOP = 0.05
BOUNDARIES_TO_STOP = 2
WARM_STARTS = 3
POLISH_MOST = 8
HOPE = 2.0  # standard deviations below what is expected of an entrant of the race
POLISH_SLACK = 0.02  # ln(time) that a neighbour may be slower than the best in a good case, and still be tried


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wave:
    """A batch and the trials that were done when it was chosen; `is_last` when only polishing can come after it."""

    begins: int
    configs: tuple[TrialConfig, ...]
    chance_left: float | None = None
    is_last: bool = False


class Guided:
    """Up to 64 candidates, if `most` allows: all of them, in order of promise. Else as the module says.

    It ends when the chance that something better is left was small at two batches running, or at four evaluations for
    each level of each knob, or at `most`; then come untried neighbours of the best two, eight at most.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._whole = len(problem.candidates) <= min(SCREENED_WHOLE, problem.most)
        self._space = Space(problem)
        self._most = min(problem.most, max(FEWEST, min(MOST, A_LEVEL * self._space.knobs.levels)))
        self._seeds = self._first()
        self._waves: dict[tuple[object, ...], tuple[_Wave, ...]] = {}
        self._chance_left: float | None = None

    @property
    def chance_left(self) -> float | None:
        """P(an untried one runs and is > 1 % faster than the best) when the last batch was chosen; None before."""
        return self._chance_left

    def next(self, done: Sequence[Trial]) -> tuple[TrialConfig, ...]:
        """What is left of the batch under way, or the next batch; a recipe that keeps failing is left out of it."""
        waves: tuple[_Wave, ...] = (_Wave(begins=0, configs=self._seeds, is_last=self._whole),)
        prints = tuple(map(fingerprint, done))
        while (ends := _end(waves[-1], done, self._problem.stock)) is not None:
            if waves[-1].is_last:
                waves = (*waves, _Wave(begins=ends, configs=()))
                break
            if prints[:ends] not in self._waves:
                self._waves[prints[:ends]] = (*waves, self._following(waves, done[:ends]))
            waves = self._waves[prints[:ends]]
        self._chance_left = next((w.chance_left for w in reversed(waves) if w.chance_left is not None), None)
        return _left(waves[-1], done, self._problem.stock)

    def promising(self, done: Sequence[Trial], *, most: int) -> tuple[TrialResult, ...]:
        """In turn the best by what all trials together hope of each, and the best by what each showed itself.

        A wild trial does not crowd out the others, nor does the model overrule what it cannot explain. Hope is the low
        end of the posterior's 95 % interval: what was measured on a slow machine alone is worth another look.
        """
        ran = {trial.config: trial for trial in done if isinstance(trial, TrialResult)}
        if not ran:
            return ()
        belief = self._believed(done)
        hopes = {config: belief.hoped(config, sds=HOPE) for config in belief.leaders() if belief.hoped(config) < 0}
        believed = sorted(hopes, key=hopes.__getitem__)
        shown = [trial.config for trial in promising(done, most=len(done))]
        turns = itertools.chain.from_iterable(itertools.zip_longest(believed, shown))
        return tuple(ran[config] for config in dict.fromkeys(turns) if config is not None)[:most]

    def _first(self) -> tuple[TrialConfig, ...]:
        """The best of earlier tunings, then everything of a small space, or the seeds of a large one."""
        candidates, among = self._problem.candidates, frozenset(self._problem.candidates)
        ran = [t for t in self._problem.earlier if isinstance(t, TrialResult) and t.config in among]
        known = dict.fromkeys(t.config for t in sorted(ran, key=lambda t: t.log_ratio) if t.log_ratio < 0)
        warm = tuple(known)[:WARM_STARTS]
        if self._whole:
            return tuple(dict.fromkeys((*warm, *candidates)))
        cold = seeds(candidates, self._space.knobs, most=self._most, seed=self._problem.seed, alone=alone(candidates))
        return tuple(dict.fromkeys((*warm, *cold)))[: self._most]

    def _following(self, waves: Sequence[_Wave], done: Sequence[Trial]) -> _Wave:
        with _one_thread():
            return self._chosen(waves, done)

    def _believed(self, done: Sequence[Trial]) -> Belief:
        with _one_thread():
            return believe(self._space, done)

    def _chosen(self, waves: Sequence[_Wave], done: Sequence[Trial]) -> _Wave:
        belief = believe(self._space, done)
        chance = belief.chance_left()
        recent = [*(wave.chance_left for wave in waves[1:]), chance][-BOUNDARIES_TO_STOP:]
        is_over = len(recent) == BOUNDARIES_TO_STOP and all(c is not None and c < CHANCE_TO_STOP for c in recent)
        number = min(BATCH, self._most - len(done))
        configs = () if is_over or number < 1 else self._sorted(belief.batch(number), done)
        if configs:
            return _Wave(begins=len(done), configs=configs, chance_left=chance)
        return _Wave(
            begins=len(done),
            configs=self._sorted(self._polish(belief, done), done),
            chance_left=chance,
            is_last=True,
        )

    def _sorted(self, configs: Sequence[TrialConfig], done: Sequence[Trial]) -> tuple[TrialConfig, ...]:
        """Recipes whose artefact exists first, and those of one recipe together: each artefact is made once."""
        made = {self._problem.stock.recipe, *(trial.config.recipe for trial in done)}
        recipes = list(dict.fromkeys(config.recipe for config in configs))
        return tuple(sorted(configs, key=lambda c: (c.recipe not in made, recipes.index(c.recipe))))

    def _polish(self, belief: Belief, done: Sequence[Trial]) -> tuple[TrialConfig, ...]:
        """Untried neighbours of the best two that may well be no slower than the best, the most hopeful first."""
        tried, given_up = {trial.config for trial in done}, hopeless(done, stock=self._problem.stock)
        near = {
            other: belief.hoped(other)
            for leader in belief.leaders()[:POLISHED]
            for other in neighbours(leader, self._problem.candidates)
            if other not in tried and other not in given_up
        }
        limit = belief.best + POLISH_SLACK
        return tuple(sorted((c for c, hoped in near.items() if hoped < limit), key=near.__getitem__))[:POLISH_MOST]


def _one_thread() -> AbstractContextManager[object]:
    """Matrices of a few hundred rows gain nothing from threads, whose spinning would disturb what is measured next."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(limits=1)
    return limits


def fingerprint(trial: Trial) -> tuple[object, ...]:
    """What a choice can depend on: the configuration, and how it went."""
    if isinstance(trial, TrialResult):
        return trial.config, trial.log_ratio, trial.log_ratio_error, trial.baseline_ns
    return trial.config, trial.kind


def _left(wave: _Wave, done: Sequence[Trial], stock: TrialConfig) -> tuple[TrialConfig, ...]:
    tried, given_up = {trial.config for trial in done}, hopeless(done, stock=stock)
    return tuple(c for c in wave.configs if c not in tried and c not in given_up)


def _end(wave: _Wave, done: Sequence[Trial], stock: TrialConfig) -> int | None:
    """How many trials were done when nothing of the wave was left; None while something is."""
    waiting = set(wave.configs) - {trial.config for trial in done[: wave.begins]}
    given_up = hopeless(done[: wave.begins], stock=stock)
    for end in range(wave.begins, len(done) + 1):
        if end > wave.begins:
            trial = done[end - 1]
            waiting.discard(trial.config)
            if not isinstance(trial, TrialResult) or trial.config in given_up:
                given_up = hopeless(done[:end], stock=stock)
        if all(config in given_up for config in waiting):
            return end
    return None
