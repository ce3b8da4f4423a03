"""What counts as the truth of a recorded grid, when the grid itself is noisy.

A configuration's recorded time is the mean over its processes of the Hodges-Lehmann log ratio over all of their rounds,
against the mean of stock and clone. With three processes that mean is itself uncertain by a few per cent, and the
lowest of two hundred such means is low by luck: regret against it would charge a search for the grid's own noise.

**Shrunk** is what regret is judged by. A configuration's true log ratio is taken as recipe effect + options effect +
an interaction of its own; the sum of the two effects is fitted to the recorded means by least squares, weighted by
what is known of each, and what is left over of each mean is kept to the share v / (v + e), where e is the variance of
that mean as its processes show it and v the variance of interactions, by what the left-overs vary more than e
explains. How far processes differ is a matter of the options above all (on one recorded machine one of two cores ran
at 1.6 times the speed of the other: sessions of one thread have two speeds), so each e is drawn towards that of the
same options. That is the best linear prediction given all that was recorded; regret against its minimum is what a pick
loses, in expectation, against the best pick that somebody who had the whole grid could make. Which draws the search
saw does not matter to it. What the whole grid itself cannot tell is not in it: `blind` says how much that best pick is
to be expected to lose against the true best.

**Held out** checks that without any model: on a process that the search did not draw for its pick, the pick against
what the other processes of the whole grid say is best. One such difference is as noisy as a process; their mean is not.

**Raw** is regret against the lowest recorded mean, the grid's noise and all.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.grid_file import Floats, Grid
from benchmarks.replaying.machine import RecordedMachine, finite

from infer_opt.stats.intervals import hodges_lehmann

PRIOR_PROCESSES = 4.0  # how many degrees of freedom the pooled variance between processes counts beside one's own
LEAST_VARIANCE = 1e-8  # of a mean: nothing was recorded to more than a hundredth of a per cent
BISECTIONS = 30
DRAWS = 2000  # of what may be true
STOCK = -1  # the place of stock, whose log ratio is 0 by definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """ln(time / stock's time) by configuration; nan where it cannot be used. `per_process` has a column a process.

    `process_spread` is the median standard deviation between processes, `interaction_spread` that of what recipe and
    options do not add up to; `error` is the standard error of a raw value. `blind` is a share: 0.01 is 1 %.
    """

    raw: Floats
    shrunk: Floats
    per_process: Floats
    error: Floats
    process_spread: float
    interaction_spread: float
    blind: float

    def regret(self, pick: int, values: Floats) -> float:
        """How much slower than the best of `values`, stock among them, the pick is: 0.01 is 1 %."""
        own = 0.0 if pick == STOCK else float(values[pick])
        return float(np.exp(own - min(0.0, float(np.nanmin(values)))) - 1.0)

    def held_out(self, pick: int, drawn: Sequence[int]) -> float | None:
        """ln(the pick's time / the reference's), over processes not in `drawn`; None where there is none such."""
        found = []
        for process in range(self.per_process.shape[1]):
            others = np.delete(self.per_process, process, axis=1)
            # A configuration can be a reference only where it has a value of its own in the process held out.
            usable = np.isfinite(others).all(axis=1) & np.isfinite(self.per_process[:, process])
            if process in drawn or not others.shape[1] or not usable.any():
                continue
            means = np.where(usable, others.sum(axis=1), np.inf)
            best = int(np.argmin(means))
            reference = float(self.per_process[best, process]) if means[best] < 0 else 0.0
            own = 0.0 if pick == STOCK else float(self.per_process[pick, process])
            if np.isfinite(own):
                found.append(own - reference)
        return float(np.mean(found)) if found else None


def find_truth(machine: RecordedMachine) -> Truth:
    """The truth of the grid that `machine` was made of."""
    grid = machine.grid
    per_process = np.full(grid.values.shape[:2], np.nan)
    for index, processes in enumerate(machine.processes):
        for process in processes:
            per_process[index, process] = hodges_lehmann(finite(machine.raced[index, process]))
    ran = np.isfinite(per_process).any(axis=1)
    raw = np.full(grid.size, np.nan)
    raw[ran] = np.nanmean(per_process[ran], axis=1)
    counts = np.isfinite(per_process).sum(axis=1)
    variance, typical = between_processes(per_process, counts, [config.options for config in grid.configs])
    error = np.sqrt(variance / np.maximum(counts, 1))
    shrunk, interaction = shrink(grid, raw, error, np.flatnonzero(ran))
    return Truth(
        raw=raw,
        shrunk=shrunk,
        per_process=per_process,
        error=error,
        process_spread=typical**0.5,
        interaction_spread=interaction**0.5,
        blind=expected_loss(shrunk, error, interaction),
    )


def between_processes(per_process: Floats, counts: np.ndarray, options: Sequence[Hashable]) -> tuple[Floats, float]:
    """Each configuration's variance between processes, drawn towards that of equal options; and the typical one.

    Source: Smyth 2004, "Linear models and empirical Bayes methods": the moderated variance.
    """
    many = counts > 1
    own = np.zeros(len(counts))
    own[many] = np.nanvar(per_process[many], axis=1, ddof=1)
    degrees = np.where(many, counts - 1, 0)
    typical = float(np.median(own[many])) if many.any() else 0.0
    towards = np.empty(len(counts))
    for level in dict.fromkeys(options):
        members = np.array([one == level for one in options])
        known = degrees[members].sum()
        pooled = (PRIOR_PROCESSES * typical + (degrees * own)[members].sum()) / (PRIOR_PROCESSES + known)
        towards[members] = pooled
    return (PRIOR_PROCESSES * towards + degrees * own) / (PRIOR_PROCESSES + degrees), typical


def shrink(grid: Grid, raw: Floats, error: Floats, ran: np.ndarray) -> tuple[Floats, float]:
    """The raw values drawn towards recipe + options, and the variance of what those do not add up to.

    Source: Paule & Mandel 1982, "Consensus values and weighting factors": the variance that explains the left-overs.
    """
    found = np.full(len(raw), np.nan)
    if not len(ran):
        return found, 0.0
    configs = [grid.configs[index] for index in ran]
    design = np.hstack(
        [
            np.ones((len(ran), 1)),
            _levels([config.recipe for config in configs]),
            _levels([config.options for config in configs]),
            _levels([config.batch for config in configs]),
        ]
    )
    degrees = len(ran) - int(np.linalg.matrix_rank(design))
    if degrees < 1:  # as many effects as values: nothing can be said of interactions
        return np.where(np.isfinite(raw), raw, np.nan), 0.0
    noise = np.maximum(error[ran] ** 2, LEAST_VARIANCE)
    low, high = 0.0, float(np.var(raw[ran])) + LEAST_VARIANCE
    for _ in range(BISECTIONS):
        interaction = (low + high) / 2
        left = raw[ran] - _fitted(design, raw[ran], noise + interaction)
        low, high = (interaction, high) if (left**2 / (noise + interaction)).sum() > degrees else (low, interaction)
    fitted = _fitted(design, raw[ran], noise + interaction)
    found[ran] = fitted + interaction / (interaction + noise) * (raw[ran] - fitted)
    return found, interaction


def _fitted(design: Floats, values: Floats, variance: Floats) -> Floats:
    weights = variance**-0.5
    return np.asarray(design @ np.linalg.lstsq(design * weights[:, None], values * weights, rcond=None)[0])


def expected_loss(shrunk: Floats, error: Floats, interaction: float) -> float:
    """What the lowest of `shrunk` is to be expected to lose, as a share, against the lowest of what may be true.

    What may be true is drawn from the normal distribution that the shrunk values are the centres of; that recipe and
    options effects are themselves estimated is left out.
    """
    ran = np.isfinite(shrunk)
    if not ran.any():
        return 0.0
    noise = error[ran] ** 2
    spread = np.sqrt(np.divide(interaction * noise, interaction + noise, out=np.zeros_like(noise), where=noise > 0))
    centre = shrunk[ran]
    drawn = centre + spread * np.random.default_rng(0).standard_normal((DRAWS, len(centre)))
    best = int(np.argmin(centre))
    pick = drawn[:, best] if centre[best] < 0 else np.zeros(DRAWS)
    return float(np.expm1(pick - np.minimum(0.0, drawn.min(axis=1))).mean())


def _levels(values: Sequence[Hashable]) -> Floats:
    """A column of 0 and 1 for each level but the first."""
    levels = list(dict.fromkeys(values))
    return np.array([[float(value == level) for level in levels[1:]] for value in values]).reshape(len(values), -1)
