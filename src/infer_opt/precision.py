"""Which layers to leave in float: by the time that INT8 saves in each, and by the error that it adds.

Every layer is put in INT8 alone and the outputs compared with the float model's; the runtime's profiles of the float
and of the whole INT8 model say what each saves. Layers are then taken by what they save for the error that they add.
Since errors do not add up, whole models decide: the most layers that still agree with the float model are found by
halving, and then those behind the one that was too much are tried one by one.

Runs in a process of its own, which may need memory of several times the model's size.
"""

import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from onnx import ModelProto

from infer_opt.config import SessionOptions, Workload
from infer_opt.errors import ModelError
from infer_opt.models.feeds import load_feeds
from infer_opt.parity import compare
from infer_opt.protocols import Array, Feeds, Session
from infer_opt.recipes import Recipe
from infer_opt.results import Frontier, LayerCost, Parity, PrecisionPoint
from infer_opt.runtimes.onnx import OnnxRuntime
from infer_opt.transforms.apply import build
from infer_opt.transforms.layers import MOST_LAYERS, Layer, find_layers
from infer_opt.transforms.model_files import load, save
from infer_opt.transforms.quantise import find_ranges, prepared, quantise_prepared, quantised_types
from infer_opt.transforms.smoothing import smooth
from infer_opt.transforms.switches import switch_of, switchable

FIRST_INPUTS = 8  # on which a layer alone is tried, and a whole model first
SLOWER = 2.0  # what a mixture may take of the float model's time: INT8 is not always faster, and switches cost
PROFILE_S, FEWEST_RUNS, MOST_RUNS = 1.0, 8, 200
ALONE_SHARE = 0.6  # of the time: trying layers alone; the rest is for whole models
# Of a call: what layers must lose in INT8 to be left in float for that. Less is within what profiles err by, and each
# change between float and INT8 that it takes costs time too.
WORTH_LEAVING = 0.05
TINY_ERROR = 1e-7  # below it layers count as equally harmless
STEPS = (1.0, 0.75, 0.5, 0.25)  # shares of the layers that are offered where a metric decides, not parity
QUANTISER_ADDS = "_QuantizeLinear"


def explore(
    model: Path, recipe: Recipe, *, feeds: Path, workload: Workload, tolerance: float, seconds: float,
    calibration: Path | None = None, checked: int = 64,
) -> Frontier:  # fmt: skip
    """The layers of the model as `recipe` quantises it, and whole models with some of them in INT8.

    Arguments:
        feeds: inputs on which models are compared with the float model, `checked` of them at most.
        tolerance: the parity that a whole model must keep; 0 where a metric decides later.
        seconds: about how long it may take.

    Raises:
        ModelError: the recipe does not quantise, or nothing of the model can be.
    """
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(model, recipe, Path(folder), workload=workload, calibration=calibration)
        inputs = load_feeds(feeds)[:checked]
        begin = time.monotonic()
        reference = bench.reference(inputs)
        run_s = (time.monotonic() - begin) / len(inputs)
        alone_s = ALONE_SHARE * (end - time.monotonic())
        layers = bench.layers(most=max(1, int(alone_s / (SLOWER * run_s * len(inputs[:FIRST_INPUTS])))))
        saved, call_ns = _savings(bench, layers, inputs, run_s=run_s)
        costs = [
            LayerCost(name=layer.name, nodes=layer.nodes, saved_ns=saved[layer.name], error=None) for layer in layers
        ]
        with bench.mixtures(layers) as mixtures:
            points = _Points(mixtures, costs, inputs, reference, tolerance)
            if tolerance > 0.0 and points.check(costs):
                # All of it agrees: what is left to gain are layers that INT8 makes slower.
                if slower := worth_leaving(costs, call_ns):
                    points.check([layer for layer in costs if layer not in slower])
            else:
                until = time.monotonic() + ALONE_SHARE * (end - time.monotonic())
                costs = [_alone(mixtures, cost, inputs, reference, until=until) for cost in costs]
                points.layers = costs
                for _ in points.search():
                    if time.monotonic() > end:
                        break
    return Frontier(recipe=recipe, call_ns=call_ns, layers=tuple(costs), points=points.found)


def worth_leaving(layers: Sequence[LayerCost], call_ns: float) -> list[LayerCost]:
    """The layers that INT8 makes slower; none where that matters less than a change between float and INT8 may."""
    slower = [layer for layer in layers if layer.saved_ns is not None and layer.saved_ns < 0.0]
    lost_ns = -sum(layer.saved_ns or 0.0 for layer in slower)
    return slower if lost_ns > WORTH_LEAVING * call_ns else []


class _Bench:
    """The model in the form that the quantiser is given, and what the quantiser makes of all of it."""

    def __init__(
        self, model: Path, recipe: Recipe, folder: Path, *, workload: Workload, calibration: Path | None
    ) -> None:
        if recipe.quantise is None:
            raise ModelError("a recipe that does not quantise leaves nothing to choose")
        self._how, self._folder = recipe.quantise, folder
        plain = replace(recipe, quantise=None)
        given = model if plain.is_stock else build(model, plain, folder=folder / "given", workload=workload)
        self.model = prepared(load(given), folder)
        if self._how.smooth is not None:
            smooth(self.model, how=self._how, feeds=calibration, folder=folder)
        self.source, self.whole = folder / "float.onnx", folder / "whole.onnx"
        save(self.model, self.source)
        self._types = quantised_types(self.model, self._how)
        self._runtime = OnnxRuntime()
        self._quantise_whole(calibration)

    def _quantise_whole(self, calibration: Path | None) -> None:
        copy, ranges = ModelProto(), None
        copy.CopyFrom(self.model)
        if self._how.is_static:
            ranges = find_ranges(self.model, how=self._how, feeds=calibration, folder=self._folder)
        quantise_prepared(copy, self.whole, how=self._how, ranges=ranges)

    def layers(self, *, most: int) -> tuple[Layer, ...]:
        return find_layers(self.model, {*self._types, "Gemm"}, most=min(most, MOST_LAYERS))

    def reference(self, inputs: Sequence[Feeds]) -> list[dict[str, Array]]:
        """What the float model answers."""
        session = self._runtime.open(self.source, SessionOptions())
        try:
            return [session.run(feed) for feed in inputs]
        finally:
            session.close()

    @contextmanager
    def mixtures(self, layers: Sequence[Layer]) -> Iterator["_Mixtures"]:
        """Every mixture of layers in float and in INT8, in one session."""
        path = self._folder / "switches.onnx"
        save(switchable(self.model, load(self.whole), layers), path)
        session = self._runtime.open(path, SessionOptions())
        try:
            yield _Mixtures(session, layers)
        finally:
            session.close()

    def node_times(self, path: Path, inputs: Sequence[Feeds], *, run_s: float) -> Mapping[str, int]:
        runs = int(np.clip(PROFILE_S / max(run_s, 1e-6), FEWEST_RUNS, MOST_RUNS))
        return self._runtime.node_times(path, SessionOptions(), inputs, runs=runs)


class _Mixtures:
    """A session whose layers are in float or in INT8 as each call says."""

    def __init__(self, session: Session, layers: Sequence[Layer]) -> None:
        self._session = session
        self._switches = {layer.name: switch_of(layer) for layer in layers}

    def answers(self, in_int8: Collection[str], inputs: Sequence[Feeds]) -> list[dict[str, Array]]:
        """What the model answers with the layers of these names in INT8."""
        switches = {switch: np.array(name in in_int8) for name, switch in self._switches.items()}
        return [self._session.run({**feed, **switches}) for feed in inputs]


def _savings(
    bench: _Bench, layers: Sequence[Layer], inputs: Sequence[Feeds], *, run_s: float
) -> tuple[dict[str, float | None], float]:
    """What each layer saves a call, in ns, and what all nodes of the float model take."""
    plain = bench.node_times(bench.source, inputs, run_s=run_s)
    names = [node.name for node in bench.model.graph.node]
    before = time_by_layer(plain, layers, names)
    after = time_by_layer(bench.node_times(bench.whole, inputs, run_s=run_s), layers, names)
    saved: dict[str, float | None] = {}
    for layer in layers:
        was, now = before[layer.name], after[layer.name]
        saved[layer.name] = None if was is None or now is None else was - now
    return saved, float(sum(plain.values()))


def time_by_layer(times: Mapping[str, int], layers: Sequence[Layer], names: Sequence[str]) -> dict[str, float | None]:
    """Time by layer, in ns; None of one that no executed node is named after.

    What quantisers and fusions make of a node is called after it: `dense/MatMul_quant` is that of `dense/MatMul`, and
    not of `dense`. The conversion of what a layer reads is called after that tensor.

    Arguments:
        times: executed node -> ns.
        names: every node of the model, of which the longest that an executed one begins with is meant.
    """
    owners = {node: layer.name for layer in layers for node in layer.nodes}
    readers = {f"{tensor}{QUANTISER_ADDS}": layer.name for layer in layers for tensor in layer.reads}
    found: dict[str, float | None] = dict.fromkeys((layer.name for layer in layers), None)
    by_length = sorted(names, key=len, reverse=True)
    for executed, spent in times.items():
        owner = readers.get(executed)
        if owner is None:
            origin = next((name for name in by_length if _is_after(executed, name)), None)
            owner = owners.get(origin or "")
        if owner is not None:
            found[owner] = (found[owner] or 0.0) + spent
    return found


def _is_after(executed: str, name: str) -> bool:
    return bool(name) and (executed == name or executed.startswith((f"{name}_", f"{name}/")))


def _alone(
    mixtures: _Mixtures, cost: LayerCost, inputs: Sequence[Feeds], reference: Sequence[Mapping[str, Array]], *,
    until: float,
) -> LayerCost:  # fmt: skip
    """The layer with the error that it alone adds; without one where the time is over."""
    if time.monotonic() > until:
        return cost
    answers = mixtures.answers({cost.name}, inputs[:FIRST_INPUTS])
    return replace(cost, error=1.0 - compare(reference[:FIRST_INPUTS], answers, tolerance=0.0).score)


@dataclass
class _Points:
    """Whole models with the worthiest layers in INT8. Mutable: it is the search's own notebook."""

    mixtures: _Mixtures
    layers: Sequence[LayerCost]
    inputs: Sequence[Feeds]
    reference: Sequence[Mapping[str, Array]]
    tolerance: float

    def __post_init__(self) -> None:
        self._found: dict[frozenset[str], PrecisionPoint] = {}

    @property
    def ranked(self) -> list[LayerCost]:
        """The layers that save something, those first that save most for the error that they add."""
        worth = [layer for layer in self.layers if layer.error is not None and (layer.saved_ns or 0.0) > 0.0]
        return sorted(worth, key=lambda layer: -(layer.saved_ns or 0.0) / max(layer.error or 0.0, TINY_ERROR))

    @property
    def found(self) -> tuple[PrecisionPoint, ...]:
        """What was checked, the most time saved first."""
        return tuple(sorted(self._found.values(), key=lambda point: -point.saved_ns))

    def search(self) -> Iterator[None]:
        """Checks one whole model after another; the caller stops when its time is over."""
        ranked = self.ranked
        number = len(ranked)
        if self.tolerance <= 0.0:
            for share in STEPS:
                self.check(ranked[: max(1, round(share * number))])
                yield
            return
        passing, failing = 0, number + 1
        while failing - passing > 1:
            middle = number if failing > number else (passing + failing) // 2
            if self.check(ranked[:middle]):
                passing = middle
            else:
                failing = middle
            yield
        chosen = list(ranked[:passing])
        for layer in ranked[passing + 1 :]:
            if self.check([*chosen, layer]):
                chosen.append(layer)
            yield

    def check(self, chosen: Sequence[LayerCost]) -> bool:
        """Whether the whole model with the chosen layers in INT8 agrees; nothing in INT8 does."""
        in_int8 = frozenset(layer.name for layer in chosen)
        if in_int8 not in self._found and in_int8:
            floats = tuple(node for layer in self.layers if layer.name not in in_int8 for node in layer.nodes)
            parity = self._parity(in_int8)
            self._found[in_int8] = PrecisionPoint(
                layers=len(chosen),
                floats=floats,
                saved_ns=sum(layer.saved_ns or 0.0 for layer in chosen),
                score=parity.score,
                passed=parity.passed,
            )
        return not in_int8 or self._found[in_int8].passed

    def _parity(self, in_int8: Collection[str]) -> Parity:
        """Agreement on all inputs; on the first few, where it is too low there already."""
        answers = self.mixtures.answers(in_int8, self.inputs[:FIRST_INPUTS])
        first = compare(self.reference[:FIRST_INPUTS], answers, tolerance=self.tolerance)
        if not first.passed:
            return first
        answers += self.mixtures.answers(in_int8, self.inputs[FIRST_INPUTS:])
        return compare(self.reference, answers, tolerance=self.tolerance)
