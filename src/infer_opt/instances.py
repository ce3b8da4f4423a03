"""Several sessions of one artefact in one process, each with threads and cores of its own.

Threads inherit the cores of the thread that starts them, so a session that is opened by a pinned thread keeps to its
cores whatever the library, and its weights lie in the memory nearest to them.
"""

import os
import queue
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from infer_opt.facts import TensorSpec
from infer_opt.protocols import Array, Feeds, Session
from infer_opt.results import Placement

CAN_PIN = hasattr(os, "sched_setaffinity")


class Instances:
    """So many sessions as one. `run` is answered by one that is free, and waits where all are busy.

    Arguments:
        open_one: gives a session; it is called once for each instance, on that instance's cores.
        count: how many sessions, 1 or more.
        cores: disjoint sets of hardware threads, one for each instance; empty leaves all of them to the scheduler.
    """

    def __init__(self, open_one: Callable[[], Session], *, count: int, cores: Sequence[Collection[int]] = ()) -> None:
        self._cores = tuple(cores) if CAN_PIN and len(cores) == count else ()
        self.is_pinned = bool(self._cores)
        opened: list[Session] = []
        try:
            for index in range(count):
                opened.append(self._open(open_one, index))
        except BaseException:
            for session in opened:
                session.close()
            raise
        self.sessions = tuple(opened)
        self.inputs: tuple[TensorSpec, ...] = opened[0].inputs
        self.outputs: tuple[TensorSpec, ...] = opened[0].outputs
        # The one that was used last is taken first: its caches are warm.
        self._free: queue.LifoQueue[Session] = queue.LifoQueue()
        for session in reversed(opened):
            self._free.put(session)

    @property
    def placement(self) -> Placement | None:
        """Of the first: they are all alike."""
        return self.sessions[0].placement

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Host arrays in, host arrays out, by a session that nobody else is using."""
        session = self._free.get()
        try:
            return session.run(feeds)
        finally:
            self._free.put(session)

    def settle(self, index: int) -> None:
        """Pin the calling thread, for good, to the cores of an instance: for threads that do nothing but call it."""
        if self._cores:
            self.is_pinned = _pin(self._cores[index]) and self.is_pinned

    def close(self) -> None:
        """Give back every session. Safe to call twice."""
        for session in self.sessions:
            session.close()

    def _open(self, open_one: Callable[[], Session], index: int) -> Session:
        if not self._cores:
            return open_one()
        with pinned(self._cores[index]) as is_pinned:
            self.is_pinned = is_pinned and self.is_pinned
            return open_one()


@contextmanager
def pinned(cores: Collection[int]) -> Iterator[bool]:
    """The calling thread, and what it starts meanwhile, on `cores` alone; whether the system allowed that."""
    before = os.sched_getaffinity(0)
    is_pinned = _pin(cores)
    try:
        yield is_pinned
    finally:
        if is_pinned:
            _pin(before)


def _pin(cores: Collection[int]) -> bool:
    try:
        os.sched_setaffinity(0, cores)
    except OSError:  # cores that were taken from this process since they were looked up, or a sandbox
        return False
    return True
