"""The order of promise: single changes before combinations, and what a diagnosis of stock suspects before the rest."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

from infer_opt.causes import Cause, Diagnosis
from infer_opt.config import Objective, SessionOptions, TrialConfig
from infer_opt.recipes import GraphLevel

# Suspected ones for each of the others. On recorded spaces more would do as well (benchmarks/suspicion.py), but where
# all recipes of a kind turn out wrong, a short screen must have tried something else.
AHEAD = 3
# What matters although no time of a call is to be won by it.
CERTAIN = frozenset({Cause.OVERSUBSCRIBED, Cause.CPU_QUOTA})
# A batch is climbed to its knee, not taken in order.
NOT_ORDERED = frozenset({"batch"})


def suspected_knobs(diagnoses: Iterable[Diagnosis], objective: Objective) -> tuple[str, ...]:
    """The knobs that would answer what was found, of use for the objective, each once, the most to be won first."""
    knobs = (knob for one in diagnoses if _matters(one, objective) for knob in one.knobs if knob not in NOT_ORDERED)
    return tuple(dict.fromkeys(knobs))


def offered_knobs(knobs: Iterable[str], configs: Sequence[TrialConfig], stock: TrialConfig) -> tuple[str, ...]:
    """Those of the knobs that one of the configurations sets: the others had nothing to put first."""
    return tuple(knob for knob in knobs if any(sets(config, knob, stock) for config in configs))


def _matters(diagnosis: Diagnosis, objective: Objective) -> bool:
    if objective is Objective.MEMORY:
        return False
    if objective is Objective.COLD_START:
        return diagnosis.cause is Cause.FIRST_RUN
    burns = objective is Objective.ENERGY and diagnosis.cause is Cause.SPINNING
    return burns or diagnosis.gain_ns is not None or diagnosis.cause in CERTAIN


def suspected_first(configs: Sequence[TrialConfig], knobs: Sequence[str], stock: TrialConfig) -> list[TrialConfig]:
    """Three that set one of the knobs, then one of the others, and so on; either kind in the order that it had.

    Single changes and combinations stay apart.
    """
    if not knobs:
        return list(configs)
    first = alone(configs)
    return [*_merged(configs[:first], knobs, stock), *_merged(configs[first:], knobs, stock)]


def _merged(configs: Sequence[TrialConfig], knobs: Sequence[str], stock: TrialConfig) -> list[TrialConfig]:
    suspected = [config for config in configs if any(sets(config, knob, stock) for knob in knobs)]
    chosen = set(suspected)
    others = [config for config in configs if config not in chosen]
    turns = max(len(others), -(-len(suspected) // AHEAD))
    return [
        config
        for turn in range(turns)
        for config in (*suspected[AHEAD * turn : AHEAD * (turn + 1)], *others[turn : turn + 1])
    ]


def sets(config: TrialConfig, knob: str, stock: TrialConfig) -> bool:
    """Whether the configuration differs from stock in the field of that name: of the recipe, the options or its own."""
    pairs = ((config.recipe, stock.recipe), (config.options, stock.options), (config, stock))
    return any(getattr(own, knob) != getattr(given, knob) for own, given in pairs if hasattr(own, knob))


def alone(candidates: Sequence[TrialConfig]) -> int:
    """How many of the first candidates change the recipe alone or the session options alone."""

    def is_alone(config: TrialConfig) -> bool:
        options = config.options
        plain = SessionOptions(provider=options.provider, custom_ops=options.custom_ops)
        # A model that the runtime optimised before is opened without optimising it again: that is no second change.
        saved = replace(plain, graph_level=GraphLevel.NONE)
        return config.recipe.is_stock or options == (plain if config.recipe.saved_level is None else saved)

    return sum(1 for _ in itertools.takewhile(is_alone, candidates))
