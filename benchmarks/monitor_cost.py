"""What `infer-opt monitor` costs: at 1 Hz at most 1 % of a core and 60 MB without the screen, 3 % of a core with it.

*Alone.* Each program runs for a while at one sample a second on an otherwise idle machine, in a pseudo-terminal of 140
by 45 where it is a screen: infer-opt as lines, as JSON lines, with anomalies and alerts on a command, on its screen,
and recording; beside `vmstat 1`, `top`, and programs of others that are installed (`glances`, `bpytop`, `nvitop`: in
an environment that --peers names). CPU time is that of the process and its children by their CPU-time clocks, from the
tenth second on, so that starting is not counted; memory is the highest resident set.

*Beside a trial.* Stock and its clone of a shipped model are measured in rounds, as a confirmation measures, while a
monitor at 1 Hz of them runs in every other round and is stopped (SIGSTOP) in the rest, in an order drawn at random. The
difference of ln(time) between rounds with and without it, by pairs of neighbours, is what it disturbs.
"""

import contextlib
import fcntl
import os
import pty
import random
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from benchmarks import calls, record
from benchmarks.record import Target

from infer_opt.config import Provider
from infer_opt.request import Request
from infer_opt.rig import BASELINE, CLONE
from infer_opt.search.surroundings import stock
from infer_opt.setting_up import cache_folder, scratch_folder, set_up
from infer_opt.transforms.cache import ArtefactCache

NAME = "monitor_cost"
SETTLE_S = 10.0
ROWS, COLUMNS = 45, 140
WARM_UP_ROUNDS = 4
LIMIT_CORES, LIMIT_SCREEN_CORES, LIMIT_BYTES, LIMIT_DISTURBED = 0.01, 0.03, 60e6, 0.002
RIG_BUDGET_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Something that watches a machine once a second; `is_screen` needs a terminal."""

    name: str
    words: tuple[str, ...]
    is_screen: bool = False
    limit_cores: float | None = None
    limit_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a program took, from its tenth second on: cores over all of it and in each second, and its highest RSS."""

    name: str
    cores: float
    each: tuple[float, ...]
    peak_bytes: int


def programs(infer_opt: Path, peers: Path | None, pid: int, store: Path) -> list[Program]:
    """infer-opt in its forms, and what else there is on this machine."""
    monitor = (str(infer_opt), "monitor", "--interval", "1s", "--format")
    small = {"limit_cores": LIMIT_CORES, "limit_bytes": LIMIT_BYTES}
    ours: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
        ("lines", ("lines",), small),
        ("jsonl of a process", ("jsonl", "--pid", str(pid)), small),
        ("Prometheus", ("none", "--prometheus", "0"), {}),
        ("recording", ("none", "--record", "--store", f"sqlite:///{store}"), {}),
        ("screen", ("screen",), {"limit_cores": LIMIT_SCREEN_CORES, "is_screen": True}),
    ]
    mine = [Program(name=f"infer-opt, {name}", words=(*monitor, *words), **how) for name, words, how in ours]
    others = [
        Program(name="vmstat 1", words=("vmstat", "1")),
        Program(name="top -d 1", words=("top", "-d", "1"), is_screen=True),
        Program(name="htop", words=("htop", "-d", "10"), is_screen=True),
        Program(name="btop", words=("btop",), is_screen=True),
    ]
    if peers is not None:
        glances = str(peers / "glances")
        others += [
            Program(name="glances -t 1", words=(glances, "-t", "1"), is_screen=True),
            Program(name="glances, to standard output", words=(glances, "-t", "1", "--stdout", "cpu,mem,load")),
            Program(name="bpytop", words=(str(peers / "bpytop"),), is_screen=True),
            Program(name="nvitop", words=(str(peers / "nvitop"), "--interval", "1"), is_screen=True),
        ]
    return [*mine, *(one for one in others if shutil.which(one.words[0]))]


def measure(program: Program, *, seconds: float) -> Cost | None:
    """The cost of one program over `seconds`, after it has settled; None where it ended by itself."""
    with running(program) as process:
        time.sleep(SETTLE_S)
        begin, cpu = time.monotonic(), cpu_s(process)
        first, each, peak = cpu, [], 0
        while time.monotonic() - begin < seconds:
            time.sleep(1.0)
            if process.poll() is not None:
                return None
            now = cpu_s(process)
            each.append(round(now - cpu, 5))
            peak, cpu = max(peak, rss_bytes(process)), now
        length = time.monotonic() - begin
    return Cost(name=program.name, cores=(cpu - first) / length, each=tuple(each), peak_bytes=peak)


@contextlib.contextmanager
def running(program: Program) -> Iterator[subprocess.Popen[bytes]]:
    """The program, started; its output is read and thrown away."""
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    ours, theirs = pty.openpty() if program.is_screen else os.pipe()
    if program.is_screen:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    stdin = theirs if program.is_screen else subprocess.DEVNULL
    process = subprocess.Popen(
        program.words, stdin=stdin, stdout=theirs, stderr=subprocess.DEVNULL if not program.is_screen else theirs,
        start_new_session=True, env=environment,
    )  # fmt: skip
    os.close(theirs)
    over = threading.Event()
    reader = threading.Thread(target=_drain, args=(ours, over), daemon=True)
    reader.start()
    try:
        yield process
    finally:
        over.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join()
        os.close(ours)


def _drain(descriptor: int, over: threading.Event) -> None:
    while not over.is_set():
        ready, _, _ = select.select([descriptor], [], [], 0.5)
        if ready:
            try:
                if not os.read(descriptor, 1 << 16):
                    return
            except OSError:
                return


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """CPU seconds of a process and its children, by the CPU-time clocks of those that live."""
    total = 0.0
    for one in family(process):
        with contextlib.suppress(OSError):
            total += time.clock_gettime_ns((~one.pid << 3) | 2) / 1e9
    return total


def rss_bytes(process: subprocess.Popen[bytes]) -> int:
    """Memory of a process and its children now."""
    total = 0
    for one in family(process):
        with contextlib.suppress(psutil.Error):
            total += one.memory_info().rss
    return total


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A process and all that descend from it."""
    try:
        found = psutil.Process(process.pid)
        return [found, *found.children(recursive=True)]
    except psutil.Error:
        return []


def disturbed(model: calls.Model, infer_opt: Path, *, pairs: int, seed: int) -> list[float]:
    """ln(time with the monitor / time without), for each pair of neighbouring rounds and each of two processes."""
    request = Request(model=model.path, inputs=model.inputs, providers=(Provider.CPU,), seed=seed)
    generator = random.Random(seed)
    with scratch_folder() as scratch, ArtefactCache(cache_folder() / "artefacts") as cache:
        setup = set_up(request, scratch, cache, budget_s=RIG_BUDGET_S)
        config = stock(setup.surroundings)
        entrants, _ = setup.rig.enter({BASELINE: config, CLONE: config}, generator)
        pids = [word for entrant in entrants.values() for word in ("--pid", str(entrant.worker.pid))]
        words = (str(infer_opt), "monitor", "--interval", "1s", "--format", "jsonl", *pids)
        found: list[float] = []
        try:
            with running(Program(name="monitor", words=words)) as monitor:
                time.sleep(SETTLE_S)
                for number in range(WARM_UP_ROUNDS):
                    setup.rig.round(entrants, number, setup.generator)
                for number in range(pairs):
                    values: dict[bool, dict[str, float]] = {}
                    for watched in generator.sample([True, False], 2):
                        os.kill(monitor.pid, signal.SIGCONT if watched else signal.SIGSTOP)
                        values[watched] = dict(setup.rig.round(entrants, number, setup.generator).values)
                    found += [values[True][key] - values[False][key] for key in values[True] if key in values[False]]
        finally:
            for entrant in entrants.values():
                entrant.worker.close()
    return found


def targets_of(chosen: Sequence[Program], costs: Sequence[Cost], differences: dict[str, list[float]]) -> list[Target]:
    """CPU and memory of each of our forms that has a limit, and what it disturbs on each model."""
    limits = {one.name: one for one in chosen}
    targets = []
    for cost in costs:
        program = limits[cost.name]
        if program.limit_cores is not None:
            targets.append(
                Target(name=f"{cost.name}: CPU", unit="cores", measured=cost.cores, at_most=program.limit_cores)
            )
        if program.limit_bytes is not None:
            megabytes = cost.peak_bytes / 1e6
            targets.append(
                Target(name=f"{cost.name}: memory", unit="MB", measured=megabytes, at_most=program.limit_bytes / 1e6)
            )
    for model, found in differences.items():
        change = record.difference(found)
        targets.append(
            Target(
                name=f"{model}: a run beside the monitor over one without", unit="of its time",
                measured=change.value, high=change.high, at_most=LIMIT_DISTURBED,
            )
        )  # fmt: skip
    return targets


def main(argv: Sequence[str]) -> int:
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each program (default 60)")
    parser.add_argument("--pairs", type=int, default=400, help="of rounds with and without, each model (default 400)")
    parser.add_argument("--models", nargs="+", default=["digits_cnn", "policy_mlp"], help="names in models/, or paths")
    parser.add_argument("--peers", type=Path, help="the bin folder of an environment with glances, bpytop, nvitop")
    parser.add_argument("--program", type=Path, default=calls.INFER_OPT, help="the infer-opt to measure")
    options = parser.parse_args(argv)
    begun = record.begin(NAME, argv)
    with tempfile.TemporaryDirectory() as folder:
        chosen = programs(options.program, options.peers, os.getpid(), Path(folder) / "store.db")
        costs = [cost for one in chosen if (cost := measure(one, seconds=options.seconds)) is not None]
    differences = {
        model.name: disturbed(model, options.program, pairs=options.pairs, seed=options.seed)
        for model in calls.models(options.models)
    }
    targets = targets_of(chosen, costs, differences)
    begun.write(
        options.result,
        method=__doc__ or "",
        targets=targets,
        results=results(costs, differences),
        samples={cost.name: cost.each for cost in costs}
        | {f"{name}: ln ratios": found for name, found in differences.items()},
    )
    rows = [[cost.name, 100 * cost.cores, 100 * statistics.median(cost.each), cost.peak_bytes / 1e6] for cost in costs]
    return record.report(["program", "% of a core", "median second", "peak MB"], rows, targets, options.result)


def results(costs: Sequence[Cost], differences: dict[str, list[float]]) -> dict[str, Any]:
    """Everything as plain types."""
    return {
        "programs": {cost.name: {"cpu_cores": cost.cores, "peak_rss_bytes": cost.peak_bytes} for cost in costs},
        "disturbed": {name: record.ratio(found) for name, found in differences.items()},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
