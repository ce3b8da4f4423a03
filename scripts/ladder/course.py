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
from scripts.ladder.networks import by_name, free_dims, write_feeds, write_samples
from scripts.ladder.rungs import Rung, key_of
from scripts.ladder.work import work_of

from infer_opt.benchmarking import open_party
from infer_opt.config import Provider, TrialConfig
from infer_opt.errors import InferOptError
from infer_opt.facts import MachineFacts
from infer_opt.machine.packages import is_importable
from infer_opt.monitors.nvml import NvmlMonitor
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
WIDTH = 4  # processes that prepare files side by side
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
    tune_s: float = 60.0
    found: dict[str, Rung] = field(default_factory=dict)
    ceilings: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
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
    _make_models(course, networks)
    _measure_ceilings(course)
    for batch in batches:
        tier = [key_of(rungs.new(network, batch)) for network in networks]
        _prepare(course, tier)
        _epochs(course, tier)
        _compile(course, tier)
        _epochs(course, tier)
    for batch in batches:  # a tuning takes as long as a tier's epoch: all that is there already comes first
        tier = [key_of(rungs.new(network, batch)) for network in networks]
        _tune(course, tier)
        _epochs(course, tier)


def _rule_out(course: Course) -> None:
    """Say of whole contestants why they are not here."""
    for one in CONTESTANTS:
        if one.only_cuda and course.provider is not Provider.CUDA:
            course.reasons[one.name] = "needs a GPU"
        elif one.source is Source.PROGRAM and not is_importable("torch"):
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


def _make_models(course: Course, networks: Sequence[str]) -> None:
    say("writing the networks")
    calls = {
        network: Call(
            target="scripts.ladder.networks:write_model",
            arguments=(model_file(course, network), by_name()[network].size(miniature=course.miniature)),
        )
        for network in networks
        if not model_file(course, network).is_file()
    }
    for network, problem in side_by_side(course, calls).items():
        for rung in course.found.values():
            if rung["network"] == network:
                rung["lost"][BASELINE] = problem


def _measure_ceilings(course: Course) -> None:
    say("measuring ceilings")
    found = _asked(course, "scripts.ladder.ceilings:measure", course.provider, course.miniature)
    course.ceilings = found if isinstance(found, dict) else {"reason": str(found)}
    course.keep()


def model_file(course: Course, network: str) -> Path:
    """Where its ONNX file lies."""
    return course.folder / f"{network}.onnx"


def program_file(course: Course, rung: Mapping[str, Any]) -> Path:
    """Where its exported PyTorch program lies."""
    return course.folder / f"{rung['network']}-b{rung['batch']}.pt2"


def _prepare(course: Course, tier: Sequence[str]) -> None:
    """Inputs, programs and halved models of a tier, so that an epoch only opens them."""
    say(f"preparing {', '.join(tier)}")
    programs: dict[str, Call] = {}
    for key in tier:
        rung = course.found[key]
        if BASELINE in rung["lost"] or not _lacking(course, rung, ignore_waiting=True):
            continue
        size = by_name()[rung["network"]].size(miniature=course.miniature)
        model = model_file(course, rung["network"])
        feeds = course.folder / f"{rung['network']}-b{rung['batch']}.feeds.npz"
        if "torch-eager" not in course.reasons and not program_file(course, rung).is_file():
            programs[key] = Call(
                target="scripts.ladder.networks:write_program",
                arguments=(model, program_file(course, rung), size, rung["batch"]),
            )
        if key not in course.rigs:
            count = write_feeds(feeds, size, rung["batch"])
            rung["work"] = asdict(work_of(model, free_dims(size, rung["batch"])))
            rig = make_rig(
                model,
                {rung["batch"]: feeds},
                course.machine,
                course.cache,
                course.folder,
                device=course.device,
                effort=course.effort,
            )
            course.rigs[key] = replace(rig, checked=count)
    for key, problem in side_by_side(course, programs).items():
        for one in CONTESTANTS:
            if one.source is Source.PROGRAM:
                course.found[key]["lost"][one.name] = problem
    for key in tier:
        _halve(course, key)


def _halve(course: Course, key: str) -> None:
    """Build the artefacts of recipes now, and not within an epoch."""
    rung = course.found[key]
    for one in CONTESTANTS:
        if key not in course.rigs or one.recipe.is_stock or one.name in course.reasons or one.name in rung["lost"]:
            continue
        try:
            course.rigs[key].artefact(one.config(course.provider, rung["batch"]))
        except InferOptError as error:
            rung["lost"][one.name] = error.what


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
        if one.source is Source.PROGRAM:
            given[name] = program_file(course, rung)
        if one.source is Source.BUNDLE:
            configs[name], given[name] = course.bundles[key, name]
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
    given = {"torch-compile": program_file(course, rung)}
    try:
        starting = replace(course.rigs[key], given=given).start(config, course.generator, key="torch-compile")
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
            rung["configurations"][name] = course.bundles[key, name][0].label
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


def side_by_side(course: Course, calls: Mapping[str, Call]) -> dict[str, str]:
    """Do all of `calls`, a few at once, each in a process of its own; the reasons of those that failed."""
    failed: dict[str, str] = {}
    waiting = list(calls)
    while waiting:
        group, waiting = waiting[:WIDTH], waiting[WIDTH:]
        workers: dict[str, WorkerProcess] = {}
        try:
            for key in group:
                workers[key] = WorkerProcess(random.Random(0), own_pools=True)
                workers[key].send(calls[key])
            for key, worker in workers.items():
                try:
                    worker.receive(timeout_s=max(1.0, min(2 * course.effort.timeout_s, course.left_s)))
                except InferOptError as error:
                    failed[key] = error.what
        finally:
            for worker in workers.values():
                worker.close()
    return failed


def say(line: str) -> None:
    """Where it stands."""
    print(line, file=sys.stderr, flush=True)
