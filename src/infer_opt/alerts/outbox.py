"""Alerts on their way to a webhook: a bounded queue and one thread, so that no slow server holds up a monitor."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable

from infer_opt.alerts.plan import WebhookTarget
from infer_opt.alerts.webhook import Courier, Post, post

MOST_WAITING = 100
PATIENCE_S = 3.0


class Outbox:
    """Takes bodies at once and delivers them in order, in a thread of its own. A full queue drops its oldest.

    A time in which nothing arrives is told once, at its beginning, and once at its end, with how many were lost.
    """

    def __init__(
        self,
        target: WebhookTarget,
        *,
        most_waiting: int = MOST_WAITING,
        post: Post = post,
        sleep: Callable[[float], object] | None = None,
        draw: Callable[[], float] = random.random,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._address = target.address
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._queue: deque[bytes] = deque()
        self._notices: list[str] = []
        self._in_hand = 0
        self._lost = self._lost_now = 0
        self._is_down = self._was_full = False
        # A pause ends at once when the monitor does.
        pause = self._closing.wait if sleep is None else sleep
        self._courier = Courier(target, sleep=pause, draw=draw, post=post, now=now)
        self._thread = threading.Thread(target=self._work, name="infer-opt-webhook", daemon=True)
        self._thread.start()

    def put(self, body: bytes) -> None:
        """Have `body` delivered. Never waits."""
        with self._changed:
            if len(self._queue) >= self._most_waiting:
                self._queue.popleft()
                self._lose(1)
                if not self._was_full:
                    self._was_full = True
                    self._notices.append(
                        f"{self._most_waiting} alerts wait for {self._address}; the oldest are dropped from now on"
                    )
            self._queue.append(body)
            self._changed.notify_all()

    def notices(self) -> tuple[str, ...]:
        """What is to be said since the last call."""
        with self._changed:
            found, self._notices = tuple(self._notices), []
        return found

    def close(self, patience_s: float = PATIENCE_S) -> tuple[str, ...]:
        """Try what waits once more, for `patience_s` at most; what is to be said, and how many never arrived."""
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
        self._thread.join(patience_s)
        with self._changed:
            self._lose(len(self._queue) + self._in_hand)
            self._queue.clear()
            lost, self._lost = self._lost, 0
        said = self.notices()
        if not lost:
            return said
        return (*said, f"{lost} {'alert' if lost == 1 else 'alerts'} never reached {self._address}")

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing.is_set())
                if not self._queue:
                    return
                body, self._in_hand = self._queue.popleft(), 1
            why = self._courier.deliver(body, self._closing.is_set)
            with self._changed:
                self._in_hand = 0
                self._settle(why)

    def _settle(self, why: str | None) -> None:
        if why is not None:
            self._lose(1)
            if not self._is_down:
                self._is_down = True
                self._notices.append(
                    f"alerts do not reach {self._address}: {why}; the next ones are tried all the same"
                )
            return
        if self._is_down or self._was_full:
            self._notices.append(f"alerts reach {self._address} again; {self._lost_now} were lost")
            self._is_down = self._was_full = False
            self._lost_now = 0

    def _lose(self, count: int) -> None:
        self._lost += count
        self._lost_now += count
