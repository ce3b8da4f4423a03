"""Precision by layer, before the screen: which whole models between float and INT8 it should try as well."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from infer_opt.errors import InferOptError
from infer_opt.recipes import Recipe
from infer_opt.results import Frontier
from infer_opt.rig import Rig
from infer_opt.search.space import explorable
from infer_opt.search.surroundings import Surroundings
from infer_opt.workers.process import run_task

SHARE = 0.2  # of a tuning's time
LEAST_S = 4.0  # below it, not even the layers of a small model can be tried
OFFERED = 3  # whole models of each way to quantise that are screened


def explore(
    rig: Rig, surroundings: Surroundings, *, seconds: float, known: Sequence[Frontier] = (),
    keep: Callable[[Frontier], None] = lambda frontier: None,
) -> tuple[Frontier, ...]:  # fmt: skip
    """A frontier for each way to quantise that is worth it, within about `seconds` for all of them.

    A way that cannot be explored gives none: as a whole it is screened all the same, and fails there with its reason.

    Arguments:
        known: what an earlier call of the same tuning found.
        keep: is given each frontier at once.
    """
    found = list(known)
    done = {frontier.recipe for frontier in known}
    waiting = [recipe for recipe in explorable(surroundings) if recipe not in done]
    end = time.monotonic() + seconds
    for recipe in waiting:
        left_s = end - time.monotonic()  # the likeliest way first: what it leaves is for the next
        if left_s < LEAST_S:
            break
        try:
            frontier: Frontier = run_task(
                "infer_opt.precision:explore",
                rig.model,
                recipe,
                feeds=rig.feeds[surroundings.batches[0]],
                workload=rig.workload,
                calibration=rig.calibration,
                tolerance=rig.tolerance,
                checked=rig.checked,
                seconds=left_s,
                timeout_s=rig.build_timeout_s,
            )
        except InferOptError:
            continue
        found.append(frontier)
        keep(frontier)
    return tuple(found)


def offered(frontiers: Sequence[Frontier]) -> tuple[Recipe, ...]:
    """The recipes that are worth a trial: of the whole models that passed, those that save most, partly in float."""
    return tuple(
        replace(frontier.recipe, quantise=replace(frontier.recipe.quantise, floats=point.floats))
        for frontier in frontiers
        if frontier.recipe.quantise is not None
        for point in [point for point in frontier.points if point.passed and point.floats][:OFFERED]
    )


def refuted(frontiers: Sequence[Frontier], *, tolerance: float) -> tuple[Recipe, ...]:
    """The ways to quantise that were seen to fail with all layers in INT8, and not by a hair."""
    clearly = tolerance - (1 - tolerance) / 2
    return tuple(
        frontier.recipe
        for frontier in frontiers
        if any(not point.floats and not point.passed and point.score < clearly for point in frontier.points)
    )
