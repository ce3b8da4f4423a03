"""What every search strategy is given, and which strategies there are."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from infer_opt.config import TrialConfig
from infer_opt.errors import ConfigError
from infer_opt.protocols import Strategy
from infer_opt.results import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a trial takes, in seconds: `open_s` its process and warm-up, `rounds_s` its rounds at the speed of stock.

    `build_s` is what making a recipe's artefact takes; it is paid by the first trial of each recipe.
    """

    open_s: float = 1.0
    rounds_s: float = 0.2
    build_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A space to be searched.

    `candidates` are ordered by promise and do not hold `stock`; `most` is how many trials may be screened before the
    neighbours of the best are tried. `cores` is the number of threads that the stock setting 0 stands for. `earlier`
    are trials of this model on this machine from tunings that are over: they may guide, and count for nothing else.
    """

    candidates: tuple[TrialConfig, ...]
    stock: TrialConfig
    most: int
    seed: int = 0
    cores: int = 1
    costs: Costs = Costs()
    earlier: tuple[Trial, ...] = ()


# name -> (module, class). Loaded on first use: Optuna is an extra.
STRATEGIES = {
    "exhaustive": ("infer_opt.search.screen", "Exhaustive"),
    "random": ("infer_opt.search.shuffled", "Shuffled"),
    "gp": ("infer_opt.search.guided", "Guided"),
    "tpe": ("infer_opt.search.tpe", "Tpe"),
}


def open_strategy(name: str, problem: Problem) -> Strategy:
    """The strategy of that name, at its beginning.

    Raises:
        ConfigError: there is none of that name.
        UnavailableError: a library that it needs is not installed; the hint names the extra.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"there is no search strategy {name!r}", hint=f"choose from {', '.join(STRATEGIES)}")
    module, attribute = STRATEGIES[name]
    made: Callable[[Problem], Strategy] = getattr(importlib.import_module(module), attribute)
    return made(problem)
