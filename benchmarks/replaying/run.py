"""One tuning, replayed on a recorded machine: the screen as the strategy asks, a race, the confirmation's pick."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from benchmarks.replaying.machine import Draw, RecordedMachine, finite
from benchmarks.replaying.truth import STOCK, Truth

from infer_opt.concluding import break_ties, finalists_of, settled_race
from infer_opt.config import TrialConfig
from infer_opt.racing import Course, Race
from infer_opt.results import Trial, TrialResult
from infer_opt.rig import BASELINE, CLONE
from infer_opt.search.quiet import stock_levels
from infer_opt.search.strategies import Problem, open_strategy
from infer_opt.stats.confirm import LOOKS
from infer_opt.stats.intervals import hodges_lehmann
from infer_opt.stats.levels import quiet_level
from infer_opt.stats.race import HEAT_ROUNDS
from infer_opt.workers.rounds import Round

EPOCH_ROUNDS = 20
MOST_ENTRANTS = 12  # in any variant
NOBODY = -1  # no process
MOST_HEATS = 20  # no race of so few entrants takes so many
MARGIN = float(np.log1p(0.01))  # what a claim must clear
DETECTABLE = 0.01  # ln(time) by which an unmeasured configuration must be faster to have been worth measuring


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a screen's best are raced: `entrants` of them, `heats` of `rounds` at most, for a winner and `rivals`."""

    entrants: int
    rivals: int
    heats: int = MOST_HEATS
    rounds: int = HEAT_ROUNDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What a screen left behind. `drawn` says from which process of each configuration its trial came."""

    trials: tuple[Trial, ...]
    promising: tuple[TrialResult, ...]
    drawn: Mapping[TrialConfig, int]
    cost_s: float
    chance_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """What one way of racing and confirming picked. Regrets as shares; `held_out` as ln(time / reference's time).

    `beyond` is the regret that the grid's own error does not explain.
    """

    pick: int
    regret: float
    beyond: float
    raw_regret: float
    held_out: float | None
    race_rounds: int
    race_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One replayed tuning. `share` is the screen's cost by that of screening everything once.

    `is_better_left` says whether an unmeasured one is truly > 1 % faster than the best measured: what the strategy's
    `chance_left` is the probability of.
    """

    seed: int
    trials: int
    share: float
    chance_left: float | None
    is_better_left: bool
    picked: Mapping[str, Picked]


def screen(machine: RecordedMachine, strategy: str, *, most: int, seed: int) -> Screened:
    """Every trial that `strategy` asks for, each drawn from what was recorded."""
    grid, generator = machine.grid, random.Random(f"screen-{seed}")
    problem = Problem(
        candidates=grid.configs,
        stock=grid.stock_config,
        most=most,
        seed=seed,
        cores=grid.cores,
        costs=machine.costs(),
    )
    searching = open_strategy(strategy, problem)
    done: list[Trial] = []
    drawn: dict[TrialConfig, int] = {}
    made = {grid.stock_config.recipe}
    cost_s = 0.0
    while waiting := searching.next(done):
        draw: Draw = machine.trial(waiting[0], generator)
        cost_s += draw.cost_s
        if waiting[0].recipe not in made:
            cost_s += machine.build_s(waiting[0].recipe)
            made.add(waiting[0].recipe)
        drawn[waiting[0]] = draw.process
        done.append(draw.trial)
    return Screened(
        trials=tuple(done),
        promising=searching.promising(done, most=MOST_ENTRANTS),
        drawn=drawn,
        cost_s=cost_s,
        chance_left=searching.chance_left,
    )


class Lanes:
    """Where the values of a race come from: in each heat, every entrant runs through another recorded process."""

    def __init__(
        self, machine: RecordedMachine, entrants: Mapping[str, tuple[int, int]], generator: random.Random
    ) -> None:
        self._machine = machine
        self._generator = generator
        self._now = dict(entrants)
        self._rows: dict[str, np.ndarray] = {}
        self.used: dict[int, set[int]] = {index: set() for index, _ in entrants.values()}
        self.seconds = 0.0

    def spawn(self, keys: Sequence[str]) -> None:
        """A fresh process of each of `keys`, of stock and of its clone."""
        group, level = self._machine.level(self._generator)
        apart = finite(self._machine.stock_raced[group])
        self._rows = {BASELINE: level + apart, CLONE: level - apart}
        for key in keys:
            index, process = self._now[key]
            chosen = self._machine.another(index, process, self._generator, level=level)
            self._now[key] = index, chosen
            self.used[index].add(chosen)
            rows = self._machine.rounds(index, chosen, level=level)
            self._rows[key] = np.roll(rows, -self._generator.randrange(len(rows)))
            self.seconds += self._machine.trial_s(index, chosen)

    def round(self, number: int, keys: Sequence[str]) -> Round:
        """Round `number` of a heat; a process that was recorded for fewer goes round again."""
        present = (BASELINE, CLONE, *keys)
        return Round(
            number=number,
            order=present,
            blocks={},
            values={key: float(self._rows[key][number % len(self._rows[key])]) for key in present},
            discarded=None,
            lost={},
            cost_s=0.0,
        )


def one_race(
    machine: RecordedMachine, screened: Screened, generator: random.Random, plan: Plan
) -> tuple[Race, Mapping[int, set[int]], float]:
    """The race among the best of a screen, on the score sheet of `racing.race`; who was drawn; and its seconds.

    One alone does not race.
    """
    entrants = screened.promising[: plan.entrants]
    if len(entrants) < 2:
        return settled_race([trial.config.key for trial in entrants], screened.trials), {}, 0.0
    challengers = {trial.config.key: trial.config for trial in entrants}
    places = {key: (machine.index[config], screened.drawn[config]) for key, config in challengers.items()}
    lanes = Lanes(machine, places, generator)
    keys = (BASELINE, *challengers)
    quiet = quiet_level(stock_levels(screened.trials))
    course = Course(keys=keys, finalists=1 + plan.rivals, racing=set(keys), quiet=quiet)
    while not course.is_over and len(course.heats) < plan.heats:
        lanes.spawn(course.contenders)
        course.begin_heat()
        for number in range(plan.rounds):
            if not course.is_over:
                course.add(lanes.round(number, course.contenders))
        course.end_heat()
    return break_ties(course.result(challengers), screened.trials), lanes.used, lanes.seconds


def confirmed(machine: RecordedMachine, index: int, generator: random.Random) -> float:
    """What a first look of the confirmation sees: the mean over four fresh processes of 20 rounds each."""
    values = []
    for _ in range(LOOKS[0]):
        _, level = machine.level(generator)
        process = machine.another(index, NOBODY, generator, level=level)
        rows = machine.rounds(index, process, level=level) - level
        begin = generator.randrange(len(rows))
        values.append(hodges_lehmann(np.roll(rows, -begin)[:EPOCH_ROUNDS]))
    return float(np.mean(values))


def first_that_holds(machine: RecordedMachine, finalists: Sequence[int], generator: random.Random) -> int:
    """As `tune` picks: the first finalist that proves faster than stock by more than the margin, else stock."""
    holding = (index for index in finalists if confirmed(machine, index, generator) < -MARGIN)
    return next(holding, STOCK)


def fastest_that_holds(machine: RecordedMachine, finalists: Sequence[int], generator: random.Random) -> int:
    """Another rule: of the finalists that prove faster than stock, the one that proves fastest."""
    seen = {index: confirmed(machine, index, generator) for index in finalists}
    return min((index for index in seen if seen[index] < -MARGIN), key=seen.__getitem__, default=STOCK)


Pick = Callable[[RecordedMachine, Sequence[int], random.Random], int]
Variant = Callable[[RecordedMachine, Truth, Screened, int, Plan], Picked]


def replay_race(
    machine: RecordedMachine, truth: Truth, screened: Screened, seed: int, plan: Plan, *, pick: Pick = first_that_holds
) -> Picked:
    """Race and confirm once; the same seed draws the same race for every rule of picking."""
    raced, used, seconds = one_race(machine, screened, random.Random(f"race-{seed}"), plan)
    places = [machine.index[raced.configs[key]] for key in finalists_of(raced, most=1 + plan.rivals)]
    chosen = pick(machine, places, random.Random(f"confirm-{seed}"))
    drawn = set() if chosen == STOCK else {screened.drawn[machine.grid.configs[chosen]], *used.get(chosen, ())}
    return Picked(
        pick=chosen,
        regret=truth.regret(chosen, truth.shrunk),
        beyond=truth.beyond(chosen),
        raw_regret=truth.regret(chosen, truth.raw),
        held_out=truth.held_out(chosen, sorted(drawn)),
        race_rounds=raced.rounds,
        race_s=seconds,
    )


def _with(pick: Pick = first_that_holds, **changes: Any) -> Variant:
    """A race that differs from that of `tune` in some respects."""

    def variant(machine: RecordedMachine, truth: Truth, screened: Screened, seed: int, plan: Plan) -> Picked:
        return replay_race(machine, truth, screened, seed, replace(plan, **changes), pick=pick)

    return variant


# name -> how it races and picks.
VARIANTS: Mapping[str, Variant] = {
    "as tune": replay_race,
    "one heat": _with(heats=1, rounds=40),
    "two heats": _with(heats=2),
    "longer heats": _with(rounds=20),
    "eight entrants": _with(entrants=8),
    "twelve entrants": _with(entrants=12),
    "fastest of the finalists": _with(fastest_that_holds),
}
AS_TUNE = next(iter(VARIANTS))


def replay(
    machine: RecordedMachine, truth: Truth, strategy: str, *, most: int, seed: int, plan: Plan,
    variants: Sequence[str] = (AS_TUNE,),
) -> Outcome:  # fmt: skip
    """One tuning with `strategy`, by every one of `variants` from the same screen."""
    screened = screen(machine, strategy, most=most, seed=seed)
    return Outcome(
        seed=seed,
        trials=len(screened.trials),
        share=screened.cost_s / machine.whole_s,
        chance_left=screened.chance_left,
        is_better_left=_is_better_left(machine, truth, screened),
        picked={name: VARIANTS[name](machine, truth, screened, seed, plan) for name in variants},
    )


def _is_better_left(machine: RecordedMachine, truth: Truth, screened: Screened) -> bool:
    measured = np.zeros(machine.grid.size, dtype=bool)
    measured[[machine.index[trial.config] for trial in screened.trials]] = True
    values = np.where(np.isfinite(truth.shrunk), truth.shrunk, np.inf)
    best = min(0.0, float(values[measured].min(initial=np.inf)))
    return bool(values[~measured].min(initial=np.inf) < best - DETECTABLE)
