"""Simulated run times: ln(time) of blocks and runs, under six models of what machines do to them.

Everything is a deviation of ln(time) from the truth. A *block* is five runs in a row in one process; arrays end in the
blocks of one process, in the order they happened, and begin with independent repeats of the whole simulation. A block
strays by the same standard deviation under every model, so that the difference of two blocks strays by 6 %: the worst
that the contract's power is promised for. Three models add to it what such blocks have in common.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROUND_SD = 0.06  # of the difference of two blocks of one round
BLOCK_SD = ROUND_SD / 2**0.5
RUNS = 5  # of 2 ms in a block of 10 ms
RUN_SD = 0.04  # of single runs within a block
SHARED = 0.87  # what is left of a block's deviation to be shared by its runs, so that its median strays by BLOCK_SD
BURST_SHARE, BURST_MEAN, QUIET_SHARE = 0.1, 0.069, 0.71  # one block in ten is slowed by 7 % on average
CORRELATION = 0.3  # of a block with the one before it in the same process
PROCESS_SD = 0.01
DRIFT_SD, DRIFT_PERIOD_S = 0.03, 60.0  # a slow wave of warming and cooling
STEP_SD, STEP_EVERY_S, CELL_S = 0.03, 5.0, 0.5  # sudden levels: a clock that changes, a neighbour that comes or goes


class Noise(StrEnum):
    """What kind of noise: shape, correlation, or what processes and moments have in common."""

    GAUSSIAN = "Gaussian"
    STUDENT = "Student t3"
    BURSTS = "10 % bursts"
    CORRELATED = "AR(1) 0.3"
    DRIFT = "drift and steps"
    PROCESSES = "1 % process effect"


def blocks(noise: Noise, at_s: Array, rng: np.random.Generator) -> Array:
    """ln(block time) less the truth, for blocks at these seconds; shape (repeats, ..., blocks of one process)."""
    return _own(noise, at_s.shape, rng) + _common(noise, at_s, rng)


def runs(noise: Noise, at_s: Array, rng: np.random.Generator) -> Array:
    """ln(run time) less the truth: `blocks` with a last axis of five runs."""
    shared = SHARED * _own(noise, at_s.shape, rng) + _common(noise, at_s, rng)
    return shared[..., None] + RUN_SD * rng.standard_normal((*at_s.shape, RUNS))


def _own(noise: Noise, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """What happens to each block alone, or to it and the one before."""
    if noise is Noise.STUDENT:
        return np.asarray(BLOCK_SD / 3**0.5 * rng.standard_t(3, shape))
    if noise is Noise.BURSTS:
        slowed = np.where(rng.random(shape) < BURST_SHARE, rng.exponential(BURST_MEAN, shape), 0.0)
        return np.asarray(QUIET_SHARE * BLOCK_SD * rng.standard_normal(shape) + slowed)
    if noise is Noise.CORRELATED:
        return _autoregressive(shape, rng)
    return BLOCK_SD * rng.standard_normal(shape)


def _common(noise: Noise, at_s: Array, rng: np.random.Generator) -> Array:
    """What a process, or all that runs at the same moment, has in common."""
    if noise is Noise.PROCESSES:
        return PROCESS_SD * rng.standard_normal((*at_s.shape[:-1], 1))
    if noise is Noise.DRIFT:
        return surroundings(at_s, rng)
    return np.zeros((1,) * at_s.ndim)


def surroundings(at_s: Array, rng: np.random.Generator) -> Array:
    """The machine's own speed at these seconds: a wave of 60 s and steps every 5 s or so, the same for everybody.

    The first axis holds worlds of their own; whatever is measured at the same second of one world shares its luck.
    """
    repeats = len(at_s)
    single = (repeats, *(1,) * (at_s.ndim - 1))
    phase = rng.uniform(0.0, 2.0 * np.pi, single)
    wave = DRIFT_SD * 2**0.5 * np.sin(2.0 * np.pi * at_s / DRIFT_PERIOD_S + phase)
    cells = int(at_s.max() / CELL_S) + 2
    levels = STEP_SD * rng.standard_normal((repeats, cells))
    changes = rng.random((repeats, cells)) < CELL_S / STEP_EVERY_S
    changes[:, 0] = True
    since = np.maximum.accumulate(np.where(changes, np.arange(cells), 0), axis=1)
    cell = ((at_s + rng.uniform(0.0, CELL_S, single)) / CELL_S).astype(np.intp)
    world = np.arange(repeats).reshape(single)
    return np.asarray(wave + levels[world, since[world, cell]])


def _autoregressive(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    from scipy.signal import lfilter, lfiltic

    fresh = rng.standard_normal(shape) * (1.0 - CORRELATION**2) ** 0.5
    fresh[..., 0] /= (1.0 - CORRELATION**2) ** 0.5  # the first one is drawn as if there had been one before it
    start = np.zeros((*shape[:-1], lfiltic([1.0], [1.0, -CORRELATION], [0.0]).size))
    return np.asarray(BLOCK_SD * lfilter([1.0], [1.0, -CORRELATION], fresh, axis=-1, zi=start)[0])
