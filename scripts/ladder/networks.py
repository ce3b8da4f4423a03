"""What the ladder measures: six networks by name, their inputs, and the files that processes open."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
from scripts.ladder.onnx_networks import written
from scripts.ladder.sizes import (
    BERT_BASE,
    LSTM,
    MINILM,
    POLICY,
    RESNET50,
    TINY_BERT,
    TINY_LSTM,
    TINY_MINILM,
    TINY_POLICY,
    TINY_RESNET,
    TINY_VIT,
    VIT,
    BertSize,
    LstmSize,
    PolicySize,
    Size,
)
from scripts.ladder.weights import Weights, drawn
from scripts.ladder.work import Work, work_of
from scripts.small_models.learning import Array

from infer_opt.errors import InferOptError
from infer_opt.facts import ModelFacts
from infer_opt.models.feeds import save_feeds
from infer_opt.models.inspecting import inspect
from infer_opt.transforms.halve import halve

SEED = 20_261_127
SIZE = "size"  # the array that says which network the weights are of
SAMPLES = 64
FEWEST_FEEDS, MOST_FEEDS, FEED_BYTES = 4, 16, 64 << 20
PADDED = 0.25  # the share of a sentence's tokens that may be padding


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network of the ladder, whole and in miniature."""

    name: str
    whole: Size
    tiny: Size

    def size(self, *, miniature: bool) -> Size:
        """The one that is measured."""
        return self.tiny if miniature else self.whole


# In the order of their worth: when the time is over, the last are missing.
NETWORKS = (
    Network(name="resnet50", whole=RESNET50, tiny=TINY_RESNET),
    Network(name="bert-base", whole=BERT_BASE, tiny=TINY_BERT),
    Network(name="policy", whole=POLICY, tiny=TINY_POLICY),
    Network(name="minilm", whole=MINILM, tiny=TINY_MINILM),
    Network(name="vit", whole=VIT, tiny=TINY_VIT),
    Network(name="lstm", whole=LSTM, tiny=TINY_LSTM),
)


def by_name() -> Mapping[str, Network]:
    """name -> network."""
    return {network.name: network for network in NETWORKS}


def inputs(size: Size, batch: int, rng: np.random.Generator) -> dict[str, Array]:
    """One call's inputs, by name."""
    if isinstance(size, BertSize):
        ids = rng.integers(1, size.vocabulary, (batch, size.length))
        lengths = rng.integers(int(size.length * (1 - PADDED)), size.length + 1, (batch, 1))
        mask = (np.arange(size.length) < lengths).astype(np.int64)
        return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    if isinstance(size, LstmSize):
        return {"sequence": rng.standard_normal((batch, size.length, size.inputs), dtype=np.float32)}
    if isinstance(size, PolicySize):
        return {"observation": rng.standard_normal((batch, size.inputs), dtype=np.float32)}
    return {"image": rng.standard_normal((batch, 3, size.pixels, size.pixels), dtype=np.float32)}


def weights_file(path: Path) -> Path:
    """Where the weights of the ONNX file at `path` lie for PyTorch."""
    return path.with_suffix(".weights.npz")


def half_file(path: Path) -> Path:
    """Where the ONNX file at `path` lies in FP16."""
    return path.with_suffix(".half.onnx")


def free_dims(size: Size, batch: int) -> dict[str, int]:
    """The sizes of the free dimensions of the ONNX file, by name."""
    return {"batch": batch} | ({"seq": size.length} if isinstance(size, BertSize) else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What is known of a network whose files were written. `works` are by batch; `problem` is why it has no half."""

    facts: ModelFacts
    works: Mapping[int, Work]
    problem: str | None = None


def write_network(path: Path, size: Size, batches: Sequence[int], *, halves: bool) -> Written:
    """The network as ONNX at `path`, its weights for PyTorch and, with `halves`, itself in FP16 beside it.

    Called in a process of its own.
    """
    weights = drawn(size, np.random.default_rng(SEED))
    model = written(size, weights)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    arrays: dict[str, Any] = {**weights, SIZE: np.array(json.dumps([type(size).__name__, asdict(size)]))}
    np.savez(weights_file(path), allow_pickle=False, **arrays)
    works = {batch: work_of(model, free_dims(size, batch)) for batch in batches}
    problem = None
    if halves:
        try:
            halve(path, half_file(path))
        except InferOptError as error:
            problem = error.what
    return Written(facts=inspect(path), works=works, problem=problem)


def read_weights(path: Path) -> tuple[Size, Weights]:
    """What `write_network` kept for PyTorch."""
    with np.load(path, allow_pickle=False) as archive:
        weights = {name: archive[name] for name in archive.files}
    kind, fields = json.loads(str(weights.pop(SIZE)))
    sizes = {one.__name__: one for one in get_args(Size)}
    listed = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    size: Size = sizes[kind](**listed)
    return size, weights


def write_feeds(path: Path, size: Size, batch: int) -> int:
    """So many different inputs as are worth their memory, in the file that workers read; how many."""
    rng = np.random.default_rng((SEED, batch))
    first = inputs(size, batch, rng)
    each = max(1, sum(array.nbytes for array in first.values()))
    count = min(MOST_FEEDS, max(FEWEST_FEEDS, FEED_BYTES // each))
    save_feeds(path, [first, *(inputs(size, batch, rng) for _ in range(count - 1))])
    return count


def write_samples(path: Path, size: Size) -> None:
    """Inputs for `infer-opt tune --inputs`: the first axis of each array counts samples."""
    rng = np.random.default_rng((SEED, 0))
    arrays: dict[str, Any] = {**inputs(size, SAMPLES, rng)}
    np.savez(path, allow_pickle=False, **arrays)
