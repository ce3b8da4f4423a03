"""One tuning, replayed on a recorded machine: the screen as the strategy asks, a race, the confirmation's pick."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from benchmarks.replaying.machine import Draw, RecordedMachine, finite
from benchmarks.replaying.truth import STOCK, Truth

from infer_opt.concluding import break_ties, finalists_of, settled_race
from infer_opt.config import TrialConfig
from infer_opt.racing import Race
from infer_opt.results import Trial
from infer_opt.rig import BASELINE
from infer_opt.search.screen import promising
from infer_opt.search.strategies import Problem, open_strategy
from infer_opt.stats.confirm import LOOKS
from infer_opt.stats.intervals import hodges_lehmann
from infer_opt.stats.race import MAXIMUM_ROUNDS, RaceState, differences, judge

ENTRANTS, RIVALS, RESPAWN_ROUNDS, EPOCH_ROUNDS = 8, 2, 20, 20
MARGIN = float(np.log1p(0.01))  # what a claim must clear
DETECTABLE = 0.01  # ln(time) by which an unmeasured configuration must be faster to have been worth measuring


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What a screen left behind. `drawn` says from which process of each configuration its trial came."""

    trials: tuple[Trial, ...]
    drawn: Mapping[TrialConfig, int]
    cost_s: float
    chance_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """What one way of racing and confirming picked. Regrets as shares; `held_out` as ln(time / reference's time)."""

    pick: int
    regret: float
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
    return Screened(trials=tuple(done), drawn=drawn, cost_s=cost_s, chance_left=searching.chance_left)


class Lanes:
    """Where the values of a race come from: each entrant runs through one recorded process after another."""

    def __init__(
        self, machine: RecordedMachine, entrants: Sequence[tuple[int, int]], generator: random.Random, respawn: int
    ) -> None:
        self._machine = machine
        self._generator = generator
        self._respawn = respawn
        self._now = dict(entrants)
        self._rows: dict[int, np.ndarray] = {}
        self.used: dict[int, set[int]] = {index: set() for index, _ in entrants}

    def row(self, number: int) -> list[float]:
        """The values of round `number`: stock's first, then the entrants' in order."""
        if number % self._respawn == 0:
            self._spawn()
        return [float(rows[number % len(rows)]) for rows in self._rows.values()]

    def _spawn(self) -> None:
        # Stock is a fresh process too; what it and its clone differ by stands for it.
        self._rows = {STOCK: finite(self._generator.choice(self._machine.stock_raced))}
        for index, process in self._now.items():
            chosen = self._machine.another(index, process, self._generator)
            self._now[index] = chosen
            self.used[index].add(chosen)
            rows = finite(self._machine.raced[index, chosen])
            self._rows[index] = np.roll(rows, -self._generator.randrange(len(rows)))

    def seconds(self, index: int) -> float:
        """What a round of an entrant takes, in seconds."""
        return float(self._machine.grid.seconds["round_s"][index, self._now[index]])


def one_race(
    machine: RecordedMachine, screened: Screened, generator: random.Random, *, finalists: int = 1 + RIVALS,
    respawn: int = MAXIMUM_ROUNDS,
) -> tuple[Race, Mapping[int, set[int]], float]:  # fmt: skip
    """The race among the best eight of a screen, judged as `racing.race` judges; who was drawn; and its seconds.

    Every entrant runs through one recorded process, other than the one that was screened where there is one, and round
    it again up to 120 rounds; with `respawn` all of them are replaced by fresh ones every so many rounds. So few that
    all can be confirmed do not race.
    """
    entrants = promising(screened.trials, most=ENTRANTS)
    if len(entrants) <= finalists:
        return settled_race([trial.config.key for trial in entrants], screened.trials), {}, 0.0
    pairs = [(machine.index[trial.config], screened.drawn[trial.config]) for trial in entrants]
    lanes = Lanes(machine, pairs, generator, respawn)
    keys = (BASELINE, *(trial.config.key for trial in entrants))
    racing = set(range(len(keys)))
    values = np.full((MAXIMUM_ROUNDS, len(keys)), np.nan)
    rounds, seconds = 0, sum(machine.trial_s(index, process) for index, process in pairs)
    state: RaceState | None = None
    while rounds < MAXIMUM_ROUNDS and not (state is not None and state.is_over):
        row = lanes.row(rounds)
        present = sorted(racing | {0})
        values[rounds, present] = [row[column] for column in present]
        seconds += sum(lanes.seconds(pairs[column - 1][0]) for column in present if column)
        rounds += 1
        state = judge(values[:rounds], sorted(racing))
        racing -= set(state.eliminated)
    ratios = {
        key: hodges_lehmann(paired)
        for column, key in enumerate(keys)
        if len(paired := differences(values[:rounds], column, 0))
    }
    raced = Race(
        configs={trial.config.key: trial.config for trial in entrants},
        survivors=tuple(sorted((keys[column] for column in racing), key=lambda key: ratios.get(key, 0.0))),
        is_equivalence_set=state is not None and state.is_equivalence_set,
        rounds=rounds,
        discarded=0,
        log_ratios=ratios,
        lost={},
    )
    return break_ties(raced, screened.trials), lanes.used, seconds


def confirmed(machine: RecordedMachine, index: int, generator: random.Random) -> float:
    """What a first look of the confirmation sees: the mean over four fresh processes of 20 rounds each."""
    values = []
    for _ in range(LOOKS[0]):
        rows = finite(machine.raced[index, generator.choice(machine.processes[index])])
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
Variant = Callable[[RecordedMachine, Truth, Screened, int], Picked]


def replay_race(
    machine: RecordedMachine, truth: Truth, screened: Screened, seed: int, *, pick: Pick = first_that_holds,
    rivals: int = RIVALS, respawn: int = MAXIMUM_ROUNDS,
) -> Picked:  # fmt: skip
    """Race and confirm once; the same seed draws the same race for every rule of picking."""
    raced, used, seconds = one_race(
        machine, screened, random.Random(f"race-{seed}"), finalists=1 + rivals, respawn=respawn
    )
    places = [machine.index[raced.configs[key]] for key in finalists_of(raced, most=1 + rivals)]
    chosen = pick(machine, places, random.Random(f"confirm-{seed}"))
    drawn = set() if chosen == STOCK else {screened.drawn[machine.grid.configs[chosen]], *used.get(chosen, ())}
    return Picked(
        pick=chosen,
        regret=truth.regret(chosen, truth.shrunk),
        raw_regret=truth.regret(chosen, truth.raw),
        held_out=truth.held_out(chosen, sorted(drawn)),
        race_rounds=raced.rounds,
        race_s=seconds,
    )


# name -> how it races and picks. The first is what `tune --preset thorough` does.
VARIANTS: Mapping[str, Variant] = {
    "as tune": replay_race,
    "respawned every 20 rounds": partial(replay_race, respawn=RESPAWN_ROUNDS),
    "fastest of 1": partial(replay_race, pick=fastest_that_holds, rivals=0),
    "fastest of 2": partial(replay_race, pick=fastest_that_holds, rivals=1),
    "fastest of 3": partial(replay_race, pick=fastest_that_holds, rivals=2),
    "respawned, fastest of 3": partial(replay_race, pick=fastest_that_holds, rivals=2, respawn=RESPAWN_ROUNDS),
}
AS_TUNE = next(iter(VARIANTS))


def replay(
    machine: RecordedMachine, truth: Truth, strategy: str, *, most: int, seed: int, variants: Sequence[str] = (AS_TUNE,)
) -> Outcome:  # fmt: skip
    """One tuning with `strategy`, by every one of `variants` from the same screen."""
    screened = screen(machine, strategy, most=most, seed=seed)
    return Outcome(
        seed=seed,
        trials=len(screened.trials),
        share=screened.cost_s / machine.whole_s,
        chance_left=screened.chance_left,
        is_better_left=_is_better_left(machine, truth, screened),
        picked={name: VARIANTS[name](machine, truth, screened, seed) for name in variants},
    )


def _is_better_left(machine: RecordedMachine, truth: Truth, screened: Screened) -> bool:
    measured = np.zeros(machine.grid.size, dtype=bool)
    measured[[machine.index[trial.config] for trial in screened.trials]] = True
    values = np.where(np.isfinite(truth.shrunk), truth.shrunk, np.inf)
    best = min(0.0, float(values[measured].min(initial=np.inf)))
    return bool(values[~measured].min(initial=np.inf) < best - DETECTABLE)
