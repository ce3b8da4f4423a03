"""Batch sizes and instances for throughput: the knee is climbed to, and everything else is searched there.

A larger batch gives more items a second up to a point, and always takes longer. So batch sizes are not swept: a *lane*,
a configuration but for its batch, is tried at growing batches until doubling them gains too little, or breaks a limit.

First the stock lane is climbed, then the lanes with several instances from where it ended; another strategy searches
all else at the best batch found; then the lanes of the best two are climbed on. Each step is a pure function of the
trials so far.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.protocols import Strategy
from infer_opt.recipes import Recipe
from infer_opt.results import Trial, TrialResult
from infer_opt.search.quiet import in_quiet
from infer_opt.search.screen import POLISHED, best
from infer_opt.search.strategies import Problem, open_strategy

GAIN = 0.05  # more items a second for twice the batch: below it, only the latency grows
Seen = Mapping[int, float | None]  # batch -> ln(items a second over stock's); None where it failed or broke a limit


def open_search(name: str, problem: Problem) -> Strategy:
    """The strategy of that name; where batch sizes are to be chosen, one that climbs to their knee with it.

    Raises:
        ConfigError: there is none of that name.
        UnavailableError: a library that it needs is not installed; the hint names the extra.
    """
    batches = {config.batch for config in (problem.stock, *problem.candidates)}
    if len(batches) == 1:
        return open_strategy(name, problem)
    return Climbing(problem, lambda part: open_strategy(name, part))


def lane(config: TrialConfig) -> TrialConfig:
    """The configuration but for its batch."""
    return replace(config, batch=1)


def knee(seen: Seen, *, gain: float = GAIN) -> int | None:
    """The batch up to which each larger one gave at least `gain` more for each doubling; None where nothing ran.

    What failed, or broke a limit, ends the climb.
    """
    ran = [batch for batch in sorted(seen) if seen[batch] is not None]
    if not ran:
        return None
    found = ran[0]
    for batch in sorted(batch for batch in seen if batch > found):
        if not _gains(seen, found, batch, gain):
            break
        found = batch
    return found


def _gains(seen: Seen, smaller: int, larger: int, gain: float) -> bool:
    low, high = seen[smaller], seen[larger]
    wanted = math.log1p(gain) * math.log2(larger / smaller)
    return low is not None and high is not None and high - low >= wanted


def next_batch(seen: Seen, batches: Sequence[int], *, begin: int) -> int | None:
    """The batch to try next in a lane: `begin`, then larger ones up to the first beyond the knee.

    Then smaller ones, where `begin` itself failed, broke a limit, or lies beyond the knee. None when the climb is over.
    """
    if begin not in seen:
        return begin
    ascending = sorted(batches)
    turning = knee(seen)
    if turning is not None:
        above = [batch for batch in ascending if batch > turning]
        if above and not any(batch > turning for batch in seen):
            return above[0]
        if turning > min(batch for batch, value in seen.items() if value is not None):
            return None
    return max((batch for batch in ascending if batch < min(seen)), default=None)


class Climbing:
    """A Strategy for spaces of several batch sizes, with `open_inner` for all that is not a batch size."""

    def __init__(self, problem: Problem, open_inner: Callable[[Problem], Strategy]) -> None:
        self._problem = problem
        self._open = open_inner
        self._batches = sorted({config.batch for config in (problem.stock, *problem.candidates)})
        self._candidates = frozenset(problem.candidates)
        plain = SessionOptions(provider=problem.stock.options.provider, custom_ops=problem.stock.options.custom_ops)
        self._side_by_side = tuple(
            dict.fromkeys(
                lane(config)
                for config in problem.candidates
                if config.instances > 1
                and config.recipe == Recipe()
                and replace(config.options, intra_threads=0, spin=None) == plain
            )
        )
        self._inners: dict[int, Strategy] = {}
        self._latest: Strategy | None = None

    @property
    def chance_left(self) -> float | None:
        """What the strategy within says of its batch size."""
        return None if self._latest is None else self._latest.chance_left

    def next(self, done: Sequence[Trial]) -> tuple[TrialConfig, ...]:
        """The next step of the climb, or what the strategy within asks for, or the next step of the best two lanes."""
        ends = next((end for end in range(len(done) + 1) if self._first(done[:end]) is None), None)
        if ends is None:
            step = self._first(done)
            return () if step is None else (step,)
        waiting = self._inner(done[:ends]).next(done)
        if waiting:
            return waiting
        step = self._last(done)
        return () if step is None else (step,)

    def promising(self, done: Sequence[Trial], *, most: int) -> tuple[TrialResult, ...]:
        """By the strategy within, over all that was tried."""
        tried = [trial.config for trial in done if trial.config in self._candidates]
        if not tried:
            return ()
        return self._open(replace(self._problem, candidates=tuple(dict.fromkeys(tried)))).promising(done, most=most)

    def _first(self, done: Sequence[Trial]) -> TrialConfig | None:
        """A step of the stock lane or of one with several instances; None when both climbs are over."""
        done = in_quiet(done)
        stock = self._problem.stock
        step = self._step(lane(stock), done, begin=self._batches[0])
        if step is not None:
            return step
        begin = knee(self._seen(lane(stock), done)) or stock.batch
        step = next(
            (step for group in self._groups() if (step := self._shared(group, done, begin=begin)) is not None), None
        )
        if step is not None:
            return step
        leaders = sorted(self._side_by_side, key=lambda one: -self._top(one, done))
        return self._step(leaders[0], done, begin=begin) if leaders else None

    def _groups(self) -> list[list[TrialConfig]]:
        """Lanes of several instances that share as many cores, from the most instances to the fewest."""
        groups: list[list[TrialConfig]] = []
        for one in self._side_by_side:
            if not groups or one.instances > groups[-1][-1].instances:
                groups.append([])
            groups[-1].append(one)
        return groups

    def _shared(self, group: Sequence[TrialConfig], done: Sequence[Trial], *, begin: int) -> TrialConfig | None:
        """The next way to share the cores; none after one that gave less than the one before: there is one summit."""
        before = -math.inf
        for one in group:
            seen = self._seen(one, done)
            if begin not in seen or all(value is None for value in seen.values()):
                step = self._step(one, done, begin=begin)
                if step is not None:
                    return step
            top = self._top(one, done)
            if top < before:
                return None
            before = top
        return None

    def _last(self, done: Sequence[Trial]) -> TrialConfig | None:
        """A step of the lanes of the best two."""
        found = best(in_quiet(done))
        begins: dict[TrialConfig, int] = {}
        for trial in found:
            begins.setdefault(lane(trial.config), trial.config.batch)
        steps = (self._step(one, in_quiet(done), begin=begin) for one, begin in list(begins.items())[:POLISHED])
        return next((step for step in steps if step is not None), None)

    def _step(self, one: TrialConfig, done: Sequence[Trial], *, begin: int) -> TrialConfig | None:
        """The next candidate of a lane."""
        batches = [batch for batch in self._batches if self._is_known(replace(one, batch=batch))]
        batch = next_batch(self._seen(one, done), batches, begin=begin) if begin in batches else None
        return None if batch is None else replace(one, batch=batch)

    def _is_known(self, config: TrialConfig) -> bool:
        return config in self._candidates or config == self._problem.stock

    def _seen(self, one: TrialConfig, done: Sequence[Trial]) -> dict[int, float | None]:
        """What a lane showed, stock's own measurement among it."""
        stock = self._problem.stock
        seen: dict[int, float | None] = {stock.batch: 0.0} if one == lane(stock) else {}
        for trial in done:
            if lane(trial.config) == one:
                seen[trial.config.batch] = -trial.log_ratio if isinstance(trial, TrialResult) else None
        return seen

    def _top(self, one: TrialConfig, done: Sequence[Trial]) -> float:
        return max((value for value in self._seen(one, done).values() if value is not None), default=-math.inf)

    def _inner(self, climb: Sequence[Trial]) -> Strategy:
        """The strategy for all else at the best batch of the climb, which is among what it is shown."""
        found = best(in_quiet(climb))
        stock = self._problem.stock
        batch = found[0].config.batch if found and found[0].log_ratio < 0 else stock.batch
        if batch not in self._inners:
            climbed = {trial.config for trial in climb}
            part = tuple(one for one in self._problem.candidates if one.batch == batch or one in climbed)
            self._inners[batch] = self._open(replace(self._problem, candidates=part))
        self._latest = self._inners[batch]
        return self._latest
