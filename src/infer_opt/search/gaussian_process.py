"""A Gaussian process over a finite set of configurations: effects of single knobs, and of pairs of them.

Source: Duvenaud, Nickisch & Rasmussen 2011 (additive kernels); Rasmussen & Williams 2006, chapters 2.2 and 5.4.1.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Alike = Callable[[Matrix, Matrix], tuple[Matrix, Matrix]]  # mean likeness by single knobs and by pairs of them

SPREADS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # of ln(time): standard deviation of all knobs' effects together
# Of that variance: what pairs of knobs do beyond each on its own. Trials of single changes alone fit a model without
# pairs best, which is then sure that changes add up: on a recorded space int8 gained 30 % and one thread lost 25 %,
# both together gained 47 %, and that was never tried.
PAIR_SHARES = (0.5, 0.8)
FLOORS = (0.005, 0.01, 0.02, 0.04)  # what processes of one configuration differ by, on the log scale
LEVEL = 0.5**2  # variance of the constant, which is fitted with the rest: w0
JITTER = 1e-8

WILD_Z = 4.0  # standard errors above what all others say of it: a process that was slow throughout, now and then
WILD_ERROR = 0.3  # ln(time) that such a value may be off by
WILD_PASSES = 2

# How likely each weight is before anything was seen, as ln-normals: few observations must not decide for an extreme.
USUAL_SPREAD, SPREAD_LOOSENESS = 1.0, 2.0
USUAL_FLOOR, FLOOR_LOOSENESS = 0.01, 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Of the kernel w0 + w1 mean_k s_k + w2 mean_{k<l} s_k s_l, and the standard deviation that every trial adds."""

    constant: float = LEVEL
    single: float
    pairs: float
    floor: float


def grid() -> tuple[Weights, ...]:
    """All weights that are compared by their likelihood."""
    return tuple(
        Weights(single=spread**2 * (1 - share), pairs=spread**2 * share, floor=floor)
        for spread, share, floor in itertools.product(SPREADS, PAIR_SHARES, FLOORS)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What was measured: `rows` (n, knobs), `values` (n,) on the log scale, `variances` (n,) of their known noise."""

    rows: Matrix
    values: Matrix
    variances: Matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """What the observations say about every configuration, measured or not; without the noise of measuring it."""

    weights: Weights
    alike: Alike
    rows: Matrix
    inverse_factor: Matrix
    whitened: Matrix

    def mean_and_sd(self, rows: Matrix) -> tuple[Matrix, Matrix]:
        """Posterior mean and standard deviation of each of `rows`, both (rows,)."""
        across = self.inverse_factor @ covariances(self.weights, *self.alike(self.rows, rows))
        ahead = self.weights.constant + self.weights.single + self.weights.pairs
        variance = np.maximum(ahead - np.sum(across**2, axis=0), JITTER)
        return across.T @ self.whitened, np.sqrt(variance)

    def surprises(self) -> Matrix:
        """How many standard errors each observation lies above what all the others say of it, (n,).

        Source: Rasmussen & Williams 2006, equations 5.10 to 5.12.
        """
        precisions = np.sum(self.inverse_factor**2, axis=0)
        surprises: Matrix = (self.whitened @ self.inverse_factor) / np.sqrt(precisions)
        return surprises

    def covariance(self, rows: Matrix) -> Matrix:
        """Posterior covariance of `rows` among each other, (rows, rows)."""
        across = self.inverse_factor @ covariances(self.weights, *self.alike(self.rows, rows))
        among: Matrix = covariances(self.weights, *self.alike(rows, rows)) - across.T @ across
        return among


def covariances(weights: Weights, single: Matrix, pairs: Matrix) -> Matrix:
    """The prior covariance of configurations that are this much alike."""
    return weights.constant + weights.single * single + weights.pairs * pairs


def fit_robustly(alike: Alike, seen: Observations) -> Posterior:
    """As `fit`, but what is much slower than all else says of it counts for little.

    Only slow values are doubted: a process that is disturbed throughout is slow, and none is fast by accident.
    """
    posterior = fit(alike, seen)
    for _ in range(WILD_PASSES):
        is_wild = (posterior.surprises() > WILD_Z) & (seen.variances > 0) & (seen.variances < WILD_ERROR**2)
        if not is_wild.any():
            break
        seen = replace(seen, variances=seen.variances + is_wild * WILD_ERROR**2)
        posterior = fit(alike, seen)
    return posterior


def fit(alike: Alike, seen: Observations, *, among: tuple[Weights, ...] | None = None) -> Posterior:
    """The posterior under the likeliest weights of the grid."""
    single, pairs = alike(seen.rows, seen.rows)
    choices = grid() if among is None else among
    likelihoods = log_likelihoods(choices, single, pairs, seen=seen)
    beforehand = [_log_prior(weights) for weights in choices]
    weights = choices[int(np.argmax(likelihoods + beforehand))]
    factor = np.linalg.cholesky(_noisy(weights, single, pairs, seen=seen))
    inverse = np.linalg.inv(factor)
    return Posterior(
        weights=weights, alike=alike, rows=seen.rows, inverse_factor=inverse, whitened=inverse @ seen.values
    )


def log_likelihoods(choices: tuple[Weights, ...], single: Matrix, pairs: Matrix, *, seen: Observations) -> Matrix:
    """ln p(values | weights) for each of `choices`, up to the constant that they share."""
    factors = np.linalg.cholesky(np.stack([_noisy(weights, single, pairs, seen=seen) for weights in choices]))
    whitened = np.linalg.solve(factors, np.broadcast_to(seen.values[:, None], (len(choices), len(seen.values), 1)))
    log_determinants = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    likelihoods: Matrix = -0.5 * np.sum(whitened[..., 0] ** 2, axis=1) - log_determinants
    return likelihoods


def _noisy(weights: Weights, single: Matrix, pairs: Matrix, *, seen: Observations) -> Matrix:
    noise = seen.variances + np.where(seen.variances > 0, weights.floor**2, 0.0) + JITTER
    return covariances(weights, single, pairs) + np.diag(noise)


def _log_prior(weights: Weights) -> float:
    spread = np.log(np.sqrt(weights.single + weights.pairs) / USUAL_SPREAD) / SPREAD_LOOSENESS
    floor = np.log(weights.floor / USUAL_FLOOR) / FLOOR_LOOSENESS
    return float(-0.5 * (spread**2 + floor**2))
