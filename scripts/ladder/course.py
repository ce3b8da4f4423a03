"""The order of the ladder: what is prepared, measured, compiled and tuned, within one time that nothing exceeds."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from scripts.ladder import rungs
from scripts.ladder.arena import Effort, LadderRig, hold, make_rig
from scripts.ladder.contestants import BY_NAME, CONTESTANTS, Contestant, Source
from scripts.ladder.networks import (
    Written,
    by_name,
    free_dims,
    half_file,
    weights_file,
    write_feeds,
    write_samples,
)
from scripts.ladder.rungs import Rung, key_of

from infer_opt.config import Provider, TrialConfig
from infer_opt.errors import InferOptError
from infer_opt.facts import MachineFacts
from infer_opt.machine.packages import is_importable
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.parties import open_party
from infer_opt.request import Request
from infer_opt.rig import BASELINE, CLONE
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.workers.messages import Call
from infer_opt.workers.process import WorkerError, WorkerProcess, run_task

ROOT = Path(__file__).resolve().parents[2]
RESERVE_S = 6.0  # for the last table
SLACK = 1.15  # what a step may take beyond what it took before
FIRST_EPOCH_S = 35.0  # before any was seen
COMPILING, TUNING = 0.2, 0.25  # shares of the whole time, at the most
FILES_S = 150.0  # for the files of all networks
OVERTIME_S = 25.0  # of a tuning, beyond its budget


class TimeOverError(BaseException):
    """The time is over, in the middle of whatever is going on. No `except` but the ladder's own may catch it."""


@dataclass(slots=True, kw_only=True)
class Course:
    """One call of the ladder. `ends_s` is of the monotonic clock; `keep` writes what there is so far.

    `reasons` say why a contestant is nowhere. Mutable, as is everything in `found`: it grows until the time is over.
    """

    provider: Provider
    machine: MachineFacts
    device: NvmlMonitor | None
    folder: Path
    cache: ArtefactCache
    generator: random.Random
    effort: Effort
    total_s: float
    ends_s: float
    keep: Callable[[], None]
    miniature: bool = False
    epochs: int = 3
    tune_s: float = 120.0
    found: dict[str, Rung] = field(default_factory=dict)
    ceilings: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    written: dict[str, Written] = field(default_factory=dict)
    rigs: dict[str, LadderRig] = field(default_factory=dict)
    bundles: dict[tuple[str, str], tuple[TrialConfig, Path]] = field(default_factory=dict)
    compiled: set[str] = field(default_factory=set)
    costs_s: dict[str, float] = field(default_factory=dict)

    @property
    def left_s(self) -> float:
        """Seconds until the end, the last table's left out."""
        return self.ends_s - time.monotonic() - RESERVE_S

    def fits(self, cost_s: float) -> bool:
        """Whether something of about that cost ends in time."""
        return cost_s * SLACK <= self.left_s


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise TimeOverError in here once so many seconds are over."""

    def over(number: int, frame: FrameType | None) -> None:
        raise TimeOverError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def run(course: Course, networks: Sequence[str], batches: Sequence[int]) -> None:
    """Everything, in the order of its worth, until it is done or the time is over. Never raises for the time."""
    try:
        with alarm(course.left_s):
            _run(course, networks, batches)
    except TimeOverError:
        say("the time is over")
    finally:
        course.keep()


def _run(course: Course, networks: Sequence[str], batches: Sequence[int]) -> None:
    for batch in batches:
        for network in networks:
            rung = rungs.new(network, batch)
            course.found.setdefault(key_of(rung), rung)
    _rule_out(course)
    _make_files(course, networks, batches)
    _measure_ceilings(course)
    for batch in batches:
        tier = [key_of(rungs.new(network, batch)) for network in networks]
        _prepare(course, tier)
        _epochs(course, tier)
        _compile(course, tier)
        _epochs(course, tier)
        _tune(course, tier)
        _epochs(course, tier)


def _rule_out(course: Course) -> None:
    """Say of whole contestants why they are not here."""
    for one in CONTESTANTS:
        if one.only_cuda and course.provider is not Provider.CUDA:
            course.reasons[one.name] = "needs a GPU"
        elif one.source is Source.WEIGHTS and not is_importable("torch"):
            course.reasons[one.name] = "PyTorch is not installed"
        elif one.source is Source.BUNDLE and not course.tune_s:
            course.reasons[one.name] = "left out by --tune 0"
        elif one.runtime == "tensorrt":
            reason = _asked(course, "scripts.ladder.tensorrt:why_not")
            if reason is not None:
                course.reasons[one.name] = str(reason)


def _asked(course: Course, target: str, *arguments: object) -> Any:
    try:
        return run_task(target, *arguments, timeout_s=max(1.0, min(course.effort.timeout_s, course.left_s)))
    except InferOptError as error:
        return error.what


def _make_files(course: Course, networks: Sequence[str], batches: Sequence[int]) -> None:
    """Every network's files, each in a process of its own."""
    say("writing the networks")
    calls = {
        network: Call(
            target="scripts.ladder.networks:write_network",
            arguments=(model_file(course, network), by_name()[network].size(miniature=course.miniature), batches),
            keywords=(("halves", course.provider is Provider.CUDA),),
        )
        for network in networks
    }
    answers = side_by_side(course, calls)
    for rung in course.found.values():
        answer = answers.get(rung["network"])
        if isinstance(answer, str):
            rung["lost"][BASELINE] = answer
        elif answer is not None:
            course.written[rung["network"]] = answer
            for one in CONTESTANTS:
                if one.source is Source.HALF and answer.problem is not None:
                    rung["lost"][one.name] = answer.problem


def _measure_ceilings(course: Course) -> None:
    """Alone: processes that write files would hold the host back, and with it the device."""
    say("measuring ceilings")
    found = _asked(course, "scripts.ladder.ceilings:measure", course.provider, course.miniature)
    course.ceilings = found if isinstance(found, dict) else {"reason": str(found)}
    course.keep()


def model_file(course: Course, network: str) -> Path:
    """Where its ONNX file lies."""
    return course.folder / f"{network}.onnx"


def _prepare(course: Course, tier: Sequence[str]) -> None:
    """The inputs and rigs of a tier."""
    for key in tier:
        rung = course.found[key]
        if BASELINE in rung["lost"] or key in course.rigs or not _lacking(course, rung, ignore_waiting=True):
            continue
        written, batch = course.written[rung["network"]], rung["batch"]
        rung["work"] = asdict(written.works[batch])
        feeds = course.folder / f"{rung['network']}-b{batch}.feeds.npz"
        count = write_feeds(feeds, by_name()[rung["network"]].size(miniature=course.miniature), batch)
        rig = make_rig(
            written.facts,
            {batch: feeds},
            course.machine,
            course.cache,
            course.folder,
            device=course.device,
            effort=course.effort,
        )
        course.rigs[key] = replace(rig, checked=count)


def _epochs(course: Course, tier: Sequence[str]) -> None:
    """Pass after pass over the tier, so that all of it has something before any of it has everything."""
    for _ in range(course.epochs):
        for key in tier:
            names = _lacking(course, course.found[key])
            if key not in course.rigs or not names:
                continue
            if not course.fits(_cost_s(course, key)):
                return
            _epoch(course, key, names)


def _cost_s(course: Course, key: str) -> float:
    """What this rung's epoch took, or what any took at the most."""
    return course.costs_s.get(key) or max(course.costs_s.values(), default=FIRST_EPOCH_S)


def _lacking(course: Course, rung: Mapping[str, Any], *, ignore_waiting: bool = False) -> list[str]:
    """Who is to be measured here and was in too few epochs. `ignore_waiting`: also who is not ready yet."""
    if BASELINE in rung["lost"]:
        return []
    return [
        one.name
        for one in CONTESTANTS
        if one.name not in course.reasons
        and one.name not in rung["lost"]
        and one.name not in (BASELINE, CLONE)
        and rungs.processes(rung, one.name) < course.epochs
        and (ignore_waiting or _is_ready(course, one, rung))
    ]


def _is_ready(course: Course, one: Contestant, rung: Mapping[str, Any]) -> bool:
    if one.name == "torch-compile":
        return key_of(rung) in course.compiled
    return one.source is not Source.BUNDLE or (key_of(rung), one.name) in course.bundles


def _epoch(course: Course, key: str, names: Sequence[str]) -> None:
    rung, rig = course.found[key], course.rigs[key]
    begin = time.monotonic()
    configs, given = {}, {}
    for name in (BASELINE, CLONE, *names):
        one = BY_NAME[name]
        configs[name] = one.config(course.provider, rung["batch"])
        if one.source is Source.BUNDLE:
            configs[name], given[name] = course.bundles[key, name]
        elif one.source is not Source.ONNX:
            given[name] = opened_file(course, rung, one)
    say(f"{key}: {', '.join(configs)}")
    is_first = any("score" not in entry for name in names for entry in [_first_seen(rung, name)])
    timeout_s = max(1.0, min(rig.timeout_s, course.left_s))
    try:
        epoch = hold(replace(rig, given=given, timeout_s=timeout_s), configs, course.generator, is_first=is_first)
    except InferOptError as error:
        rung["lost"][BASELINE] = error.what
        say(f"  {error.what}")
    else:
        rungs.add(rung, epoch)
        for name, reason in epoch.lost.items():
            say(f"  {name}: {reason}")
    course.costs_s[key] = time.monotonic() - begin
    course.keep()


def opened_file(course: Course, rung: Mapping[str, Any], one: Contestant) -> Path:
    """What a contestant opens where that is not the ONNX file itself."""
    model = model_file(course, rung["network"])
    return half_file(model) if one.source is Source.HALF else weights_file(model)


def _first_seen(rung: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What was seen of it in an epoch that read everything."""
    seen = [epoch["seen"][name] for epoch in rung["epochs"] if name in epoch["seen"]]
    return next((entry for entry in seen if "score" in entry), {})


def _compile(course: Course, tier: Sequence[str]) -> None:
    """Compile once, outside of any epoch: the compiler keeps what it made, and a fresh process reads it."""
    share_s = COMPILING * course.total_s - course.costs_s.get("compiling", 0.0)
    for key in tier:
        rung = course.found[key]
        is_wanted = "torch-compile" in _lacking(course, rung, ignore_waiting=True) and key in course.rigs
        if not is_wanted or key in course.compiled:
            continue
        limit_s = min(course.effort.compile_s, share_s, course.left_s - _cost_s(course, key))
        if limit_s < 5.0:
            return  # it stays "not reached in the time"
        begin = time.monotonic()
        reason = _compiled(course, key, limit_s)
        took_s = time.monotonic() - begin
        share_s -= took_s
        course.costs_s["compiling"] = course.costs_s.get("compiling", 0.0) + took_s
        if reason is None:
            course.compiled.add(key)
            rung["compile_s"] = round(took_s, 1)
        else:
            rung["lost"]["torch-compile"] = reason
        say(f"{key}: {'compiled' if reason is None else reason} in {took_s:.0f} s")


def _compiled(course: Course, key: str, limit_s: float) -> str | None:
    """Why it could not be compiled; None when it was."""
    rung = course.found[key]
    config = BY_NAME["torch-compile"].config(course.provider, rung["batch"])
    given = {"torch-compile": opened_file(course, rung, BY_NAME["torch-compile"])}
    try:
        rig = replace(course.rigs[key], given=given, opens_alone=False)
        starting = rig.start(config, course.generator, key="torch-compile")
        with starting.worker as worker:
            worker.receive(timeout_s=limit_s)
    except InferOptError as error:
        return error.what
    return None


def _tune(course: Course, tier: Sequence[str]) -> None:
    """Let `infer-opt tune` find its answer for as many rungs as its share of the time allows."""
    name = "tune"
    share_s = TUNING * course.total_s - course.costs_s.get("tuning", 0.0)
    for key in tier:
        rung = course.found[key]
        if name not in _lacking(course, rung, ignore_waiting=True) or key not in course.rigs:
            continue
        if share_s < course.tune_s or not course.fits(course.tune_s + _cost_s(course, key)):
            return
        begin = time.monotonic()
        try:
            course.bundles[key, name] = _tuned(course, rung)
            stock = BY_NAME[BASELINE].config(course.provider, rung["batch"])
            rung["configurations"][name] = course.bundles[key, name][0].label_beside(stock)
        except InferOptError as error:
            rung["lost"][name] = error.what
        took_s = time.monotonic() - begin
        share_s -= took_s
        course.costs_s["tuning"] = course.costs_s.get("tuning", 0.0) + took_s
        say(f"{key}: tuned in {took_s:.0f} s: {rung['configurations'].get(name) or rung['lost'].get(name)}")


def _tuned(course: Course, rung: Rung) -> tuple[TrialConfig, Path]:
    """The configuration and the artefact that `infer-opt tune` answers with.

    Raises:
        WorkerError: it failed, or did not end in time.
    """
    size = by_name()[rung["network"]].size(miniature=course.miniature)
    model, bundle = model_file(course, rung["network"]), course.folder / f"{rung['network']}-b{rung['batch']}.bundle"
    samples = course.folder / f"{rung['network']}.samples.npz"
    if not samples.is_file():
        write_samples(samples, size)
    sizes = [f"{name}={value}" for name, value in free_dims(size, rung["batch"]).items() if name != "batch"]
    command = [sys.executable, "-m", "infer_opt", "tune", str(model), "--inputs", str(samples)]
    command += [part for one in sizes for part in ("--dim", one)]
    command += ["--provider", course.provider.value, "--batch", str(rung["batch"]), "--preset", "quick"]
    command += ["--budget", f"{course.tune_s:.0f}s", "--out", str(bundle), "--force", "--format", "json"]
    environment = os.environ | {
        "INFER_OPT_STORE": f"sqlite:///{course.folder / 'ladder.db'}",
        "INFER_OPT_CACHE": str(course.folder / "cache"),
    }
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            _, error = process.communicate(timeout=course.tune_s + OVERTIME_S)
        except subprocess.TimeoutExpired:
            raise WorkerError(f"infer-opt tune was not over {OVERTIME_S:.0f} s after its budget") from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        lines = (error or "").strip().splitlines()
        raise WorkerError(f"infer-opt tune failed: {lines[-1] if lines else f'exit code {process.returncode}'}")
    party = open_party(bundle, Request(model=model))
    return party.opened, party.artefact


def side_by_side(course: Course, calls: Mapping[str, Call]) -> dict[str, Any]:
    """The answers to all of `calls`, each in a process of its own, all at once; a sentence for one that failed."""
    found: dict[str, Any] = {}
    workers: dict[str, WorkerProcess] = {}
    try:
        for key, call in calls.items():
            workers[key] = WorkerProcess(random.Random(0), own_pools=True)
            workers[key].send(call)
        for key, worker in workers.items():
            try:
                found[key] = worker.receive(timeout_s=max(1.0, min(FILES_S, course.left_s)))
            except InferOptError as error:
                found[key] = error.what
    finally:
        for worker in workers.values():
            worker.close()
    return found


def say(line: str) -> None:
    """Where it stands."""
    print(line, file=sys.stderr, flush=True)
