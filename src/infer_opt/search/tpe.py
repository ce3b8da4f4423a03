"""Optuna's Tree-structured Parzen Estimator over the same knobs: a second opinion on how to search.

Source: Bergstra et al. 2011; Falkner, Klein & Hutter 2018 (multivariate). Optuna is the extra `search`.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from infer_opt.config import TrialConfig
from infer_opt.errors import UnavailableError
from infer_opt.results import Trial, TrialResult
from infer_opt.search.features import Knob, Matrix, knobs_of
from infer_opt.search.quiet import in_quiet
from infer_opt.search.screen import promising
from infer_opt.search.strategies import Problem

SLOWEST = 2.0  # ln(time) that a slower trial is told as; and one that failed


class Tpe:
    """`most` trials, each the untried candidate that is most like what Optuna proposes, then nothing.

    A study is made anew from what is done each time it is asked, so that a search that was cut off goes on as it would
    have. It never says how likely an untried one is to be better.
    """

    chance_left: float | None = None

    def __init__(self, problem: Problem) -> None:
        """Raises UnavailableError: Optuna is not installed."""
        _optuna()
        self._problem = problem
        self._knobs = knobs_of((problem.stock, *problem.candidates), cores=problem.cores)
        self._rows = self._knobs.rows(problem.candidates)
        self._space = {knob.name: _distribution(knob) for knob in self._knobs.varying}

    def next(self, done: Sequence[Trial]) -> tuple[TrialConfig, ...]:
        """One candidate; none when `most` were tried or nothing is left."""
        tried = {trial.config for trial in done}
        untried = [index for index, config in enumerate(self._problem.candidates) if config not in tried]
        if not untried or len(done) >= self._problem.most:
            return ()
        wanted = self._proposed(done)
        single, pairs = self._knobs.alike(self._rows[untried], wanted[None, :])
        return (self._problem.candidates[untried[int(np.argmax(single[:, 0] + pairs[:, 0]))]],)

    def promising(self, done: Sequence[Trial], *, most: int) -> tuple[TrialResult, ...]:
        """By what each showed."""
        return promising(done, most=most)

    def _proposed(self, done: Sequence[Trial]) -> Matrix:
        """Optuna's next proposal, as a row of knobs."""
        optuna = _optuna()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # multivariate is marked so
            sampler = optuna.samplers.TPESampler(seed=self._problem.seed * 100_003 + len(done), multivariate=True)
        study = optuna.create_study(sampler=sampler)
        told = [(self._problem.stock, 0.0), *((t.config, _value(t)) for t in (*self._problem.earlier, *in_quiet(done)))]
        for row, (_, value) in zip(self._knobs.rows([config for config, _ in told]), told, strict=True):
            if self._is_inside(row):  # Optuna refuses levels that it does not know
                study.add_trial(
                    optuna.trial.create_trial(params=self._params(row), distributions=self._space, value=value)
                )
        params = study.ask(self._space).params
        return np.array([float(params[knob.name]) for knob in self._knobs.varying])

    def _is_inside(self, row: Matrix) -> bool:
        return not any(
            np.isnan(value) or (knob.is_count and not knob.levels[0] <= value <= knob.levels[-1])
            for knob, value in zip(self._knobs.varying, row.tolist(), strict=True)
        )

    def _params(self, row: Matrix) -> dict[str, float | int]:
        pairs = zip(self._knobs.varying, row.tolist(), strict=True)
        return {knob.name: value if knob.is_count else int(value) for knob, value in pairs}


def _optuna() -> Any:
    """The library, with its log lines off.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UnavailableError(
            "the search strategy tpe needs Optuna, which is not installed", hint="pip install 'infer-opt[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(knob: Knob) -> Any:
    """Optuna's name for the levels of a knob."""
    optuna = _optuna()
    if knob.is_count:
        return optuna.distributions.FloatDistribution(knob.levels[0], knob.levels[-1])
    return optuna.distributions.CategoricalDistribution(range(len(knob.levels)))


def _value(trial: Trial) -> float:
    """ln(time / stock's time), as Optuna is told it."""
    if isinstance(trial, TrialResult) and np.isfinite(trial.log_ratio):
        return min(trial.log_ratio, SLOWEST)
    return SLOWEST
