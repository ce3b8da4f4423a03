"""What a model's nodes take: one process that looks at what is executed, and fresh ones that time it.

Each process has two sessions of the same file, one of them with the runtime's profiler on. They are called in turn, in
short blocks, each after the other session's threads have come to rest and after some calls that do not count. Every
other process opens the one with the profiler first, so that the first call of all is known both ways.

All of it runs in processes of their own.
"""

import gc
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from infer_opt.config import SessionOptions
from infer_opt.errors import EvidenceError, ModelError
from infer_opt.facts import TensorSpec
from infer_opt.measure import ClockCost, Plan, WarmUp, WarmUpPlan, clock_cost, measure_block, plan_block, warm_up
from infer_opt.models.executed_graph import join_nodes, memory_of
from infer_opt.models.feeds import load_feeds
from infer_opt.models.files import read_model
from infer_opt.padding import padded
from infer_opt.profiles.executed import Key, Looked, ProcessTrace, RuntimeProfile, SeenCall
from infer_opt.protocols import Feeds, Session
from infer_opt.recipes import Buckets
from infer_opt.runtimes.chrome_trace import chrome_events
from infer_opt.runtimes.device_events import device_call
from infer_opt.runtimes.onnx import OnnxRuntime
from infer_opt.runtimes.profile_events import MOST_EVENTS, read_profile
from infer_opt.runtimes.profiler_cost import profiler_cost
from infer_opt.workers.isolation import memory_bytes

FEEDS = 16  # that rotate, as when a configuration is measured
LOOK_S = 3.0  # calls that are looked at, one on each of those inputs, as far as time allows
EVENTS = 60_000  # that a process has the profiler keep: each takes about a kilobyte of memory
MOST_ROUNDS, FEWEST_ROUNDS = 20, 3
WARM_CALLS = 5  # of the session with the profiler, after the other one has warmed the process up
WARM_UP_SHARE = 0.3  # of a process's time, at the most
SLOW_SHARE = 1 / 40  # a call that takes more of a process's time than this is warmed up by one call
REST_NS, LONGEST_REST_NS = 2_000_000, 250_000_000
AT_REST = 0.1  # cores in use
RESET_PEAK = "5"  # written to clear_refs: proc(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is profiled: a file, how it is opened, what it is fed with (a file of batched feeds), and the padding.

    `inputs` and `outputs` are those of the model as given, by whose dimensions `buckets` are filled up.
    """

    artefact: Path
    options: SessionOptions
    feeds: Path
    buckets: Buckets = ()
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def called(self, session: Session) -> Session:
        """The session as it is called: with inputs filled up, where there are buckets."""
        return padded(session, self.buckets, inputs=self.inputs, outputs=self.outputs)


def look(subject: Subject, scratch: Path) -> Looked:
    """What is executed in a call: the nodes with their tensors, attributes and origins, and memory over the call.

    Raises:
        ModelError: the model cannot be opened or run, or its profile cannot be read.
        EvidenceError: a call executes nothing, or has more events than the runtime's profiler keeps.
    """
    runtime = OnnxRuntime()
    with _folder(scratch) as folder:
        graph = folder / "graph.onnx"
        # Nodes that run side by side would be seen in another order than the graph is stored in.
        options = replace(subject.options, parallel=False)
        session = runtime.open_profiled(subject.artefact, options, folder / "profile", graph=graph)
        placement = session.placement
        call_ns = _call_each(subject.called(session), load_feeds(subject.feeds)[:FEEDS])
        profile = read_profile(session.end_profiling())
        session.close()
        optimised = read_model(graph)
    if not any(call.executions for call in profile.calls):
        raise EvidenceError(
            "a call executes no node: the runtime has made all outputs constants, or hands inputs through",
            hint="there is nothing to profile",
        )
    nodes = join_nodes(profile.seen, optimised, read_model(subject.artefact))
    order = [profile.seen[execution.node].key for execution in profile.calls[0].executions]
    ranks = {key: rank for rank, key in enumerate(dict.fromkeys(order))}
    memory = memory_of(optimised, [nodes[key] for key in order])
    return Looked(
        nodes=tuple(sorted(nodes.items(), key=lambda item: ranks.get(item[0], len(ranks)))),
        memory=memory,
        events=max(len(call.executions) + len(call.device) for call in profile.calls) + 2,
        call_ns=call_ns,
        runtime_version=runtime.version(),
        placement=placement,
    )


def trace(subject: Subject, scratch: Path, *, events: int, seconds: float, profiled_first: bool) -> ProcessTrace:
    """One process: both sessions in turn, for about `seconds`, but at least a few calls of each.

    Arguments:
        events: how many of them a call has.
        profiled_first: which session is opened first, and so whose first call is the first of all.

    Raises:
        ModelError: the model cannot be opened or run, or its profile cannot be read.
        EvidenceError: so few calls have more events than the runtime's profiler keeps.
    """
    with _folder(scratch) as folder:
        process = _Process(subject, folder, events=events, seconds=seconds)
        if profiled_first:
            process.open_profiled()
            process.open_plain()
            warm = process.warm_up()
        else:
            process.open_plain()
            warm = process.warm_up()
            process.read_peak()
            process.open_profiled()
        process.measure(warm.latency_ns)
        return process.end(is_steady=warm.is_steady, profiled_first=profiled_first)


def rest(
    *, clock: Callable[[], int] = time.perf_counter_ns, used: Callable[[], int] = time.process_time_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> None:  # fmt: skip
    """Wait until this process's threads are idle: a session's go on spinning for a while after a call.

    Arguments:
        clock, used: wall time, and CPU time of all threads, in ns.
    """
    begin = clock()
    while (at := clock()) - begin < LONGEST_REST_NS:
        before = used()
        sleep(REST_NS / 1e9)
        if used() - before < AT_REST * (clock() - at):
            return


@dataclass(slots=True, kw_only=True)
class _Notebook:
    """What was measured so far. Mutable by purpose."""

    latency_ns: list[int] = field(default_factory=list)
    profiled_ns: list[int] = field(default_factory=list)
    calls: int = 0  # of the session with the profiler
    timed: list[int] = field(default_factory=list)  # which of those count
    open_ns: int = 0
    first_ns: int = 0
    rss_before: int | None = None
    rss_opened: int | None = None
    rss_peak: int | None = None


class _Process:
    """Both sessions, and what was measured of them."""

    def __init__(self, subject: Subject, folder: Path, *, events: int, seconds: float) -> None:
        self._subject, self._folder, self._seconds = subject, folder, seconds
        self._end = time.monotonic() + seconds
        self._feeds: Sequence[Feeds] = load_feeds(subject.feeds)[:FEEDS]
        self._runtime = OnnxRuntime()
        self._runtime.version()  # imports the library, which is no part of opening a session
        self._cost: ClockCost = clock_cost()
        self._most_calls = max(EVENTS // events, 2 + WARM_CALLS + 2 * FEWEST_ROUNDS)
        if self._most_calls * events >= MOST_EVENTS:
            raise EvidenceError(
                f"a call has {events:,} events, and the runtime's profiler keeps {MOST_EVENTS:,} of them",
                hint="profile fewer items a call, or shorter sequences: --batch, --dim",
            )
        self._notes = _Notebook()

    def open_plain(self) -> None:
        """The session without the profiler, and its first call."""
        notes = self._notes
        notes.rss_before = memory_bytes(os.getpid(), "VmRSS")
        begin = time.perf_counter_ns()
        session = self._runtime.open(self._subject.artefact, self._subject.options)
        opened = time.perf_counter_ns()
        notes.rss_opened = memory_bytes(os.getpid(), "VmRSS")
        _forget_peak()
        self._plain = self._subject.called(session)
        called = time.perf_counter_ns()
        self._plain.run(self._feeds[0])
        notes.open_ns, notes.first_ns = opened - begin, time.perf_counter_ns() - called
        gc.collect()
        gc.freeze()

    def open_profiled(self) -> None:
        """The session with the profiler, and its first call."""
        self._profiler = self._runtime.open_profiled(
            self._subject.artefact, self._subject.options, self._folder / "profile"
        )
        self._profiled = self._subject.called(self._profiler)
        self._profiled.run(self._feeds[0])
        self._notes.calls = 1

    def warm_up(self) -> WarmUp:
        """Until the session without the profiler is steady; a slow one is called once."""
        if self._notes.first_ns > SLOW_SHARE * self._seconds * 1e9:
            begin = time.perf_counter_ns()
            self._plain.run(self._feeds[0])
            return WarmUp(latency_ns=time.perf_counter_ns() - begin, runs=1, is_steady=False)
        cap_ns = min(WarmUpPlan().cap_ns, int(WARM_UP_SHARE * self._seconds * 1e9))
        return warm_up(self._plain, self._feeds, plan=WarmUpPlan(cap_ns=cap_ns), cost=self._cost)

    def read_peak(self) -> None:
        """The most memory since the session was opened."""
        self._notes.rss_peak = memory_bytes(os.getpid(), "VmHWM")

    def measure(self, latency_ns: float) -> None:
        """Rounds of both until the time is over, or there are enough."""
        notes = self._notes
        slow = latency_ns > SLOW_SHARE * self._seconds * 1e9
        for number in range(1 if slow else WARM_CALLS):
            self._profiled.run(self._feeds[number % len(self._feeds)])
            notes.calls += 1
        fewest = 1 if slow else FEWEST_ROUNDS
        plain = plan_block(latency_ns, self._cost)
        profiled = _within(plain, (self._most_calls - notes.calls) // fewest)
        for number in range(MOST_ROUNDS):
            if number >= fewest and time.monotonic() > self._end:
                return
            if number >= fewest and notes.calls + _calls_in(profiled) > self._most_calls:
                return
            turns = ((self._plain_block, plain), (self._profiled_block, profiled))
            for block, plan in turns if number % 2 else reversed(turns):
                rest()
                block(plan, number)

    def _plain_block(self, plan: Plan, number: int) -> None:
        found = measure_block(self._plain, self._feeds, plan=plan, start=number, clock_ns=self._cost.call_ns)
        self._notes.latency_ns += found.latency_ns

    def _profiled_block(self, plan: Plan, number: int) -> None:
        notes = self._notes
        found = measure_block(self._profiled, self._feeds, plan=plan, start=number, clock_ns=self._cost.call_ns)
        notes.profiled_ns += found.latency_ns
        notes.timed += range(notes.calls + plan.lead_in_runs, notes.calls + _calls_in(plan))
        notes.calls += _calls_in(plan)

    def end(self, *, is_steady: bool, profiled_first: bool) -> ProcessTrace:
        """The profile read, and what follows from it."""
        notes = self._notes
        profile = read_profile(self._profiler.end_profiling())
        self._profiler.close()
        self._plain.close()
        rest()
        cost = profiler_cost(self._runtime, self._subject.options, self._folder)
        if len(profile.calls) != notes.calls:
            raise ModelError(
                f"the runtime's profile has {len(profile.calls)} calls where there were {notes.calls}",
                hint="it is incomplete: try again",
            )
        calls = [profile.calls[number] for number in notes.timed]
        by_call = [_own_times(profile, call) for call in calls]
        counts = [Counter(profile.seen[one.node].key for one in call.executions) for call in calls]
        keys = list(dict.fromkeys(key for times in by_call for key in times))
        middle = sorted(calls, key=lambda call: call.run_us)[len(calls) // 2]
        return ProcessTrace(
            latency_ns=tuple(notes.latency_ns),
            profiled_ns=tuple(notes.profiled_ns),
            run_us=tuple(call.run_us for call in calls),
            graph_us=tuple(call.graph_us for call in calls),
            nodes_us={key: tuple(times.get(key, 0.0) for times in by_call) for key in keys},
            executions={key: sum(count[key] for count in counts) / len(counts) for key in keys},
            is_steady=is_steady,
            profiler_us=cost.within_us,
            after_us=cost.after_us,
            open_ns=None if profiled_first else notes.open_ns,
            first_ns=None if profiled_first else notes.first_ns,
            first_us=_own_times(profile, profile.calls[0]) if profiled_first else None,
            rss_before_bytes=None if profiled_first else notes.rss_before,
            rss_opened_bytes=None if profiled_first else notes.rss_opened,
            rss_peak_bytes=notes.rss_peak,
            device=tuple(found for call in calls if (found := device_call(call)) is not None),
            trace=chrome_events(profile, middle),
        )


def _own_times(profile: RuntimeProfile, call: SeenCall) -> dict[Key, float]:
    """What each node took itself in a call, in microseconds, all its executions added up."""
    times: dict[Key, float] = {}
    for execution in call.executions:
        key = profile.seen[execution.node].key
        times[key] = times.get(key, 0.0) + execution.own_us
    return times


def _calls_in(plan: Plan) -> int:
    return plan.lead_in_runs + plan.timed_runs * plan.runs_per_sample


def _within(plan: Plan, calls: int) -> Plan:
    """The plan with so many calls at the most, one of which at least counts and one does not."""
    if _calls_in(plan) <= calls:
        return plan
    lead_in = max(1, min(plan.lead_in_runs, calls // 3))
    timed = max(1, calls - lead_in)
    per_sample = min(plan.runs_per_sample, timed)
    return Plan(lead_in_runs=lead_in, timed_runs=max(1, timed // per_sample), runs_per_sample=per_sample)


def _call_each(session: Session, feeds: Sequence[Feeds]) -> int:
    """One call on each of the feeds while there is time: what the fastest of them took, in ns."""
    begin, fastest = time.monotonic(), 0
    for feed in feeds:
        at = time.perf_counter_ns()
        session.run(feed)
        spent = time.perf_counter_ns() - at
        fastest = min(fastest or spent, spent)
        if time.monotonic() - begin > LOOK_S:
            break
    return fastest


def _forget_peak() -> None:
    """Let VmHWM begin anew: what opening a session took is no matter of its calls. Source: proc(5), clear_refs."""
    try:
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    except OSError:
        return  # not Linux, or not allowed to: the peak is then that of opening too


@contextmanager
def _folder(scratch: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="profile-", dir=scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
