"""One rung's rig, and one epoch on it: fresh processes of everybody, rounds in random order, and what each uses."""

import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.ladder.contestants import TORCH

from infer_opt.config import Objective, TrialConfig, Workload
from infer_opt.errors import InferOptError, UnavailableError
from infer_opt.facts import MachineFacts, ModelFacts
from infer_opt.measure import WarmUpPlan
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.protocols import Monitor
from infer_opt.results import Parity
from infer_opt.rig import BASELINE, Limits, Rig, Starting
from infer_opt.stats.confirm import epoch_value
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.workers.messages import Call, Check, CheckStale, Open, Opened, Record
from infer_opt.workers.process import WorkerProcess
from infer_opt.workers.rounds import Entrant, Round
from infer_opt.workers.usage import usage
from infer_opt.workers.watching import watch_machine

TOLERANCE = 0.99
FEW_CONVOLUTIONS = 2  # a vision transformer has one
RUN_S = 0.8  # of runs while power is read: NVML averages over up to a second
FREED_S, FREED_STEP_S, FREED_BYTES = 0.6, 0.02, 1 << 24
FEWEST_QUIET = 5  # undisturbed rounds; with fewer, all rounds count and the epoch says so
USED = "gpu[0].memory_used_bytes"
MARKS = ("gpu[0].sm_clock_hertz", "gpu[0].temperature_celsius", "gpu[0].power_watts", "gpu[0].throttle_reasons")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured: rounds of an epoch, and how long a process warms up."""

    rounds: int = 20
    warm_up: WarmUpPlan = field(default_factory=lambda: WarmUpPlan(least_ns=300_000_000, cap_ns=1_500_000_000))
    timeout_s: float = 60.0
    compile_s: float = 60.0


MINIATURE = Effort(rounds=6, warm_up=WarmUpPlan(least_ns=10_000_000, cap_ns=50_000_000, cap_runs=10))


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderRig(Rig):
    """A rig with the ladder's own warm-up, which is short, and with its own runtimes.

    With `opens_alone` libraries are loaded side by side, and models opened one after another: cuDNN tries its ways to
    convolve in the first run, and would choose by what the others do meanwhile.
    """

    effort: Effort = field(default_factory=Effort)
    opens_alone: bool = False

    def warm_up_plan(self, config: TrialConfig, drop_above_ns: float | None = None) -> WarmUpPlan:
        """The same for all."""
        return self.effort.warm_up

    def start(self, config: TrialConfig, generator: random.Random, *, key: str = "") -> Starting:
        """A worker that is opening `config`, or loading its library where it will open alone."""
        begin, artefact = time.monotonic(), self.given.get(key, self.model)
        worker = WorkerProcess(generator, own_pools=config.runtime == TORCH)
        arguments = (config.runtime, config.options.provider if self.opens_alone else None)
        try:
            worker.send(Call(target="scripts.ladder.contestants:wake", arguments=arguments))
            if not self.opens_alone:
                worker.receive(timeout_s=self.timeout_s)
                worker.send(self._open(config, artefact))
        except BaseException:
            worker.close()
            raise
        size = artefact.stat().st_size
        return Starting(config=config, worker=worker, artefact=artefact, artefact_bytes=size, began_s=begin)

    def _settle(self, starting: Starting) -> Opened:
        if self.opens_alone:
            starting.worker.receive(timeout_s=self.timeout_s)
            starting.worker.send(self._open(starting.config, starting.artefact))
        return Rig._settle(self, starting)

    def _open(self, config: TrialConfig, artefact: Path) -> Open:
        return Open(
            runtime=config.runtime,
            artefact=artefact,
            options=config.options,
            feeds=self.feeds[config.batch],
            buckets=config.recipe.buckets,
            inputs=self.facts.inputs,
            outputs=self.facts.outputs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one contestant did in one epoch; None is "not available".

    `log_ratio` is ln(time / the baseline's), `latency_ns` the median of its process. The rest is read in a rung's
    first epoch alone: agreement, device memory in bytes and how that was found out, watts, joules a call.
    """

    log_ratio: float
    latency_ns: float
    parity: Parity | None = None
    memory_bytes: int | None = None
    memory_from: str | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    utilisation: float | None = None
    throttled_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One set of fresh processes. `marks` are the device's clock, heat and power before and after the rounds."""

    seen: Mapping[str, Seen]
    lost: Mapping[str, str]
    rounds: int
    discarded: tuple[str, ...]
    is_disturbed: bool
    cost_s: float
    marks: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)


def make_rig(
    facts: ModelFacts, feeds: Mapping[int, Path], machine: MachineFacts, cache: ArtefactCache, scratch: Path, *,
    device: NvmlMonitor | None, effort: Effort,
) -> LadderRig:  # fmt: skip
    """The rig of one rung, over the model of these facts."""
    (batch,) = feeds
    return LadderRig(
        model=Path(facts.path),
        facts=facts,
        machine=machine,
        objective=Objective.LATENCY,
        workload=Workload(),
        limits=Limits(),
        feeds=feeds,
        references={batch: scratch / f"{Path(facts.path).stem}-{batch}.pickle"},
        cache=cache,
        watch=watch_machine(machine.usable_cores, device),
        timeout_s=effort.timeout_s,
        build_timeout_s=effort.compile_s,
        tolerance=TOLERANCE,
        device=device,
        effort=effort,
        opens_alone=device is not None and dict(facts.operators).get("Conv", 0) > FEW_CONVOLUTIONS,
    )


def hold(rig: LadderRig, configs: Mapping[str, TrialConfig], generator: random.Random, *, is_first: bool) -> Epoch:
    """One epoch of `configs`, the baseline among them; in the first, agreement and use are read too.

    Raises:
        InferOptError: the baseline did not come up.
    """
    begin = time.monotonic()
    entrants, lost = rig.enter(configs, generator)
    parities: dict[str, Parity] = {}
    uses: dict[str, Any] = {}
    try:
        if is_first:
            parities, wrong = _agreement(rig, entrants)
            lost |= wrong
            entrants = _without(entrants, wrong)
        before = _marks(rig)
        rounds, died = _rounds(rig, entrants, generator)
        lost |= died
        after = _marks(rig)
        if is_first:
            uses = {key: one for key, entrant in entrants.items() if (one := _used(rig, entrant)) is not None}
    finally:
        freed = _closed(entrants, rig.device if is_first else None)
    quiet = [one for one in rounds if one.discarded is None]
    kept = quiet if len(quiet) >= min(FEWEST_QUIET, len(rounds)) else rounds
    seen = {
        key: _seen(key, kept, parities.get(key), uses.get(key), freed.get(key))
        for key in entrants
        if key not in lost and kept
    }
    return Epoch(
        seen=seen,
        lost=lost,
        rounds=len(rounds),
        discarded=tuple(one.discarded for one in rounds if one.discarded is not None),
        is_disturbed=kept is not quiet,
        cost_s=time.monotonic() - begin,
        marks={name: (before.get(name), after.get(name)) for name in MARKS if name in before or name in after},
    )


def _agreement(rig: LadderRig, entrants: Mapping[str, Entrant]) -> tuple[dict[str, Parity], dict[str, str]]:
    """With the baseline's outputs, and that graphs do not replay old ones; the reasons of those that do not agree."""
    (reference,) = rig.references.values()
    entrants[BASELINE].worker.ask(Record(path=reference, count=rig.checked), timeout_s=rig.timeout_s)
    found: dict[str, Parity] = {}
    wrong: dict[str, str] = {}
    check = Check(reference=reference, tolerance=rig.tolerance, count=rig.checked)
    for key, entrant in entrants.items():
        try:
            found[key] = entrant.worker.ask(check, timeout_s=rig.timeout_s)
            stale = (
                entrant.worker.ask(CheckStale(reference=reference), timeout_s=rig.timeout_s)
                if entrant.config.options.cuda_graph
                else None
            )
            reason = stale or (None if found[key].passed else found[key].reason)
        except InferOptError as error:
            reason = error.what
        if reason is not None:
            wrong[key] = reason
        entrant.worker.freeze()
    return found, wrong


def _without(entrants: Mapping[str, Entrant], wrong: Mapping[str, str]) -> dict[str, Entrant]:
    for key in wrong:
        entrants[key].worker.close()
    return {key: entrant for key, entrant in entrants.items() if key not in wrong}


def _rounds(
    rig: LadderRig, entrants: Mapping[str, Entrant], generator: random.Random
) -> tuple[list[Round], dict[str, str]]:
    """Rounds of everybody who lives. Who dies is out; the rounds before count for the others.

    Raises:
        InferOptError: the baseline died.
    """
    found: list[Round] = []
    lost: dict[str, str] = {}
    live = dict(entrants)
    while len(found) < rig.effort.rounds:
        one = rig.round(live, len(found), generator)
        if BASELINE in one.lost:
            raise one.lost[BASELINE]
        lost |= {key: error.what for key, error in one.lost.items()}
        live = {key: entrant for key, entrant in live.items() if key not in lost}
        found.append(one)
    return found, lost


def _seen(key: str, rounds: Sequence[Round], parity: Parity | None, use: Any, freed: int | None) -> Seen:
    runs = [run for one in rounds for run in one.blocks[key].latency_ns]
    own = None if use is None else use.device_memory_bytes
    memory, source = (own, "process") if own is not None else (freed, None if freed is None else "freed at its end")
    return Seen(
        log_ratio=epoch_value([one.values[key] - one.values[BASELINE] for one in rounds]),
        latency_ns=float(statistics.median(runs)),
        parity=parity,
        memory_bytes=memory,
        memory_from=source,
        power_watts=None if use is None else use.power_watts,
        energy_joules=None if use is None or use.energy_joules is None else use.energy_joules / use.runs,
        utilisation=None if use is None else use.gpu_utilisation,
        throttled_by=() if use is None else use.throttled_by,
    )


def _used(rig: LadderRig, entrant: Entrant) -> Any:
    """What it uses while it runs; None on a CPU, and where it died."""
    if rig.device is None:
        return None
    try:
        return usage(entrant.worker, timeout_s=rig.timeout_s, run_s=RUN_S, rest_s=0.0, device=rig.device)
    except InferOptError:
        return None
    finally:
        entrant.worker.freeze()


def _closed(entrants: Mapping[str, Entrant], device: Monitor | None) -> dict[str, int]:
    """End every process, one after another; what the device's used memory fell by as each of them ended.

    In a container the driver may list processes under numbers of the host's, or none: this needs no numbers.
    """
    freed: dict[str, int] = {}
    for key, entrant in entrants.items():
        before = _used_bytes(device)
        entrant.worker.close()
        if device is None or before is None:
            continue
        until, after = time.monotonic() + FREED_S, _used_bytes(device)
        while time.monotonic() < until and (after is None or before - after < FREED_BYTES):
            time.sleep(FREED_STEP_S)
            after = _used_bytes(device)
        if after is not None and before - after >= FREED_BYTES:
            freed[key] = int(before - after)
    return freed


def _used_bytes(device: Monitor | None) -> float | None:
    return None if device is None else _read(device).get(USED)


def _marks(rig: LadderRig) -> dict[str, float | None]:
    readings = {} if rig.device is None else _read(rig.device)
    return {name: readings[name] for name in MARKS if name in readings}


def _read(device: Monitor) -> Mapping[str, float | None]:
    try:
        return device.read(())
    except UnavailableError:
        return {}
