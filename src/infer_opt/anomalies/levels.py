"""Where a series has been in the last day: what a level ordinarily does, and which levels are nothing new."""

from array import array
from itertools import pairwise

from infer_opt.stats.charts import middle

BLOCK = 20  # values a block; its median is what is remembered
MOST_BLOCKS = 4320  # a day of seconds
RECENT_BLOCKS = 180  # an hour: what blocks ordinarily do
FEWEST_BLOCKS = 9
FORGOTTEN_AT_ONCE = 180  # blocks; one by one would move the whole memory each time
KNOWN_SHARE, KNOWN_BLOCKS = 0.01, 3  # of the day, and at least so many blocks (a minute): a level that is known
ORDINARY_SHARE, ORDINARY_TO_SD = 0.8, 1.8124  # of steps between blocks; of two normal blocks, 80 % differ by less


class Levels:
    """Medians of blocks of 20 values over the last 4,320 of them, in 4 bytes each. Mutable: `add` takes a value."""

    __slots__ = ("_block", "_blocks")

    def __init__(self) -> None:
        self._block: list[float] = []
        self._blocks = array("f")

    def add(self, value: float) -> None:
        """Take the next value."""
        self._block.append(value)
        if len(self._block) == BLOCK:
            self._block.sort()
            self._blocks.append(middle(self._block))
            self._block.clear()
            if len(self._blocks) >= MOST_BLOCKS + FORGOTTEN_AT_ONCE:
                del self._blocks[:FORGOTTEN_AT_ONCE]

    def forget(self) -> None:
        """As if the series had just begun."""
        self._block.clear()
        del self._blocks[:]

    def spread(self, *, before: int) -> float:
        """How far a block of the last hour lay from the one before it, the newest `before` values left out.

        As a standard deviation of one block, by the 80th percentile: a load that comes and goes now and then does not
        count, one that does so all the time does. 0 where there are fewer than nine blocks.
        """
        blocks = self._older(before)[-RECENT_BLOCKS:]
        if len(blocks) < FEWEST_BLOCKS:
            return 0.0
        steps = sorted([abs(new - old) for old, new in pairwise(blocks)])
        return steps[round(ORDINARY_SHARE * (len(steps) - 1))] / ORDINARY_TO_SD

    def is_known(self, low: float, high: float, *, before: int) -> bool:
        """Whether the series was between `low` and `high` for 1 % of the day, and a minute, but for the newest."""
        blocks = self._older(before)
        there = sum([low <= block <= high for block in blocks])
        return there >= max(KNOWN_BLOCKS, KNOWN_SHARE * len(blocks))

    def _older(self, before: int) -> "array[float]":
        # The block that is being filled holds some of the newest values; those before it may hold the others.
        left_out = -(-max(0, before - len(self._block)) // BLOCK)
        return self._blocks[: len(self._blocks) - left_out]
