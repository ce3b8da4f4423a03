"""Several shapes of one model: every combination of the sizes that dimensions are given, and inputs of each."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from infer_opt.config import Distribution, Shape, Workload
from infer_opt.errors import ConfigError
from infer_opt.facts import ModelFacts
from infer_opt.models.dims import dim_name, resolve_dims
from infer_opt.models.samples import Samples
from infer_opt.models.synthesis import synthesise
from infer_opt.protocols import Feeds
from infer_opt.results import Caution, Note

MOST_SHAPES = 8  # each is run in every block and needs inputs of its own
NAMES_SHOWN = 3

Sizes = Mapping[str, int]
Distributions = Mapping[str, Distribution]


def resolve_shapes(
    facts: ModelFacts, dims: Sizes, distributions: Distributions
) -> tuple[Workload, tuple[Note, ...], tuple[Sizes, ...]]:
    """The workload of all combinations, cautions for guessed sizes, and the sizes of all dimensions by shape.

    A dimension that is worked out from others, such as `past + seq`, has its own size in each.

    Raises:
        ConfigError: as `check_dims`, a dimension with a size and a distribution, or more than eight combinations.
    """
    for name in distributions:
        if name in dims:
            raise ConfigError(f"the dimension {name!r} has a size and a distribution", hint=f"say --dim {name} once")
    count = math.prod(len(found) for found in distributions.values())
    if count > MOST_SHAPES:
        raise ConfigError(
            f"the sizes of {' and '.join(distributions)} make {count} shapes together; the most is {MOST_SHAPES}",
            hint="name fewer sizes: those that stand for most of the calls",
        )
    resolved, weights, notes = [], [], dict[Note, None]()
    for combination in itertools.product(*distributions.values()):
        chosen = {name: size for name, (size, _) in zip(distributions, combination, strict=True)}
        workload, guesses = resolve_dims(facts, {**dims, **chosen})
        resolved.append(workload.sizes)
        weights.append(math.prod(share for _, share in combination))
        notes |= dict.fromkeys(guesses)
    names = list(resolved[0])
    varying = [name for name in names if len({sizes[name] for sizes in resolved}) > 1]
    shapes = tuple(
        Shape(dims=tuple((name, sizes[name]) for name in varying), weight=weight)
        for sizes, weight in zip(resolved, weights, strict=True)
    )
    common = tuple((name, resolved[0][name]) for name in names if name not in varying)
    whole = Workload(dims=common, distributions=tuple(distributions.items()), shapes=shapes)
    return whole, tuple(notes), tuple(resolved)


def synthesise_shapes(
    facts: ModelFacts, *, dims: Sizes, distributions: Distributions, seed: int
) -> tuple[Samples, ...]:
    """Made-up items of each shape, in their order; each part's workload is that of all.

    Raises:
        ConfigError, ModelError: as `resolve_shapes` and `synthesise`.
    """
    workload, _, sizes = resolve_shapes(facts, dims, distributions)
    given = {*dims, *distributions}
    parts = []
    for found in sizes:
        named = {name: size for name, size in found.items() if name in given}
        parts.append(replace(synthesise(facts, dims=named, seed=seed), workload=workload))
    return tuple(parts)


def sort_samples(
    facts: ModelFacts, samples: Samples, *, dims: Sizes, distributions: Distributions, seed: int
) -> tuple[Samples, ...]:
    """The given items of each shape, in the order of the shapes. Nothing is cut or padded to fit.

    Items of other sizes are left out, and where there are none of a shape, some are made up: each with a caution.

    Raises:
        ConfigError: as `resolve_shapes`, or no item has one of the sizes.
    """
    apart = {*distributions, facts.batch_dim}
    others = {name: size for name, size in samples.workload.sizes.items() if name not in apart}
    workload, _, resolved = resolve_shapes(facts, {**others, **dims}, distributions)
    wanted = [{name: sizes[name] for name in distributions} for sizes in resolved]
    seen = [_sizes(facts, feed, distributions) for feed in samples.feeds]
    parts, notes = [], _left_out(seen, wanted)
    for sizes, shape, whole in zip(wanted, workload.shapes, resolved, strict=True):
        own = tuple(feed for feed, found in zip(samples.feeds, seen, strict=True) if found == sizes)
        if own:
            parts.append(replace(samples, feeds=own, workload=workload, notes=()))
            continue
        notes.append(_made_up(shape))
        made = synthesise(facts, dims=whole, seed=seed)
        parts.append(replace(made, workload=workload, notes=()))
    parts[0] = replace(parts[0], notes=(*samples.notes, *notes))
    return tuple(parts)


def _sizes(facts: ModelFacts, feed: Feeds, names: Distributions) -> dict[str, int]:
    found = {}
    for spec in facts.inputs:
        for axis, size in enumerate(feed[spec.name].shape if spec.shape is not None else ()):
            name = dim_name(spec, axis)
            if name in names:
                found[str(name)] = size
    return found


def _left_out(seen: Sequence[Sizes], wanted: Sequence[Sizes]) -> list[Note]:
    strange = [found for found in seen if found not in wanted]
    if not strange:
        return []
    labels = list(dict.fromkeys(", ".join(f"{name}={size}" for name, size in found.items()) for found in strange))
    names = "; ".join(labels[:NAMES_SHOWN])
    names += f" and {len(labels) - NAMES_SHOWN} more sizes" * (len(labels) > NAMES_SHOWN)
    if len(strange) == len(seen):
        raise ConfigError(
            f"none of the {len(seen)} samples has a size that the distribution names: they have {names}",
            hint="name the sizes that they have, give others with --inputs, or leave it out to have inputs made up",
        )
    text = f"{len(strange)} of {len(seen)} samples were left out: the distribution does not name their sizes, {names}"
    return [Note(caution=Caution.FEW_SAMPLES, text=text)]


def _made_up(shape: Shape) -> Note:
    text = f"no sample of {shape.label} was given: some were made up, and that outputs agree on them is weak evidence"
    return Note(caution=Caution.SYNTHETIC_INPUTS, text=text)
