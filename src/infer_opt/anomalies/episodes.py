"""When a condition that comes and goes is a finding: it must have held for a while, and it is over only after one."""

from dataclasses import dataclass

HELD_SHARE = 0.75  # of the moments since it began
GIVEN_UP_AFTER = 0.5  # of the time that it must hold: a pause this long, before it is a finding, begins it anew
LONGEST_PAUSE_S = 5.0


@dataclass(slots=True, kw_only=True)
class Episode:
    """One condition over time. Mutable: `see` takes whether it holds now.

    It begins when it held for `hold_s` in three quarters of the moments, and is over when it did not for `clear_s`.
    """

    hold_s: float
    clear_s: float
    is_open: bool = False
    since_s: float = 0.0
    _last_s: float | None = None
    _true: int = 0
    _all: int = 0

    @property
    def share(self) -> float:
        """Of the moments from when it began to when it held last, how many it held in."""
        return self._true / self._all if self._all else 0.0

    def see(self, at_s: float, holds: bool) -> bool:
        """Whether the episode began or ended at this moment: then `is_open` says which."""
        last = self._last_s
        if holds:
            if last is None:
                self.since_s, self._true, self._all = at_s, 0, 0
            self._last_s = at_s
            self._true += 1
            self._all += 1
            if not self.is_open and at_s - self.since_s >= self.hold_s and self.share >= HELD_SHARE:
                self.is_open = True
                return True
            return False
        if last is None:
            return False
        self._all += 1
        pause_s = self.clear_s if self.is_open else min(GIVEN_UP_AFTER * self.hold_s, LONGEST_PAUSE_S)
        if at_s - last < pause_s:
            return False
        self._last_s = None
        if self.is_open:
            self.is_open = False
            return True
        return False

    def forget(self) -> bool:
        """What was seen counts no more; whether an episode ended by that."""
        was_open, self.is_open, self._last_s = self.is_open, False, None
        return was_open
