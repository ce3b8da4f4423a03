"""The screen: what the strategy asks for, one configuration after another, each in a process of its own. It picks."""

import random
import time
from collections.abc import Callable, Sequence

from infer_opt.config import TrialConfig
from infer_opt.errors import ModelError
from infer_opt.protocols import Strategy
from infer_opt.results import Trial
from infer_opt.rig import Rig
from infer_opt.search.strategies import Costs
from infer_opt.trials import SCREEN_ROUNDS, Stock, run_trial

RECENT = 8  # trials whose mean cost the next one is expected to have
STARTING_S = 1.0  # what a process takes besides its session
BUILD_S = 2.0  # before any artefact was made


def screen(
    rig: Rig, strategy: Strategy, base: Stock, *, generator: random.Random, done: Sequence[Trial] = (),
    goes_on: Callable[[Sequence[Trial], Sequence[TrialConfig], float], bool],
    keep: Callable[[Trial], None] = lambda trial: None,
) -> tuple[Trial, ...]:  # fmt: skip
    """Trials until the strategy has nothing left to ask, or `goes_on` says stop.

    Arguments:
        done: trials of an earlier call of the same tuning, which count.
        goes_on: is asked before each trial with those done, those that wait and the expected cost in seconds.
        keep: is given each finished trial at once.

    Raises:
        ModelError: the stock session died.
    """
    trials = list(done)
    spent = [trial_costs(base)]
    while (waiting := strategy.next(trials)) and goes_on(trials, waiting, sum(spent[-RECENT:]) / len(spent[-RECENT:])):
        begin = time.monotonic()
        trial = run_trial(rig, waiting[0], base.entrant, generator)
        if not base.entrant.worker.is_alive:
            raise ModelError("the stock session died while it was being measured", hint="try again with --resume")
        spent.append(time.monotonic() - begin)
        trials.append(trial)
        keep(trial)
    return tuple(trials)


def trial_costs(base: Stock) -> float:
    """What a trial is expected to take before any was seen, in seconds."""
    costs = costs_of(base)
    return costs.open_s + costs.rounds_s


def costs_of(base: Stock) -> Costs:
    """What trials take, by what stock took."""
    return Costs(open_s=base.setup_s + STARTING_S, rounds_s=2 * SCREEN_ROUNDS * base.round_s, build_s=BUILD_S)
