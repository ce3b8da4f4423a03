"""From a model and the user's inputs to files of batched feeds. Runs in a process of its own, which may need memory."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infer_opt.config import Provider, Workload
from infer_opt.errors import ConfigError
from infer_opt.facts import ModelFacts
from infer_opt.models.inputs import Samples, load_feeds, load_samples, resolve_dims, save_feeds, synthesise
from infer_opt.models.inspecting import LARGEST_INPUT_BYTES
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
) -> Prepared:  # fmt: skip
    """Read or make up inputs and write one file of feeds for each batch size.

    Of the `optional` batch sizes, those are left out of which four feeds would take more than 128 MB.

    `ready` are feeds of the first batch size that another tuning wrote (a bundle's own); they are taken as they are.

    With inputs enough, those that calibrate quantisation are not among those that check parity.

    Raises:
        ModelError: inputs that the model cannot take.
        ConfigError: unknown dimensions, or a batch that the model cannot take.
    """
    if ready is not None:
        return _ready(facts, ready, dims=dims, batch=batches[0])
    samples = synthesise(facts, dims=dims, seed=seed) if inputs is None else load_samples(facts, inputs, dims=dims)
    feeds = {}
    affordable = MOST_BYTES // (FEWEST_FEEDS * _item_bytes(samples))
    for batch in (batch for batch in batches if batch <= affordable or batch not in optional):
        _check_size(samples, batch)
        feeds[batch] = folder / f"feeds-{batch}.npz"
        save_feeds(feeds[batch], samples.batched(batch, count=_count(samples, batch)))
    calibration = None if samples.is_synthetic else folder / "calibration.npz"
    if calibration is not None:
        save_feeds(calibration, _calibrating(samples, batches[0]))
    return Prepared(
        feeds=feeds,
        calibration=calibration,
        calibration_hash=None if calibration is None else hash_feeds(calibration),
        workload=samples.workload,
        is_synthetic=samples.is_synthetic,
        samples=len(samples.feeds),
        notes=samples.notes + _few(samples),
    )


def _ready(facts: ModelFacts, feeds: Path, *, dims: Mapping[str, int], batch: int) -> Prepared:
    workload, _ = resolve_dims(facts, dims)
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


def _count(samples: Samples, batch: int) -> int:
    """Feeds to keep: every item once where that is not too many, and at least four that differ as items allow."""
    affordable = max(FEWEST_FEEDS, MOST_BYTES // (_item_bytes(samples) * batch))
    wanted = max(FEWEST_FEEDS, -(-len(samples.feeds) // batch))
    return min(MOST_FEEDS, affordable, wanted)


def _calibrating(samples: Samples, batch: int) -> tuple[dict[str, object], ...]:
    size = samples.fixed_batch or 1
    feeds = samples.batched(size)
    checked = _count(samples, batch) * batch // size
    unseen = feeds[checked:]
    return (unseen if len(unseen) >= FEWEST_FEEDS else feeds)[-MOST_CALIBRATION:]


def _few(samples: Samples) -> tuple[Note, ...]:
    if samples.is_synthetic or len(samples.feeds) >= MOST_FEEDS // 2:
        return ()
    text = f"only {len(samples.feeds)} inputs were given: parity is checked on those alone"
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
