"""The race: all promising configurations live at once, eliminated by paired rounds. It picks; it claims nothing."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from infer_opt.config import TrialConfig
from infer_opt.errors import ModelError
from infer_opt.rig import BASELINE, CLONE, Rig
from infer_opt.stats.intervals import hodges_lehmann
from infer_opt.stats.race import MAXIMUM_ROUNDS, RaceState, differences, judge
from infer_opt.workers.rounds import Entrant, Round, measure_round


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Who is left, the best first; `baseline` among the keys means that stock was not beaten.

    `log_ratios` are each entrant's Hodges-Lehmann ln(time / baseline's time) over the rounds it was in.
    """

    configs: Mapping[str, TrialConfig]
    survivors: tuple[str, ...]
    is_equivalence_set: bool
    rounds: int
    discarded: int
    log_ratios: Mapping[str, float]
    lost: Mapping[str, str]


def race(
    rig: Rig, challengers: Mapping[str, TrialConfig], stock: TrialConfig, *, generator: random.Random,
    goes_on: Callable[[float], bool],
) -> Race:  # fmt: skip
    """Race `challengers` against stock and its clone until one is left, all are alike, or `goes_on` says stop.

    Arguments:
        goes_on: is asked before each round with its expected cost in seconds.
    """
    entrants, lost = rig.enter({BASELINE: stock, CLONE: stock} | dict(challengers), generator)
    try:
        return _run(rig, entrants, lost, generator, goes_on)
    finally:
        for entrant in entrants.values():
            entrant.worker.close()


def _run(
    rig: Rig, live: dict[str, Entrant], lost: dict[str, str], generator: random.Random, goes_on: Callable[[float], bool]
) -> Race:
    keys = tuple(key for key in live if key != CLONE)
    configs = {key: live[key].config for key in keys if key != BASELINE}
    everyone = dict(live)
    racing = set(keys)
    rows: list[list[float]] = []
    discarded, cost_s = 0, 0.0
    state: RaceState | None = None
    while len(rows) + discarded < MAXIMUM_ROUNDS and goes_on(cost_s) and not (state is not None and state.is_over):
        # Stock and its clone are in every round, whether or not stock has lost already.
        present = {key: everyone[key] for key in everyone if key in racing or key in (BASELINE, CLONE)}
        found = measure_round(
            present,
            number=len(rows) + discarded,
            objective=rig.objective,
            generator=generator,
            watch=rig.watch,
            timeout_s=rig.timeout_s,
        )
        cost_s = found.cost_s
        racing -= _drop(found, everyone, lost)
        if found.discarded is not None:
            discarded += 1
            continue
        rows.append([found.values.get(key, np.nan) for key in keys])
        state = judge(np.array(rows), [index for index, key in enumerate(keys) if key in racing])
        racing -= {keys[index] for index in state.eliminated}
    values = np.array(rows).reshape(len(rows), len(keys))
    ratios = _log_ratios(values, keys)
    return Race(
        configs=configs,
        survivors=tuple(sorted(racing, key=lambda key: ratios.get(key, 0.0))),
        is_equivalence_set=state is not None and state.is_equivalence_set,
        rounds=len(rows),
        discarded=discarded,
        log_ratios=ratios,
        lost=lost,
    )


def _drop(found: Round, everyone: dict[str, Entrant], lost: dict[str, str]) -> set[str]:
    for key, error in found.lost.items():
        if key in (BASELINE, CLONE):
            raise ModelError(f"the stock session died in the race: {error.what}")
        everyone.pop(key).worker.close()
        lost[key] = error.what
    return set(found.lost)


def _log_ratios(values: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", keys: Sequence[str]) -> dict[str, float]:
    reference = keys.index(BASELINE)
    paired = {key: differences(values, index, reference) for index, key in enumerate(keys)}
    return {key: hodges_lehmann(difference) for key, difference in paired.items() if len(difference)}
