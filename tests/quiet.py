"""The command line on a quiet machine: what others compute meanwhile is not looked at, so that no round is discarded.

It also tries no neighbours of the best, so that a preset's `trials` is all that there is to screen. The measuring and
the statistics are as always. Tests of what a command does, and not of what it finds, start it by this file.
"""

import infer_opt.search.screen
import infer_opt.setting_up
from infer_opt.cli import main
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.workers.rounds import Watch, never_disturbed


def watch_nothing(cores_in_use: float, nvml: NvmlMonitor | None = None) -> Watch:
    """A Watch that discards nothing, in the place of the machine's."""
    return never_disturbed


if __name__ == "__main__":
    vars(infer_opt.setting_up)["watch_machine"] = watch_nothing
    infer_opt.search.screen.POLISHED = 0
    main()
