"""From a model and the user's inputs to files of batched feeds. Runs in a process of its own, which may need memory."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infer_opt.config import Distribution, Provider, Workload
from infer_opt.errors import ConfigError
from infer_opt.facts import ModelFacts
from infer_opt.models.inputs import (
    Samples,
    load_feeds,
    load_samples,
    resolve_dims,
    resolve_shapes,
    save_feeds,
    sort_samples,
    synthesise,
    synthesise_shapes,
)
from infer_opt.models.inspecting import LARGEST_INPUT_BYTES
from infer_opt.protocols import Array
from infer_opt.results import Caution, Note
from infer_opt.runtimes import open_runtime
from infer_opt.transforms.feeds import hash_feeds

MOST_FEEDS = 64
FEWEST_FEEDS = 4  # distinct buffers that rotate while timing
MOST_CALIBRATION = 128
MOST_BYTES = 128_000_000  # of feeds a batch size: inputs of large images must not fill the memory of every worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Where the feeds lie. `calibration` is None without real inputs; `samples` counts distinct items."""

    feeds: Mapping[int, Path]
    calibration: Path | None
    calibration_hash: str | None
    workload: Workload
    is_synthetic: bool
    samples: int
    notes: tuple[Note, ...]


def prepare(
    facts: ModelFacts, folder: Path, *, inputs: Path | None, dims: Mapping[str, int], batches: Sequence[int], seed: int,
    ready: Path | None = None, optional: Collection[int] = (),
    distributions: Mapping[str, Distribution] | None = None,
) -> Prepared:  # fmt: skip
    """Read or make up inputs and write one file of feeds for each batch size. Feeds of several shapes lie in turn.

    Of the `optional` batch sizes, those are left out of which four feeds would take more than 128 MB.

    `ready` are feeds of the first batch size that another tuning wrote (a bundle's own); they are taken as they are.

    With inputs enough, those that calibrate quantisation are not among those that check parity.

    Raises:
        ModelError: inputs that the model cannot take.
        ConfigError: unknown dimensions, or a batch that the model cannot take.
    """
    if ready is not None:
        return _ready(facts, ready, dims=dims, batch=batches[0], distributions=distributions or {})
    parts = _parts(facts, inputs, dims=dims, distributions=distributions or {}, seed=seed)
    feeds = {}
    affordable = MOST_BYTES // (FEWEST_FEEDS * sum(_item_bytes(samples) for samples in parts))
    for batch in (batch for batch in batches if batch <= affordable or batch not in optional):
        for samples in parts:
            _check_size(samples, batch)
        count = _count(parts, batch)
        feeds[batch] = folder / f"feeds-{batch}.npz"
        save_feeds(feeds[batch], _in_turn([samples.batched(batch, count=count) for samples in parts]))
    given = [samples for samples in parts if not samples.is_synthetic]
    calibration = folder / "calibration.npz" if given else None
    if calibration is not None:
        checked = _count(parts, batches[0]) * batches[0]
        unseen = _in_turn([_calibrating(samples, checked) for samples in given])
        save_feeds(calibration, unseen[-MOST_CALIBRATION:])
    return Prepared(
        feeds=feeds,
        calibration=calibration,
        calibration_hash=None if calibration is None else hash_feeds(calibration),
        workload=parts[0].workload,
        is_synthetic=not given,
        samples=sum(len(samples.feeds) for samples in parts),
        notes=tuple(dict.fromkeys(note for samples in parts for note in samples.notes)) + _few(given),
    )


def _parts(
    facts: ModelFacts, inputs: Path | None, *, dims: Mapping[str, int], distributions: Mapping[str, Distribution],
    seed: int,
) -> tuple[Samples, ...]:  # fmt: skip
    """The items of each shape; all of them in one part where the workload has but one."""
    if not distributions:
        return (synthesise(facts, dims=dims, seed=seed) if inputs is None else load_samples(facts, inputs, dims=dims),)
    if inputs is None:
        return synthesise_shapes(facts, dims=dims, distributions=distributions, seed=seed)
    resolve_shapes(facts, dims, distributions)  # what is wrong with the request is said before what is with the inputs
    samples = load_samples(facts, inputs, dims=dims)
    return sort_samples(facts, samples, dims=dims, distributions=distributions, seed=seed)


def _in_turn(parts: Sequence[Sequence[dict[str, Array]]]) -> tuple[dict[str, Array], ...]:
    """The first of each, the second of each, and so on; of parts that end, no more."""
    turns = itertools.zip_longest(*parts)
    return tuple(feed for turn in turns for feed in turn if feed is not None)


def _ready(
    facts: ModelFacts, feeds: Path, *, dims: Mapping[str, int], batch: int, distributions: Mapping[str, Distribution]
) -> Prepared:
    workload = resolve_shapes(facts, dims, distributions)[0] if distributions else resolve_dims(facts, dims)[0]
    return Prepared(
        feeds={batch: feeds},
        calibration=None,
        calibration_hash=None,
        workload=workload,
        is_synthetic=False,
        samples=len(load_feeds(feeds)),
        notes=(),
    )


def _check_size(samples: Samples, batch: int) -> None:
    feed_bytes = _item_bytes(samples) * batch
    if feed_bytes > LARGEST_INPUT_BYTES:
        raise ConfigError(
            f"{batch} items take {feed_bytes / 2**30:.3g} GiB a call; the most is {LARGEST_INPUT_BYTES // 2**30} GiB",
            hint="name a smaller --batch",
        )


def _item_bytes(samples: Samples) -> int:
    total: int = sum(array.nbytes for array in samples.feeds[0].values())
    return max(1, total)


def _count(parts: Sequence[Samples], batch: int) -> int:
    """Feeds to keep of each shape: every item once where that is not too many, and at least four, as items allow."""
    affordable = max(FEWEST_FEEDS, MOST_BYTES // (sum(_item_bytes(samples) for samples in parts) * batch))
    wanted = max(FEWEST_FEEDS, *(-(-len(samples.feeds) // batch) for samples in parts))
    return min(max(FEWEST_FEEDS, MOST_FEEDS // len(parts)), affordable, wanted)


def _calibrating(samples: Samples, checked: int) -> tuple[dict[str, Array], ...]:
    """The feeds beyond the first `checked` items, which parity is checked on; all where few are left."""
    size = samples.fixed_batch or 1
    feeds = samples.batched(size)
    unseen = feeds[checked // size :]
    return (unseen if len(unseen) >= FEWEST_FEEDS else feeds)[-MOST_CALIBRATION:]


def _few(given: Sequence[Samples]) -> tuple[Note, ...]:
    count = sum(len(samples.feeds) for samples in given)
    if not given or count >= MOST_FEEDS // 2:
        return ()
    text = f"only {count} inputs were given: parity is checked on those alone"
    return (Note(caution=Caution.FEW_SAMPLES, text=text),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """What a runtime said about this machine: its version, and why each provider does not work (None: it does)."""

    version: str
    why_not: Mapping[str, str | None]


def ask_runtime(name: str) -> Availability:
    """What the runtime called `name` can do here. In a process of its own: a CUDA probe keeps device memory.

    Raises:
        UnavailableError: the library is not installed; the hint names the extra.
    """
    runtime = open_runtime(name)
    return Availability(
        version=runtime.version(), why_not={provider: runtime.why_not(provider) for provider in Provider}
    )
