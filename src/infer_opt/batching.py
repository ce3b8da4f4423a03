"""Calls from many threads or tasks, run together: up to so many items a batch, waited for at most so long.

One thread a session takes requests in the order of their arrival. Those whose arrays can be laid behind one another run
as one batch; others wait for their own. What is cancelled before it runs is left out, and where a batch fails its
requests run again one by one, so that only the one at fault fails.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from infer_opt.errors import ConfigError, ModelError, OverloadError
from infer_opt.facts import TensorSpec
from infer_opt.protocols import Array, Feeds, Session

Signature = tuple[tuple[str, str, tuple[int, ...]], ...]  # name, type and shape of an item, of every input


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingLimits:
    """How far to batch: items a batch, seconds that the first of them waits for others, requests in the queue."""

    max_batch: int = 8
    max_wait_s: float = 0.002
    max_queue: int = 256

    def __post_init__(self) -> None:
        if self.max_batch < 1 or self.max_queue < 1:
            raise ConfigError(f"max_batch and max_queue must be 1 or more, got {self.max_batch} and {self.max_queue}")
        if not 0.0 <= self.max_wait_s < float("inf"):
            raise ConfigError(f"max_wait_s must be 0 or more seconds, got {self.max_wait_s}")


@dataclass(slots=True, kw_only=True)
class _Request:
    feeds: Feeds
    signature: Signature
    items: int
    future: "Future[dict[str, Array]]"
    arrived_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Counters:
    """What a batcher has done so far: `batches` of `requests` with `items` in all, and the `largest` batch's items."""

    batches: int = 0
    requests: int = 0
    items: int = 0
    largest: int = 0


def _stay(index: int) -> None:
    """Leave a thread where it is."""


class Batcher:
    """Runs requests on sessions that are all alike. Safe to use from any number of threads and event loops.

    `settle` is called by each serving thread with the number of its session, before it serves: there it can be pinned.
    """

    def __init__(
        self, sessions: Sequence[Session], limits: BatchingLimits, *, clock: Callable[[], float] = time.monotonic,
        settle: Callable[[int], None] = _stay,
    ) -> None:  # fmt: skip
        session = sessions[0]
        self._limits = limits
        self._clock = clock
        self._can_batch = is_batched(session.inputs) and is_batched(session.outputs)
        self._queue: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._room: deque[Callable[[], None]] = deque()  # tasks that wait for room, to be woken one by one
        self._is_closed = False
        self.counters = Counters()
        self._threads = [
            threading.Thread(
                target=self._serve, args=(one, index, settle), name=f"infer-opt-batcher-{index}", daemon=True
            )
            for index, one in enumerate(sessions)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, feeds: Feeds, *, timeout_s: float | None = None) -> "Future[dict[str, Array]]":
        """A future of what `run(feeds)` would give. Waits while the queue is full.

        Arguments:
            timeout_s: how long to wait for room at most; None waits for as long as it takes, 0 not at all.

        Raises:
            OverloadError: the queue was full for that long.
            ModelError: the batcher is closed, or an input is no array.
        """
        request = self._request(feeds)
        until = None if timeout_s is None else self._clock() + timeout_s
        with self._changed:
            while not self._is_closed and len(self._queue) >= self._limits.max_queue:
                left = None if until is None else until - self._clock()
                if left is not None and left <= 0:
                    raise self._overload()
                self._changed.wait(left)
            self._put(request)
        return request.future

    async def submit_async(self, feeds: Feeds, *, timeout_s: float | None = None) -> dict[str, Array]:
        """What `run(feeds)` gives, without holding up the event loop. A task that is cancelled takes its request along.

        Raises:
            OverloadError: the queue was full for `timeout_s`.
            ModelError: the batcher is closed, or the model refused the inputs.
        """
        request = self._request(feeds)
        try:
            async with asyncio.timeout(timeout_s):
                while not self._try(request):
                    await self._wait_for_room()
        except TimeoutError as error:
            raise self._overload() from error
        return await asyncio.wrap_future(request.future)

    def close(self) -> None:
        """Take no more requests, answer those in the queue, and end. Safe to call twice."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._wake(len(self._room))

    def _request(self, feeds: Feeds) -> _Request:
        wrong = next((name for name, array in feeds.items() if not isinstance(array, np.ndarray)), None)
        if wrong is not None:
            raise ModelError(f"input {wrong} takes an array, got {type(feeds[wrong]).__name__}")
        shapes = {array.shape[:1] for array in feeds.values()}
        items = next(iter(shapes))[0] if len(shapes) == 1 and () not in shapes else 0
        signature = tuple(sorted((name, array.dtype.str, array.shape[1:]) for name, array in feeds.items()))
        return _Request(feeds=feeds, signature=signature, items=items, future=Future())

    def _try(self, request: _Request) -> bool:
        with self._changed:
            if not self._is_closed and len(self._queue) >= self._limits.max_queue:
                return False
            self._put(request)
            return True

    def _put(self, request: _Request) -> None:
        """With the lock held."""
        if self._is_closed:
            raise ModelError("the bundle is closed")
        request.arrived_s = self._clock()
        self._queue.append(request)
        self._changed.notify_all()

    async def _wait_for_room(self) -> None:
        loop, there_is = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(there_is.set)

        with self._changed:
            if self._is_closed or len(self._queue) < self._limits.max_queue:
                return
            self._room.append(wake)
        try:
            await there_is.wait()
        except asyncio.CancelledError:
            with self._changed:
                was_woken = wake not in self._room
                if not was_woken:
                    self._room.remove(wake)
            if was_woken:
                self._wake(1)  # the room that it was woken for is another's
            raise

    def _overload(self) -> OverloadError:
        return OverloadError(
            f"{self._limits.max_queue} requests are waiting already",
            hint="send fewer at once, give max_queue more room, or serve from more processes",
        )

    def _serve(self, session: Session, index: int, settle: Callable[[int], None]) -> None:
        settle(index)
        while (batch := self._next()) is not None:
            self._answer(session, batch)

    def _next(self) -> list[_Request] | None:
        """The next batch, empty when all that waited was cancelled; None when the batcher is closed and all is done."""
        with self._changed:
            while not self._queue and not self._is_closed:
                self._changed.wait()
            self._leave_out_cancelled()
            while self._queue and (left := self._left_s(self._queue[0])) > 0:
                self._changed.wait(left)  # meanwhile another thread may take the first
            if not self._queue:
                return None if self._is_closed else []
            batch = self._take(self._queue[0])
            self._changed.notify_all()
            room = self._limits.max_queue - len(self._queue)
        self._wake(room)
        return batch

    def _left_s(self, first: _Request) -> float:
        """How long `first` is to wait for others, in seconds; 0 when it has company enough. With the lock held."""
        if self._is_closed or self._is_full(first):
            return 0.0
        return first.arrived_s + self._limits.max_wait_s - self._clock()

    def _leave_out_cancelled(self) -> None:
        """With the lock held: what was cancelled while it waited takes no place in a batch."""
        kept = deque(one for one in self._queue if not one.future.cancelled())
        gone = len(self._queue) - len(kept)
        for one in self._queue if gone else ():
            if one.future.cancelled():
                one.future.set_running_or_notify_cancel()
        self._queue = kept
        if gone:
            self._changed.notify_all()

    def _is_full(self, first: _Request) -> bool:
        """Whether what could run with `first` fills a batch, or none can."""
        if not self._suits(first, first):
            return True
        return sum(one.items for one in self._queue if self._suits(first, one)) >= self._limits.max_batch

    def _suits(self, first: _Request, other: _Request) -> bool:
        return self._can_batch and 0 < other.items < self._limits.max_batch and other.signature == first.signature

    def _take(self, first: _Request) -> list[_Request]:
        """`first` and those behind it that fit into a batch with it; the others keep their order."""
        batch, items, rest = [first], first.items, deque[_Request]()
        self._queue.popleft()
        for one in self._queue:
            fits = self._suits(first, first) and self._suits(first, one) and items + one.items <= self._limits.max_batch
            if fits:
                batch.append(one)
                items += one.items
            else:
                rest.append(one)
        self._queue = rest
        return batch

    def _wake(self, number: int) -> None:
        with self._changed:
            waiting = [self._room.popleft() for _ in range(min(number, len(self._room)))]
        for wake in waiting:
            try:
                wake()
            except RuntimeError:
                continue  # its event loop is gone, and the task with it

    def _answer(self, session: Session, batch: list[_Request]) -> None:
        live = [one for one in batch if one.future.set_running_or_notify_cancel()]
        if not live:
            return
        items = sum(one.items for one in live)
        with self._changed:
            self.counters.batches += 1
            self.counters.requests += len(live)
            self.counters.items += items
            self.counters.largest = max(self.counters.largest, items)
        if len(live) == 1:
            self._run_alone(session, live[0])
            return
        try:
            answers = self._run_together(session, live)
        except Exception:  # noqa: BLE001  (one of them is at fault, and only that one shall fail)
            for one in live:
                self._run_alone(session, one)
            return
        for one, answer in zip(live, answers, strict=True):
            one.future.set_result(answer)

    def _run_alone(self, session: Session, request: _Request) -> None:
        try:
            request.future.set_result(session.run(request.feeds))
        except Exception as error:  # noqa: BLE001  (whatever it is belongs to the one who asked)
            request.future.set_exception(error)

    def _run_together(self, session: Session, batch: list[_Request]) -> list[dict[str, Array]]:
        """One call for all, taken apart again: each request has its own items, in arrays of its own.

        Raises:
            ModelError: the model refused them, or an output has not one row for each item.
        """
        feeds = {name: np.concatenate([one.feeds[name] for one in batch]) for name in batch[0].feeds}
        found = session.run(feeds)
        total = sum(one.items for one in batch)
        odd = next((name for name, array in found.items() if not _has_rows(array, total)), None)
        if odd is not None:
            raise ModelError(f"output {odd} has not one row for each of {total} items")
        answers, begin = [], 0
        for one in batch:
            answers.append({name: array[begin : begin + one.items].copy() for name, array in found.items()})
            begin += one.items
        return answers


def is_batched(specs: tuple[TensorSpec, ...]) -> bool:
    """Whether the first dimension of each is free: only then can items of several requests lie behind one another."""
    return bool(specs) and all(spec.shape and not isinstance(spec.shape[0], int) for spec in specs)


def _has_rows(array: object, number: int) -> bool:
    return isinstance(array, np.ndarray) and array.ndim > 0 and array.shape[0] == number
