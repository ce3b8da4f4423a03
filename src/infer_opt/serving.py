"""An open bundle at work: one call, or many callers, on one session or on several instances.

Serving needs numpy and the runtime, nothing else of infer-opt's dependencies.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from infer_opt.batching import Batcher, BatchingLimits
from infer_opt.config import TrialConfig
from infer_opt.errors import ConfigError
from infer_opt.facts import TensorSpec
from infer_opt.instances import CAN_PIN, Instances
from infer_opt.machine.cores import hardware_threads, lay_out
from infer_opt.machine.cpu import usable_cores
from infer_opt.protocols import Array, Feeds, Session
from infer_opt.results import Caution, Note


class LoadedBundle:
    """An open bundle. `run` is the runtime session's own method, so a call costs what was measured.

    `run({name: array})` gives `{name: array}` and may be called from several threads at once; where the bundle has
    several instances, each call is answered by one that is free. `submit` does the same for many callers together, with
    a thread for each instance, on its cores. `inputs` and `outputs` are TensorSpecs; the batch dimension is as free as
    it was in the model. `notes` are reasons for care.
    """

    def __init__(self, session: Session, notes: tuple[Note, ...], limits: BatchingLimits | None = None) -> None:
        self._session = session
        self._limits = limits or BatchingLimits()
        self._batcher: Batcher | None = None
        self._lock = threading.Lock()
        self.run = session.run
        self.inputs: tuple[TensorSpec, ...] = session.inputs
        self.outputs: tuple[TensorSpec, ...] = session.outputs
        self.notes = notes

    def submit(self, feeds: Feeds, *, timeout_s: float | None = None) -> "Future[dict[str, Array]]":
        """A future of what `run(feeds)` would give, run together with what other threads and tasks submit meanwhile.

        While the queue is full it waits, at most for `timeout_s`.

        Raises:
            OverloadError: the queue was full for that long.
            ModelError: an input is no array.
            ConfigError: the bundle is closed.
        """
        return self._together().submit(feeds, timeout_s=timeout_s)

    async def submit_async(self, feeds: Feeds, *, timeout_s: float | None = None) -> dict[str, Array]:
        """As `submit`, from a task: the event loop goes on, and a task that is cancelled takes its request along."""
        return await self._together().submit_async(feeds, timeout_s=timeout_s)

    def _together(self) -> Batcher:
        with self._lock:
            if self.run is _closed:
                _closed({})
            if self._batcher is None and isinstance(self._session, Instances):
                self._batcher = Batcher(self._session.sessions, self._limits, settle=self._session.settle)
            elif self._batcher is None:
                self._batcher = Batcher([self._session], self._limits)
            return self._batcher

    def close(self) -> None:
        """Answer what was submitted, and give back what the session holds. Safe to call twice."""
        with self._lock:
            batcher, self._batcher = self._batcher, None
            self.run = _closed
        if batcher is not None:
            batcher.close()
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _closed(feeds: Feeds) -> dict[str, Array]:
    raise ConfigError("this bundle is closed", hint="call infer_opt.load again")


def open_sessions(config: TrialConfig, open_one: Callable[[], Session]) -> tuple[Session, tuple[Note, ...]]:
    """The session, or as many instances as this machine has cores for, each with its own where that can be had."""
    if config.instances == 1:
        return open_one(), ()
    each, usable = config.options.intra_threads, usable_cores()
    count = max(1, min(config.instances, int(usable) // each))
    cores = lay_out(hardware_threads(), instances=count, each=each)
    notes = []
    if count < config.instances:
        text = (
            f"measured with {config.instances} instances of {each} threads; {usable:g} cores may be used here, which is"
            f" enough for {count}: run infer-opt tune on this machine"
        )
        notes.append(Note(caution=Caution.OTHER_MACHINE, text=text))
    session = Instances(open_one, count=count, cores=cores)
    if not session.is_pinned and not notes:
        why = "its threads cannot be pinned here" if CAN_PIN else "this platform cannot pin threads"
        notes.append(Note(caution=Caution.UNPINNED, text=f"the {count} instances have no cores of their own: {why}"))
    return session, tuple(notes)
