"""Which recipes are likely to give a usable trial at all."""

from collections import Counter
from collections.abc import Hashable, Sequence

from infer_opt.config import Recipe
from infer_opt.results import FailureKind, Trial, TrialResult

USUALLY = 0.9  # of trials give a result, before anything was seen
KIND_WEIGHT, RECIPE_WEIGHT = 2.0, 2.0  # trials that the expectation above each level counts for
FINAL = frozenset({FailureKind.PARITY, FailureKind.BUILD})  # failures of the recipe, whatever opens it
FAILURES_TO_GIVE_UP = 2


def hopeless(done: Sequence[Trial]) -> frozenset[Recipe]:
    """Recipes that gave wrong answers or could not be built twice, and never a result. Never the stock one."""
    ran = {trial.config.recipe for trial in done if isinstance(trial, TrialResult)} | {Recipe()}
    failed = Counter(
        trial.config.recipe for trial in done if not isinstance(trial, TrialResult) and trial.kind in FINAL
    )
    return frozenset(recipe for recipe, times in failed.items() if times >= FAILURES_TO_GIVE_UP and recipe not in ran)


def chances(recipes: Sequence[Recipe], done: Sequence[Trial]) -> dict[Recipe, float]:
    """P(a trial of the recipe gives a result) for each of `recipes`: its own trials, shrunk to those of its kind.

    Kinds of quantisation are shrunk to what is usual in turn (Beta means). Stock itself ran: it counts as a result.
    """
    results, trials = Counter[Hashable](), Counter[Hashable]()
    for recipe, ran in [(Recipe(), True), *((t.config.recipe, isinstance(t, TrialResult)) for t in done)]:
        for name in (recipe, _kind(recipe)):
            results[name] += ran
            trials[name] += 1
    return {recipe: _smoothed(recipe, results, trials) for recipe in dict.fromkeys(recipes)}


def _smoothed(recipe: Recipe, results: Counter[Hashable], trials: Counter[Hashable]) -> float:
    kind = _kind(recipe)
    expected = (results[kind] + KIND_WEIGHT * USUALLY) / (trials[kind] + KIND_WEIGHT)
    return (results[recipe] + RECIPE_WEIGHT * expected) / (trials[recipe] + RECIPE_WEIGHT)


def _kind(recipe: Recipe) -> tuple[str, bool]:
    quantise = recipe.quantise
    if quantise is None:
        return "plain", recipe.fp16
    return ("static" if quantise.is_static else "dynamic"), recipe.fp16
