"""`infer-opt profile --command` and `--function`: sample the process around a model while it does its work."""

import errno
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from infer_opt.errors import ConfigError, EvidenceError, ModelError
from infer_opt.monitors.watched import Watched, split
from infer_opt.profiles.surrounding import SurroundingProfile
from infer_opt.surrounding import memory as memories
from infer_opt.surrounding import recording, stacks
from infer_opt.surrounding.recording import Beginning, Looking, Recorder
from infer_opt.surrounding.shares import shares_of
from infer_opt.surrounding.stacks import Sampled, State
from infer_opt.surrounding.usage import Usage

PATIENCE_S = 10.0  # for a program that was asked to end
LOADING_S = 600.0  # for a module that loads a large model when it is imported
LOOK_EVERY_S = 0.1
FEW_SAMPLES = 50  # a share of 20 % is known to within 6 points then
LATE_SHARE = 0.05
OUTSIDE_SHARE = 0.1
UNSEEN_SHARE = 0.2
BY_MEMRAY = "memray recorded every allocation, which takes time of its own: take shares of time without it."
SLOWEST_HZ, FASTEST_HZ = 1, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingRequest:
    """A command or a function, one of the two. `for_s` None goes on until it ends; `memory` runs it under memray."""

    command: str | None = None
    function: str | None = None
    for_s: float | None = None
    rate_hz: int = 50
    memory: bool = False

    def __post_init__(self) -> None:
        if (self.command is None) == (self.function is None):
            raise ConfigError("a command or a function is sampled, one of the two", hint="--command or --function")
        if self.function is not None and not self.function.rpartition(":")[0]:
            raise ConfigError(
                f"--function {self.function} names no function",
                hint="package.module:function, or path/to/file.py:function",
            )
        if not SLOWEST_HZ <= self.rate_hz <= FASTEST_HZ:
            raise ConfigError(f"{self.rate_hz} samples a second are not between {SLOWEST_HZ} and {FASTEST_HZ}")

    @property
    def subject(self) -> str:
        """What is sampled, as it was named."""
        return " ".join((self.command or self.function or "").split())


@dataclass(slots=True)
class _Seen:
    """What came of the recorders."""

    samples: tuple[Sampled, ...] = ()
    outside: int = 0  # samples of an interpreter that starts or ends
    holding: tuple[Sampled, ...] | None = None
    has_native: bool = True
    was_late: bool = False
    seconds: float = 0.0
    late_s: float = 0.0
    notes: list[str] = field(default_factory=list)


class Sampling:
    """One program from start to end, and what was seen of it. `interrupt` may be called by a signal's handler."""

    def __init__(self, request: SamplingRequest) -> None:
        self.request = request
        self._is_interrupted = False
        self._program: Watched | None = None

    def interrupt(self) -> None:
        """Ask the program to end; what was seen until then is reported."""
        self._is_interrupted = True
        if self._program is not None:
            self._program.forward()

    def profile(self) -> SurroundingProfile:
        """Start the program, sample it until it ends or the time is over, and put together what was seen.

        Raises:
            ConfigError: the command is empty, or its quotes do not close.
            UnavailableError: py-spy or memray is missing or may not look into the process, or there is no such program.
            ModelError: the function cannot be loaded.
        """
        spy = recording.py_spy()
        if self.request.memory:
            recording.require_memray()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="infer-opt-")))
            notes: list[str] = []
            words = self._words(folder, notes)
            before = recording.allow_tracing if recording.needs_permission() else None
            program = Watched(self.request.subject, words=words, before=before)
            stack.callback(program.close)
            stack.callback(_end, program)  # whatever goes wrong, it does not run on unseen
            self._program, began_s = program, time.monotonic()
            usage = Usage(program.pid)
            if self.request.function is not None:
                self._wait_until_loaded(program, folder)
                began_s = time.monotonic()
            seen = self._record(spy, program, usage, folder, began_s)
            code = _end(program)
            seen.notes += notes
            return self._assembled(seen, usage, folder, code)

    def _words(self, folder: Path, notes: list[str]) -> list[str]:
        """How the program is started: as it is, or under memray."""
        capture = folder / "memory.bin"
        if self.request.function is not None:
            os.mkfifo(folder / "go")
            seconds = str(self.request.for_s or 0.0)
            target, memory = self.request.function, str(capture) if self.request.memory else ""
            return [sys.executable, "-P", "-m", "infer_opt.workers.calling", target, str(folder), seconds, memory]
        words = split(self.request.command or "")
        if not self.request.memory:
            return words
        wrapped = memories.under_memray(words, capture)
        if wrapped is None:
            notes.append(
                f"Memory was not recorded: {words[0]} is no Python program, or its script is not named; "
                "memray records `python FILE`, `python -m MODULE` and scripts that name a Python in their first line."
            )
            return words
        memories.require_there(wrapped[0])
        return wrapped

    def _wait_until_loaded(self, program: Watched, folder: Path) -> None:
        deadline_s = time.monotonic() + LOADING_S
        while not (folder / "ready").exists():
            code = program.wait(LOOK_EVERY_S)
            if self._is_interrupted:
                raise EvidenceError(f"interrupted while {self.request.function} was loaded: nothing was sampled")
            if code is not None:
                raise self._not_loaded(folder, code)
            if time.monotonic() > deadline_s:
                raise ModelError(f"{self.request.function} was not loaded within {LOADING_S:.0f} s")

    def _not_loaded(self, folder: Path, code: int) -> ModelError:
        try:
            what, _, hint = (folder / "failed").read_text(encoding="utf-8").partition("\n")
        except FileNotFoundError:
            return ModelError(f"{self.request.function} ended with exit code {code} while it was loaded")
        return ModelError(what, hint=hint or None)

    def _record(self, spy: Path, program: Watched, usage: Usage, folder: Path, began_s: float) -> _Seen:
        """Sample until the program ends, the time is over, or somebody interrupts."""
        seen, for_s = _Seen(), self.request.for_s
        end_s = float("inf") if for_s is None else began_s + for_s

        def is_over() -> bool:
            usage.look()
            return self._is_interrupted or program.exit_code() is not None or time.monotonic() >= end_s

        def start(looking: Looking) -> Recorder:
            return stack.enter_context(
                Recorder(spy, pid=program.pid, looking=looking, rate_hz=self.request.rate_hz, folder=folder)
            )

        with ExitStack() as stack:
            first, second = start(Looking.ALL), start(Looking.HOLDING)
            deadline_s = min(end_s, time.monotonic() + recording.READY_S)
            beginning = first.wait(deadline_s, is_over=is_over)
            if beginning is Beginning.NO_NATIVE:
                seen.has_native, first = False, start(Looking.RUNNING)
                beginning = first.wait(deadline_s, is_over=is_over)
            if beginning is Beginning.NOT_ALLOWED:
                raise recording.may_not_trace()
            holds = beginning is Beginning.SAMPLING and second.wait(deadline_s, is_over=is_over) is Beginning.SAMPLING
            seen.late_s = time.monotonic() - began_s
            if self.request.function is not None:
                _let_go(folder / "go", program)
                began_s, seen.late_s = time.monotonic(), 0.0
                end_s = float("inf") if for_s is None else began_s + for_s
            while not is_over():
                program.wait(min(LOOK_EVERY_S, max(0.0, end_s - time.monotonic())))
            if first.began_s is not None:
                seen.seconds = time.monotonic() - max(first.began_s, began_s)
            found = stacks.parse(first.finish())
            seen.was_late = first.was_late
            seen.samples = _theirs(found)
            seen.outside = sum(one.samples for one in found if not stacks.is_in_python(one.frames))
            seen.holding = _theirs(stacks.parse(second.finish())) if holds else None
        seen.notes += _on_beginning(beginning, self.request, seen.late_s)
        return seen

    def _assembled(self, seen: _Seen, usage: Usage, folder: Path, code: int | None) -> SurroundingProfile:
        by_state: dict[State, list[Sampled]] = {state: [] for state in State}
        for sampled in seen.samples:
            by_state[stacks.state_of(sampled.frames)].append(sampled)
        running = by_state[State.RUNNING]
        captured = memories.read_capture(folder / "memory.bin") if self.request.memory else None
        is_looked_at = seen.has_native and bool(seen.samples)
        return SurroundingProfile(
            subject=self.request.subject,
            seconds=seen.seconds,
            rate_hz=self.request.rate_hz,
            stacks=stacks.stacks_of(running),
            waiting=stacks.stacks_of(by_state[State.WAITING]) if is_looked_at else None,
            waiting_for_gil=stacks.stacks_of(by_state[State.WAITING_FOR_GIL]) if is_looked_at else None,
            holding=None if seen.holding is None else stacks.stacks_of(seen.holding),
            memory=None if captured is None else captured[0],
            peak_bytes=None if captured is None else captured[1],
            shares=shares_of(running),
            threads=stacks.by_thread(running),
            processes=max(usage.processes, 1),
            late_s=seen.late_s,
            cpu_s=usage.cpu_s,
            rss_peak_bytes=usage.rss_peak_bytes,
            exit_code=code,
            notes=(*seen.notes, *_on_samples(seen, usage, self.request), *([] if captured is None else [BY_MEMRAY])),
        )


def exit_code(profile: SurroundingProfile, request: SamplingRequest) -> int:
    """What to leave with: the program's own exit code; 0 where it was ended because the time was over, or ran on."""
    if request.function is not None and request.for_s is not None and profile.exit_code in (None, 128 + 15):
        return 0
    return profile.exit_code or 0


def _end(program: Watched) -> int | None:
    """Ask it to end, where it has not, and wait for a while; its exit code, or None where it runs on."""
    program.forward()
    return program.wait(PATIENCE_S)


def _let_go(gate: Path, program: Watched) -> None:
    """Open the gate that the function's process waits at. Where it has died meanwhile, nobody waits there."""
    while program.exit_code() is None:
        try:
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            program.wait(recording.LOOK_EVERY_S)
        else:
            return


def _theirs(found: Sequence[Sampled]) -> tuple[Sampled, ...]:
    """Without an interpreter that starts or ends, and without what waits until the function is called.

    A busy machine makes py-spy late, and it makes up for that at the end: many samples of the last moment.
    """
    return tuple(one for one in found if stacks.is_in_python(one.frames) and not stacks.is_ours(one.frames))


def _on_beginning(beginning: Beginning, request: SamplingRequest, late_s: float) -> Sequence[str]:
    if beginning is Beginning.NO_PYTHON:
        return [f"{request.subject} runs no Python: its CPU time and its memory are all that can be said of it."]
    if beginning is Beginning.ENDED:
        return [f"No Python was seen in {request.subject} before it ended after {late_s:.1f} s: nothing was sampled."]
    return []


def _on_samples(seen: _Seen, usage: Usage, request: SamplingRequest) -> list[str]:
    """What makes the samples tell less than they seem to."""
    notes = []
    count = sum(sampled.samples for sampled in seen.samples)
    if 0 < count < FEW_SAMPLES:
        longer = "call it for longer, with --for 10s" if request.function is not None else "let it run for longer"
        notes.append(f"There are {count} samples, which is too few for shares: {longer}.")
    if seen.seconds and seen.late_s > LATE_SHARE * (seen.late_s + seen.seconds):
        notes.append(f"Its first {seen.late_s:.1f} s, before Python was up, were not sampled.")
    if count and seen.outside > OUTSIDE_SHARE * count:
        notes.append(f"{seen.outside} samples of Python as it starts and ends are left out, beside {count} that count.")
    if seen.was_late:
        notes.append(
            f"py-spy could not keep up with {request.rate_hz} samples a second, which slows the program and makes "
            "shares less certain: lower the --rate."
        )
    if not seen.has_native:
        notes.append("py-spy cannot follow native code here: who waits, and who waits for the GIL, cannot be said.")
    running_s = (
        sum(one.samples for one in seen.samples if stacks.state_of(one.frames) is State.RUNNING) / request.rate_hz
    )
    cpu_s = usage.cpu_s or 0.0
    if seen.seconds and cpu_s - running_s > max(UNSEEN_SHARE * cpu_s, 1.0):
        notes.append(
            f"Of {cpu_s:.1f} s of CPU time, stacks show {running_s:.1f} s: the rest is spent in threads that Python "
            "does not know, such as a runtime's own pool."
        )
    return notes
