"""Inputs one item each, and how they make batches."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from infer_opt.config import Workload
from infer_opt.errors import ConfigError
from infer_opt.facts import ModelFacts
from infer_opt.models.axes import batch_axis, fixed_batch
from infer_opt.protocols import Array, Feeds
from infer_opt.results import Note

# The process that holds the samples stays small while workers are measured; 200 photographs of 224 x 224 fit.
KEPT_BYTES = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Items to feed a model with.

    Each of `feeds` holds one item: every input, of size 1 along its batch axis where it has one. `batch_axes` maps an
    input to that axis, None where all items of a call share the tensor. `fixed_batch` is the only batch that the model
    takes, None when it is free. `workload` holds the sizes of dynamic dimensions that are the same in every item.
    """

    feeds: tuple[Feeds, ...]
    batch_axes: Mapping[str, int | None]
    fixed_batch: int | None
    workload: Workload
    is_synthetic: bool
    notes: tuple[Note, ...] = ()

    def batched(self, batch: int, *, count: int | None = None) -> tuple[dict[str, Array], ...]:
        """`count` feeds of `batch` items each; without a count, as many as hold every item once.

        Consecutive items go together, and only those of equal shapes (and equal shared tensors): ragged items make
        batches by turns, one shape after another. Where items run out, a batch is filled from the first ones, and each
        further pass begins one item later, so that batches differ as far as the items allow.

        Raises:
            ConfigError: the model takes no such batch.
        """
        if batch < 1:
            raise ConfigError(f"batch must be 1 or more, got {batch}")
        if self.fixed_batch not in (None, batch):
            raise ConfigError(
                f"the model takes {self.fixed_batch} items a call and no other number, got batch {batch}",
                hint=f"say --batch {self.fixed_batch}, or export the model with a dynamic batch axis",
            )
        groups = self._groups() if batch > 1 else [list(self.feeds)]
        passes = (self._one_pass(groups, batch, shift) for shift in itertools.count())
        batches = next(passes) if count is None else itertools.islice(itertools.chain.from_iterable(passes), count)
        return tuple(batches)

    def _groups(self) -> list[list[Feeds]]:
        found: dict[tuple[object, ...], list[Feeds]] = {}
        for feed in self.feeds:
            found.setdefault(tuple(self._kind(name, array) for name, array in feed.items()), []).append(feed)
        return list(found.values())

    def _kind(self, name: str, array: Array) -> tuple[object, ...]:
        """Equal for arrays that can go into one batch."""
        if self.batch_axes[name] is not None:
            return (name, array.shape)
        content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
        return (name, array.shape, hashlib.sha256(content).digest())

    def _one_pass(self, groups: Sequence[Sequence[Feeds]], batch: int, shift: int) -> Iterator[dict[str, Array]]:
        for start in range(0, max(len(group) for group in groups), batch):
            for group in groups:
                if start < len(group):
                    yield self._together([group[(start + shift + place) % len(group)] for place in range(batch)])

    def _together(self, items: Sequence[Feeds]) -> dict[str, Array]:
        if len(items) == 1:
            return dict(items[0])
        joined = {}
        for name, axis in self.batch_axes.items():
            arrays = [item[name] for item in items]
            joined[name] = arrays[0] if axis is None else np.concatenate(arrays, axis=axis)
        return joined


def batch_axes(facts: ModelFacts) -> dict[str, int | None]:
    """Input name -> the axis along which its items lie, in the model's order."""
    return {spec.name: batch_axis(facts, spec) for spec in facts.inputs}


def make_samples(
    facts: ModelFacts, feeds: Sequence[Feeds], *, workload: Workload, is_synthetic: bool, notes: Sequence[Note]
) -> Samples:
    """Samples that batch as the model's signature says."""
    return Samples(
        feeds=tuple(feeds),
        batch_axes=batch_axes(facts),
        fixed_batch=fixed_batch(facts),
        workload=workload,
        is_synthetic=is_synthetic,
        notes=tuple(notes),
    )
