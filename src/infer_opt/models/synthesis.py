"""Inputs made from a model's signature alone, where the user gave none."""

import math
import re
from collections.abc import Mapping

import numpy as np

from infer_opt.config import Workload
from infer_opt.errors import ConfigError, ModelError
from infer_opt.facts import ModelFacts, TensorSpec
from infer_opt.models.axes import batch_axis, is_sequence_name
from infer_opt.models.dims import dim_name, resolve_dims
from infer_opt.models.inspecting import LARGEST_INPUT_BYTES
from infer_opt.models.samples import KEPT_BYTES, Samples, batch_axes, make_samples
from infer_opt.models.tensors import numpy_dtype
from infer_opt.protocols import Array
from infer_opt.results import Caution, Note

_WORDS = np.array(["alpha", "beta", "gamma", "delta", "a longer string", ""], dtype=object)
_LENGTH = re.compile(r"length|(^|_)lens?(_|$)", re.IGNORECASE)


def synthesise(
    facts: ModelFacts, *, dims: Mapping[str, int], seed: int, count: int = 16, keep_bytes: int = KEPT_BYTES
) -> Samples:
    """`count` made-up items (fewer where they would take more than `keep_bytes`), the same for the same seed.

    Values by name and type: masks are ones; token types and segments zeros; positions 0, 1, 2 ...; lengths the whole
    sequence; integers that index a table lie within it; other integers are 0 or 1, which any index or count can be,
    but 8-bit ones (pixels) take their whole range; floats are standard normal, as normalised images and features are;
    booleans and strings are drawn at random.

    Raises:
        ConfigError: `dims` names an unknown dimension, or makes an input larger than can be fed.
        ModelError: an input has no declared rank, so nothing is known to make.
    """
    workload, guesses = resolve_dims(facts, dims)
    shapes = {spec.name: _shape(facts, spec, workload) for spec in facts.inputs}
    item_bytes = sum(math.prod(shapes[spec.name]) * numpy_dtype(spec.dtype).itemsize for spec in facts.inputs)
    generator = np.random.default_rng(seed)
    axes = batch_axes(facts)
    feeds: list[dict[str, Array]] = []
    for _ in range(max(1, min(count, keep_bytes // max(1, item_bytes)))):
        feed = {spec.name: _values(facts, spec, shapes[spec.name], workload, generator) for spec in facts.inputs}
        # What all items of a batch share must be the same in all of them, or no two could go together.
        shared = {name: feeds[0][name] for name, axis in axes.items() if feeds and axis is None}
        feeds.append(feed | (shared if facts.batch_dim is not None else {}))
    note = Note(
        caution=Caution.SYNTHETIC_INPUTS,
        text="the inputs were made up from the model's signature: that outputs agree on them is weak evidence, "
        "and speed may depend on real values; give real ones with --inputs FILE.npz",
    )
    return make_samples(facts, feeds, workload=workload, is_synthetic=True, notes=(note, *guesses))


def _shape(facts: ModelFacts, spec: TensorSpec, workload: Workload) -> tuple[int, ...]:
    if spec.shape is None:
        raise ModelError(
            f"the input {spec.name!r} declares no rank, so no inputs can be made up for it",
            hint="give real ones with --inputs FILE.npz",
        )
    sizes: list[int] = []
    for axis, dim in enumerate(spec.shape):
        name = dim_name(spec, axis)
        is_item = axis == batch_axis(facts, spec) or (name is not None and name == facts.batch_dim)
        sizes.append(1 if is_item else dim if isinstance(dim, int) else workload.sizes[str(name)])
    if math.prod(sizes) * numpy_dtype(spec.dtype).itemsize > LARGEST_INPUT_BYTES:
        raise ConfigError(
            f"the input {spec} of shape {sizes} takes more than {LARGEST_INPUT_BYTES // 2**30} GiB an item",
            hint="set smaller dimensions with --dim NAME=VALUE",
        )
    return tuple(sizes)


def _values(
    facts: ModelFacts, spec: TensorSpec, shape: tuple[int, ...], workload: Workload, generator: np.random.Generator
) -> Array:
    """(shape) of values that an input of that name and type would accept."""
    dtype, name = numpy_dtype(spec.dtype), spec.name.lower()
    if spec.dtype == "str":
        return generator.choice(_WORDS, size=shape) if shape else np.array(generator.choice(_WORDS), dtype=object)
    if "mask" in name:
        return np.ones(shape, dtype)
    if "int" in spec.dtype:
        return _integers(facts, spec, shape, workload, generator).astype(dtype)
    if spec.dtype == "bool":
        return generator.integers(0, 2, shape).astype(bool)
    return np.asarray(generator.standard_normal(shape)).astype(dtype)


def _integers(
    facts: ModelFacts, spec: TensorSpec, shape: tuple[int, ...], workload: Workload, generator: np.random.Generator
) -> Array:
    name, rows = spec.name.lower(), dict(facts.vocabularies).get(spec.name)
    if "token_type" in name or "segment" in name:
        return np.zeros(shape, np.int64)
    if "position" in name and shape:
        return np.broadcast_to(np.arange(shape[-1]) % (rows or shape[-1] or 1), shape)
    if rows is not None:
        return np.asarray(generator.integers(0, max(1, rows), shape))
    if _LENGTH.search(name):
        steps = [size for dim, size in workload.dims if is_sequence_name(dim)]
        return np.full(shape, max(steps, default=1))
    if spec.dtype in ("int8", "uint8"):
        limits = np.iinfo(spec.dtype)
        return np.asarray(generator.integers(limits.min, limits.max, shape, endpoint=True))
    return np.asarray(generator.integers(0, 2, shape))
