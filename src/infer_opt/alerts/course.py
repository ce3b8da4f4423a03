"""How a condition goes on in time: it must hold for a while to begin, and be well again for a while to end."""

from dataclasses import dataclass
from enum import Enum, auto


class Verdict(Enum):
    """What one sample says of a condition. BETWEEN is neither: beyond the point of return, short of the bound."""

    HOLDS = auto()
    BETWEEN = auto()
    CLEAR = auto()
    UNKNOWN = auto()


class Turn(Enum):
    """What happens to an alert. LOST: it ends since nothing is known of its reading any more."""

    FIRED = auto()
    RESOLVED = auto()
    LOST = auto()


@dataclass(slots=True, kw_only=True)
class Course:
    """One condition on one reading, sample by sample. All times are seconds of the monotonic clock."""

    for_s: float
    clear_for_s: float
    began_s: float | None = None
    is_firing: bool = False
    # From when time counts: time in which nothing was known is left out of both.
    _held_from_s: float = 0.0
    _calm_from_s: float | None = None
    _absent_from_s: float | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it neither fires nor is about to."""
        return self.began_s is None

    def step(self, verdict: Verdict, now_s: float) -> Turn | None:
        """Go on to the sample at `now_s`; what happens there, if anything does."""
        if verdict is Verdict.UNKNOWN:
            return self._miss(now_s)
        self._leave_out_absence(now_s)
        if self.is_firing:
            return self._calm_down(verdict, now_s)
        if verdict is not Verdict.HOLDS:
            self.began_s = None
            return None
        if self.began_s is None:
            self.began_s = self._held_from_s = now_s
        if now_s - self._held_from_s < self.for_s:
            return None
        self.is_firing = True
        return Turn.FIRED

    def _calm_down(self, verdict: Verdict, now_s: float) -> Turn | None:
        if verdict is not Verdict.CLEAR:
            self._calm_from_s = None
            return None
        if self._calm_from_s is None:
            self._calm_from_s = now_s
        if now_s - self._calm_from_s < self.clear_for_s:
            return None
        self._end()
        return Turn.RESOLVED

    def _miss(self, now_s: float) -> Turn | None:
        """Nothing is known: that neither begins nor ends anything, until it has lasted. One sample never does."""
        if self._absent_from_s is None:
            self._absent_from_s = now_s
            return None
        if now_s - self._absent_from_s < self.clear_for_s:
            return None
        was_firing = self.is_firing
        self._end()
        return Turn.LOST if was_firing else None

    def _leave_out_absence(self, now_s: float) -> None:
        if self._absent_from_s is None:
            return
        absent_s = now_s - self._absent_from_s
        self._absent_from_s = None
        self._held_from_s += absent_s
        if self._calm_from_s is not None:
            self._calm_from_s += absent_s

    def _end(self) -> None:
        self.began_s = self._calm_from_s = None
        self.is_firing = False
