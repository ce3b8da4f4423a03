"""A recipe, carried out step by step: one file in, one file out, nothing but the result left behind."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from infer_opt.config import Provider, Workload
from infer_opt.errors import ModelError
from infer_opt.recipes import Recipe
from infer_opt.transforms.cache import MANIFEST_NAME
from infer_opt.transforms.feeds import FeedSource

ARTEFACT_NAME = "model.onnx"

Step = Callable[[Path, Path], None]  # (model to read, model to write)


def build(
    model: Path,
    recipe: Recipe,
    *,
    folder: Path,
    workload: Workload,
    calibration: FeedSource | None = None,
    provider: Provider = Provider.CPU,
) -> Path:
    """Carry out `recipe` on the file `model`; the artefact lies in `folder` with its external data, if any, beside it.

    Fixed shapes are the workload's; the batch stays as free as it was, since a bundle must take any.
    `calibration` is read by quantisation that needs inputs, `provider` by a saved level only. Every step must change
    something: an artefact that equals another would only be a second name for the same candidate. What changed in the
    graph is written beside the artefact, for its manifest. Takes memory of a few times the model's size, so run it
    outside of a process whose memory is watched.

    Raises:
        ModelError: a step does not apply to this model, or failed; the sentence says which and why.
        StorageError: the folder cannot be written.
        UnavailableError: `provider` does not work here.
    """
    if recipe.is_stock:
        raise ModelError("the recipe does nothing: the model itself is the artefact")
    chain = _steps(recipe, workload=workload, calibration=calibration, provider=provider)
    current, scratch = model, []
    try:
        for index, step in enumerate(chain):
            place = folder / f"step-{index}"
            place.mkdir(parents=True)
            scratch.append(place)
            step(current, place / ARTEFACT_NAME)
            current = place / ARTEFACT_NAME
        _record_changes(model, current, recipe, folder / MANIFEST_NAME)
        for path in current.parent.iterdir():
            path.replace(folder / path.name)
    finally:
        for place in scratch:
            shutil.rmtree(place, ignore_errors=True)
    return folder / ARTEFACT_NAME


def _record_changes(model: Path, artefact: Path, recipe: Recipe, target: Path) -> None:
    """Write what the recipe changed, and refuse one that changed nothing: measuring it would be a waste of time.

    A saved level says by itself whether it did something: weights that are folded once and for all open faster.
    """
    from infer_opt.transforms.changes import compare
    from infer_opt.transforms.faults import step
    from infer_opt.transforms.model_files import load

    with step("comparing the graphs"):
        found = compare(load(model), load(artefact))
        if found.is_empty and recipe.saved_level is None:
            raise ModelError(f"{recipe.label} changes nothing in {model.name}")
        target.write_text(json.dumps({"changes": asdict(found)}))


def _steps(recipe: Recipe, *, workload: Workload, calibration: FeedSource | None, provider: Provider) -> list[Step]:
    """The recipe's steps in the order of its fields. Each loads its libraries only when it is used."""
    steps: list[Step] = []
    if recipe.normalise:
        from infer_opt.transforms.normalise import normalise

        steps.append(normalise)
    if recipe.fixed_shapes:
        from infer_opt.transforms.shapes import fix_shapes

        steps.append(partial(fix_shapes, workload=workload))
    if recipe.rewrite is not None:
        from infer_opt.transforms.rewriting import rewrite

        steps.append(partial(rewrite, by=recipe.rewrite))
    if recipe.fuse is not None:
        from infer_opt.transforms.fusions import fuse

        steps.append(partial(fuse, model_type=recipe.fuse))
    if recipe.quantise is not None:
        from infer_opt.transforms.quantise import quantise

        steps.append(partial(quantise, how=recipe.quantise, feeds=calibration))
    if recipe.fp16:
        from infer_opt.transforms.halve import halve

        steps.append(halve)
    if recipe.saved_level is not None:
        from infer_opt.transforms.offline import save_optimised

        steps.append(partial(save_optimised, level=recipe.saved_level, provider=provider))
    return steps
