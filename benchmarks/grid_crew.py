"""The members of a recorded group: fresh processes, opened side by side, checked and warmed up, each stage timed."""

import contextlib
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.grid_journal import Lost

from infer_opt.config import TrialConfig
from infer_opt.errors import InferOptError, ModelError
from infer_opt.measure import WarmUp
from infer_opt.recipes import Recipe
from infer_opt.results import FailureKind
from infer_opt.rig import BASELINE, CLONE, Rig, Starting, require_placement
from infer_opt.trials import TrialError, check_parity
from infer_opt.workers.messages import Opened, Warm
from infer_opt.workers.process import WorkerError
from infer_opt.workers.rounds import Entrant


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a space is recorded. `launch_s` is what starting a process takes besides opening its session."""

    seed: int
    processes: int
    rounds: int
    together: int
    launch_s: float
    drop_above_ns: float


@dataclass(slots=True, kw_only=True)
class Crew:
    """The live members of a group by key, what getting them there took, and who left meanwhile."""

    entrants: dict[str, Entrant] = field(default_factory=dict)
    open_s: dict[str, float] = field(default_factory=dict)
    parity_s: dict[str, float] = field(default_factory=dict)
    warm_s: dict[str, float] = field(default_factory=dict)
    lost: dict[str, Lost] = field(default_factory=dict)

    def spent_s(self, key: str) -> float:
        """What a member has cost so far, in seconds."""
        return sum(costs.get(key, 0.0) for costs in (self.open_s, self.parity_s, self.warm_s))


def build(rig: Rig, configs: Mapping[str, TrialConfig], crew: Crew, known: set[Recipe]) -> dict[str, float]:
    """Make the artefacts before anything opens; gives the seconds that each new recipe took, by its first user."""
    seconds: dict[str, float] = {}
    met = set(known)
    for key, config in configs.items():
        begin = time.monotonic()
        try:
            rig.artefact(config)
        except WorkerError as error:
            crew.lost[key] = Lost(kind=error.kind, reason=error.what, cost_s=0.0)
        except InferOptError as error:
            crew.lost[key] = Lost(kind=FailureKind.BUILD, reason=error.what, cost_s=0.0)
        if config.recipe not in met and not config.recipe.is_stock:
            seconds[key] = time.monotonic() - begin
            met.add(config.recipe)
    return seconds


def bring_up(
    rig: Rig, wanted: Mapping[str, TrialConfig], crew: Crew, *, generator: random.Random, terms: Terms, check: bool
) -> None:
    """As `Rig.enter`: open side by side, then one after another check against stock (`check`) and warm up; timed.

    Raises:
        ModelError: the baseline or its clone did not come up.
    """
    keys = list(wanted)
    generator.shuffle(keys)
    starting: dict[str, Starting] = {}
    try:
        for key in keys:
            with losing(crew, key, FailureKind.OPEN):
                starting[key] = rig.start(wanted[key], generator, key=key)
        for step in (_open, *((_check,) if check else ()), _warm):
            for key in [key for key in keys if key not in crew.lost]:
                with losing(crew, key, FailureKind.OPEN if step is _open else FailureKind.ERROR):
                    step(rig, crew, key, starting[key], terms)
        for key in {BASELINE, CLONE} & set(crew.lost):
            raise ModelError(f"the stock session did not come up again: {crew.lost[key].reason}")
    finally:
        for key, entry in starting.items():
            if key not in crew.entrants:
                entry.worker.close()


@contextlib.contextmanager
def losing(crew: Crew, key: str, kind: FailureKind) -> Iterator[None]:
    """A member that fails in this block leaves, with the kind and the reason; the others go on."""
    try:
        yield
    except TrialError as error:  # how `check_parity` says that outputs differ
        crew.lost[key] = Lost(kind=error.failure.kind, reason=error.failure.reason, cost_s=crew.spent_s(key))
    except WorkerError as error:
        crew.lost[key] = Lost(kind=error.kind, reason=error.what, cost_s=crew.spent_s(key))
    except InferOptError as error:
        crew.lost[key] = Lost(kind=kind, reason=error.what, cost_s=crew.spent_s(key))


def _open(rig: Rig, crew: Crew, key: str, starting: Starting, terms: Terms) -> None:
    crew.open_s[key] = terms.launch_s
    opened: Opened = starting.worker.receive(timeout_s=rig.timeout_s)
    starting.worker.freeze()
    crew.open_s[key] += (opened.open_ns + opened.first_run_ns) / 1e9
    require_placement(opened.placement, starting.config.options.provider)


def _check(rig: Rig, crew: Crew, key: str, starting: Starting, terms: Terms) -> None:
    begin = time.monotonic()
    try:
        if key not in (BASELINE, CLONE):
            check_parity(rig, starting.config, starting.worker)
    finally:
        crew.parity_s[key] = time.monotonic() - begin
    starting.worker.freeze()


def _warm(rig: Rig, crew: Crew, key: str, starting: Starting, terms: Terms) -> None:
    begin = time.monotonic()
    # What is three times slower than stock need not be steady: as in the screen, it is out of the question.
    limit = None if key in (BASELINE, CLONE) else terms.drop_above_ns * starting.config.batch
    plan = rig.warm_up_plan(starting.config, limit)
    try:
        warmed: WarmUp = starting.worker.ask(Warm(plan=plan), timeout_s=rig.timeout_s)
    finally:
        crew.warm_s[key] = time.monotonic() - begin
    starting.worker.freeze()
    crew.entrants[key] = Entrant(config=starting.config, worker=starting.worker, latency_ns=warmed.latency_ns)
