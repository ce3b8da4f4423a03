"""Inputs filled up with zeros to few sizes, and outputs cut back: what a worker times is what `load` applies."""

from collections.abc import Sequence

import numpy as np

from infer_opt.errors import ModelError
from infer_opt.facts import TensorSpec
from infer_opt.protocols import Array, Feeds, Session
from infer_opt.recipes import Buckets
from infer_opt.results import Placement

Axis = tuple[int, str]  # of an array, and the dimension that it is called in the buckets


class PaddedSession:
    """A session whose inputs are filled up to the next bucket. `run` may be called from as many threads as its own.

    Zeros are appended (empty strings to strings), so that a mask hides them; outputs with an axis of the same name are
    cut back to the size that was given. What is larger than the largest bucket, runs as it is. The copy of the inputs
    is part of every call, and so of what is timed.
    """

    def __init__(
        self, session: Session, buckets: Buckets, *, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
    ) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._session = session
        self._buckets = dict(buckets)
        self._fill = {spec.name: axes for spec in inputs if (axes := _axes(spec, self._buckets))}
        self._cut = {spec.name: axes for spec in outputs if (axes := _axes(spec, self._buckets))}

    @property
    def placement(self) -> Placement | None:
        """As the session says."""
        return self._session.placement

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Filled up, run, cut back.

        Raises:
            ModelError: inputs disagree on the size of a dimension, or the runtime refused them or failed on them.
        """
        given: dict[str, int] = {}
        filled = dict(feeds)
        for name, axes in self._fill.items():
            if name in feeds:  # what is missing is for the runtime to refuse
                filled[name] = self._filled(name, feeds[name], axes, given)
        answers = self._session.run(filled)
        for name, axes in self._cut.items():
            answers[name] = _cut_back(answers[name], axes, given, self._buckets)
        return answers

    def close(self) -> None:
        """Give back what the session holds. Safe to call twice."""
        self._session.close()

    def _filled(self, name: str, array: Array, axes: Sequence[Axis], given: dict[str, int]) -> Array:
        """The array in the next buckets; itself where it fills them already. `given` is told the sizes."""
        if not isinstance(array, np.ndarray) or any(axis >= array.ndim for axis, _ in axes):
            return array  # for the runtime to refuse
        wanted = list(array.shape)
        for axis, dim in axes:
            size = array.shape[axis]
            if given.setdefault(dim, size) != size:
                raise ModelError(f"input {name} has {size} along {dim}, another input {given[dim]}")
            wanted[axis] = _bucket(self._buckets[dim], size)
        if tuple(wanted) == array.shape:
            return array
        filled = np.full(wanted, "", object) if array.dtype == object else np.zeros(wanted, array.dtype)
        filled[tuple(slice(size) for size in array.shape)] = array
        return filled


def padded(
    session: Session, buckets: Buckets, *, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Session:
    """`session` itself without buckets, else one that fills up its inputs.

    Arguments:
        inputs, outputs: those of the model as given, whose dimensions have the names that `buckets` speak of.
    """
    return PaddedSession(session, buckets, inputs=inputs, outputs=outputs) if buckets else session


def _axes(spec: TensorSpec, buckets: dict[str, tuple[int, ...]]) -> tuple[Axis, ...]:
    """The axes to fill up or cut; one without a name is called `input:axis`, as `--dim` does."""
    names = (f"{spec.name}:{axis}" if dim is None else dim for axis, dim in enumerate(spec.shape or ()))
    return tuple((axis, name) for axis, name in enumerate(names) if isinstance(name, str) and name in buckets)


def _bucket(sizes: Sequence[int], size: int) -> int:
    return next((bucket for bucket in sizes if bucket >= size), size)


def _cut_back(array: Array, axes: Sequence[Axis], given: dict[str, int], buckets: dict[str, tuple[int, ...]]) -> Array:
    """Only what has the filled-up size: an output may carry the name and not the size."""
    if not isinstance(array, np.ndarray):
        return array
    cut = [slice(None)] * array.ndim
    for axis, dim in axes:
        if axis < array.ndim and dim in given and array.shape[axis] == _bucket(buckets[dim], given[dim]):
            cut[axis] = slice(given[dim])
    return array[tuple(cut)]
