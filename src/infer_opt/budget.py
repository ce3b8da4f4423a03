"""How much time a tuning has left, and whether a piece of work still fits into it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Budget:
    """Wall time for a whole call, in seconds. An interrupt leaves nothing of it.

    Mutable by purpose: it is the one thing that a signal handler touches.
    """

    total_s: float
    clock: Callable[[], float] = time.monotonic
    began_s: float = field(default=-1.0)
    was_interrupted: bool = False

    def __post_init__(self) -> None:
        if self.began_s < 0:
            self.began_s = self.clock()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the call began."""
        return self.clock() - self.began_s

    @property
    def left_s(self) -> float:
        """Seconds that may still be spent; 0 after an interrupt."""
        return 0.0 if self.was_interrupted else max(0.0, self.total_s - self.elapsed_s)

    def fits(self, cost_s: float, *, reserve_s: float = 0.0) -> bool:
        """Whether work of about `cost_s` ends in time to leave `reserve_s` for what comes after it."""
        return self.left_s > 0 and cost_s + reserve_s <= self.left_s

    def interrupt(self) -> None:
        """End at the next safe place, with what is proven."""
        self.was_interrupted = True
