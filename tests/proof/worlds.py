"""Machines that disturb in the ways that real ones were seen to, and whole tunings on them through the real chapters.

Time passes only when a block runs. Everything is seeded: a world with the same seed tells the same story.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fakes import MS, FakeWorker, World, make_result, make_rig
from infer_opt.concluding import break_ties, finalists_of, settled_race
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.confirming import Confirmation, Epoch, confirm
from infer_opt.racing import Race, race
from infer_opt.results import Trial, Verdict
from infer_opt.rig import BASELINE, Rig
from infer_opt.search.screen import promising
from infer_opt.stats.intervals import hodges_lehmann, hodges_lehmann_error
from infer_opt.stats.race import MAXIMUM_ROUNDS
from infer_opt.trials import TRIAL, paired_rounds, run_trial
from infer_opt.workers.rounds import Watch, never_disturbed

BLOCK_MS = 12.0  # 2 ms of lead-in and 10 ms of timed runs
STOCK = TrialConfig()
FAST = TrialConfig(options=SessionOptions(intra_threads=1))
ALONE = {"fast": FAST}
ROUNDS = 8
ENTRANTS, FINALISTS = 8, 3  # what the `thorough` preset races and confirms


class Noise(StrEnum):
    """How blocks scatter about what is true. Every model has the same standard deviation for its quiet part."""

    GAUSSIAN = "gaussian"
    T3 = "student-t3"
    BURSTS = "bursts"
    AR1 = "ar1"
    DRIFT = "drift"
    STEPS = "steps"


# ln of the factor by which a block of `worker` is slowed now.
Influence = Callable[["Machine", FakeWorker], float]


@dataclass(slots=True, kw_only=True)
class Machine(World):
    """A world with a clock, a shape of noise, and influences that add up on the log scale.

    `effects_of` gives some configurations a process effect of their own; `position` is the place of the block that is
    under way in its round, from 0; `level` is what the machine does to everybody now.
    """

    shape: Noise = Noise.GAUSSIAN
    drift: float = 0.004
    influences: Sequence[Influence] = ()
    effects_of: Mapping[TrialConfig, float] = field(default_factory=dict)
    now_ms: float = 0.0
    position: int = 0
    level: float = 0.0
    seen: set[str] = field(default_factory=set)
    last: dict[str, float] = field(default_factory=dict)
    remembered: list[Epoch] = field(default_factory=list)

    def worker(self, config: TrialConfig, name: str) -> FakeWorker:
        """A fresh process, with the process effect of its configuration."""
        made = World.worker(self, config, name)
        if config in self.effects_of:
            made.effect = self.generator.gauss(0.0, self.effects_of[config])
        return made

    def block_ns(self, worker: FakeWorker) -> float:
        """The time of a call in a block that `worker` runs now; the clock goes on."""
        self._take_place(worker.name)
        log_factor = worker.effect + self._noise(worker.name)
        log_factor += sum(influence(self, worker) for influence in self.influences)
        self.now_ms += BLOCK_MS
        return self.true_ns(worker.config) * math.exp(log_factor)

    def _take_place(self, name: str) -> None:
        if name in self.seen:
            self.seen.clear()
        self.position = len(self.seen)
        self.seen.add(name)

    def _noise(self, name: str) -> float:
        draw, sigma = self.generator.gauss, self.noise
        match self.shape:
            case Noise.GAUSSIAN:
                return draw(0.0, sigma)
            case Noise.T3:
                spread = sum(draw(0.0, 1.0) ** 2 for _ in range(3)) / 3.0
                return sigma * draw(0.0, 1.0) / math.sqrt(3.0 * spread)
            case Noise.BURSTS:
                return draw(0.0, sigma) + (math.log(1.5) if self.generator.random() < 0.1 else 0.0)
            case Noise.AR1:
                self.last[name] = 0.3 * self.last.get(name, 0.0) + draw(0.0, sigma * math.sqrt(1.0 - 0.3**2))
                return self.last[name]
            case Noise.DRIFT:
                self.level = 0.999 * self.level + draw(0.0, self.drift)  # 0.004: some 10 % either way
                return self.level + draw(0.0, sigma)
            case Noise.STEPS:
                if self.generator.random() < 1 / 200:
                    self.level = draw(0.0, 0.15)
                return self.level + draw(0.0, sigma)


def is_two_threaded(worker: FakeWorker) -> bool:
    """Stock uses both cores; one thread leaves the other to whoever wants it."""
    return worker.config.options.intra_threads != 1


@dataclass(slots=True, kw_only=True)
class CoRunner:
    """Somebody who computes half of the time, in phases of these lengths, and slows whoever runs then."""

    slow_down: float = 1.6
    shortest_ms: float = 20.0
    longest_ms: float = 200.0
    until_ms: float = 0.0
    is_on: bool = False
    was_on_ms: list[float] = field(default_factory=list)

    def __call__(self, machine: Machine, worker: FakeWorker) -> float:
        while machine.now_ms >= self.until_ms:
            self.is_on = not self.is_on
            self.until_ms += machine.generator.uniform(self.shortest_ms, self.longest_ms)
        if self.is_on:
            self.was_on_ms.append(machine.now_ms)
        return math.log(self.slow_down) if self.is_on else 0.0

    def watch(self, pids: Sequence[int]) -> Callable[[], str | None]:
        """What a host's counters say: a round in which it ran is disturbed."""
        before = len(self.was_on_ms)
        return lambda: "others" if len(self.was_on_ms) > before else None


def quota(machine: Machine, worker: FakeWorker) -> float:
    """60 ms of every 100 ms are granted, and whoever runs at the end of them stands still until the next 100."""
    run_ms = machine.true_ns(worker.config) / MS * 4.0  # three runs of 4 ms
    took, now = [], machine.now_ms
    for _ in range(3):
        phase = now % 100.0
        wait = 100.0 - phase if phase >= 60.0 else 0.0
        stop = 40.0 if (phase if wait == 0.0 else 0.0) + run_ms > 60.0 else 0.0
        took.append(wait + run_ms + stop)
        now += took[-1]
    machine.now_ms = now
    return math.log(sorted(took)[1] / run_ms)


def cold_after_idle(machine: Machine, worker: FakeWorker) -> float:
    """Between rounds the cores clock down: the first block of a round pays most for it, the second a little."""
    return (math.log(1.10), math.log(1.03), 0.0)[min(machine.position, 2)]


def spinning_idlers(machine: Machine, worker: FakeWorker) -> float:
    """Threads of a session that is open and not stopped spin on: 1.5 times slower on some rounds, by the cores used."""
    idle = sum(not (other.is_frozen or other.is_closed or other is worker) for other in machine.workers)
    share, factor = (0.7, 1.5) if is_two_threaded(worker) else (0.2, 1.1)
    slowed = sum(machine.generator.random() < share for _ in range(idle))
    return slowed * math.log(factor)


def always(cost_s: float) -> bool:
    """Time never runs out."""
    return True


def confirmed(
    machine: Machine, contenders: Mapping[str, TrialConfig] = ALONE, *, watch: Watch = never_disturbed,
    most: int = 13,
) -> Confirmation:  # fmt: skip
    """The real confirmation of `contenders` on `machine`."""
    return confirm(
        make_rig(machine, watch=watch),
        contenders,
        STOCK,
        generator=random.Random(machine.seed),
        rounds=ROUNDS,
        fits=always,
        most=most,
    )


def verdict_of(found: Confirmation, key: str = "fast") -> Verdict:
    """What was said of `key`; a confirmation without a single usable epoch says that it was too noisy."""
    comparison = found.comparisons.get(key)
    if comparison is None:
        return Verdict.TOO_NOISY if found.is_too_noisy else Verdict.INCONCLUSIVE
    return comparison.verdict


def identical(count: int) -> tuple[TrialConfig, ...]:
    """So many configurations that are as fast as stock, as far as nobody says otherwise."""
    return tuple(TrialConfig(options=SessionOptions(intra_threads=threads)) for threads in range(1, count + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A whole tuning: who raced, what came of it, and what was confirmed. None for a chapter that was not needed."""

    entrants: tuple[str, ...]
    raced: Race
    confirmation: Confirmation | None

    @property
    def claims_a_winner(self) -> bool:
        """Whether it would hand back something else than stock."""
        comparisons = self.confirmation.comparisons.values() if self.confirmation else ()
        return any(one.verdict is Verdict.FASTER for one in comparisons)


def tuned(
    machine: Machine, configs: Sequence[TrialConfig], *, race_rounds: int = MAXIMUM_ROUNDS, whole_trials: bool = False
) -> Tuned:
    """Screen, race and confirm as `tune` does; the budget ends the race after `race_rounds` at most.

    With `whole_trials` the screen runs every stage of a trial; else its paired rounds, which decide alone.
    """
    left = iter(range(race_rounds))
    rig, generator = make_rig(machine), random.Random(machine.seed)
    trials = _screened(rig, machine, configs, generator, whole_trials=whole_trials)
    chosen = {trial.config.key: trial.config for trial in promising(trials, most=ENTRANTS)}
    if len(chosen) > 1:
        found = race(rig, chosen, STOCK, generator=generator, goes_on=lambda cost_s: next(left, None) is not None)
        raced = break_ties(found, trials)
    else:
        raced = settled_race(tuple(chosen), trials)
    finalists = {key: raced.configs[key] for key in finalists_of(raced, most=FINALISTS)}
    confirmation = None
    if finalists:
        confirmation = confirm(rig, finalists, STOCK, generator=generator, rounds=ROUNDS, fits=always, most=13)
    return Tuned(entrants=tuple(chosen), raced=raced, confirmation=confirmation)


def _screened(
    rig: Rig, machine: Machine, configs: Sequence[TrialConfig], generator: random.Random, *, whole_trials: bool
) -> list[Trial]:
    baseline = machine.entrant(STOCK, BASELINE)
    if whole_trials:
        return [run_trial(rig, config, baseline, generator) for config in configs]
    trials: list[Trial] = []
    for config in configs:
        rounds = paired_rounds(rig, machine.entrant(config, TRIAL), baseline, generator)
        found = [one.values[TRIAL] - one.values[BASELINE] for one in rounds]
        trials.append(make_result(config, hodges_lehmann(found), log_ratio_error=hodges_lehmann_error(found)))
    return trials


def most_allowed(share: float, tries: int, *, surprise: float = 1e-3) -> int:
    """The most failures of `tries` that a true rate of `share` explains: more come with a chance below `surprise`."""
    from scipy.stats import binom

    return int(binom.isf(surprise, tries, share))
