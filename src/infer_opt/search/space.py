"""Which configurations exist for this model on this machine, pruned by rule and ordered by promise.

A new knob is one field in config.py, one line in `_cpu_options` or `_cuda_options` and one in `_knobs`, and one in its
runtime.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from infer_opt.config import NATIVE, Compilation, Objective, Provider, SessionOptions, Spin, TrialConfig
from infer_opt.recipes import (
    Calibration,
    GraphLevel,
    Quantisation,
    Recipe,
    WeightOnly,
    WeightType,
)
from infer_opt.search.promise import suspected_first
from infer_opt.search.surroundings import Surroundings, concurrencies, stock, thread_counts

HEAVY_BYTES = 200_000_000  # of weights: beyond any cache, so that reading them is most of what a call does
FOUR_BITS = Quantisation(weight_only=WeightOnly(bits=4, block=32))
SMOOTHING = 0.5  # alpha: the share of the spread that the weights take over
# How torch.compile is tried. On the CPU `reduce-overhead`, which means CUDA graphs, is the default.
COMPILED = {
    Provider.CPU: (Compilation.DEFAULT, Compilation.MAX_AUTOTUNE),
    Provider.CUDA: (Compilation.REDUCE_OVERHEAD, Compilation.DEFAULT, Compilation.MAX_AUTOTUNE),
}
WIDEST = 2000  # configurations: what a model of the space can still be asked about as a whole


def candidates(surroundings: Surroundings, *, wide: bool = False) -> tuple[TrialConfig, ...]:
    """Every configuration worth a trial besides stock, the likeliest first, none twice.

    First, by turns, each session option on the graph as given and each recipe with stock settings; then the two
    crossed, for the neighbours of whatever proves good. Of either, three that a diagnosis of stock suspects come before
    one of the others. A `wide` space goes on with the options crossed among themselves, as many knobs as stay within
    2,000 configurations a batch size: too many to try, for a search that has a model.
    """
    usual = _usual(surroundings)
    if not wide:
        return usual
    # Each batch size is a space of its own: only at the best of them is everything else searched.
    room = (WIDEST * len(surroundings.batches) - len(usual)) // len(surroundings.providers)
    crossed = (config for provider in surroundings.providers for config in _crossed(surroundings, provider, room))
    return tuple(config for config in dict.fromkeys((*usual, *crossed)) if config != stock(surroundings))


def _usual(surroundings: Surroundings) -> tuple[TrialConfig, ...]:
    found: list[TrialConfig] = []
    for provider in surroundings.providers:
        native = _native(surroundings, provider) if surroundings.is_native else []
        if not surroundings.has_onnx(provider):
            found += native
            continue
        recipes, options = _recipes(surroundings, provider), _options(surroundings, provider)
        plain = SessionOptions(provider=provider)
        found += [TrialConfig(options=plain)] if native or provider is not surroundings.providers[0] else []
        elsewhere = _elsewhere(surroundings) if provider is Provider.CPU else []
        found += _interleaved(
            [TrialConfig(options=option) for option in options],
            [TrialConfig(recipe=recipe, options=plain) for recipe in recipes],
            elsewhere,
            native,
        )
        crossed = [TrialConfig(recipe=r, options=o) for o, r in itertools.product(options, recipes)]
        side_by_side = _side_by_side(surroundings, recipes) if provider is Provider.CPU else []
        found += side_by_side[: len(concurrencies(surroundings))]
        found += _interleaved(side_by_side, crossed, _crossed_elsewhere(elsewhere))
    whole = [_settled(config, surroundings) for config in _batched(found, surroundings)]
    found = list(dict.fromkeys(config for config in whole if config != stock(surroundings)))
    return tuple(suspected_first(found, surroundings.suspected, stock(surroundings)))


def _side_by_side(surroundings: Surroundings, recipes: Sequence[Recipe]) -> list[TrialConfig]:
    """Several instances: of the model as given first, then of each recipe.

    Of the runtime that was asked for alone: other engines pin their threads themselves, all sessions to the same cores.
    """
    return [
        TrialConfig(recipe=recipe, options=SessionOptions(intra_threads=threads), instances=instances)
        for recipe in (Recipe(), *recipes)
        for instances, threads in concurrencies(surroundings)
    ]


def _native(surroundings: Surroundings, provider: Provider) -> list[TrialConfig]:
    """PyTorch itself: compiled, as a CUDA graph, and each by its threads on the CPU."""
    plain = SessionOptions(provider=provider)
    compiled = [replace(plain, compiled=how) for how in COMPILED[provider]]
    if provider is Provider.CUDA:
        ways = [*compiled, replace(plain, cuda_graph=True)]
    else:
        counts = thread_counts(surroundings)
        ways = compiled[:1] + [replace(way, intra_threads=n) for n in counts for way in (plain, compiled[0])]
        ways += compiled[1:]
    first = [] if provider is surroundings.providers[0] else [plain]
    return [TrialConfig(options=way, runtime=NATIVE) for way in (*first, *ways)]


def _elsewhere(surroundings: Surroundings) -> list[TrialConfig]:
    """Other engines: the model as given, each setting on it, and what INT8 they can read (QDQ)."""
    as_given = _normalised(Recipe(), surroundings)
    mixed = [recipe for recipe in surroundings.mixed if _calibration(recipe) is not None]
    padded = [replace(recipe, normalise=as_given.normalise) for recipe in _shapes(surroundings) if recipe.buckets]
    options = [SessionOptions(bf16=True)] * surroundings.has_bf16
    options += [SessionOptions(intra_threads=count) for count in thread_counts(surroundings)]
    found = [TrialConfig(recipe=as_given, runtime=engine) for engine in surroundings.engines]
    for engine in surroundings.engines:
        found += _interleaved(
            [TrialConfig(recipe=as_given, options=option, runtime=engine) for option in options],
            [
                TrialConfig(recipe=recipe, runtime=engine)
                for recipe in (*mixed, *_static(surroundings), *padded)
                if recipe not in surroundings.refuted
            ],
        )
    return found


def _crossed_elsewhere(alone: Sequence[TrialConfig]) -> list[TrialConfig]:
    """Every recipe with every setting, engine by engine, of those that were seen one at a time."""
    engines = dict.fromkeys(config.runtime for config in alone)
    return [
        TrialConfig(recipe=recipe, options=options, runtime=engine)
        for engine in engines
        for options in dict.fromkeys(config.options for config in alone if config.runtime == engine)
        for recipe in dict.fromkeys(config.recipe for config in alone if config.runtime == engine)
    ]


def neighbours(config: TrialConfig, among: Iterable[TrialConfig]) -> tuple[TrialConfig, ...]:
    """Those that differ from `config` in one respect: its recipe, one session option, its batch or its instances."""
    return tuple(other for other in among if _distance(config, other) == 1)


def distance_from_stock(config: TrialConfig) -> int:
    """How many settings were changed: among equals, the simpler configuration wins."""
    steps: int = sum(getattr(config.recipe, name) != getattr(Recipe(), name) for name in Recipe.__slots__)
    steps += config.instances != 1
    return steps + _options_apart(config.options, SessionOptions(provider=config.options.provider))


def _distance(left: TrialConfig, right: TrialConfig) -> int:
    return (
        (left.recipe != right.recipe)
        + (left.batch != right.batch)
        + (left.instances != right.instances)
        + (left.runtime != right.runtime)
        + _options_apart(left.options, right.options)
    )


def _options_apart(left: SessionOptions, right: SessionOptions) -> int:
    return sum(getattr(left, name) != getattr(right, name) for name in SessionOptions.__slots__)


def _batched(found: Sequence[TrialConfig], surroundings: Surroundings) -> list[TrialConfig]:
    """Every batch size of each: batch is a knob of throughput, and part of the workload for latency."""
    stocks = [replace(stock(surroundings), batch=batch) for batch in surroundings.batches[1:]]
    return stocks + [replace(config, batch=batch) for config in found for batch in surroundings.batches]


def _settled(config: TrialConfig, surroundings: Surroundings) -> TrialConfig:
    """A knob that does not apply takes its stock value, so that one candidate has one name."""
    options = config.options
    if options.intra_threads == 1:
        options = replace(options, spin=None)  # the caller's own thread does the work: nobody waits
    if not options.parallel:
        options = replace(options, inter_threads=0)
    if config.recipe.saved_level is not None:
        options = replace(options, graph_level=GraphLevel.NONE)
    return replace(config, options=replace(options, custom_ops=surroundings.custom_ops))


def _crossed(surroundings: Surroundings, provider: Provider, room: int) -> list[TrialConfig]:
    """Every recipe, none included, with every combination of as many knobs as give at most `room` configurations."""
    if not surroundings.has_onnx(provider):
        return []
    recipes = [Recipe(), *_recipes(surroundings, provider)]
    options, found = [SessionOptions(provider=provider)], list[TrialConfig]()
    for name, values in _knobs(surroundings, provider):
        wider = [replace(option, **{name: value}) for option in options for value in values]
        configs = [TrialConfig(recipe=recipe, options=option) for recipe in recipes for option in wider]
        whole = list(dict.fromkeys(_settled(config, surroundings) for config in _batched(configs, surroundings)))
        if len(whole) <= room:  # a knob that is too much leaves room for a smaller one after it
            options, found = wider, whole
    return found


def _knobs(surroundings: Surroundings, provider: Provider) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """The knobs that are crossed, those first that matter most, each with its stock value first."""
    if provider is Provider.CUDA:
        return (
            ("cuda_graph", (False, True)),
            ("nhwc", (None, True)),
            ("io_binding", (False, True)),
            ("tf32", (None, False)),
            ("cudnn_search", (None, "heuristic")),
        )
    return (
        ("intra_threads", (0, *thread_counts(surroundings))),
        ("spin", (None, Spin.NEVER)),
        ("graph_level", (None, GraphLevel.EXTENDED, GraphLevel.BASIC)),
        ("arena", (True, False)),
        ("io_binding", (False, True)),
        ("memory_pattern", (True, False)),
        ("flush_denormals", (False, True)),
    )


def _interleaved(*lists: Sequence[TrialConfig]) -> list[TrialConfig]:
    turns = itertools.zip_longest(*lists)
    return [config for turn in turns for config in turn if config is not None]


def _options(surroundings: Surroundings, provider: Provider) -> list[SessionOptions]:
    return _cpu_options(surroundings) if provider is Provider.CPU else _cuda_options(surroundings)


def _cpu_options(surroundings: Surroundings) -> list[SessionOptions]:
    counts = thread_counts(surroundings)
    options = [SessionOptions(intra_threads=count) for count in counts]
    options += [SessionOptions(spin=Spin.NEVER), SessionOptions(spin=Spin.RUNS)]
    options += [SessionOptions(intra_threads=count, spin=Spin.NEVER) for count in counts if count > 1]
    options += [SessionOptions(arena=False), SessionOptions(intra_threads=1, arena=False)]
    options += [SessionOptions(memory_pattern=False), SessionOptions(flush_denormals=True)]
    options += [SessionOptions(io_binding=True), SessionOptions(intra_threads=1, io_binding=True)]
    options += [SessionOptions(graph_level=GraphLevel.EXTENDED), SessionOptions(graph_level=GraphLevel.BASIC)]
    if surroundings.has_branches and counts[-1] > 1:
        options += [SessionOptions(parallel=True, inter_threads=2, intra_threads=count) for count in (1, counts[-1])]
    return options


def _cuda_options(surroundings: Surroundings) -> list[SessionOptions]:
    stock_options = SessionOptions(provider=Provider.CUDA)
    changes: tuple[Mapping[str, object], ...] = (
        {"cuda_graph": True},
        {"io_binding": True},
        {"cudnn_search": "heuristic"},
        {"tf32": False},
        {"nhwc": True},
        {"cuda_graph": True, "nhwc": True},
    )
    if surroundings.objective is Objective.MEMORY:
        changes = ({"exact_arena": True}, *changes)
    return [replace(stock_options, **change) for change in changes]  # type: ignore[arg-type]


def _recipes(surroundings: Surroundings, provider: Provider) -> list[Recipe]:
    recipes = [Recipe(fuse=kind, normalise=surroundings.is_old_graph) for kind in surroundings.fusable[:1]]
    if provider is Provider.CUDA:
        halved = [Recipe(fp16=True)] + [replace(recipe, fp16=True) for recipe in recipes]
        return halved + recipes + _rewritten(surroundings) + _shapes(surroundings)
    wrong = {_kind(recipe) for recipe in surroundings.refuted}
    ways = _integer(surroundings)
    likely = [recipe for recipe in ways if _kind(recipe) not in wrong]
    unlikely = [recipe for recipe in ways if _kind(recipe) in wrong]
    dynamic = [recipe.quantise for recipe in likely if _kind(recipe) == "dynamic"][:1]
    both = [replace(recipe, quantise=how) for recipe in recipes for how in dynamic]
    shapes, rewritten, weights = _shapes(surroundings), _rewritten(surroundings), _weight_only(surroundings)
    padded = [recipe for recipe in shapes if recipe.buckets]
    padded += [replace(one, fixed_shapes=to.fixed_shapes, buckets=to.buckets) for one in likely[:1] for to in padded]
    rewritten += [replace(recipe, quantise=likely[0].quantise) for recipe in rewritten[-1:] if likely]
    found = [*surroundings.mixed, *likely[:2], *weights[:1], *recipes, *both, *weights[1:2], *_smoothed(surroundings)]
    found += padded + [recipe for recipe in shapes if not recipe.buckets] + rewritten + weights[2:] + likely[2:]
    found += _saved(surroundings) + unlikely
    return [recipe for recipe in found if recipe not in surroundings.refuted]


def explorable(surroundings: Surroundings) -> tuple[Recipe, ...]:
    """The ways to quantise whose layers are looked at one by one: the likeliest of each kind.

    Only where the CPU is the baseline, and with the runtime's own operators: layers are run one by one without others.
    """
    if surroundings.providers[0] is not Provider.CPU or surroundings.custom_ops:
        return ()
    if not surroundings.has_onnx(Provider.CPU):
        return ()
    fused = surroundings.fusable[0] if surroundings.fusable else None
    dynamic = [replace(recipe, fuse=fused) for recipe in _dynamic(surroundings)[:1]]
    static = [recipe for recipe in _static(surroundings) if _calibration(recipe) is Calibration.PERCENTILE]
    heavy = [recipe for recipe in _weight_only(surroundings) if surroundings.weight_bytes >= HEAVY_BYTES]
    if surroundings.is_convolutional and static:
        return tuple(static)  # what can be quantised on the fly is a few layers of it
    return (*dynamic, *static, *[recipe for recipe in heavy if recipe.quantise == FOUR_BITS])


def _kind(recipe: Recipe) -> str | None:
    """What of a model is quantised, and how; None where nothing is."""
    return None if recipe.quantise is None else recipe.quantise.kind


def _calibration(recipe: Recipe) -> Calibration | None:
    return None if recipe.quantise is None else recipe.quantise.calibration


def _integer(surroundings: Surroundings) -> list[Recipe]:
    """INT8 of all layers, the likeliest way first: with calibrated ranges where convolutions do most of the work."""
    dynamic, static = _dynamic(surroundings), _static(surroundings)
    return static + dynamic if surroundings.is_convolutional else dynamic + static


def _dynamic(surroundings: Surroundings) -> list[Recipe]:
    """INT8 with ranges found in each call. Without VNNI, 7-bit weights first: 8-bit ones saturate."""
    if not surroundings.dynamic_operators:
        return []
    safe = not surroundings.has_vnni
    ways = [
        Quantisation(per_channel=True, reduce_range=safe),
        Quantisation(reduce_range=safe),
        Quantisation(per_channel=True, reduce_range=not safe),
        Quantisation(per_channel=True, reduce_range=safe, weight_type=WeightType.UINT8),
        Quantisation(),
    ]
    return [_normalised(Recipe(quantise=way), surroundings) for way in dict.fromkeys(ways)]


def _static(surroundings: Surroundings) -> list[Recipe]:
    if not surroundings.static_operators or not surroundings.can_calibrate:
        return []
    safe = not surroundings.has_vnni
    ways = [
        Quantisation(calibration=calibration, per_channel=True, reduce_range=safe)
        for calibration in (Calibration.MINMAX, Calibration.PERCENTILE, Calibration.ENTROPY)
    ]
    ways.append(Quantisation(calibration=Calibration.MINMAX, reduce_range=safe))
    return [_normalised(Recipe(quantise=way), surroundings) for way in ways]


def _smoothed(surroundings: Surroundings) -> list[Recipe]:
    """The INT8 of each kind that loses least, with its activations smoothed."""
    if not surroundings.can_smooth:
        return []
    static = [recipe for recipe in _static(surroundings) if _calibration(recipe) is Calibration.PERCENTILE]
    return [
        replace(recipe, quantise=replace(recipe.quantise, smooth=SMOOTHING))
        for recipe in (*static, *_dynamic(surroundings)[:1])
        if recipe.quantise is not None
    ]


def _weight_only(surroundings: Surroundings) -> list[Recipe]:
    """Fewer bits in weights alone, eight first: four save more memory, but seldom agree with stock."""
    if not surroundings.weight_operators:
        return []
    ways = [
        Quantisation(weight_only=WeightOnly(bits=8, block=32)),
        Quantisation(weight_only=WeightOnly(bits=8, block=128)),
        FOUR_BITS,
    ]
    return [_normalised(Recipe(quantise=way), surroundings) for way in ways]


def _normalised(recipe: Recipe, surroundings: Surroundings) -> Recipe:
    """Quantisers refuse old files whose weights are graph inputs or come from ConstantOfShape."""
    return replace(recipe, normalise=surroundings.is_old_graph)


def _rewritten(surroundings: Surroundings) -> list[Recipe]:
    return [_normalised(Recipe(rewrite=library), surroundings) for library in surroundings.rewriters]


def _shapes(surroundings: Surroundings) -> list[Recipe]:
    """Fixed shapes; of several, inputs filled up to few sizes, and fixed where that makes them one."""
    if not surroundings.paddings:
        return [Recipe(fixed_shapes=True)] if surroundings.has_free_shapes else []
    padded = [Recipe(buckets=buckets) for buckets in surroundings.paddings]
    return [replace(padded[0], fixed_shapes=True)] * surroundings.has_free_shapes + padded


def _saved(surroundings: Surroundings) -> list[Recipe]:
    """The runtime's own optimisation at each level, paid for once instead of at every cold start."""
    levels = [Recipe(saved_level=level) for level in (GraphLevel.ALL, GraphLevel.EXTENDED, GraphLevel.BASIC)]
    return levels + ([Recipe(normalise=True)] if surroundings.is_old_graph else [])
