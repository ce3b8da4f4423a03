"""What a model-guided search believes after some trials: how fast everything is, what runs, what to try next."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from infer_opt.config import TrialConfig
from infer_opt.results import Trial, TrialResult
from infer_opt.search.feasibility import chances, hopeless
from infer_opt.search.features import Knobs, Matrix, knobs_of
from infer_opt.search.gaussian_process import JITTER, Observations, Posterior, fit_robustly
from infer_opt.search.quiet import in_quiet
from infer_opt.search.strategies import Problem

Indices = npt.NDArray[np.intp]

SLOW_ENOUGH = 0.7  # ln(time): twice as slow as stock; how much slower than that does not matter
LEAST_ERROR, MOST_ERROR = 0.003, 0.3  # an estimate from a few rounds is no better than this; an infinite error is this
ANOTHER_DAY = 0.03  # what a trial of an earlier tuning may be off by, on the log scale
GAIN = 0.01  # ln(time) below which an improvement is none
VIEWED = 400  # untried candidates that joint draws look at: those likeliest to beat the best
RIVALS = 8  # measured ones that may prove to be the best
DRAWS = 1000
DIGITS = 9  # of ln(time): equals stay equal, whatever order a library adds in, and the more promising one goes first


class Space:
    """The candidates of a problem as rows of knobs."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.knobs: Knobs = knobs_of((problem.stock, *problem.candidates), cores=problem.cores)
        self.rows: Matrix = self.knobs.rows(problem.candidates)
        self.positions = {config: index for index, config in enumerate(problem.candidates)}


@dataclass(frozen=True, kw_only=True)
class Belief:
    """A posterior over the candidates of `space` after the trials in `done`.

    `means` and `sds` are of ln(time / stock's time), `runs` of P(a trial gives a result); all (candidates,).
    `free` are the positions of untried candidates with hope; `measured` those of candidates that ran, stock excluded.
    """

    space: Space
    done: tuple[Trial, ...]
    posterior: Posterior
    means: Matrix
    sds: Matrix
    runs: Matrix
    free: Indices
    measured: Indices

    @property
    def best(self) -> float:
        """ln(time) of the fastest that ran, stock among them, as the posterior sees it."""
        return float(min([0.0, *self.means[self.measured]]))

    def hoped(self, config: TrialConfig, *, sds: float = 1.0) -> float:
        """ln(time) of a candidate in a good case: so many standard deviations below what is expected."""
        index = self.space.positions[config]
        return float(self.means[index] - sds * self.sds[index])

    def leaders(self) -> tuple[TrialConfig, ...]:
        """Candidates that ran, the fastest by the posterior first."""
        ranked = self.measured[np.argsort(self.means[self.measured], kind="stable")]
        return tuple(self.space.problem.candidates[index] for index in ranked)

    def chance_left(self) -> float:
        """P(an untried candidate runs and is more than 1 % faster than the best that ran), from joint draws."""
        if not len(self._viewed):
            return 0.0
        draws, ran = self._draws
        ahead = np.where(ran, draws[:, : len(self._viewed)], np.inf).min(axis=1)
        kept = np.minimum(0.0, draws[:, len(self._viewed) :].min(axis=1, initial=np.inf))
        return float(np.mean(ahead < kept - GAIN))

    def batch(self, number: int) -> tuple[TrialConfig, ...]:
        """`number` untried candidates: half by expected improvement for the cost, half by draws from the posterior."""
        chosen = self._improving((number + 1) // 2)
        chosen += self._drawn(number - len(chosen), without=chosen)
        chosen += [at for at in range(len(self._viewed)) if at not in chosen][: number - len(chosen)]
        return tuple(self.space.problem.candidates[self._viewed[at]] for at in chosen)

    def _improving(self, number: int) -> list[int]:
        """By E(improvement) x P(it runs) / sqrt(seconds), each as if those before it had given what is expected."""
        from scipy.special import ndtr

        covariance = self._covariance[: len(self._viewed), : len(self._viewed)].copy()
        gaps = self.best - self.means[self._viewed]
        noise = self.posterior.weights.floor**2
        weights = self.runs[self._viewed] / np.sqrt(self._costs())
        chosen: list[int] = []
        for _ in range(min(number, len(self._viewed))):
            sds = np.sqrt(np.maximum(np.diagonal(covariance), JITTER))
            z = gaps / sds
            gains = sds * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)) * weights
            gains[chosen] = -np.inf
            chosen.append(int(np.argmax(np.round(gains, DIGITS))))
            column = covariance[:, chosen[-1]]
            covariance -= np.outer(column, column) / (column[chosen[-1]] + noise)
        return chosen

    def _drawn(self, number: int, *, without: Sequence[int]) -> list[int]:
        """The fastest that runs in each of the joint draws in turn, none twice (Thompson sampling)."""
        draws, ran = self._draws
        values = np.where(ran, draws[:, : len(self._viewed)], np.inf)
        values[:, list(without)] = np.inf
        fastest = values.argmin(axis=1)[np.isfinite(values.min(axis=1, initial=np.inf))] if len(self._viewed) else []
        return list(dict.fromkeys(int(at) for at in fastest))[:number]

    def _costs(self) -> Matrix:
        """Seconds that each viewed candidate takes: its process, its rounds, and its artefact if it is not there."""
        problem = self.space.problem
        made = {problem.stock.recipe, *(trial.config.recipe for trial in self.done)}
        new = [problem.candidates[index].recipe not in made for index in self._viewed]
        rounds = problem.costs.rounds_s * np.exp(self.means[self._viewed])
        costs: Matrix = problem.costs.open_s + rounds + problem.costs.build_s * np.array(new)
        return np.maximum(costs, 1e-3)

    @cached_property
    def _viewed(self) -> Indices:
        """Positions of the untried candidates that are likeliest to beat the best, the likeliest first."""
        z = (self.best - self.means[self.free]) / self.sds[self.free]
        return self.free[np.argsort(-z, kind="stable")[:VIEWED]]

    @cached_property
    def _covariance(self) -> Matrix:
        """Of the viewed ones, then of the best measured ones."""
        ranked = self.measured[np.argsort(self.means[self.measured], kind="stable")][:RIVALS]
        return self.posterior.covariance(self.space.rows[np.concatenate([self._viewed, ranked])])

    @cached_property
    def _draws(self) -> tuple[Matrix, npt.NDArray[np.bool_]]:
        """Joint draws of ln(time), (draws, viewed + rivals), and whether each viewed one runs, recipe by recipe."""
        generator = np.random.default_rng([self.space.problem.seed, len(self.done)])
        ranked = self.measured[np.argsort(self.means[self.measured], kind="stable")][:RIVALS]
        means = self.means[np.concatenate([self._viewed, ranked])]
        # Configurations that are all alike make the matrix singular: a tenth of a per cent is below what matters here.
        factor = np.linalg.cholesky(self._covariance + 1e-6 * np.eye(len(means)))
        draws = means + generator.standard_normal((DRAWS, len(means))) @ factor.T
        routes = [self.space.problem.candidates[index].route for index in self._viewed]
        numbers = {route: number for number, route in enumerate(dict.fromkeys(routes))}
        luck = generator.uniform(size=(DRAWS, max(1, len(numbers))))
        ran = luck[:, [numbers[route] for route in routes]] < self.runs[self._viewed]
        return draws, ran


def believe(space: Space, done: Sequence[Trial]) -> Belief:
    """What the trials in `done`, and those of earlier tunings, say about every candidate."""
    problem, candidates = space.problem, space.problem.candidates
    posterior = fit_robustly(space.knobs.alike, observations(space, done))
    means, sds = posterior.mean_and_sd(space.rows)
    likely = chances([config.route for config in candidates], (*problem.earlier, *done), stock=problem.stock)
    tried = {trial.config for trial in done}
    ran = {trial.config for trial in done if isinstance(trial, TrialResult)}
    given_up = hopeless(done, stock=problem.stock)
    return Belief(
        space=space,
        done=tuple(done),
        posterior=posterior,
        means=np.round(means, DIGITS),
        sds=np.round(sds, DIGITS),
        runs=np.array([likely[config.route] for config in candidates]),
        free=_where([config not in tried and config not in given_up for config in candidates]),
        measured=_where([config in ran for config in candidates]),
    )


def observations(space: Space, done: Sequence[Trial]) -> Observations:
    """Stock at exactly 0, this tuning's trials with their errors, earlier ones with 3 % more.

    Slow ones are cut off at twice the time: a wild one must not bend what is learnt of the fast ones.
    """
    now = [trial for trial in in_quiet(done) if isinstance(trial, TrialResult) and np.isfinite(trial.log_ratio)]
    before = [t for t in in_quiet(space.problem.earlier) if isinstance(t, TrialResult) and np.isfinite(t.log_ratio)]
    errors = [_error(trial) for trial in now] + [float(np.hypot(_error(trial), ANOTHER_DAY)) for trial in before]
    values = [min(trial.log_ratio, SLOW_ENOUGH) for trial in now + before]
    return Observations(
        rows=space.knobs.rows([space.problem.stock, *(trial.config for trial in now + before)]),
        values=np.array([0.0, *values]),
        variances=np.array([0.0, *errors]) ** 2,
    )


def _error(trial: TrialResult) -> float:
    error = trial.log_ratio_error
    return max(LEAST_ERROR, error) if error < MOST_ERROR else MOST_ERROR  # also when it is not a number


def _where(chosen: Sequence[bool]) -> Indices:
    return np.flatnonzero(np.array(chosen, dtype=bool))
