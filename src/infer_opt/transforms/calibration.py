"""The ranges of activations over calibration inputs, in bounded memory, whatever the number of inputs.

onnxruntime's calibrators keep every intermediate tensor of every input until the end (onnxruntime#10503: 256 GB), let
histograms grow without limit when a later input is much larger than the first, and with their default of 128 bins the
entropy method has one candidate only, the full range. So: a first pass takes minima, maxima and sizes, reduced inside
the graph; a second, for the histogram methods, counts into bins of known width, a few tensors at a time.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from infer_opt.errors import ModelError
from infer_opt.recipes import Calibration
from infer_opt.transforms.feeds import FeedSource, stream
from infer_opt.transforms.model_files import opset, save

BINS = 2048
# Share of values kept, in per cent. onnxruntime's 99.999 cuts nothing in models with fewer than 10^5 activations.
PERCENTILE = 99.99
# Quantised levels a side that the entropy method compares against, and the step between its candidate thresholds in
# bins. Source: Migacz, "8-bit inference with TensorRT", GTC 2017 (128 levels, 2048 bins of |x|).
LEVELS = 128
CANDIDATE_STEP = 8
OPSET_AXES_ARE_INPUTS = 18  # of ReduceMax
# What one run of the second pass may hand over.
CHUNK_BYTES = 2**28

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Range:
    """The smallest and largest value that a tensor is quantised for."""

    low: float
    high: float

    @property
    def reach(self) -> float:
        """The largest distance from zero."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True, slots=True)
class _Seen:
    """A tensor over all calibration inputs: its extremes, and its largest size in bytes."""

    range: Range
    size_bytes: int


def calibrate(
    model: ModelProto,
    tensors: Sequence[str],
    *,
    feeds: FeedSource,
    method: Calibration,
    folder: Path,
) -> dict[str, Range]:
    """Tensor name -> range over the feeds. `folder` holds a copy of the model meanwhile.

    Raises:
        ModelError: no feeds, or the model does not run on them.
    """
    seen = _extremes(model, tensors, feeds, folder)
    ranges = {name: entry.range for name, entry in seen.items()}
    if method is Calibration.MINMAX:
        return ranges
    # What never leaves zero, or leaves the finite numbers, has no histogram.
    counted = [name for name in tensors if 0.0 < ranges[name].reach < np.inf]
    sizes = {name: seen[name].size_bytes for name in counted}
    for name, histogram in _histograms(model, sizes, ranges, feeds=feeds, folder=folder).items():
        cut = entropy_range if method is Calibration.ENTROPY else percentile_range
        ranges[name] = cut(histogram, ranges[name])
    return ranges


def channel_maxima(
    model: ModelProto, channels: Mapping[str, int], *, feeds: FeedSource, folder: Path
) -> dict[str, Floats]:
    """Tensor name -> the largest absolute value of each channel, along its last axis, over the feeds.

    `channels` are the tensors and how many each has. Reduced inside the graph, so that only vectors come out.

    Raises:
        ModelError: no feeds, or the model does not run on them.
    """
    found = {name: np.zeros(count, dtype=np.float32) for name, count in channels.items()}
    probed = ModelProto()
    probed.CopyFrom(model)
    names = [_add_channel_probe(probed, name, count) for name, count in channels.items()]
    calls = 0
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        session = _open(probed, Path(scratch))
        for feed in stream(feeds):
            for name, values in zip(channels, session.run(names, dict(feed)), strict=True):
                np.maximum(found[name], values, out=found[name])
            calls += 1
    if not calls:
        raise ModelError("smoothing needs calibration inputs, and there are none", hint="give --inputs")
    return dict(found)


def _add_channel_probe(model: ModelProto, tensor: str, count: int) -> str:
    """Add the largest absolute value of each channel to the model's outputs; gives its name."""
    rows, absolute, probe = (f"{tensor}/probe/{part}" for part in ("rows", "absolute", "maxima"))
    shape, axes = f"{tensor}/probe/shape", f"{tensor}/probe/axes"
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, count], dtype=np.int64), shape))
    is_input = opset(model) >= OPSET_AXES_ARE_INPUTS
    if is_input:
        model.graph.initializer.append(numpy_helper.from_array(np.array([0], dtype=np.int64), axes))
    attributes: dict[str, Any] = {"keepdims": 0} if is_input else {"keepdims": 0, "axes": [0]}
    model.graph.node.extend(
        [
            helper.make_node("Reshape", [tensor, shape], [rows], name=rows),
            helper.make_node("Abs", [rows], [absolute], name=absolute),
            helper.make_node("ReduceMax", [absolute, axes][: 1 + is_input], [probe], name=probe, **attributes),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info(probe, TensorProto.FLOAT, None))
    return probe


def percentile_range(histogram: NDArray[np.int64], full: Range, percentile: float = PERCENTILE) -> Range:
    """The range that holds `percentile` of the values, the rest cut half from either side.

    `histogram` counts values in equal bins over (-full.reach, full.reach).
    """
    edges = np.linspace(-full.reach, full.reach, len(histogram) + 1)
    cumulated = np.cumsum(histogram) / histogram.sum()
    tail = (100.0 - percentile) / 200.0
    low = edges[int(np.searchsorted(cumulated, tail))]
    high = edges[min(int(np.searchsorted(cumulated, 1.0 - tail)) + 1, len(histogram))]
    return Range(max(float(low), full.low), min(float(high), full.high))


def entropy_range(histogram: NDArray[np.int64], full: Range) -> Range:
    """The symmetric range whose quantised values keep most of the distribution's information, cut to what occurs.

    `histogram` counts values in equal bins over (-full.reach, full.reach). Of the candidate thresholds, the one with
    the smallest Kullback-Leibler divergence between the clipped distribution and its 128-level version.
    """
    centre = len(histogram) // 2
    histogram = histogram.copy()
    # The zeros that a ReLU gives are exact on any scale; as a spike they would outweigh everything else.
    # Source: NVIDIA's pytorch-quantization, calib/histogram.py, does the same to its first bin.
    histogram[centre] = min(histogram[centre], histogram[centre + 1])
    candidates = range(LEVELS // 2, centre + 1, CANDIDATE_STEP)
    best = min(candidates, key=lambda half: _divergence(histogram, half))
    threshold = full.reach * best / centre
    return Range(max(-threshold, full.low), min(threshold, full.high))


def _divergence(histogram: NDArray[np.int64], half: int) -> float:
    """KL divergence of the histogram clipped to `half` bins a side from its version with LEVELS levels."""
    centre = len(histogram) // 2
    window = histogram[centre - half : centre + half].astype(np.float64)
    clipped = window.copy()
    clipped[0] += histogram[: centre - half].sum()
    clipped[-1] += histogram[centre + half :].sum()
    starts = np.arange(LEVELS) * len(window) // LEVELS
    lengths = np.diff(np.append(starts, len(window)))
    occupied = window > 0
    counts = np.add.reduceat(occupied, starts, dtype=np.int64)
    levels = np.add.reduceat(window, starts) / np.maximum(counts, 1)
    quantised = np.where(occupied, np.repeat(levels, lengths), 0.0)
    if not quantised.sum():
        return float("inf")
    p, q = clipped / clipped.sum(), quantised / quantised.sum()
    there = p > 0
    # An end bin that holds nothing but clipped values has no counterpart: a small one stands in for it.
    return float(np.sum(p[there] * np.log(p[there] / np.maximum(q[there], 1e-4 / len(window)))))


def _extremes(model: ModelProto, tensors: Sequence[str], feeds: FeedSource, folder: Path) -> dict[str, _Seen]:
    """First pass: each tensor's extremes and size, computed inside the graph so that only scalars come out."""
    seen: dict[str, _Seen] = {}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        probed, names = _with_probes(model, tensors)
        session = _open(probed, Path(scratch))
        calls = 0
        for feed in stream(feeds):
            values = iter(session.run(names, dict(feed)))
            for tensor in tensors:
                low, high, count = (next(values) for _ in range(3))
                now = _Seen(Range(float(low.min()), float(high.max())), int(count) * 4)
                seen[tensor] = _merged(seen[tensor], now) if tensor in seen else now
            calls += 1
    if not calls:
        raise ModelError("static quantisation needs calibration inputs, and there are none", hint="give --inputs")
    return seen


def _merged(old: _Seen, new: _Seen) -> _Seen:
    low, high = min(old.range.low, new.range.low), max(old.range.high, new.range.high)
    return _Seen(Range(low, high), max(old.size_bytes, new.size_bytes))


def _with_probes(model: ModelProto, tensors: Sequence[str]) -> tuple[ModelProto, list[str]]:
    """The model with the smallest value, largest value and size of each tensor as outputs, and their names."""
    probed = ModelProto()
    probed.CopyFrom(model)
    names = []
    for index, tensor in enumerate(tensors):
        for operator in ("ReduceMin", "ReduceMax", "Size"):
            name = f"probe/{index}/{operator}"
            attributes: dict[str, Any] = {} if operator == "Size" else {"keepdims": 1}
            kind = TensorProto.INT64 if operator == "Size" else TensorProto.FLOAT
            probed.graph.node.append(helper.make_node(operator, [tensor], [name], name=name, **attributes))
            probed.graph.output.append(helper.make_tensor_value_info(name, kind, None))
            names.append(name)
    return probed, names


def _histograms(
    model: ModelProto,
    sizes: Mapping[str, int],
    ranges: Mapping[str, Range],
    *,
    feeds: FeedSource,
    folder: Path,
) -> dict[str, NDArray[np.int64]]:
    """Second pass: counts over (-reach, reach) for each tensor of `sizes`, at most CHUNK_BYTES of tensors at a time."""
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in sizes}
    chunks = list(_chunks(sizes))
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        session = _open(_with_outputs(model, list(sizes)), Path(scratch))
        for feed in stream(feeds):
            for chunk in chunks:
                for name, values in zip(chunk, session.run(chunk, dict(feed)), strict=True):
                    reach = ranges[name].reach
                    counts[name] += np.histogram(values, bins=BINS, range=(-reach, reach))[0]
    return counts


def _chunks(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The tensors in groups of at most CHUNK_BYTES, or of one tensor that is larger."""
    chunk: list[str] = []
    total = 0
    for name, size in sizes.items():
        if chunk and total + size > CHUNK_BYTES:
            yield chunk
            chunk, total = [], 0
        chunk.append(name)
        total += size
    if chunk:
        yield chunk


def _with_outputs(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """The model with these tensors among its outputs."""
    widened = ModelProto()
    widened.CopyFrom(model)
    there = {value.name for value in model.graph.output}
    for tensor in tensors:
        if tensor not in there:
            widened.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    return widened


def _open(model: ModelProto, folder: Path) -> Any:
    """A CPU session that runs the graph as it stands, so that every tensor keeps its name."""
    import onnxruntime

    path = folder / "probed.onnx"
    save(model, path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # failures come as exceptions
    # Memory goes back after each run: the arena would keep the largest.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
