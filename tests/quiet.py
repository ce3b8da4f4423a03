"""The command line on a quiet machine: what others compute meanwhile is not looked at, so that no round is discarded.

It also tries no neighbours of the best, so that a preset's `trials` is all that there is to screen. The measuring and
the statistics are as always. Tests of what a command does, and not of what it finds, start it by this file. With
`SCREEN_ONLY` in the environment, nothing is confirmed either; without `PROFILED`, stock is not profiled.
"""

import os
from collections.abc import Sequence

import infer_opt.search.screen
import infer_opt.setting_up
import infer_opt.tuning
from infer_opt.cli import main
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.results import Trial, TrialResult
from infer_opt.search.guided import Guided
from infer_opt.search.screen import Exhaustive
from infer_opt.workers.rounds import Watch, never_disturbed

SCREEN_ONLY, PROFILED = "TEST_SCREEN_ONLY", "TEST_PROFILED"
STRATEGIES = (Exhaustive, Guided)


def watch_nothing(cores_in_use: float, nvml: NvmlMonitor | None = None) -> Watch:
    """A Watch that discards nothing, in the place of the machine's."""
    return never_disturbed


def promise_nothing(strategy: object, done: Sequence[Trial], *, most: int) -> tuple[TrialResult, ...]:
    """No trial looks faster than stock, in the place of the screen's own judgement."""
    return ()


if __name__ == "__main__":
    vars(infer_opt.setting_up)["watch_machine"] = watch_nothing
    infer_opt.search.screen.POLISHED = 0
    if not os.environ.get(PROFILED):
        infer_opt.tuning.PROFILE_S = 0.0
    if os.environ.get(SCREEN_ONLY):
        for strategy in STRATEGIES:
            setattr(strategy, "promising", promise_nothing)  # noqa: B010  (a method is replaced on purpose)
    main()
