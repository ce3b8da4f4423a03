"""Trials to text and back: the body as JSON, the raw run times as one compressed block of integers."""

import json
import zlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import msgspec

from infer_opt.errors import InferOptError, StorageError
from infer_opt.results import Block, Trial, TrialFailure, TrialResult

SPACED, SHAPED = -1, -2  # marks before blocks that hold more than run times

_KINDS: dict[str, type[TrialResult] | type[TrialFailure]] = {"result": TrialResult, "failure": TrialFailure}
OTHER_RELEASE = "it was written by another release of infer-opt; upgrade it, or name another --store"


def to_text(value: object) -> str:
    """`value` (dataclasses, enums, mappings, sequences) as JSON text, infinities and NaN as JavaScript writes them."""
    return json.dumps(plain_value(value), separators=(",", ":"))


def from_text(text: str) -> Any:
    """The plain value that `to_text` wrote: dicts, lists, strings, numbers, booleans, None.

    Raises:
        StorageError: the text is damaged.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise StorageError(f"a stored value is damaged: {error}", hint="name another --store") from error


def encode(trial: Trial) -> tuple[str, bytes]:
    """The trial's body (JSON, its `kind` at the top level) and its run times; `decode` gives an equal trial back."""
    body = plain_value(trial)
    blocks = trial.blocks if isinstance(trial, TrialResult) else ()
    body.pop("blocks", None)
    # A failure has a `kind` of its own, so the body sits beside the discriminator and not around it.
    kind = "result" if isinstance(trial, TrialResult) else "failure"
    return json.dumps({"kind": kind, "trial": body}, separators=(",", ":")), encode_blocks(blocks)


def decode(text: str, run_times: bytes) -> Trial:
    """The trial that `encode` wrote.

    Raises:
        StorageError: the body or the run times are damaged, or hold what this release does not know.
    """
    stored = from_text(text)
    try:
        kind, body = _KINDS[stored["kind"]], dict(stored["trial"])
        if kind is TrialResult:
            body["blocks"] = [plain_value(block) for block in decode_blocks(run_times)]
        trial = msgspec.convert(body, type=kind, strict=True)
    except (KeyError, TypeError, ValueError, InferOptError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"a stored trial cannot be read: {error}", hint=OTHER_RELEASE) from error
    # msgspec skips keys that a dataclass lacks, and two configurations that differ in one would then look equal.
    if unknown := unknown_key(body, plain_value(trial)):
        raise StorageError(f"a stored trial has a field that this release lacks: {unknown}", hint=OTHER_RELEASE)
    return trial


def encode_blocks(blocks: tuple[Block, ...]) -> bytes:
    """Run times as zlib-compressed little-endian int64: how many blocks, the length of each, then every run in ns.

    Blocks of several instances and runs of several shapes have a mark before all that (-1, -2) and, after it, the
    spacings in ns (0 for none) or the position of each run's shape.
    """
    import numpy  # a monitor that records opens the store too, and has no room for it

    lengths = [len(block.latency_ns) for block in blocks]
    plain = [len(blocks), *lengths, *(run for block in blocks for run in block.latency_ns)]
    if any(block.spacing_ns for block in blocks):
        plain = [SPACED, *plain, *(block.spacing_ns or 0 for block in blocks)]
    elif any(block.shapes for block in blocks):
        plain = [SHAPED, *plain, *(shape for block in blocks for shape in block.shapes)]
    return zlib.compress(numpy.array(plain, dtype="<i8").tobytes())


def decode_blocks(run_times: bytes) -> tuple[Block, ...]:
    """The blocks that `encode_blocks` wrote.

    Raises:
        StorageError: the bytes are damaged.
    """
    import numpy

    try:
        numbers = numpy.frombuffer(zlib.decompress(run_times), dtype="<i8")
    except (zlib.error, ValueError) as error:
        raise StorageError(f"stored run times are damaged: {error}", hint="name another --store") from error
    mark = int(numbers[0]) if numbers.size else 0
    numbers = numbers[1:] if mark in (SPACED, SHAPED) else numbers
    count = int(numbers[0]) if numbers.size else -1
    lengths, runs = numbers[1 : 1 + count].tolist(), numbers[1 + count :].tolist()
    total = sum(lengths)
    more = {SPACED: count, SHAPED: total}.get(mark, 0)
    if count < 0 or len(lengths) != count or min(lengths, default=0) < 0 or len(runs) != total + more:
        raise StorageError("stored run times are damaged: the lengths of the blocks do not add up")
    ends, extra = numpy.cumsum([0, *lengths]).tolist(), runs[total:]
    spacings = extra if mark == SPACED else [0] * count
    return tuple(
        Block(
            latency_ns=tuple(runs[start:end]),
            spacing_ns=spacing or None,
            shapes=tuple(extra[start:end]) if mark == SHAPED else (),
        )
        for (start, end), spacing in zip(pairwise(ends), spacings, strict=True)
    )


def plain_value(value: object) -> Any:
    """Dataclasses, enums, mappings and sequences as JSON values; floats as they are."""
    # numpy's scalars reach here from statistics; `item` makes Python's own of them.
    return msgspec.to_builtins(value, enc_hook=lambda scalar: scalar.item())


def unknown_key(stored: object, known: object) -> str | None:
    """The first key, at any depth, that stands in `stored` and not in `known`: msgspec skips what a dataclass lacks."""
    if isinstance(stored, Mapping) and isinstance(known, Mapping):
        for key, value in stored.items():
            if key not in known:
                return str(key)
            if (deeper := unknown_key(value, known[key])) is not None:
                return f"{key}.{deeper}"
    if isinstance(stored, list | tuple) and isinstance(known, list | tuple):
        return next((key for pair in zip(stored, known, strict=False) if (key := unknown_key(*pair)) is not None), None)
    return None
