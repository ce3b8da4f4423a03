"""Was a round disturbed from outside? Looks at the host and the GPU before and after, and never at a latency."""

import os
from collections.abc import Callable, Sequence

from infer_opt.monitors.host import HostSnapshot, snapshot
from infer_opt.monitors.interference import interference
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.workers.rounds import Watch


def watch_machine(cores_in_use: float, nvml: NvmlMonitor | None = None) -> Watch:
    """A Watch over this machine.

    Arguments:
        cores_in_use: what the configurations under test may use; others may take a tenth of it.
        nvml: given when a GPU is measured: then foreign processes and heat count too.
    """

    def look(pids: Sequence[int]) -> HostSnapshot:
        # The tuner's own use is not foreign, and neither is that of any live worker, stopped or not.
        everyone = [os.getpid(), *pids]
        if nvml is None:
            return snapshot(everyone)
        return snapshot(
            everyone,
            foreign_gpu_processes=nvml.foreign_processes(everyone),
            thermal_slowdown=nvml.thermal_slowdown(),
        )

    def watch(pids: Sequence[int]) -> Callable[[], str | None]:
        before = look(pids)
        return lambda: interference(before, look(pids), cores_in_use=cores_in_use)

    return watch
