"""A machine made of a recorded grid: a trial takes one of a configuration's processes, and five of its rounds."""

import random
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from benchmarks.grid_file import Floats, Grid

from infer_opt.config import TrialConfig
from infer_opt.recipes import Recipe
from infer_opt.results import Parity, Readings, Trial, TrialFailure, TrialResult
from infer_opt.search.strategies import Costs
from infer_opt.stats.intervals import hodges_lehmann, hodges_lehmann_error
from infer_opt.stats.levels import SLOW, is_slow, quiet_level
from infer_opt.trials import SCREEN_ROUNDS
from infer_opt.workers.usage import REST_S, RUN_S

READ_S = RUN_S + REST_S  # what a trial takes besides: its CPU use is watched
FEWEST_ALIKE = 5  # rounds in one state of the machine that stand for a process in it
PASSED = Parity(score=1.0, passed=True, outputs=(), samples=0)
NO_READINGS = Readings(quantiles=(), items_per_s=0.0, open_ns=0, first_run_ns=0, artefact_bytes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A trial, the process that it was taken from (-1 of a failed one), and what it cost in seconds."""

    trial: Trial
    process: int
    cost_s: float


class RecordedMachine:
    """Answers for the machine that `grid` was recorded on.

    A screen's trial is paired with the stock process that was live with it, as `run_trial` pairs. In a race entrants
    must be comparable although they were recorded in different groups: there each is held against the mean of stock
    and clone in the same round of its group, which leaves more noise in their differences than a real race has. The
    machine was slow in some rounds, by what stock took: a heat is one or the other for all who are in it.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.index = {config: number for number, config in enumerate(grid.configs)}
        self._screened = grid.log_ratios()
        self.levels = (grid.stock + grid.clone) / 2
        self.raced = np.full(grid.values.shape, np.nan)
        self._is_slow = np.zeros(grid.values.shape, dtype=bool)
        self.quiet = quiet_level(finite(np.nanmedian(self.levels, axis=1))) or 0.0
        for process in range(grid.values.shape[1]):
            there = grid.group[:, process] >= 0
            levels = self.levels[grid.group[there, process]]
            self.raced[there, process] = grid.values[there, process] - levels
            self._is_slow[there, process] = levels > self.quiet + SLOW
        self.stock_raced = (grid.stock - grid.clone) / 2
        self.processes = tuple(grid.processes_of(index) for index in range(grid.size))
        self._windows: dict[tuple[int, int, int], tuple[float, float]] = {}

    def trial(self, config: TrialConfig, generator: random.Random) -> Draw:
        """What `run_trial` would give: a recorded process and five consecutive rounds of it, or the failure."""
        index = self.index[config]
        if not self.processes[index]:
            failure = self.grid.failures[index]
            trial = TrialFailure(config=config, kind=failure.kind, reason=failure.reason)
            return Draw(trial=trial, process=-1, cost_s=failure.cost_s)
        process = generator.choice(self.processes[index])
        rounds = finite(self._screened[index, process])
        begin = generator.randrange(max(1, len(rounds) - SCREEN_ROUNDS + 1))
        value, error = self._window(index, process, begin)
        levels = finite(self.levels[self.grid.group[index, process]])[begin : begin + SCREEN_ROUNDS]
        result = TrialResult(
            config=config,
            readings=NO_READINGS,
            parity=PASSED,
            log_ratio=value,
            log_ratio_error=error,
            blocks=(),
            baseline_ns=float(np.exp(np.median(levels))),
        )
        return Draw(trial=result, process=process, cost_s=self.trial_s(index, process))

    def _window(self, index: int, process: int, begin: int) -> tuple[float, float]:
        key = index, process, begin
        if key not in self._windows:
            rounds = finite(self._screened[index, process])[begin : begin + SCREEN_ROUNDS]
            self._windows[key] = hodges_lehmann(rounds), hodges_lehmann_error(rounds)
        return self._windows[key]

    def trial_s(self, index: int, process: int) -> float:
        """Seconds for one trial of a configuration that works: its process, its check, its warm-up and five rounds."""
        seconds = self.grid.seconds
        found = seconds["open_s"][index, process] + seconds["warm_s"][index, process] + self.grid.parity_s[index]
        return float(found + SCREEN_ROUNDS * seconds["round_s"][index, process] + READ_S)

    def build_s(self, recipe: Recipe) -> float:
        """Seconds for making the artefact of a recipe; paid by its first trial."""
        return self.grid.build_s.get(recipe, 0.0)

    @cached_property
    def whole_s(self) -> float:
        """Seconds for screening every configuration once."""
        total = sum(self.build_s(recipe) for recipe in {config.recipe for config in self.grid.configs})
        for index, processes in enumerate(self.processes):
            costs = [self.trial_s(index, process) for process in processes]
            total += sum(costs) / len(costs) if costs else self.grid.failures[index].cost_s
        return total

    def costs(self) -> Costs:
        """The medians, for a strategy that counts what a trial costs."""
        open_s = float(np.nanmedian(self.grid.seconds["open_s"] + self.grid.seconds["warm_s"])) + READ_S
        builds = list(self.grid.build_s.values())
        return Costs(
            open_s=open_s,
            rounds_s=SCREEN_ROUNDS * float(np.nanmedian(self.grid.seconds["round_s"])),
            build_s=float(np.median(builds)) if builds else Costs().build_s,
        )

    def level(self, generator: random.Random) -> tuple[int, float]:
        """The machine at some moment of the recording: a group, and what an item took stock in it then, as ln(ns)."""
        group = generator.randrange(len(self.levels))
        return group, generator.choice(finite(self.levels[group]).tolist())

    def rounds(self, index: int, process: int, *, level: float) -> Floats:
        """A process's rounds, as ln(ns an item), on a machine on which stock takes `level`.

        Ratios to stock hold there if the machine was as slow or as quiet when they were recorded; else times do.
        """
        alike = self.in_state(index, process, is_slow=is_slow(level, self.quiet))
        return finite(self.grid.values[index, process]) if alike is None else level + alike

    def another(self, index: int, process: int, generator: random.Random, *, level: float) -> int:
        """A process of the same configuration on such a machine, another one than `process`, as far as there are."""
        slow = is_slow(level, self.quiet)
        fitting = [one for one in self.processes[index] if self.in_state(index, one, is_slow=slow) is not None]
        others = [one for one in fitting if one != process]
        return generator.choice(others or fitting or list(self.processes[index]))

    def in_state(self, index: int, process: int, *, is_slow: bool) -> Floats | None:
        """A process's rounds on the machine in that state, as ln(time / stock's time); None where they are few."""
        found = finite(self.raced[index, process][self._is_slow[index, process] == is_slow])
        return found if len(found) >= FEWEST_ALIKE else None


def finite(rounds: Floats) -> Floats:
    """The rounds that were measured."""
    return rounds[np.isfinite(rounds)]
