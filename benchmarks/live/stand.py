"""What live experiments stand on: a time of their own, shipped models made ready as `tune` does, and what they give."""

import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import calls
from benchmarks.evidence import Findings

from infer_opt.budget import Budget
from infer_opt.config import Provider, TrialConfig
from infer_opt.request import Request
from infer_opt.rig import Rig
from infer_opt.search.surroundings import stock
from infer_opt.setting_up import Setup, set_up
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.trials import run_stock

# One thing that was seen, as plain JSON types: it goes into the result at once, and all judging starts from it.
Observation = Mapping[str, Any]
FAST, FASTEST, SLOW = "digits_cnn", "policy_mlp", "sequence_lstm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A model that can be measured at once. `setup_s` is what a stock process takes to come up, `round_s` its round."""

    setup: Setup
    stock: TrialConfig
    setup_s: float
    round_s: float

    @property
    def rig(self) -> Rig:
        """What all processes of this model share."""
        return self.setup.rig


@dataclass(slots=True, kw_only=True)
class Stand:
    """What an experiment is handed. Mutable by purpose: the time is another one for each experiment.

    `folder` and `environment` are a cache and a store that last as long as the program, and no longer.
    """

    folder: Path
    environment: Mapping[str, str]
    generator: random.Random
    show: Callable[[str], None]
    is_quick: bool = False
    time: Budget = field(default_factory=lambda: Budget(total_s=60.0))
    known: dict[str, Ready] = field(default_factory=dict)

    def ready(self, name: str) -> Ready:
        """The model called `name` in models/, made ready once."""
        if name not in self.known:
            self.known[name] = self.make_ready(name)
        return self.known[name]

    def make_ready(self, name: str) -> Ready:
        """The same anew: for surroundings that have changed, such as a CPU quota.

        Raises:
            InferOptError: the model does not run here.
        """
        (model,) = calls.models([name])
        scratch = self.folder / f"scratch-{self.generator.getrandbits(32):08x}"
        scratch.mkdir()
        # On the CPU alone: what is tried is the measuring, and models this small have no use for a GPU.
        request = Request(
            model=model.path, inputs=model.inputs, providers=(Provider.CPU,), seed=self.generator.getrandbits(31)
        )
        setup = set_up(request, scratch, ArtefactCache(self.folder / "artefacts"), budget_s=120.0)
        configuration = stock(setup.surroundings)
        base = run_stock(setup.rig, configuration, self.generator)
        base.entrant.worker.close()
        return Ready(setup=setup, stock=configuration, setup_s=base.setup_s, round_s=base.round_s)

    def copy(self, name: str) -> Path:
        """Another file with the very bytes of the model: what a contender is given that must be no different."""
        (model,) = calls.models([name])
        return Path(shutil.copy(model.path, self.folder / f"copy-{model.name}.onnx"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One live experiment. `judge` is pure: the same observations give the same lines.

    `run` is handed what it saw at earlier times of the same program, and gives each new observation as it is made; it
    ends when `Stand.time` is over, but not before one observation.
    """

    run: Callable[[Stand, Sequence[Observation]], Iterator[Observation]]
    judge: Callable[[Sequence[Observation]], Findings]


def repeat(stand: Stand, expected_s: float) -> Iterator[int]:
    """0, 1, 2 ... as long as one more fits: of `expected_s` before the first was seen, then of the longest seen."""
    longest, number = 0.0, 0
    while number == 0 or stand.time.fits(longest or expected_s):
        before = stand.time.elapsed_s
        yield number
        longest = max(longest, stand.time.elapsed_s - before)
        number += 1
