"""One block of several sessions at once: closed-loop load, one thread a session, each calling it back to back.

All threads start at a barrier and call without a pause until each has made its timed calls *and* ended one after that.
So there is a window, from the last thread's first timed call to the moment when the slowest thread has made its last,
in which every session is busy throughout. Calls that only partly lie in it count in part: a rate taken between two
instants is biased neither by the calls in flight at its end nor by threads that have stopped.
"""

import gc
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from infer_opt.errors import EvidenceError
from infer_opt.instances import Instances
from infer_opt.measure import Clock, Plan
from infer_opt.protocols import Array, Feeds
from infer_opt.results import Block

Spans = list[tuple[int, int]]  # when each call of one thread began and ended, in ns


def measure_load(
    instances: Instances, feeds: Sequence[Feeds], *, plan: Plan, start: int = 0, clock: Clock = time.perf_counter_ns,
    clock_ns: int = 0,
) -> Block:  # fmt: skip
    """Lead-in, then `plan`'s timed calls at least, of every session at the same time.

    Each thread goes on through `feeds` from a place of its own, the same in every round of the same `start`.

    Raises:
        EvidenceError: a call took no time or less.
    """
    count = len(instances.sessions)
    load = _Load(threads=count, plan=plan, clock=clock)
    gc.disable()
    try:
        with ThreadPoolExecutor(count) as pool:
            futures = [
                pool.submit(load.drive, session.run, feeds, start + index * plan.timed_runs, instances.settle, index)
                for index, session in enumerate(instances.sessions)
            ]
    finally:
        gc.enable()
    errors = [error for error in (future.exception() for future in futures) if error is not None]
    # Where one thread fails, the others only report that the barrier was left.
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return window(load.spans, calls=plan.timed_runs * plan.runs_per_sample, clock_ns=clock_ns)


class _Load:
    """What the threads of one block share. Appending to a list is atomic, which is all the synchronisation there is."""

    def __init__(self, *, threads: int, plan: Plan, clock: Clock) -> None:
        self.spans: list[Spans] = [[] for _ in range(threads)]
        self._threads = threads
        self._plan = plan
        self._calls = plan.timed_runs * plan.runs_per_sample
        self._clock = clock
        self._gate = threading.Barrier(threads)
        self._through: list[int] = []  # threads that have made their timed calls
        self._past: list[int] = []  # threads that have ended a call since all of them had
        self._failed: list[int] = []

    def drive(
        self, run: Callable[[Feeds], dict[str, Array]], feeds: Sequence[Feeds], first: int,
        settle: Callable[[int], None], index: int,
    ) -> None:  # fmt: skip
        """What one thread does."""
        is_done = False
        try:
            settle(index)
            self._gate.wait()
            for number in range(self._plan.lead_in_runs):
                run(feeds[(first - self._plan.lead_in_runs + number) % len(feeds)])
            self._gate.wait()
            self._call(run, feeds, first, index)
            is_done = True
        finally:
            if not is_done:
                self._failed.append(index)
                self._gate.abort()

    def _call(self, run: Callable[[Feeds], dict[str, Array]], feeds: Sequence[Feeds], first: int, index: int) -> None:
        clock, spans, size, number, is_past = self._clock, self.spans[index], len(feeds), 0, False
        while len(self._past) < self._threads and not self._failed:
            began = clock()
            run(feeds[(first + number) % size])
            spans.append((began, clock()))
            number += 1
            if is_past:
                continue
            if len(self._through) == self._threads:
                self._past.append(index)
                is_past = True
            elif number == self._calls:
                self._through.append(index)


def window(spans: Sequence[Spans], *, calls: int, clock_ns: int = 0) -> Block:
    """The block that the threads' calls make: see the module.

    Its latencies are those of the calls that began in the window, thread by thread; its spacing is the window's length
    over the calls done in it, parts of calls included.

    Raises:
        EvidenceError: a call took no time or less.
    """
    shortest = min(end - began for thread in spans for began, end in thread) - clock_ns
    opens = max(thread[0][0] for thread in spans)
    closes = max(thread[calls - 1][1] for thread in spans)
    if shortest <= 0 or closes <= opens:
        raise EvidenceError(f"a run took {shortest} ns", hint="the clock of this machine cannot be trusted")
    done = sum(
        max(0, min(end, closes) - max(began, opens)) / (end - began) for thread in spans for began, end in thread
    )
    kept = tuple(end - began - clock_ns for thread in spans for began, end in thread if opens <= began < closes)
    return Block(latency_ns=kept, spacing_ns=max(1, round((closes - opens) / done)))
