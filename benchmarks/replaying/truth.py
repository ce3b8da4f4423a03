"""What counts as the truth of a recorded grid, when the grid itself is noisy.

A configuration's recorded time is the mean over its processes of the Hodges-Lehmann log ratio over all of their rounds,
against the mean of stock and clone. With three processes that mean is itself uncertain by a few per cent, and the
lowest of two hundred such means is low by luck: regret against it would charge a search for the grid's own noise.

**Shrunk** is what regret is judged by: the speed of a typical process on the quiet machine. On a virtual machine one
core or the other is slow for a while (1.6 times on the recorded one), without any sign of it but that everything takes
longer; ratios to stock do not cancel that, since stock runs on both cores and others on one. So a process's value is
its ratio in the rounds in which stock was quiet, within a tenth of the lower end of what it took over all groups; where
no process of a configuration has five such rounds, its times against quiet stock must do. A configuration's value is
the centre of its processes after Huber, which is their mean but for those that stray: one that was slow throughout
hardly moves it, while a configuration that is slow in most of its processes is no fast one. How far processes stray is
a configuration's own affair too, and three of them cannot tell it: its variance is drawn towards that of all. What is
left of noise in the centre is then drawn towards recipe effect + options effect, to the share e / (v + e), where e is
the variance of the centre and v that of interactions, by what the left-overs vary more than e explains. Regret against
the lowest is what a pick loses, in expectation, against the best pick that somebody who had the whole grid could make.
Which draws the search saw does not matter to it. What the whole grid itself cannot tell is not in it: `blind` says how
much that best pick is to be expected to lose against the true best.

**Held out** checks that without any model: on a process that the search did not draw for its pick, the pick against
what the other processes of the whole grid say is best. One such difference is as noisy as a process; their mean is not.

**Raw** is regret against the lowest recorded mean, the grid's noise and all.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.grid_file import Floats
from benchmarks.replaying.machine import RecordedMachine, finite
from scipy.spatial.distance import pdist

from infer_opt.config import TrialConfig
from infer_opt.stats.charts import MAD_TO_SD
from infer_opt.stats.intervals import hodges_lehmann

STRAYS = 1.5  # standard deviations between processes beyond which one counts as if it were just so far off
FARTHEST = 5.0  # of them, that one process tells of how far those of its configuration stray
OTHERS = 8  # processes that the variance of all configurations counts for in that of one
STEPS = 20  # towards the centre; each leaves less than half of the distance
LEAST_SPREAD = 0.003  # between processes
BISECTIONS = 30
DRAWS = 2000  # of what may be true
NORMAL_95 = 1.96
STOCK = -1  # the place of stock, whose log ratio is 0 by definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """ln(time / stock's time) by configuration; nan where it cannot be used. `per_process` has a column a process.

    `raw` is the mean over processes, against stock beside them. `process_spread` is the standard deviation between
    processes, `interaction_spread` that of what recipe and options do not add up to; `error` is the standard error of
    a value before it was shrunk. `blind` is a share.
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

    def beyond(self, pick: int) -> float:
        """The regret, as a share, that the grid's own error does not explain: the low end of its 95 % interval."""
        best = int(np.nanargmin(self.shrunk)) if float(np.nanmin(self.shrunk)) < 0 else STOCK
        (own, own_error), (least, least_error) = (
            (0.0, 0.0) if index == STOCK else (float(self.shrunk[index]), float(self.error[index]))
            for index in (pick, best)
        )
        return float(np.expm1(max(0.0, own - least - NORMAL_95 * float(np.hypot(own_error, least_error)))))

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
    levels = [_levels_on_quiet(machine, index) for index in range(grid.size)]
    ran = np.array([len(found) > 0 for found in levels])
    raw, shrunk, error = (np.full(grid.size, np.nan) for _ in range(3))
    spread, interaction, blind = 0.0, 0.0, 0.0
    if ran.any():
        raw[ran] = np.nanmean(per_process[ran], axis=1)
        there = [found for found in levels if len(found)]
        spread = _spread(there)
        centres = np.array([_centre(found, spread) for found in there])
        error[ran] = [_error(found, centre, spread) for found, centre in zip(there, centres, strict=True)]
        shrunk[ran], interaction = shrink(
            _design([grid.configs[at] for at in np.flatnonzero(ran)]), centres, error[ran]
        )
        blind = expected_loss(shrunk, interaction * error / np.hypot(interaction, error))
    return Truth(
        raw=raw, shrunk=shrunk, per_process=per_process, error=error,
        process_spread=spread, interaction_spread=interaction, blind=blind,
    )  # fmt: skip


def _levels_on_quiet(machine: RecordedMachine, index: int) -> Floats:
    """ln(time / stock's time) of each process of a configuration that ran while the machine was quiet."""
    processes = machine.processes[index]
    quiet = [machine.in_state(index, process, is_slow=False) for process in processes]
    found = [rounds for rounds in quiet if rounds is not None]
    if not found:
        found = [finite(machine.grid.values[index, process]) - machine.quiet for process in processes]
    return np.array([hodges_lehmann(rounds) for rounds in found])


def _spread(levels: Sequence[Floats]) -> float:
    """The standard deviation between processes, over all configurations, whatever some of them did."""
    apart = np.concatenate([pdist(found[:, None]) for found in levels])  # each two processes of a configuration
    return max(LEAST_SPREAD, MAD_TO_SD * float(np.median(apart)) / 2**0.5) if len(apart) else LEAST_SPREAD


def _centre(found: Floats, spread: float) -> float:
    """The mean of what lies within `STRAYS` standard deviations of it, and is drawn there where it does not.

    Source: Huber 1964, "Robust estimation of a location parameter".
    """
    centre = float(np.median(found))
    for _ in range(STEPS):
        centre += float(np.mean(np.clip(found - centre, -STRAYS * spread, STRAYS * spread)))
    return centre


def _error(found: Floats, centre: float, spread: float) -> float:
    """The standard error of a centre.

    Source: Smyth 2004, "Linear models and empirical Bayes methods" (variances drawn towards the common one).
    """
    degrees = len(found) - 1
    own = float((np.minimum(np.abs(found - centre), FARTHEST * spread) ** 2).sum())  # degrees times the variance
    return float(((OTHERS * spread**2 + own) / (OTHERS + degrees) / len(found)) ** 0.5)


def shrink(design: Floats, values: Floats, error: Floats) -> tuple[Floats, float]:
    """The values drawn towards recipe + options, and the standard deviation of what those do not add up to.

    Source: Paule & Mandel 1982, "Consensus values and weighting factors": the variance that explains the left-overs.
    """
    degrees = len(values) - int(np.linalg.matrix_rank(design))
    if degrees < 1:  # as many effects as values: nothing can be said of interactions
        return values, float(np.std(values)) + LEAST_SPREAD
    noise = error**2
    low, high = 0.0, float(np.var(values)) + LEAST_SPREAD**2
    variance = high
    for _ in range(BISECTIONS):
        variance = (low + high) / 2
        left = values - _fitted(design, values, noise + variance)
        low, high = (variance, high) if (left**2 / (noise + variance)).sum() > degrees else (low, variance)
    effects = _fitted(design, values, noise + variance)
    return np.asarray(effects + variance / (variance + noise) * (values - effects)), variance**0.5


def expected_loss(shrunk: Floats, error: Floats) -> float:
    """What the lowest of `shrunk` is to be expected to lose, as a share, against the lowest of what may be true.

    What may be true is drawn from the normal distributions that the shrunk values are the centres of; that effects are
    themselves estimated is left out.
    """
    ran = np.isfinite(shrunk)
    if not ran.any():
        return 0.0
    centre = shrunk[ran]
    drawn = centre + error[ran] * np.random.default_rng(0).standard_normal((DRAWS, len(centre)))
    best = int(np.argmin(centre))
    pick = drawn[:, best] if centre[best] < 0 else np.zeros(DRAWS)
    return float(np.expm1(pick - np.minimum(0.0, drawn.min(axis=1))).mean())


def _design(configs: Sequence[TrialConfig]) -> Floats:
    """A column of ones, and one for each level but the first of recipe, options and batch."""
    parts: tuple[list[Hashable], ...] = (
        [config.recipe for config in configs],
        [config.options for config in configs],
        [config.batch for config in configs],
    )
    return np.hstack([np.ones((len(configs), 1)), *map(_levels, parts)])


def _fitted(design: Floats, values: Floats, variance: Floats) -> Floats:
    weights = variance**-0.5
    return np.asarray(design @ np.linalg.lstsq(design * weights[:, None], values * weights, rcond=None)[0])


def _levels(values: Sequence[Hashable]) -> Floats:
    """A column of 0 and 1 for each level but the first."""
    levels = list(dict.fromkeys(values))
    return np.array([[float(value == level) for level in levels[1:]] for value in values]).reshape(len(values), -1)
