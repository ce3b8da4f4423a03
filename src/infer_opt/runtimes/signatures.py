"""Whether feeds fit a signature: for engines that would convert or reshape without a word what does not."""

from collections.abc import Mapping, Sequence

import numpy as np

from infer_opt.errors import ModelError
from infer_opt.facts import TensorSpec
from infer_opt.protocols import Array, Feeds

Dims = tuple[int | str | None, ...]
Signature = Mapping[str, tuple["np.dtype[Array]", Dims | None]]


def signature(inputs: Sequence[TensorSpec]) -> Signature:
    """What each input takes, by its name: made once, and looked at in every call."""
    return {spec.name: (np.dtype(spec.dtype), spec.shape) for spec in inputs}


def require_fit(feeds: Feeds, wanted: Signature) -> None:
    """Refuse feeds that are not what `wanted` asks for.

    Raises:
        ModelError: an input is missing, unknown, of another type or of another shape.
    """
    if feeds.keys() != wanted.keys():
        given = ", ".join(map(str, feeds)) or "none"
        raise ModelError(f"the inputs are {', '.join(wanted)}; given were {given}")
    for name, (dtype, shape) in wanted.items():
        array = feeds[name]
        if not isinstance(array, np.ndarray) or array.dtype != dtype:
            raise ModelError(f"input {name} takes an array of {dtype}, got {_kind(array)}")
        if shape is not None and not _fits(array.shape, shape):
            raise ModelError(f"input {name} has shape {list(shape)}, got {list(array.shape)}")


def _fits(shape: tuple[int, ...], wanted: Dims) -> bool:
    return len(shape) == len(wanted) and all(
        not isinstance(size, int) or size == given for given, size in zip(shape, wanted, strict=True)
    )


def _kind(value: object) -> str:
    return f"one of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
