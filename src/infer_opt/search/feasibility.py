"""Which routes, a recipe opened by a runtime, are likely to give a usable trial at all."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from infer_opt.config import Route, TrialConfig
from infer_opt.recipes import Recipe
from infer_opt.results import FailureKind, Trial, TrialResult

USUALLY = 0.9  # of trials give a result, before anything was seen
KIND_WEIGHT, ROUTE_WEIGHT = 2.0, 2.0  # trials that the expectation above each level counts for
FINAL = frozenset({FailureKind.PARITY, FailureKind.BUILD, FailureKind.OPEN})  # whatever the other options are
FAILURES_TO_GIVE_UP = 2

Which = TypeVar("Which", bound=Hashable)


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Routes that keep failing, and engines on which nothing ran: `config in given_up`."""

    routes: frozenset[Route] = frozenset()
    engines: frozenset[str] = frozenset()

    def __contains__(self, config: TrialConfig) -> bool:
        return config.route in self.routes or config.runtime in self.engines


def hopeless(done: Sequence[Trial], *, stock: TrialConfig) -> GivenUp:
    """Routes that gave wrong answers, could not be built or not be opened twice, and never a result; engines likewise.

    Never the stock route, nor the engine that it runs on.
    """
    ran = {trial.config.route for trial in done if isinstance(trial, TrialResult)} | {stock.route}
    failed = [trial.config.route for trial in done if not isinstance(trial, TrialResult) and trial.kind in FINAL]
    engines = Counter(engine for engine, _ in failed)
    return GivenUp(
        routes=_often(Counter(failed)) - ran, engines=_often(engines) - {engine for engine, _ in ran}
    )  # fmt: skip


def _often(failed: Counter[Which]) -> frozenset[Which]:
    return frozenset(which for which, times in failed.items() if times >= FAILURES_TO_GIVE_UP)


def chances(routes: Sequence[Route], done: Sequence[Trial], *, stock: TrialConfig) -> dict[Route, float]:
    """P(a trial of the route gives a result) for each of `routes`: its own trials, shrunk to those of its kind.

    Kinds of quantisation, engine by engine, are shrunk to what is usual in turn (Beta means). Stock itself ran: it
    counts as a result.
    """
    results, trials = Counter[Hashable](), Counter[Hashable]()
    for route, ran in [(stock.route, True), *((t.config.route, isinstance(t, TrialResult)) for t in done)]:
        for name in (route, _kind(route)):
            results[name] += ran
            trials[name] += 1
    return {route: _smoothed(route, results, trials) for route in dict.fromkeys(routes)}


def _smoothed(route: Route, results: Counter[Hashable], trials: Counter[Hashable]) -> float:
    kind = _kind(route)
    expected = (results[kind] + KIND_WEIGHT * USUALLY) / (trials[kind] + KIND_WEIGHT)
    return (results[route] + ROUTE_WEIGHT * expected) / (trials[route] + ROUTE_WEIGHT)


def _kind(route: Route) -> tuple[str, str, bool]:
    engine, recipe = route
    return engine, _precision(recipe), recipe.fp16


def _precision(recipe: Recipe) -> str:
    return "plain" if recipe.quantise is None else recipe.quantise.kind
