"""Trials on a made-up world: of any configuration, of one that fails, and what opening it answers."""

import random
from collections.abc import Sequence
from typing import Any

from fakes import MS, World, make_rig
from infer_opt.config import Provider, SessionOptions, TrialConfig
from infer_opt.recipes import Quantisation, Recipe
from infer_opt.results import Parity, Placement, Trial, TrialFailure
from infer_opt.trials import run_trial
from infer_opt.workers.messages import Opened

STOCK = TrialConfig()
TRIED = TrialConfig(options=SessionOptions(intra_threads=1))
QUANTISED = TrialConfig(recipe=Recipe(quantise=Quantisation()))
FAILED_PARITY = Parity(score=0.7, passed=False, outputs=(), samples=8, reason="output y has cosine 0.7000 to stock")


def run(world: World, config: TrialConfig = TRIED, **changes: Any) -> Trial:
    rig = make_rig(world, **changes)
    return run_trial(rig, config, world.entrant(STOCK, "baseline"), random.Random(world.seed))


def failing(command: type, answer: object, config: TrialConfig = TRIED, **changes: Any) -> TrialFailure:
    world = World(scripts={config: {command: answer}})
    trial = run(world, config, **changes)
    assert isinstance(trial, TrialFailure)
    assert all(worker.is_closed for worker in world.workers if worker.config == config)
    assert world.workers[0].is_alive  # the baseline lives on for the next trial
    return trial


def opened(nodes: Sequence[tuple[str, int]] | None, **changes: Any) -> Opened:
    settings: dict[str, Any] = {
        "open_ns": 80 * MS,
        "first_run_ns": 9 * MS,
        "placement": None if nodes is None else Placement(nodes=tuple(nodes)),
        "inputs": (),
        "outputs": (),
        "runtime_version": "1.0",
    }
    return Opened(**(settings | changes))


CUDA = TrialConfig(options=SessionOptions(provider=Provider.CUDA))
