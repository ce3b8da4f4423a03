"""The race: the promising ones live at once, in heats of fresh processes. It picks; it claims nothing."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from infer_opt.config import TrialConfig
from infer_opt.errors import ModelError
from infer_opt.rig import BASELINE, CLONE, Rig
from infer_opt.stats.charts import MAD_TO_SD
from infer_opt.stats.intervals import FloatArray, hodges_lehmann
from infer_opt.stats.levels import is_slow
from infer_opt.stats.race import HEAT_ROUNDS, HEATS_A_CUT, allowance, cut, judge
from infer_opt.workers.rounds import Entrant, Round

TRIES = 1.5  # rounds that a heat may try for each that it needs
PATIENCE = 4  # heats on a slow machine that are run again
FEWEST_FOR_NOISE = 8  # rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Who is left, the best first; `baseline` among the keys means that stock was not beaten.

    `log_ratios` are each entrant's ln(time / baseline's time), the mean over the heats that it was in of Hodges-
    Lehmann over rounds; `rounds` were run in `heats` sets of fresh processes; `slow_heats` more were set aside, for the
    machine was slow in them. `round_noise` is the standard
    deviation of ln(clone's time / baseline's time) between rounds of one heat, None below eight rounds: how much a
    round of two equals strays on this machine, now. `entry_s` is what it took each of a heat to come up and to warm up,
    the median over heats: a confirmation is planned by it.
    """

    configs: Mapping[str, TrialConfig]
    survivors: tuple[str, ...]
    is_equivalence_set: bool
    rounds: int
    discarded: int
    log_ratios: Mapping[str, float]
    lost: Mapping[str, str]
    heats: int = 0
    slow_heats: int = 0
    round_noise: float | None = None
    entry_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Heat:
    """One set of fresh processes: its undisturbed rounds. Mutable while it is run.

    `rows` are (rounds, entrants), nan for the absent; `ratios` hold ln(time / baseline's time) of each round by
    entrant, the clone among them; `stock` what an item took the baseline and its clone, as ln(ns).
    """

    rows: list[list[float]] = field(default_factory=list)
    ratios: dict[str, list[float]] = field(default_factory=dict)
    stock: list[float] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Course:
    """A race under way: who is in it, and every undisturbed round so far. Mutable: it is the race's score sheet.

    `quiet` is stock's level on the quiet machine, as ln(ns an item). A heat in which stock was clearly slower is set
    aside and run again, four times in all: whom a slow core hits is no matter of the configuration. What was seen in
    such heats counts only where there are no others.
    """

    keys: tuple[str, ...]
    finalists: int
    racing: set[str]
    quiet: float | None = None
    heats: list[Heat] = field(default_factory=list)
    aside: list[Heat] = field(default_factory=list)
    discarded: int = 0
    lost: dict[str, str] = field(default_factory=dict)
    is_alike: bool = False
    is_settled: bool = False

    @property
    def contenders(self) -> list[str]:
        """Who is still in it, stock apart."""
        return [key for key in self.keys if key in self.racing and key != BASELINE]

    @property
    def is_over(self) -> bool:
        """The finalists and their order are settled, one is left, or all are alike over more than one process each."""
        return self.is_settled or self.is_alike or len(self.racing) == 1 or not self.contenders

    @property
    def counted(self) -> list[Heat]:
        """The heats that count: those on the quiet machine, if there was one."""
        return [heat for heat in self.heats if heat.rows] or self.aside

    @property
    def values(self) -> FloatArray:
        """The rounds that count as a matrix."""
        rows = [row for heat in self.counted for row in heat.rows]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.keys))

    def begin_heat(self) -> None:
        """Everybody who is in it was started anew."""
        self.heats.append(Heat())

    def add(self, found: Round) -> None:
        """Count a round, and let those go that no luck of a process explains."""
        self.racing -= set(found.lost)
        self.lost |= {key: error.what for key, error in found.lost.items()}
        if found.discarded is not None:
            self.discarded += 1
            return
        heat = self.heats[-1]
        heat.rows.append([found.values.get(key, np.nan) for key in self.keys])
        heat.stock += [found.values[key] for key in (BASELINE, CLONE) if key in found.values]
        for key, value in found.values.items():
            heat.ratios.setdefault(key, []).append(value - found.values[BASELINE])
        if self._is_slow(heat):
            return
        live = [index for index, key in enumerate(self.keys) if key in self.racing]
        state = judge(self.values, live, allowed=allowance(len(self.heats)))
        self.racing -= {self.keys[index] for index in state.eliminated}
        self.is_alike = state.is_equivalence_set and len(self.heats) > 1  # equal in one process is not enough

    def end_heat(self) -> None:
        """After every second heat the slower half goes; when nobody has to go any more, the order is settled."""
        if self._is_slow(self.heats[-1]):
            self.aside.append(self.heats.pop())
            if len(self.aside) <= PATIENCE:
                return
        run = len(self.heats) + max(0, len(self.aside) - PATIENCE)
        if run % HEATS_A_CUT or self.is_over:
            return
        if len(self.contenders) <= self.finalists:
            self.is_settled = True
            return
        seen = {key: self.by_heat(key) for key in self.keys if key in self.racing}
        kept = cut({key: values for key, values in seen.items() if values}, least=self.finalists)
        # Whoever was in no undisturbed round is not judged.
        self.racing = set(kept) | {key for key, values in seen.items() if not values}
        self.is_settled = len(self.contenders) <= 1

    def _is_slow(self, heat: Heat) -> bool:
        return bool(heat.stock) and is_slow(float(np.median(heat.stock)), self.quiet)

    def by_heat(self, key: str) -> list[float]:
        """An entrant's Hodges-Lehmann value in each heat that it was in."""
        return [hodges_lehmann(heat.ratios[key]) for heat in self.counted if heat.ratios.get(key)]

    def log_ratios(self) -> dict[str, float]:
        """Of everyone that was in a round with stock: the mean over heats, for processes are what replicates."""
        seen = {key: self.by_heat(key) for key in self.keys}
        return {key: sum(values) / len(values) for key, values in seen.items() if values}

    def result(self, challengers: Mapping[str, TrialConfig]) -> Race:
        """Where it stands."""
        ratios = self.log_ratios()
        return Race(
            configs={key: config for key, config in challengers.items() if key in ratios or key in self.racing},
            survivors=tuple(sorted(self.racing, key=lambda key: ratios.get(key, 0.0))),
            is_equivalence_set=self.is_alike,
            rounds=len(self.values),
            discarded=self.discarded,
            log_ratios=ratios,
            lost=self.lost,
            heats=len(self.counted or self.heats),
            slow_heats=len(self.aside),
            round_noise=self.round_noise,
        )

    @property
    def round_noise(self) -> float | None:
        """By the median deviation from each heat's own median: a burst is not what rounds usually stray by."""
        heats = [heat.ratios[CLONE] for heat in self.counted if heat.ratios.get(CLONE)]
        strays = [abs(value - float(np.median(heat))) for heat in heats for value in heat]
        return MAD_TO_SD * float(np.median(strays)) if len(strays) >= FEWEST_FOR_NOISE else None


def race(
    rig: Rig, challengers: Mapping[str, TrialConfig], stock: TrialConfig, *, generator: random.Random,
    goes_on: Callable[[float], bool], finalists: int = 1, quiet: float | None = None,
) -> Race:  # fmt: skip
    """Race `challengers` against stock and its clone until so many are left in order, all are alike, or time is over.

    Heats of ten rounds: then everyone who is left is started anew, for a process keeps its luck as long as it lives.

    Arguments:
        goes_on: is asked before each heat but the first and before each round, with the expected cost in seconds.
        finalists: how many are to be confirmed; two more heats settle their order.
        quiet: what an item takes stock on the quiet machine, as ln(ns).
    """
    course = Course(keys=(BASELINE, *challengers), finalists=finalists, racing={BASELINE, *challengers}, quiet=quiet)
    setup_s, entries = 0.0, list[float]()
    while not course.is_over and (not course.heats or goes_on(setup_s)):
        begin = time.monotonic()
        # Stock and its clone are in every round, whether or not stock has lost already.
        present = {BASELINE: stock, CLONE: stock} | {key: challengers[key] for key in course.contenders}
        entrants, missing = rig.enter(present, generator)
        setup_s = time.monotonic() - begin
        entries.append(setup_s / len(present))
        course.lost |= missing
        course.racing -= set(missing)
        course.begin_heat()
        try:
            went_on = _heat(rig, course, entrants, generator, goes_on)
        finally:
            for entrant in entrants.values():
                entrant.worker.close()
        if not went_on:
            break
        course.end_heat()
    return replace(course.result(challengers), entry_s=float(np.median(entries)) if entries else 0.0)


def _heat(
    rig: Rig, course: Course, entrants: dict[str, Entrant], generator: random.Random, goes_on: Callable[[float], bool]
) -> bool:
    """Rounds of these processes; whether it makes sense to go on."""
    wanted = 1 if rig.objective.is_of_a_process else HEAT_ROUNDS
    tried, cost_s, rows = 0, 0.0, course.heats[-1].rows
    while len(rows) < wanted and tried < TRIES * wanted and not course.is_over:
        if not goes_on(cost_s):
            return False
        present = {key: one for key, one in entrants.items() if key in course.racing or key in (BASELINE, CLONE)}
        found = rig.round(present, tried, generator)
        for key in {BASELINE, CLONE} & set(found.lost):
            raise ModelError(f"the stock session died in the race: {found.lost[key].what}")
        tried, cost_s = tried + 1, found.cost_s
        course.add(found)
    return bool(rows)  # on a machine that is disturbed throughout, another heat finds no more
