"""`infer-opt profile`: where a model's time and memory go, node by node.

The story: look at what is executed and what this machine can do, time it in fresh processes, account for it, hold it
against the floors.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from infer_opt.accounting import PRECISION, Account, account, half_width, latency_of
from infer_opt.budget import Budget
from infer_opt.config import Distribution, TrialConfig
from infer_opt.errors import ConfigError, ModelError, UnavailableError
from infer_opt.explaining import explain, find_circumstances, find_limits
from infer_opt.machine.cgroup import throttling
from infer_opt.parties import Party, foreign_notes, open_party, request_for
from infer_opt.profiles.executed import Looked, ProcessTrace
from infer_opt.profiles.profile import Profile
from infer_opt.request import Request
from infer_opt.results import Caution, Note, Progress
from infer_opt.setting_up import Setup, cache_folder, scratch_folder, set_up
from infer_opt.stats.intervals import PROCESSES_FOR_A_CLAIM
from infer_opt.taking import inspect_model
from infer_opt.tracing import Subject
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.workers.environments import Environment
from infer_opt.workers.messages import Call
from infer_opt.workers.process import WorkerError, WorkerProcess

MOST_PROCESSES = 10  # undisturbed ones, where the latency is not known well enough after five
ATTEMPTS = 12
LONGEST_S = 5.0  # for the rounds of one process: more would be spent better on another process
STARTING_S = 1.0  # a process and its libraries
PATIENCE = 20  # times what a process should take

Show = Callable[[Progress], None]


def profile(request: Request, *, budget: Budget, show: Show) -> Profile:
    """What a call of `request.model` takes, each node of it and the memory over it; a bundle as it is deployed.

    Raises:
        InferOptError: the model cannot be run or profiled, or the time was too short for a single process.
    """
    with scratch_folder() as scratch, ArtefactCache(cache_folder() / "artefacts") as cache:
        ready = prepare(request, scratch, cache, budget=budget, show=show)
        looked, machine = ready.looked, ready.setup.rig.machine
        limits = find_limits(machine, ready.subject.options, looked.runtime_version, budget=budget, show=show)
        before, began = throttling(), time.monotonic_ns()
        traces, disturbed = _traces(ready, budget=budget, show=show)
        wall_ns = time.monotonic_ns() - began
        around = find_circumstances(machine, ready.subject, before=before, wall_ns=wall_ns, budget=budget, show=show)
        return explain(profile_of(ready, traces, disturbed), limits, around)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A model or bundle that was looked at and can be timed. `elsewhere` is another environment with its runtime."""

    party: Party
    setup: Setup
    subject: Subject
    looked: Looked
    scratch: Path
    elsewhere: Environment | None = None

    @property
    def config(self) -> TrialConfig:
        """How it is opened, at the batch size that it is fed with."""
        return replace(self.party.config, batch=next(iter(self.setup.rig.feeds)))


def prepare(
    request: Request,
    scratch: Path,
    cache: ArtefactCache,
    *,
    budget: Budget,
    show: Show,
    elsewhere: Environment | None = None,
) -> Ready:
    """Inspect the model or bundle, make up what it is fed with, and look at what is executed. Nothing is timed yet.

    Raises:
        InferOptError: it cannot be run or profiled.
    """
    party = open_party(request.model, request)
    _require_profiler(party)
    show(Progress(stage="inspect", detail=str(request.model)))
    asked, notes = _of_one_shape(_asked(party, request))
    setup = set_up(asked, scratch, cache, budget_s=budget.total_s, exports=False)
    setup = replace(setup, notes=(*setup.notes, *notes, *foreign_notes(setup, party)))
    subject = _subject(setup, party)
    show(Progress(stage="look", detail=str(party.path)))
    command = Call(target="infer_opt.tracing:look", arguments=(subject, scratch))
    looked: Looked = _ask(setup, command, budget.total_s, elsewhere=elsewhere)[0]
    return Ready(party=party, setup=setup, subject=subject, looked=looked, scratch=scratch, elsewhere=elsewhere)


def timed(ready: Ready, *, seconds: float, profiled_first: bool) -> tuple[ProcessTrace, str | None]:
    """What one fresh process brings home in about `seconds`, and what disturbed it from outside, or None.

    Raises:
        ModelError: the process died, or gave no answer.
    """
    command = Call(
        target="infer_opt.tracing:trace",
        arguments=(ready.subject, ready.scratch),
        keywords=(("events", ready.looked.events), ("seconds", seconds), ("profiled_first", profiled_first)),
    )
    timeout_s = PATIENCE * (seconds + 10 * ready.looked.call_ns / 1e9)
    return _ask(ready.setup, command, timeout_s, elsewhere=ready.elsewhere)


def profile_of(ready: Ready, traces: Sequence[ProcessTrace], notes: Sequence[Note] = ()) -> Profile:
    """The profile that the traces of fresh processes add up to."""
    setup, looked = ready.setup, ready.looked
    found: Account = account(looked, traces, is_parallel=ready.config.options.parallel)
    return Profile(
        subject=str(ready.party.path),
        config=ready.config,
        runtime_version=looked.runtime_version,
        model=replace(setup.rig.facts, path=str(ready.party.path)),
        machine=setup.rig.machine,
        call=found.call,
        nodes=found.nodes,
        memory=found.memory,
        processes=len(traces),
        placement=looked.placement,
        device=found.device,
        notes=(*setup.notes, *found.notes, *notes),
        trace=found.trace,
    )


def _require_profiler(party: Party) -> None:
    """ONNX Runtime says what each node takes; with CUDA graphs, nodes are not executed one by one."""
    if party.config.runtime != "onnx":
        raise UnavailableError(
            f"{party.path} runs on {party.config.runtime}, and ONNX Runtime's profiler is the only one that is read",
            hint="profile the ONNX model that it came from",
        )
    if party.config.options.cuda_graph:
        raise UnavailableError(
            f"{party.path} replays a CUDA graph, in which no node is executed by itself",
            hint=f"profile its file: infer-opt profile {party.artefact} --provider cuda",
        )


def _asked(party: Party, request: Request) -> Request:
    """The request with the bundle's own inputs and sizes; a model is fed with the batch that it takes."""
    if len(request.batches) > 1:
        raise ConfigError("a profile is that of one batch size", hint=f"name one: --batch {request.batches[0]}")
    asked = request_for(party, party, request, is_own_claim=True)
    if party.manifest is None:
        return replace(asked, batches=request.batches, providers=request.providers)
    if set(party.config.options.custom_ops) != set(request.custom_ops):
        raise ConfigError(
            f"the bundle uses the custom-operator libraries {list(party.config.options.custom_ops)}",
            hint="name them with --custom-ops; they hold code, so none is loaded unless it is named",
        )
    if asked.distributions:  # its own inputs are of all sizes, and a profile is of one
        asked = replace(asked, ready_feeds=None)
    if request.dims or request.distributions:
        return asked
    free = {*inspect_model(asked).dynamic_dims}  # its file may have fixed the sizes that it was tuned for
    return replace(
        asked,
        dims={name: size for name, size in asked.dims.items() if name in free},
        distributions={name: sizes for name, sizes in asked.distributions.items() if name in free},
    )


def _of_one_shape(request: Request) -> tuple[Request, list[Note]]:
    """Of several sizes, the one that most calls have: nodes take other times in others."""
    dims, notes = dict(request.dims), []
    for name, sizes in request.distributions.items():
        size, share = max(sizes, key=lambda found: found[1])
        dims[name] = size
        text = f"profiled with {name}={size} alone, which {share:.0%} of the calls have: --dim {name}=SIZE for another"
        notes.append(Note(caution=Caution.GUESSED_DIMENSION, text=text))
    return replace(request, dims=dims, distributions=dict[str, Distribution]()), notes


def _subject(setup: Setup, party: Party) -> Subject:
    specs = party.manifest or setup.rig.facts
    provider = setup.surroundings.providers[0]
    return Subject(
        artefact=party.artefact,
        options=replace(party.config.options, provider=provider, custom_ops=setup.surroundings.custom_ops),
        feeds=next(iter(setup.rig.feeds.values())),
        buckets=party.config.recipe.buckets,
        inputs=tuple(specs.inputs),
        outputs=tuple(specs.outputs),
    )


@dataclass(slots=True, kw_only=True)
class _Kept:
    """Traces of the two kinds: those that opened the session without the profiler first, and the others."""

    quiet: tuple[list[ProcessTrace], list[ProcessTrace]] = field(default_factory=lambda: ([], []))
    disturbed: tuple[list[ProcessTrace], list[ProcessTrace]] = field(default_factory=lambda: ([], []))

    @property
    def profiled_first(self) -> bool:
        """The kind that lacks processes: both are needed for first calls."""
        return len(self.quiet[1]) < len(self.quiet[0])

    @property
    def traces(self) -> list[ProcessTrace]:
        """Quiet ones; disturbed ones only where there are too few of them."""
        found = [*self.quiet[0], *self.quiet[1]]
        for number in range(PROCESSES_FOR_A_CLAIM):
            for quiet, disturbed in zip(self.quiet, self.disturbed, strict=True):
                wanted = len(found) < PROCESSES_FOR_A_CLAIM or not quiet
                if wanted and number < len(disturbed):
                    found.append(disturbed[number])
        return found


def _traces(ready: Ready, *, budget: Budget, show: Show) -> tuple[Sequence[ProcessTrace], list[Note]]:
    """Fresh processes one after another: five, and more while the latency is not known to 2 % and there is time."""
    kept = _Kept()
    cost_s, reasons = 0.0, list[str]()
    for number in range(ATTEMPTS):
        quiet = sum(map(len, kept.quiet))
        if number and not budget.fits(cost_s):
            break
        if quiet >= PROCESSES_FOR_A_CLAIM and (
            quiet >= MOST_PROCESSES or half_width(latency_of(kept.traces)) <= PRECISION
        ):
            break
        show(Progress(stage="profile", done=number, total=max(number + 1, PROCESSES_FOR_A_CLAIM)))
        before = budget.elapsed_s
        first = kept.profiled_first if quiet else bool(number % 2)
        seconds = min(LONGEST_S, max(0.1, budget.left_s / max(1, PROCESSES_FOR_A_CLAIM - number) - STARTING_S))
        trace, reason = timed(ready, seconds=seconds, profiled_first=first)
        (kept.quiet if reason is None else kept.disturbed)[first].append(trace)
        reasons += [reason] if reason is not None else []
        cost_s = budget.elapsed_s - before
    return kept.traces, _disturbed(kept, reasons)


def _disturbed(kept: _Kept, reasons: Sequence[str]) -> list[Note]:
    used = len(kept.traces) - sum(map(len, kept.quiet))
    if not used:
        return []
    text = f"{used} of {len(kept.traces)} processes were disturbed from outside ({', '.join(dict.fromkeys(reasons))})"
    return [Note(caution=Caution.TOO_NOISY, text=text)]


def _ask(
    setup: Setup, command: Call, timeout_s: float, *, elsewhere: Environment | None = None
) -> tuple[Any, str | None]:
    """The answer of a fresh process to `command`, and what disturbed it meanwhile."""
    rig = setup.rig
    with WorkerProcess(setup.generator, cap_bytes=rig.cap_bytes, elsewhere=elsewhere) as worker:
        over = rig.watch([worker.pid])
        try:
            answer = worker.ask(command, timeout_s=max(60.0, timeout_s))
        except WorkerError as error:
            raise ModelError(f"{rig.facts.path} cannot be profiled: {error.what}") from error
        return answer, over()
