"""How the items of one input lie in an array that the user gave for it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infer_opt.errors import ModelError
from infer_opt.facts import ModelFacts, TensorSpec
from infer_opt.models.axes import batch_axis
from infer_opt.models.casting import cast_to
from infer_opt.models.dims import dim_name
from infer_opt.models.npy import ArrayHeader
from infer_opt.protocols import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One input and the array given for it.

    `axis` is the input's batch axis, None when all items of a call share the tensor. `is_stacked` says that the array
    has one axis more than the input, each row of it a whole input.
    """

    file: Path
    spec: TensorSpec
    header: ArrayHeader
    axis: int | None
    is_stacked: bool

    @property
    def items(self) -> int | None:
        """How many items the array holds; None for one tensor that all items share."""
        if self.is_stacked:
            return self.header.shape[0] * self.items_per_row
        return None if self.axis is None else self.header.shape[self.axis]

    @property
    def items_per_row(self) -> int:
        """How many items one step along the first axis holds; 0 where steps along it are no items."""
        if self.is_stacked:
            return 1 if self.axis is None else self.header.shape[1 + self.axis]
        return int(self.axis == 0)

    @property
    def sizes(self) -> dict[str, int]:
        """Dynamic dimension -> its size in this array, the batch left out."""
        shape = self.header.shape[1:] if self.is_stacked else self.header.shape
        names = {axis: dim_name(self.spec, axis) for axis in range(len(self.spec.shape or ())) if axis != self.axis}
        return {name: shape[axis] for axis, name in names.items() if name is not None}

    def item(self, array: Array, index: int) -> Array:
        """Item `index` of the array, of size 1 along the batch axis."""
        if self.is_stacked:
            row, index = divmod(index, self.items_per_row)
            array = array[row, ...]
        if self.axis is None:
            return array
        return np.asarray(array[(slice(None),) * self.axis + (slice(index, index + 1),)], order="C")

    def checked(self, array: Array, facts: ModelFacts) -> Array:
        """The array in the input's element type.

        Raises:
            ModelError: its type or values are not what the input takes.
        """
        cast = cast_to(array, self.spec.dtype)
        if cast is None:
            raise self.refusal()
        # Scikit-learn's models, and graphs that ask, may know what to do with a missing value.
        takes_nan = facts.has_ml_operators or "IsNaN" in dict(facts.operators)
        if array.dtype.kind == "f" and not takes_nan and np.isnan(array).any():
            raise ModelError(
                f"the input {self.spec.name!r} in {self.file} holds NaN, and so would every output",
                hint="leave those samples out, or fill the missing values as in training",
            )
        rows = dict(facts.vocabularies).get(self.spec.name)
        if rows is not None and array.size and not -rows <= int(cast.min()) <= int(cast.max()) < rows:
            raise ModelError(
                f"the input {self.spec.name!r} in {self.file} indexes a table of {rows} rows with values from "
                f"{cast.min()} to {cast.max()}",
                hint="prepare the inputs with the tokenizer that belongs to this model",
            )
        return cast

    def refusal(self) -> ModelError:
        """Says what the input wants and what the array is."""
        return ModelError(
            f"the input {self.spec.name!r} in {self.file} does not fit: expected {self.spec}, given {self.header}",
            hint="the first axis counts samples; each sample must be what the model takes",
        )


def lay_out(facts: ModelFacts, file: Path, spec: TensorSpec, header: ArrayHeader) -> Layout:
    """How `header`'s array gives values to `spec`.

    Raises:
        ModelError: its axes are not those of the input.
    """
    axis, rank = batch_axis(facts, spec), None if spec.shape is None else len(spec.shape)
    # Without a rank and a batch axis, rows are all that can be told apart.
    is_stacked = axis is None if rank is None else len(header.shape) == rank + 1
    layout = Layout(file=file, spec=spec, header=header, axis=axis, is_stacked=is_stacked)
    if rank is None:
        if not header.shape:
            raise layout.refusal()
        return layout
    if len(header.shape) not in (rank, rank + 1):
        raise layout.refusal()
    given = header.shape[1:] if is_stacked else header.shape
    for place, (dim, size) in enumerate(zip(spec.shape or (), given, strict=True)):
        if place != axis and isinstance(dim, int) and dim != size:
            raise layout.refusal()
    return layout
