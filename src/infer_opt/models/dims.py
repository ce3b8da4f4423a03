"""Sizes for dynamic dimensions: given by the user, worked out from others, or guessed and said so."""

import difflib
from collections.abc import Iterator, Mapping

from infer_opt.config import Workload
from infer_opt.errors import ConfigError
from infer_opt.facts import ModelFacts, TensorSpec
from infer_opt.models.axes import batch_axis, is_image_name, is_sequence_name
from infer_opt.results import Caution, Note

SEQUENCE_GUESS = 128
IMAGE_GUESS = 224
OTHER_GUESS = 16


def dim_name(spec: TensorSpec, axis: int) -> str | None:
    """What `--dim` calls an axis: its name, or `input:axis` for a dynamic one without; None when its size is fixed."""
    dim = (spec.shape or ())[axis]
    if isinstance(dim, int):
        return None
    return f"{spec.name}:{axis}" if dim is None else dim


def check_dims(facts: ModelFacts, given: Mapping[str, int]) -> None:
    """Refuses sizes for dimensions that the model does not have.

    Raises:
        ConfigError: an unknown or fixed dimension, the batch, or a size below 1.
    """
    known = [name for name, _, _ in _free_axes(facts)]
    for name, size in given.items():
        if name == facts.batch_dim:
            raise ConfigError(f"{name!r} counts the items of a batch", hint=f"say --batch {size}")
        if name not in known:
            raise ConfigError(f"the model has no dynamic dimension {name!r}", hint=_instead_of(name, known))
        if size < 1:
            raise ConfigError(f"the dimension {name!r} must be 1 or more, got {size}")


def resolve_dims(facts: ModelFacts, given: Mapping[str, int]) -> tuple[Workload, tuple[Note, ...]]:
    """A size for every dynamic dimension besides the batch, and a caution for each that had to be guessed.

    A name such as `past + seq` or `2*seq` is worked out from the sizes of its parts. A guess is 128 for what counts
    steps of a sequence (by its name, or the second axis of an unnamed integer input), 224 for heights and widths (by
    name, or from the layout of a float input of four axes), 16 for anything else.

    Raises:
        ConfigError: as `check_dims`.
    """
    check_dims(facts, given)
    sizes = dict(given)
    notes: list[Note] = []
    for name, spec, axis in sorted(_free_axes(facts), key=lambda found: _is_expression(found[0])):
        if name in sizes:
            continue
        derived = _evaluate(name, sizes)
        sizes[name] = _guess(name, spec, axis) if derived is None else derived
        if derived is None:
            notes.append(_guessed(name, sizes[name], spec))
    order = [name for name, _, _ in _free_axes(facts)]
    return Workload(dims=tuple((name, sizes[name]) for name in dict.fromkeys(order))), tuple(notes)


def _free_axes(facts: ModelFacts) -> Iterator[tuple[str, TensorSpec, int]]:
    for spec in facts.inputs:
        for axis in range(len(spec.shape or ())):
            name = dim_name(spec, axis)
            if name is not None and axis != batch_axis(facts, spec) and name != facts.batch_dim:
                yield name, spec, axis


def _is_expression(name: str) -> bool:
    return "+" in name or "*" in name


def _evaluate(name: str, sizes: Mapping[str, int]) -> int | None:
    """`past + seq`, `2*seq`: sums of products of known sizes and numbers. None for anything else."""
    total = 0
    for term in name.split("+") if _is_expression(name) else ():
        product = 1
        for factor in (factor.strip() for factor in term.split("*")):
            if not factor.isdecimal() and factor not in sizes:
                return None
            product *= int(factor) if factor.isdecimal() else sizes[factor]
        total += product
    return total or None


def _guess(name: str, spec: TensorSpec, axis: int) -> int:
    rank = len(spec.shape or ())
    is_unnamed = name == f"{spec.name}:{axis}"
    if is_unnamed and rank == 4 and (spec.shape or ())[-1] in (1, 3, 4):  # (batch, height, width, channels)
        return IMAGE_GUESS if axis in (1, 2) else OTHER_GUESS
    if is_unnamed and rank == 4 and axis in (2, 3) and "float" in spec.dtype:  # (batch, channels, height, width)
        return IMAGE_GUESS
    if is_unnamed:
        return SEQUENCE_GUESS if axis == 1 and "int" in spec.dtype else OTHER_GUESS
    if is_image_name(name):
        return IMAGE_GUESS
    return SEQUENCE_GUESS if is_sequence_name(name) else OTHER_GUESS


def _guessed(name: str, size: int, spec: TensorSpec) -> Note:
    return Note(
        caution=Caution.GUESSED_DIMENSION,
        text=f"the dimension {name!r} of {spec} was guessed to be {size}; say --dim {name}=VALUE to set it",
    )


def _instead_of(name: str, known: list[str]) -> str:
    if not known:
        return "all its dimensions are fixed, or given by --batch"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(dict.fromkeys(known))}"
