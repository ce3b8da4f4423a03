"""Inputs that the user gave, held against the model's signature before anything runs."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from infer_opt.config import Workload
from infer_opt.errors import ConfigError, ModelError
from infer_opt.facts import ModelFacts
from infer_opt.models.dims import check_dims
from infer_opt.models.layout import Layout, lay_out
from infer_opt.models.npy import ArrayHeader, read_arrays, read_headers
from infer_opt.models.samples import KEPT_BYTES, Samples, make_samples
from infer_opt.protocols import Feeds
from infer_opt.results import Caution, Note

_LABELS = frozenset({"label", "labels", "target", "targets", "y"})


def load_samples(facts: ModelFacts, path: Path, *, dims: Mapping[str, int], keep_bytes: int = KEPT_BYTES) -> Samples:
    """The items in an npz file, or in a directory of them taken in the order of their names.

    Each file holds one array per input. As many axes as the input: the batch axis counts items (an input that all
    items share is given as it is). One axis more: each row is one whole input. Element types are cast, silently, where
    nothing is lost but the rounding that the model itself would do (float64 to float32, int64 to int32, text to
    strings). Arrays called label(s), target(s) or y that are no inputs are left alone. About `keep_bytes` are kept;
    the rest is never read, and a caution says how much.

    Raises:
        ModelError: no such file, or names, types, shapes or values that the model cannot take; it says both sides.
        ConfigError: `dims` names a dimension that the model does not have, or a size that the inputs contradict.
    """
    check_dims(facts, dims)
    feeds: list[Feeds] = []
    sizes: list[dict[str, int]] = []
    kept_bytes = available = 0
    for file in _files(path):
        layouts = _layouts(facts, file, read_headers(file))
        sizes.append(_sizes(file, layouts, dims))
        items = _count(file, layouts)
        available += items
        if kept_bytes < keep_bytes:
            count = min(items, _affordable(layouts, keep_bytes - kept_bytes))
            feeds += _read(facts, layouts, count)
            kept_bytes += _read_bytes(layouts, count)
    return make_samples(
        facts,
        feeds,
        workload=_common(sizes),
        is_synthetic=False,
        notes=[_left_out(path, len(feeds), available)] if len(feeds) < available else [],
    )


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise ModelError(f"there are no inputs at {path}", hint="check the path given to --inputs")
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.npz"))
    if not files:
        raise ModelError(f"the directory {path} holds no .npz file", hint="put at least one npz of inputs there")
    return files


def _layouts(facts: ModelFacts, file: Path, headers: Mapping[str, ArrayHeader]) -> list[Layout]:
    wanted = {spec.name: spec for spec in facts.inputs}
    missing = [name for name in wanted if name not in headers]
    unknown = [name for name in headers if name not in wanted and (missing or name not in _LABELS)]
    if missing or unknown:
        what = f"no input {missing[0]!r}" if missing else f"an array {unknown[0]!r} that is no input of the model"
        expected = "; ".join(str(spec) for spec in facts.inputs)
        given = "; ".join(f"{name}: {header}" for name, header in headers.items()) or "nothing"
        raise ModelError(
            f"{file} has {what}: expected {expected}, given {given}", hint=_renaming(missing, unknown, wanted)
        )
    return [lay_out(facts, file, spec, headers[name]) for name, spec in wanted.items()]


def _renaming(missing: Sequence[str], unknown: Sequence[str], wanted: Iterable[str]) -> str:
    for name in unknown:
        near = difflib.get_close_matches(name, missing or list(wanted), n=1, cutoff=0.5)
        if near:
            return f"did you mean {near[0]!r} where you wrote {name!r}?"
    if len(missing) == 1 and len(unknown) == 1:
        return f"save {unknown[0]!r} under the name {missing[0]!r}"
    return "save one array per input, under the input's name" if missing else f"leave {unknown[0]!r} out"


def _sizes(file: Path, layouts: Sequence[Layout], dims: Mapping[str, int]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for layout in layouts:
        for name, size in layout.sizes.items():
            if size != dims.get(name, size):
                raise ConfigError(
                    f"--dim {name}={dims[name]} contradicts {file}, where {layout.spec.name!r} is {layout.header}",
                    hint=f"leave out --dim {name}: given inputs say how large it is",
                )
            if size != sizes.setdefault(name, size):
                raise ModelError(
                    f"the dimension {name!r} is {sizes[name]} and {size} at once in {file}: {_side_by_side(layouts)}",
                    hint=f"inputs that share {name!r} must agree on its size",
                )
    return sizes


def _count(file: Path, layouts: Sequence[Layout]) -> int:
    counts = {layout.items for layout in layouts} - {None} or {1}
    if len(counts) > 1:
        raise ModelError(
            f"the inputs in {file} hold different numbers of samples: {_side_by_side(layouts)}",
            hint="give every input the same number of samples",
        )
    count = counts.pop() or 0
    if count == 0:
        raise ModelError(f"{file} holds no samples: {_side_by_side(layouts)}", hint="give at least one sample")
    return count


def _side_by_side(layouts: Sequence[Layout]) -> str:
    return "; ".join(f"expected {layout.spec}, given {layout.header}" for layout in layouts)


def _affordable(layouts: Sequence[Layout], budget_bytes: int) -> int:
    """How many items fit, at least one. Arrays whose items do not lie along the first axis are there as a whole."""
    item_bytes = _read_bytes(layouts, 1) - _read_bytes(layouts, 0)
    return max(1, (budget_bytes - _read_bytes(layouts, 0)) // max(1, item_bytes))


def _read_bytes(layouts: Sequence[Layout], count: int) -> int:
    return sum(
        layout.header.row_bytes * count // layout.items_per_row if layout.items_per_row else layout.header.total_bytes
        for layout in layouts
    )


def _read(facts: ModelFacts, layouts: Sequence[Layout], count: int) -> list[Feeds]:
    rows = {
        layout.spec.name: -(-count // layout.items_per_row) if layout.items_per_row else (*layout.header.shape, 1)[0]
        for layout in layouts
    }
    found = read_arrays(layouts[0].file, {layout.spec.name: layout.header for layout in layouts}, rows)
    arrays = {layout.spec.name: layout.checked(found[layout.spec.name], facts) for layout in layouts}
    return [
        {layout.spec.name: layout.item(arrays[layout.spec.name], index) for layout in layouts} for index in range(count)
    ]


def _common(sizes: Sequence[Mapping[str, int]]) -> Workload:
    first, *others = sizes
    return Workload(dims=tuple((name, size) for name, size in first.items() if all(o[name] == size for o in others)))


def _left_out(path: Path, kept: int, available: int) -> Note:
    return Note(
        caution=Caution.FEW_SAMPLES,
        text=f"only the first {kept} of {available} samples in {path} were read, to stay within memory",
    )
