"""Starting configurations that are slowed on purpose: the rig's part of `slowed`, which only workers load."""

import random
import time
from pathlib import Path

from benchmarks.live import slowed
from benchmarks.live.slowed import SLOWED

from infer_opt.config import TrialConfig
from infer_opt.rig import Rig, Starting
from infer_opt.runtimes import RUNTIMES
from infer_opt.workers.messages import Call, Open
from infer_opt.workers.process import WorkerProcess

INSTALL = f"{Path(slowed.__file__).resolve()}:install"


def slowed_by(stock: TrialConfig, share: float) -> TrialConfig:
    """Stock, slower by `share`."""
    return TrialConfig(recipe=stock.recipe, options=stock.options, batch=stock.batch, runtime=f"slowed-{SLOWED[share]}")


class SlowedRig(Rig):
    """A rig whose workers are told of the slowed runtimes, where the configuration needs one."""

    __slots__ = ()

    def start(self, config: TrialConfig, generator: random.Random, *, key: str = "") -> Starting:
        """As a rig does; the worker of a slowed configuration installs its runtime first."""
        if config.runtime in RUNTIMES:
            return super().start(config, generator, key=key)
        artefact = self.given.get(key) or self.artefact(config)
        worker = WorkerProcess(generator, cap_bytes=self.cap_bytes)
        try:
            worker.ask(Call(target=INSTALL), timeout_s=self.timeout_s)
            feeds = self.feeds[config.batch]
            worker.send(Open(runtime=config.runtime, artefact=artefact, options=config.options, feeds=feeds))
        except BaseException:
            worker.close()
            raise
        return Starting(
            config=config,
            worker=worker,
            artefact=artefact,
            artefact_bytes=self.facts.size_bytes,
            began_s=time.monotonic(),
        )


def slowing(rig: Rig) -> SlowedRig:
    """The same rig, that can start slowed configurations."""
    return SlowedRig(**{name: getattr(rig, name) for name in Rig.__dataclass_fields__})
