"""What the coordinating process costs: at most 250 MB, and less than 2 % of a core while a worker is being timed.

*While a worker is timed.* In this process, with the code of a tuning: the model is opened in two workers as stock and
clone, warmed up, and rounds are measured. The CPU time of this process (all threads, `CLOCK_PROCESS_CPUTIME_ID`) is
taken over the wall time while it waits for a block: from having sent the request until the answer is there to be read,
which is when the worker runs. Two wider spans are reported beside it: from sending the request to having unpacked the
answer, and the whole round, with looking for disturbances and stopping workers between blocks.

*A whole tuning.* `infer-opt tune` runs as a process of its own. Ten times a second its peak resident memory (VmHWM of
/proc/PID/status) and its CPU-time clock are read, its workers not counted. VmHWM never falls, so only what it grew by
in the last tenth of a second could be missed.
"""

import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, cast

from benchmarks import calls, record
from benchmarks.calls import Model
from benchmarks.record import Target

from infer_opt.config import Provider
from infer_opt.request import Request
from infer_opt.results import Estimate
from infer_opt.rig import BASELINE, CLONE
from infer_opt.search.surroundings import stock
from infer_opt.setting_up import cache_folder, scratch_folder, set_up
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.workers.isolation import memory_bytes
from infer_opt.workers.process import WorkerProcess

NAME = "coordinator_cost"
LIMIT_BYTES = 250e6
LIMIT_SHARE = 0.02
WARM_UP_ROUNDS = 2
RIG_BUDGET_S = 60.0  # only scales how long a worker may take before it counts as hung

Spent = tuple[int, int]  # wall ns, CPU ns


class Meter:
    """Keeps what each span took: (wall ns, CPU ns of this process)."""

    def __init__(self) -> None:
        self.spent: list[Spent] = []
        self._began: Spent = (0, 0)

    def begin(self) -> None:
        """A span begins."""
        self._began = time.perf_counter_ns(), time.process_time_ns()

    def end(self) -> None:
        """The span that began last is over."""
        wall, cpu = self._began
        self.spent.append((time.perf_counter_ns() - wall, time.process_time_ns() - cpu))


class MeteredConnection:
    """A worker's connection that meters from having sent a request until its answer can be read."""

    def __init__(self, connection: Connection, meter: Meter) -> None:
        self._connection = connection
        self._meter = meter

    def send(self, command: object) -> None:
        """As the connection's own."""
        self._connection.send(command)
        self._meter.begin()

    def recv(self) -> Any:
        """As the connection's own."""
        self._meter.end()
        return self._connection.recv()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class MeteredWorker:
    """A worker that meters each request, from sending to the answer; all else goes to the real one."""

    def __init__(self, worker: WorkerProcess, requests: Meter, waits: Meter) -> None:
        self._worker = worker
        self._requests = requests
        # The seam between waiting and unpacking lies inside the worker's own object, and no other way leads to it.
        worker._connection = cast(Connection, MeteredConnection(worker._connection, waits))

    def ask(self, command: object, *, timeout_s: float) -> Any:
        """As the worker's own."""
        self._requests.begin()
        answer = self._worker.ask(command, timeout_s=timeout_s)
        self._requests.end()
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """What rounds cost this process: for each wait for a block, each request for one, and each whole round."""

    model: str
    waits: tuple[Spent, ...]
    requests: tuple[Spent, ...]
    rounds: tuple[Spent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A whole tuning from outside: seconds since its start, CPU seconds and peak memory at each look."""

    model: str
    exit_code: int
    error: str | None
    wall_s: float
    at_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    peak_bytes: tuple[int, ...]

    @property
    def cpu_share(self) -> float | None:
        """CPU over wall time of the whole call, in cores; start-up and the writing of results included."""
        return self.cpu_s[-1] / self.at_s[-1] if self.at_s and self.at_s[-1] > 0 else None


def share(spent: Sequence[Spent]) -> Estimate:
    """Cores: summed CPU over summed wall time, and its 95 % interval by the ratio's variance over pairs.

    Source: Cochran 1977, "Sampling techniques", section 2.11 (ratio estimator).
    """
    wall, cpu = (sum(values) for values in zip(*spent, strict=True))
    value = cpu / wall
    count = len(spent)
    scatter = sum((c - value * w) ** 2 for w, c in spent)
    error = math.sqrt(scatter / (count - 1) / count) / (wall / count) if count > 1 else math.inf
    return Estimate(value=value, low=max(0.0, value - 1.96 * error), high=value + 1.96 * error)


def measure_rounds(model: Model, *, rounds: int, seed: int) -> Rounds:
    """Rounds of stock and clone, in this process, as a confirmation takes them."""
    request = Request(model=model.path, inputs=model.inputs, providers=(Provider.CPU,), seed=seed)
    with scratch_folder() as scratch, ArtefactCache(cache_folder() / "artefacts") as cache:
        setup = set_up(request, scratch, cache, budget_s=RIG_BUDGET_S)
        config = stock(setup.surroundings)
        entrants, _ = setup.rig.enter({BASELINE: config, CLONE: config}, random.Random(seed))
        requests, waits, whole = Meter(), Meter(), Meter()
        live = {
            key: replace(entrant, worker=cast(WorkerProcess, MeteredWorker(entrant.worker, requests, waits)))
            for key, entrant in entrants.items()
        }
        try:
            for number in range(WARM_UP_ROUNDS + rounds):
                if number == WARM_UP_ROUNDS:
                    for meter in (requests, waits, whole):
                        meter.spent.clear()
                whole.begin()
                setup.rig.round(live, number, setup.generator)
                whole.end()
        finally:
            for entrant in entrants.values():
                entrant.worker.close()
    return Rounds(model=model.name, waits=tuple(waits.spent), requests=tuple(requests.spent), rounds=tuple(whole.spent))


class Sampler:
    """Reads a process's peak memory and CPU clock, as often as it is called."""

    def __init__(self, cpu_s: Callable[[int], float | None] | None = None) -> None:
        self._cpu_s = cpu_s or cpu_seconds
        self.at_s: list[float] = []
        self.cpu_s: list[float] = []
        self.peak_bytes: list[int] = []

    def __call__(self, pid: int, elapsed_s: float) -> None:
        cpu, peak = self._cpu_s(pid), memory_bytes(pid, "VmHWM")
        if cpu is not None and peak is not None:  # None: it has just ended
            self.at_s.append(round(elapsed_s, 3))
            self.cpu_s.append(round(cpu, 4))
            self.peak_bytes.append(peak)


def cpu_seconds(pid: int) -> float | None:
    """CPU seconds of a process's own threads; None when it is gone. Source: `clock_getcpuclockid(3)` of glibc."""
    try:
        return time.clock_gettime_ns((~pid << 3) | 2) / 1e9
    except OSError:
        return None


def sample_tuning(model: Model, *, budget: str, preset: str, seed: int) -> Sampled:
    """One tuning as a process of its own, watched from outside."""
    sampler = Sampler()
    with calls.private_state() as (folder, environment):
        arguments = ["tune", *model.arguments, "--budget", budget, "--preset", preset, "--seed", str(seed)]
        arguments += ["--format", "json", "--out", str(folder / "bundle")]
        finished = calls.call(arguments, environment=environment, tick=sampler)
    return Sampled(
        model=model.name,
        exit_code=finished.exit_code,
        error=finished.error if finished.exit_code else None,
        wall_s=round(finished.wall_s, 3),
        at_s=tuple(sampler.at_s),
        cpu_s=tuple(sampler.cpu_s),
        peak_bytes=tuple(sampler.peak_bytes),
    )


def targets_of(rounds: Sequence[Rounds], tunings: Sequence[Sampled]) -> list[Target]:
    """Memory of every tuning, and CPU while blocks are timed, for every model."""
    targets = [
        Target(
            name=f"{found.model}: CPU of the coordinating process while a block is timed",
            unit="cores",
            measured=share(found.waits).value,
            high=share(found.waits).high,
            at_most=LIMIT_SHARE,
        )
        for found in rounds
    ]
    return targets + [
        Target(
            name=f"{found.model}: peak memory of the coordinating process",
            unit="MB",
            measured=max(found.peak_bytes) / 1e6 if found.peak_bytes and found.exit_code == 0 else None,
            at_most=LIMIT_BYTES / 1e6,
        )
        for found in tunings
    ]


def main(argv: Sequence[str]) -> int:
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--models", nargs="+", default=list(calls.SHIPPED), help="names in models/, or paths")
    parser.add_argument("--rounds", type=int, default=200, help="rounds of two blocks for each model (default 200)")
    parser.add_argument("--budget", default="60s", help="of each tuning (default 60s)")
    parser.add_argument("--preset", default="default", help="of each tuning (default: default)")
    options = parser.parse_args(argv)
    begun = record.begin(NAME, argv)
    chosen = calls.models(options.models)
    rounds = [measure_rounds(model, rounds=options.rounds, seed=options.seed) for model in chosen]
    tunings = [
        sample_tuning(model, budget=options.budget, preset=options.preset, seed=options.seed) for model in chosen
    ]
    targets = targets_of(rounds, tunings)
    begun.write(
        options.result,
        method=__doc__ or "",
        targets=targets,
        results={a.model: result(a, b) for a, b in zip(rounds, tunings, strict=True)},
        samples={a.model: samples(a, b) for a, b in zip(rounds, tunings, strict=True)},
    )
    headings = [
        "model",
        "cores, block timed",
        "95 %",
        "request to answer",
        "whole round",
        "whole tuning",
        "peak MB",
        "s",
    ]
    rows = [row(a, b) for a, b in zip(rounds, tunings, strict=True)]
    return record.report(headings, rows, targets, options.result)


def result(found: Rounds, tuning: Sampled) -> dict[str, Any]:
    return {
        "cpu_cores_while_a_block_is_timed": share(found.waits),
        "cpu_cores_from_request_to_answer": share(found.requests),
        "cpu_cores_over_whole_rounds": share(found.rounds),
        "blocks": len(found.requests),
        "tuning_peak_rss_bytes": max(tuning.peak_bytes, default=None),
        "tuning_cpu_cores": tuning.cpu_share,
        "tuning_wall_s": tuning.wall_s,
        "tuning_exit_code": tuning.exit_code,
        "tuning_error": tuning.error,
    }


def samples(found: Rounds, tuning: Sampled) -> dict[str, list[Any]]:
    return {
        "wait_wall_ns": [wall for wall, _ in found.waits],
        "wait_cpu_ns": [cpu for _, cpu in found.waits],
        "request_wall_ns": [wall for wall, _ in found.requests],
        "request_cpu_ns": [cpu for _, cpu in found.requests],
        "round_wall_ns": [wall for wall, _ in found.rounds],
        "round_cpu_ns": [cpu for _, cpu in found.rounds],
        "tuning_at_s": list(tuning.at_s),
        "tuning_cpu_s": list(tuning.cpu_s),
        "tuning_peak_rss_kb": [peak // 1024 for peak in tuning.peak_bytes],
    }


def row(found: Rounds, tuning: Sampled) -> list[object]:
    waiting = share(found.waits)
    return [
        found.model,
        f"{waiting.value:.4f}",
        f"{waiting.low:.4f} to {waiting.high:.4f}",
        f"{share(found.requests).value:.4f}",
        f"{share(found.rounds).value:.4f}",
        None if tuning.cpu_share is None else f"{tuning.cpu_share:.4f}",
        max(tuning.peak_bytes) / 1e6 if tuning.peak_bytes else None,
        tuning.wall_s,
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
