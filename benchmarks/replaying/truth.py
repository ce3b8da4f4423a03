"""What counts as the truth of a recorded grid, when the grid itself is noisy.

A configuration's recorded time is the mean over its processes of the Hodges-Lehmann log ratio over all of their rounds,
against the mean of stock and clone. With three processes that mean is itself uncertain by a few per cent, and the
lowest of two hundred such means is low by luck: regret against it would charge a search for the grid's own noise.

**Shrunk** is what regret is judged by: the speed on the quiet machine. On a virtual machine one core or the other is
slow for a while (1.6 times on the recorded one), without any sign of it but that everything takes longer; ratios to
stock do not cancel it, since stock runs on both cores and others on one. So a process's value is its ratio in the
rounds in which stock was quiet, within a tenth of the lower end of what it took over all groups. A process without five
of them counts by its time against quiet stock. Of a configuration's processes those count that were within 5 % of its
fastest: all others were slowed down. What is left of noise in their mean is drawn towards
recipe effect + options effect, to the share e / (v + e), where e is the variance of that mean and v that of
interactions, by what the left-overs vary more than e explains. Regret against the lowest is what a pick loses, in
expectation, against the best pick that somebody who had the whole grid could make. Which draws the search saw does
not matter to it. What the whole grid itself cannot tell is not in it: `blind` says how much that best pick is to be
expected to lose against the true best.

**Held out** checks that without any model: on a process that the search did not draw for its pick, the pick against
what the other processes of the whole grid say is best. One such difference is as noisy as a process; their mean is not.

**Raw** is regret against the lowest recorded mean, the grid's noise and all.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.grid_file import Floats
from benchmarks.replaying.machine import RecordedMachine, finite

from infer_opt.config import TrialConfig
from infer_opt.stats.intervals import hodges_lehmann

SLOWED = 0.05  # ln(time) above a configuration's fastest process from which a process was slowed down
LEAST_SPREAD = 0.003  # between processes
BISECTIONS = 30
DRAWS = 2000  # of what may be true
NORMAL_95 = 1.96
STOCK = -1  # the place of stock, whose log ratio is 0 by definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """ln(time / stock's time) by configuration; nan where it cannot be used. `per_process` has a column a process.

    `raw` is the mean over processes, against stock beside them. `process_spread` is the standard deviation between
    processes that were not slowed down, `interaction_spread` that of what recipe and options do not add up to;
    `error` is the standard error of a value before it was shrunk, `slowed` the share of processes that were.
    `blind` is a share.
    """

    raw: Floats
    shrunk: Floats
    per_process: Floats
    error: Floats
    process_spread: float
    interaction_spread: float
    slowed: float
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
    per_process, level = (np.full(grid.values.shape[:2], np.nan) for _ in range(2))
    for index, processes in enumerate(machine.processes):
        for process in processes:
            per_process[index, process] = hodges_lehmann(finite(machine.raced[index, process]))
            quiet = machine.in_state(index, process, is_slow=False)
            found = finite(grid.values[index, process]) - machine.quiet if quiet is None else quiet
            level[index, process] = hodges_lehmann(found)
    ran = np.isfinite(per_process).any(axis=1)
    raw, shrunk, error = (np.full(grid.size, np.nan) for _ in range(3))
    raw[ran] = np.nanmean(per_process[ran], axis=1)
    if not ran.any():
        return Truth(
            raw=raw, shrunk=shrunk, per_process=per_process, error=error,
            process_spread=0.0, interaction_spread=0.0, slowed=0.0, blind=0.0,
        )  # fmt: skip
    there = np.isfinite(level[ran])
    is_quiet = there & (level[ran] <= np.nanmin(level[ran], axis=1)[:, None] + SLOWED)
    counts = is_quiet.sum(axis=1)
    middle = np.where(is_quiet, level[ran], 0.0).sum(axis=1) / counts
    squares = float((np.where(is_quiet, level[ran] - middle[:, None], 0.0) ** 2).sum())
    spread = max(LEAST_SPREAD, (squares / max(1, int(counts.sum()) - len(counts))) ** 0.5)
    error[ran] = spread / np.sqrt(counts)
    design = _design([grid.configs[index] for index in np.flatnonzero(ran)])
    shrunk[ran], interaction = shrink(design, middle, error[ran])
    return Truth(
        raw=raw,
        shrunk=shrunk,
        per_process=per_process,
        error=error,
        process_spread=spread,
        interaction_spread=interaction,
        slowed=1.0 - float(counts.sum()) / float(there.sum()),
        blind=expected_loss(shrunk, interaction * error / np.hypot(interaction, error)),
    )


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
