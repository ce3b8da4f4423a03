"""Randomised complete blocks: each round visits each live configuration once, all others stopped meanwhile."""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from infer_opt.config import Objective, TrialConfig
from infer_opt.errors import InferOptError
from infer_opt.results import Block
from infer_opt.stats.rounds import block_value
from infer_opt.workers.messages import Measure
from infer_opt.workers.process import WorkerProcess

# Judges one round by what happened outside the workers: called at its start with the live process ids, it gives a
# function to be called at its end, which gives the reason to discard the round, or None.
Watch = Callable[[Sequence[int]], Callable[[], str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A configuration that is live: a worker with an open, warmed-up session that takes about `latency_ns` a call.

    `shown` is what the process showed for an objective of processes, such as its cold start in ns; None otherwise.
    `disturbed` says what disturbed the machine meanwhile.
    """

    config: TrialConfig
    worker: WorkerProcess
    latency_ns: float = 0.0
    shown: float | None = None
    disturbed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One block of each live configuration. `values` are ln(ns an item), or ln of what the process showed;
    `discarded` says why it does not count.

    `lost` holds those whose worker ended or whose session failed in this round; they have no block and no value.
    """

    number: int
    order: tuple[str, ...]
    blocks: Mapping[str, Block]
    values: Mapping[str, float]
    discarded: str | None
    lost: Mapping[str, InferOptError]
    cost_s: float


def measure_round(
    live: Mapping[str, Entrant], *, number: int, objective: Objective, generator: random.Random, watch: Watch,
    timeout_s: float = 120.0,
) -> Round:  # fmt: skip
    """One block of each of `live` in fresh random order, on the same inputs.

    Whether the round counts is decided by `watch`, which sees no latency.
    """
    order = list(live)
    generator.shuffle(order)
    begin = time.monotonic()
    over = watch([entrant.worker.pid for entrant in live.values()])
    blocks: dict[str, Block] = {}
    lost: dict[str, InferOptError] = {}
    for key in order:
        worker = live[key].worker
        try:
            blocks[key] = worker.ask(Measure(start=number), timeout_s=timeout_s)
        except InferOptError as error:  # one that fails is out; the others go on
            lost[key] = error
        worker.freeze()
    reason = over()
    if objective.is_of_a_process:  # what happens now is no matter any more
        reason = next((entrant.disturbed for entrant in live.values() if entrant.disturbed is not None), None)
    return Round(
        number=number,
        order=tuple(order),
        blocks=blocks,
        values={key: value_of(live[key], block, objective) for key, block in blocks.items()},
        discarded=reason,
        lost=lost,
        cost_s=time.monotonic() - begin,
    )


def value_of(entrant: Entrant, block: Block, objective: Objective) -> float:
    """What an entrant's block is worth; smaller is better. ln of what its process showed, for such an objective."""
    if entrant.shown is not None:
        return math.log(entrant.shown)
    return item_value(block, entrant.config.batch, objective)


def item_value(block: Block, batch: int, objective: Objective) -> float:
    """ln(ns an item) of a block: its median for latency, its mean for throughput, its spacing for several instances."""
    if block.spacing_ns is not None:
        return math.log(block.spacing_ns) - math.log(batch)
    return block_value(block.latency_ns, objective) - math.log(batch)


def never_disturbed(pids: Sequence[int]) -> Callable[[], str | None]:
    """A Watch that discards nothing: for machines where interference cannot be seen."""
    return lambda: None
