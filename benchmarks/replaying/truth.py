"""What counts as the truth of a recorded grid, when the grid itself is noisy.

A configuration's recorded time is the mean over its processes of the Hodges-Lehmann log ratio over all of their rounds,
against the mean of stock and clone. With three processes that mean is itself uncertain by a few per cent, and the
lowest of two hundred such means is low by luck: regret against it would charge a search for the grid's own noise.

**Shrunk** is what regret is judged by. Two things are known of a recorded machine that a mean of three does not use.

- *Modes.* On a virtual machine one core or the other is slow for a while (1.6 times on the recorded one), and a session
  of one thread has the luck of the core that it was started on. That luck is the machine's and not the configuration's:
  within a family of configurations of equally many threads, processes that ran as usual are told from those that did
  not, and each configuration is credited with the family's mean luck instead of its own.
- *Effects.* A configuration's true log ratio is recipe effect + options effect, within its family, + an interaction of
  its own, which comes from a normal distribution.

So a process's value is y = effects + interaction + mode + noise. Its parameters are those of the greatest likelihood
(by expectation and maximisation, over all assignments of a configuration's processes to modes), and the shrunk value
is what the model expects of the configuration. Regret against its minimum is what a pick loses, in expectation,
against the best pick that somebody who had the whole grid could make. Which draws the search saw does not matter to
it. What the whole grid itself cannot tell is not in it: `blind` says how much that best pick is to be expected to
lose against the true best, and the mean luck of a family is known no better than its processes show it.

**Held out** checks that without any model: on a process that the search did not draw for its pick, the pick against
what the other processes of the whole grid say is best. One such difference is as noisy as a process; their mean is not.

**Raw** is regret against the lowest recorded mean, the grid's noise and all.
"""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.grid_file import Floats, Grid
from benchmarks.replaying.machine import RecordedMachine, finite

from infer_opt.config import TrialConfig
from infer_opt.stats.intervals import hodges_lehmann

FIRST_MODES, FIRST_SHARES = (0.0, 0.0), (0.8, 0.2)  # as usual, and on a core that was faster or slower than usual
OTHER_SPREAD = 0.6  # ln(time), of processes that did not run as usual
FEWEST_IN_A_MODE = 3.0  # processes; below it nothing is said of those that did not run as usual
LEAST_SPREAD = 0.003  # between processes of one mode, and of interactions
MOST_ENUMERATED = 8  # processes of one configuration
CLEARLY = 4.0  # standard deviations
FIRST_INTERACTION = 0.3  # and where nothing can be said of interactions
LEAST_INTERACTION = 0.03  # below it, whatever does not add up would pass for a process that did not run as usual
BISECTIONS = 30
PASSES = 20
DRAWS = 2000  # of what may be true
STOCK = -1  # the place of stock, whose log ratio is 0 by definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """ln(time / stock's time) by configuration; nan where it cannot be used. `per_process` has a column a process.

    `process_spread` is the typical standard deviation between processes in one mode, `interaction_spread` that of
    what recipe and options do not add up to; `error` is the standard error of a value within its family. `modes`
    gives, for each number of threads, the mean ln offset and the share of processes that ran as usual, and of those
    that did not. `blind` is a share.
    """

    raw: Floats
    shrunk: Floats
    per_process: Floats
    error: Floats
    process_spread: float
    interaction_spread: float
    modes: Mapping[int, tuple[tuple[float, float], ...]]
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
    raw, shrunk, error = (np.full(grid.size, np.nan) for _ in range(3))
    raw[ran] = np.nanmean(per_process[ran], axis=1)
    families = {
        threads: fit_family([grid.configs[index] for index in members], per_process[members])
        for threads, members in _families(grid, ran).items()
    }
    for threads, members in _families(grid, ran).items():
        shrunk[members], error[members] = families[threads].values, families[threads].error
    fits = list(families.values())
    return Truth(
        raw=raw,
        shrunk=shrunk,
        per_process=per_process,
        error=error,
        process_spread=float(np.median([fit.spread for fit in fits])) if fits else 0.0,
        interaction_spread=float(np.median([fit.interaction for fit in fits])) if fits else 0.0,
        modes={threads: fit.modes for threads, fit in families.items()},
        blind=expected_loss(shrunk, error),
    )


def _families(grid: Grid, ran: np.ndarray) -> dict[int, np.ndarray]:
    """The number of threads -> the positions of the configurations of as many that ran. Stock's 0 is all cores."""
    threads = np.array([config.options.intra_threads or grid.cores for config in grid.configs])
    return {int(count): np.flatnonzero(ran & (threads == count)) for count in np.unique(threads[ran])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What is known of configurations of equally many threads.

    `values` and their standard errors `error` are by configuration, `spread` is that between processes of one mode,
    `interaction` a standard deviation; `modes` are (ln offset, share of processes), as usual and otherwise.
    """

    values: Floats
    error: Floats
    spread: float
    interaction: float
    modes: tuple[tuple[float, float], ...]


def fit_family(configs: Sequence[TrialConfig], per_process: Floats) -> Family:
    """Effects, interactions and modes of one family; `per_process` is (configurations, processes), nan where missing.

    Source: Dempster, Laird & Rubin 1977, "Maximum likelihood from incomplete data via the EM algorithm"; Paule & Mandel
    1982, "Consensus values and weighting factors".
    """
    design = _design(configs)
    there = np.isfinite(per_process)
    middles = np.nanmedian(per_process, axis=1)
    effects = _robustly_fitted(design, middles)
    model = _Model(
        centres=np.array(FIRST_MODES),
        shares=np.array(FIRST_SHARES),
        spread=max(LEAST_SPREAD, float(1.4826 * np.nanmedian(np.abs(per_process - middles[:, None])))),
        interaction=FIRST_INTERACTION,
    )
    kept, errors = middles, np.zeros(len(middles))
    for _ in range(PASSES):
        found = [_one(per_process[row, there[row]], effects[row], model) for row in range(len(middles))]
        errors = np.array([one.error for one in found])
        effects, kept, interaction = shrink(design, np.array([one.middle for one in found]), errors)
        model = _improved(model, found, interaction)
    luck = float(model.centres @ model.shares)
    return Family(
        values=kept + luck,
        error=model.interaction * errors / np.hypot(model.interaction, errors),
        spread=model.spread,
        interaction=model.interaction,
        modes=tuple(zip(map(float, model.centres), map(float, model.shares), strict=True)),
    )


def shrink(design: Floats, values: Floats, error: Floats) -> tuple[Floats, Floats, float]:
    """The effects, the values drawn towards them, and the standard deviation of what they do not add up to."""
    degrees = len(values) - int(np.linalg.matrix_rank(design))
    if degrees < 1:  # as many effects as values: nothing can be said of interactions
        return values, values, FIRST_INTERACTION
    noise = error**2
    low, high = 0.0, float(np.var(values)) + LEAST_SPREAD**2
    variance = high
    for _ in range(BISECTIONS):
        variance = (low + high) / 2
        left = values - _fitted(design, values, noise + variance)
        low, high = (variance, high) if (left**2 / (noise + variance)).sum() > degrees else (low, variance)
    effects = _fitted(design, values, noise + variance)
    kept = effects + variance / (variance + noise) * (values - effects)
    return effects, np.asarray(kept), max(LEAST_INTERACTION, variance**0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """The parameters that a family shares: by mode, as usual and otherwise. As usual is 0, and narrow."""

    centres: Floats
    shares: Floats
    spread: float
    interaction: float

    @property
    def spreads(self) -> Floats:
        """By mode."""
        return np.array([self.spread, OTHER_SPREAD])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What one configuration's processes say: the mean of those that ran as usual, and sums over processes by mode."""

    middle: float
    error: float
    belongs: Floats
    above: Floats
    square: float


def _one(values: Floats, effect: float, model: _Model) -> _Seen:
    """Every assignment of the processes to modes, weighted by its likelihood with the own value integrated out."""
    modes = range(len(model.centres))
    ways = _ways(values, model)
    quiet = values - model.centres[ways]  # (ways, processes)
    precise = model.spreads[ways] ** -2.0
    whole, own = precise.sum(axis=1), model.interaction**2
    middle = (precise * quiet).sum(axis=1) / whole
    fit = (precise * (quiet - middle[:, None]) ** 2).sum(axis=1) + (middle - effect) ** 2 / (own + 1.0 / whole)
    log_likely = np.log(np.maximum(model.shares[ways], 1e-12)).sum(axis=1) + 0.5 * np.log(precise).sum(axis=1)
    log_likely -= 0.5 * np.log1p(own * whole) + 0.5 * fit
    weight = np.exp(log_likely - log_likely.max())
    weight /= weight.sum()
    mean = float(weight @ middle)
    by_mode = [ways == mode for mode in modes]
    return _Seen(
        middle=mean,
        error=float(weight @ (1.0 / whole + (middle - mean) ** 2)) ** 0.5,
        belongs=np.array([float(weight @ member.sum(axis=1)) for member in by_mode]),
        above=np.array(
            [float(weight @ np.where(member, values - middle[:, None], 0.0).sum(axis=1)) for member in by_mode]
        ),
        square=float(weight @ np.where(by_mode[0], (quiet - middle[:, None]) ** 2, 0.0).sum(axis=1)),
    )


def _ways(values: Floats, model: _Model) -> np.ndarray:
    """All assignments of so many processes to modes; of very many processes the obvious one, which is then no doubt."""
    if len(values) <= MOST_ENUMERATED:
        return np.array(list(itertools.product(range(len(model.centres)), repeat=len(values))))
    strays = np.abs(values - np.median(values)) > CLEARLY * model.spread
    return strays.astype(int)[None, :]


def _improved(model: _Model, found: Sequence[_Seen], interaction: float) -> _Model:
    belongs = np.sum([one.belongs for one in found], axis=0)
    above = np.sum([one.above for one in found], axis=0)
    centres = np.where(belongs >= FEWEST_IN_A_MODE, above / np.maximum(belongs, 1e-9), model.centres)
    centres[0] = 0.0
    degrees = max(1.0, float(belongs[0]) - len(found))  # a mean was fitted to each configuration
    return _Model(
        centres=centres,
        shares=belongs / belongs.sum(),
        spread=max(LEAST_SPREAD, (sum(one.square for one in found) / degrees) ** 0.5),
        interaction=interaction,
    )


def expected_loss(shrunk: Floats, error: Floats) -> float:
    """What the lowest of `shrunk` is to be expected to lose, as a share, against the lowest of what may be true.

    What may be true is drawn from the normal distributions that the shrunk values are the centres of; that effects and
    the mean luck of a family are themselves estimated is left out.
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


def _robustly_fitted(design: Floats, values: Floats) -> Floats:
    """Least absolute deviations, by reweighting: a process in another mode must not bend the effects."""
    fitted = _fitted(design, values, np.ones(len(values)))
    for _ in range(PASSES):
        fitted = _fitted(design, values, np.maximum(np.abs(values - fitted), LEAST_SPREAD))
    return fitted


def _fitted(design: Floats, values: Floats, variance: Floats) -> Floats:
    weights = variance**-0.5
    return np.asarray(design @ np.linalg.lstsq(design * weights[:, None], values * weights, rcond=None)[0])


def _levels(values: Sequence[Hashable]) -> Floats:
    """A column of 0 and 1 for each level but the first."""
    levels = list(dict.fromkeys(values))
    return np.array([[float(value == level) for level in levels[1:]] for value in values]).reshape(len(values), -1)
