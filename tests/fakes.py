"""Hand-written stand-ins for what measuring meets: a clock, a session, worker processes and the rig that makes them.

Nothing here waits or starts a process. A `World` is what all fake workers of one test share: how fast each
configuration truly is, seeded noise, and a diary of what was done to whom in which order.
"""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from infer_opt.config import Objective, Provider, TrialConfig, Workload
from infer_opt.facts import MachineFacts, ModelFacts, TensorSpec
from infer_opt.measure import WarmUp
from infer_opt.monitors.host import HostSnapshot
from infer_opt.preparing import Prepared
from infer_opt.results import Block, Parity, Placement, Quantile, Readings, TrialResult
from infer_opt.rig import Limits, Rig, Starting
from infer_opt.search.surroundings import Surroundings
from infer_opt.setting_up import Setup
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.workers.messages import (
    Check,
    CheckStale,
    Evaluate,
    Measure,
    Open,
    Opened,
    Ran,
    Record,
    Run,
    Warm,
)
from infer_opt.workers.process import WorkerError, WorkerProcess
from infer_opt.workers.rounds import Entrant, never_disturbed
from infer_opt.workers.usage import REST_S, RUN_S, Usage, usage

MS = 1_000_000
MB = 1_000_000
SCORES = TensorSpec(name="scores", dtype="float32", shape=("batch", 3))
PASSED = Parity(score=1.0, passed=True, outputs=(), samples=8)

MODEL = ModelFacts(
    path="model.onnx",
    content_hash="c0ffee",
    size_bytes=1000,
    weight_bytes=900,
    ir_version=8,
    opset=17,
    inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", 8)),),
    outputs=(SCORES,),
    operators=(("Gemm", 2), ("Relu", 1)),
    dynamic_dims=("batch",),
    batch_dim="batch",
)
MACHINE = MachineFacts(
    fingerprint="f",
    system="Linux x86_64",
    cpu_model="Fake",
    physical_cores=2,
    logical_cores=2,
    usable_cores=2.0,
    isa=("avx2",),
    memory_bytes=8_000 * MB,
)


class FakeClock:
    """Nanoseconds that pass only when a session runs, or by `reading_ns` each time that somebody looks."""

    def __init__(self, *, reading_ns: int = 0, resolution_ns: int = 1) -> None:
        self.now_ns = 0
        self._reading_ns = reading_ns
        self._resolution_ns = resolution_ns

    def __call__(self) -> int:
        self.now_ns += self._reading_ns
        return self.now_ns // self._resolution_ns * self._resolution_ns


class FakeSession:
    """Takes the given times in order, and the last of them for ever. Remembers what it was fed."""

    def __init__(
        self, clock: FakeClock, durations_ns: Sequence[int], *, during: Callable[[], None] = lambda: None
    ) -> None:
        self._clock = clock
        self._durations_ns = durations_ns
        self._during = during
        self.fed: list[Mapping[str, Any]] = []

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        self._clock.now_ns += self._durations_ns[min(len(self.fed), len(self._durations_ns) - 1)]
        self.fed.append(feeds)
        self._during()
        return {}


@dataclass(slots=True, kw_only=True)
class World:
    """What is true about the configurations, and the noise that hides it.

    `latency_ns` maps a configuration to the time of a call; `process_effect` and `noise` are the standard deviations of
    ln(time) between processes and between blocks. `scripts` overrides answers of a configuration by type of command: a
    value, an error to be raised, or a function of the command and of how often it was asked (`...`: as usual).
    With `one_process_each`, a name that comes up again has the process effect that it had before. `cores_running` and
    `cores_after` are what a worker keeps busy while it runs and after it.
    """

    seed: int = 0
    latency_ns: Mapping[TrialConfig, float] = field(default_factory=dict)
    process_effect: float = 0.0
    noise: float = 0.0
    runs: int = 3
    one_process_each: bool = False
    cores_running: float = 1.9
    cores_after: float = 0.5
    scripts: Mapping[TrialConfig, Mapping[type, object]] = field(default_factory=dict)
    diary: list[tuple[str, str]] = field(default_factory=list)
    workers: list["FakeWorker"] = field(default_factory=list)
    effects: dict[str, float] = field(default_factory=dict)
    generator: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.generator = random.Random(self.seed)

    def worker(self, config: TrialConfig, name: str) -> "FakeWorker":
        """A fresh process: its own draw of the process effect."""
        effect = self.generator.gauss(0.0, self.process_effect)
        if self.one_process_each:
            effect = self.effects.setdefault(name, effect)
        made = FakeWorker(self, config, f"{name}#{len(self.workers)}", effect)
        self.workers.append(made)
        return made

    def entrant(self, config: TrialConfig, name: str) -> Entrant:
        """A worker that has opened and warmed up."""
        return Entrant(config=config, worker=self.worker(config, name), latency_ns=self.true_ns(config))

    def true_ns(self, config: TrialConfig) -> float:
        return self.latency_ns.get(config, float(MS)) if self.latency_ns else float(MS)

    def block_ns(self, worker: "FakeWorker") -> float:
        """The time of a call in a block that `worker` runs now."""
        return self.true_ns(worker.config) * math.exp(worker.effect + self.generator.gauss(0.0, self.noise))

    def spoken_to(self) -> list[str]:
        """The names of the workers that were asked for a block, in order."""
        return [name for what, name in self.diary if what == "Measure"]


class FakeWorker(WorkerProcess):
    """Answers every command at once. Only what the outside can see of a worker is real: order, stops, death."""

    def __init__(self, world: World, config: TrialConfig, name: str, effect: float) -> None:
        self.name = name
        self.config = config
        self.is_frozen = False
        self.is_closed = False
        self.asked: list[object] = []
        self._world = world
        self._is_dead = False
        self._pending: list[object] = []
        self.effect = effect

    @property
    def pid(self) -> int:
        return 1000 + int(self.name.rpartition("#")[2])

    @property
    def is_alive(self) -> bool:
        return not (self._is_dead or self.is_closed)

    def send(self, command: object) -> None:
        self.thaw()
        self._world.diary.append((type(command).__name__, self.name))
        self.asked.append(command)
        self._pending.append(command)

    def receive(self, *, timeout_s: float) -> Any:
        command = self._pending.pop(0)
        scripts = self._world.scripts  # mostly none, and hashing a configuration for each block would be slow
        usual = self._usual(command)
        answer = scripts.get(self.config, {}).get(type(command), usual) if scripts else usual
        if callable(answer):
            answer = answer(command, sum(type(asked) is type(command) for asked in self.asked))
        if answer is ...:
            answer = self._usual(command)
        if isinstance(answer, WorkerError):
            self._is_dead = True
        if isinstance(answer, Exception):
            raise answer
        return answer

    def freeze(self) -> None:
        if not self.is_frozen:
            self._world.diary.append(("freeze", self.name))
        self.is_frozen = True

    def thaw(self) -> None:
        self.is_frozen = False

    def close(self) -> None:
        if not self.is_closed:
            self._world.diary.append(("close", self.name))
        self.is_closed = True

    def memory_bytes(self, field: str) -> int | None:
        return {"VmHWM": 200 * MB, "VmRSS": 150 * MB}[field]

    def _usual(self, command: object) -> object:
        match command:
            case Open():
                return Opened(
                    open_ns=80 * MS,
                    first_run_ns=9 * MS,
                    placement=Placement(nodes=(("CPUExecutionProvider", 3),)),
                    inputs=MODEL.inputs,
                    outputs=MODEL.outputs,
                    runtime_version="1.0",
                )
            case Warm():
                return WarmUp(latency_ns=self._world.true_ns(self.config), runs=100, is_steady=True)
            case Measure():
                return self._block()
            case Check():
                return PASSED
            case Run():
                return Ran(runs=100, seconds=0.3)
            case Evaluate():
                return 0.9
            case Record() | CheckStale():
                return None
        raise AssertionError(f"a fake worker does not know {command}")

    def _block(self) -> Block:
        return Block(latency_ns=(round(self._world.block_ns(self)),) * self._world.runs)


class Spending:
    """A host on which a worker keeps `running` cores busy in its first second, and `after` in the next."""

    def __init__(self, world: "World") -> None:
        self._rates = iter((world.cores_running, world.cores_after))
        self._seconds, self._cpu_s = 0, 0.0

    def look(self, pids: Iterable[int]) -> HostSnapshot:
        """A second after the look before."""
        if self._seconds:
            self._cpu_s += next(self._rates)
        taken = HostSnapshot(time_ns=self._seconds * 10**9, wall_ns=0, cpu_s=tuple((pid, self._cpu_s) for pid in pids))
        self._seconds += 1
        return taken

    def sleep(self, seconds: float) -> None:
        """At once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeRig(Rig):
    """A rig whose workers are fake. All else, `enter` above all, is the real thing."""

    world: World

    def artefact(self, config: TrialConfig) -> Path:
        """The model itself: nothing is built."""
        return self.model

    def start(self, config: TrialConfig, generator: random.Random, *, key: str = "") -> Starting:
        """A fake worker that was asked to open `config`."""
        artefact = self.given.get(key) or self.artefact(config)
        worker = self.world.worker(config, key or "trial")
        worker.send(Open(runtime=config.runtime, artefact=artefact, options=config.options, feeds=Path("feeds.npz")))
        return Starting(config=config, worker=worker, artefact=artefact, artefact_bytes=1000, began_s=0.0)

    def usage(self, starting: Starting, *, run_s: float | None = None, rest_s: float = REST_S) -> Usage:
        """What the world says that a worker keeps busy; the rest is the real thing, without waiting."""
        device = self.device if starting.config.options.provider is Provider.CUDA else None
        clock = Spending(self.world)
        return usage(
            starting.worker, timeout_s=1.0, run_s=run_s or RUN_S, rest_s=rest_s, device=device,
            look=clock.look, sleep=clock.sleep,
        )  # fmt: skip


def make_rig(world: World, **changes: Any) -> FakeRig:
    """A rig for latency at batch 1 without limits on a quiet machine."""
    settings: dict[str, Any] = {
        "model": Path("/nowhere/model.onnx"),
        "facts": MODEL,
        "machine": MACHINE,
        "objective": Objective.LATENCY,
        "workload": Workload(),
        "limits": Limits(),
        "feeds": {1: Path("feeds.npz")},
        "references": {1: Path("/nowhere/reference.pickle")},
        "cache": cast(ArtefactCache, None),  # FakeRig builds nothing
        "watch": never_disturbed,
        "world": world,
    }
    return FakeRig(**(settings | changes))


def make_setup(rig: Rig, **changes: Any) -> Setup:
    """A tuning that was set up over `rig`: two cores, made-up inputs, nothing to note."""
    settings: dict[str, Any] = {
        "rig": rig,
        "surroundings": Surroundings(providers=(Provider.CPU,), usable_cores=2.0, physical_cores=2),
        "prepared": Prepared(
            feeds={},
            calibration=None,
            calibration_hash=None,
            workload=Workload(),
            is_synthetic=True,
            samples=4,
            notes=(),
        ),
        "notes": (),
        "runtime_versions": {"onnx": "1.32.0"},
        "generator": random.Random(0),
    }
    return Setup(**(settings | changes))


def make_readings(median_ns: float = MS, *, p99_ns: float | None = None, peak_rss_bytes: int | None = None) -> Readings:
    """Readings with the given median, p99 and peak memory; the rest is the same for all."""
    return Readings(
        quantiles=(
            Quantile(q=0.5, value_ns=median_ns, low_ns=median_ns, high_ns=median_ns),
            Quantile(q=0.99, value_ns=p99_ns, missing_runs=0 if p99_ns else 300),
        ),
        items_per_s=1e9 / median_ns,
        open_ns=80 * MS,
        first_run_ns=9 * MS,
        artefact_bytes=1000,
        peak_rss_bytes=peak_rss_bytes,
    )


def make_result(config: TrialConfig, log_ratio: float = 0.0, **changes: Any) -> TrialResult:
    """A trial that ran, this much slower than stock on the log scale."""
    median_ns = MS * math.exp(log_ratio)
    settings: dict[str, Any] = {
        "readings": make_readings(median_ns),
        "parity": PASSED,
        "log_ratio_error": 0.005,
        "blocks": (Block(latency_ns=(round(median_ns),) * 3),) * 5,
    }
    return TrialResult(config=config, log_ratio=log_ratio, **(settings | changes))
