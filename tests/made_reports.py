"""Results large enough to fill a report: a tuning of dozens of trials with raw runs, and a profile of a transformer."""

import math
import random
from dataclasses import replace

from golden.tunings import FASTER, MB, MS, NO_FASTER, STOCK_MS, comparison, parity, readings
from infer_opt.config import SessionOptions, Spin, TrialConfig
from infer_opt.profiles.nodes import Holder, MemoryCourse, Node, NodeTimes
from infer_opt.profiles.profile import Profile
from infer_opt.profiles.roofline import Bound, NodeFloor, Roofline, Work
from infer_opt.recipes import Calibration, Quantisation, Recipe
from infer_opt.results import (
    Block,
    FailureKind,
    Standing,
    Trial,
    TrialFailure,
    TrialResult,
    Tuning,
    Verdict,
)
from made_profiles import around, made_profile, made_roofline, tensor, times

HOSTILE = "<script>alert(1)</script>.onnx"
LAYERS = 12

RECIPES = (
    Recipe(),
    Recipe(normalise=True),
    Recipe(normalise=True, fixed_shapes=True),
    Recipe(quantise=Quantisation(per_channel=True)),
    Recipe(quantise=Quantisation(calibration=Calibration.MINMAX)),
)
OPTIONS = (
    SessionOptions(),
    SessionOptions(intra_threads=1),
    SessionOptions(intra_threads=2),
    SessionOptions(spin=Spin.NEVER),
    SessionOptions(intra_threads=2, spin=Spin.NEVER),
    SessionOptions(arena=False),
)
# What a knob is worth, as ln(time): `made_tuning` adds them up.
QUANTISED, ONE_THREAD, NO_SPIN, FIXED = -0.62, 0.35, -0.06, -0.09


def runs(median_ms: float, count: int, generator: random.Random) -> tuple[int, ...]:
    """Times in ns with a tail to the right, as a busy machine gives them."""
    return tuple(
        round(median_ms * MS * math.exp(generator.gauss(0, 0.02) + (generator.random() < 0.02) * 0.5))
        for _ in range(count)
    )


def log_ratio(config: TrialConfig, generator: random.Random) -> float:
    """ln(time / stock's) of a configuration, with a hundredth of noise."""
    value = QUANTISED * (config.recipe.quantise is not None) + FIXED * config.recipe.fixed_shapes
    value += ONE_THREAD * (config.options.intra_threads == 1) + NO_SPIN * (config.options.spin is Spin.NEVER)
    return value + generator.gauss(0, 0.01)


def made_trial(config: TrialConfig, generator: random.Random, *, is_stock: bool, blocks: int = 6) -> TrialResult:
    value = 0.0 if is_stock else log_ratio(config, generator)
    median_ms = STOCK_MS * math.exp(value)
    score = 0.984 if config.recipe.quantise else 0.9999871 if config.recipe.normalise else 0.99999994
    peak = 210 - 68 * (config.recipe.quantise is not None) - 9 * (config.options.intra_threads == 1)
    file_mb = 23.1 if config.recipe.quantise else 90.4
    return TrialResult(
        config=config,
        readings=readings(median_ms, peak_mb=peak + generator.random(), file_mb=file_mb, cores=(1.9, 0.4), tail=True),
        parity=parity(score),
        log_ratio=value,
        log_ratio_error=0.0 if is_stock else 0.01,
        blocks=tuple(Block(latency_ns=runs(median_ms, 40, generator)) for _ in range(blocks)),
    )


def made_tuning(*, path: str = "minilm.onnx", blocks: int = 6) -> Tuning:
    """A tuning of all RECIPES with all OPTIONS, of which two fail."""
    generator = random.Random(3)
    trials: list[Trial] = []
    for recipe in RECIPES:
        for options in OPTIONS:
            config = TrialConfig(recipe=recipe, options=options)
            is_stock = config == TrialConfig()
            trials.append(made_trial(config, generator, is_stock=is_stock, blocks=80 if is_stock else blocks))
    results = [trial for trial in trials if isinstance(trial, TrialResult)]
    winner = min(results, key=lambda trial: trial.log_ratio)
    won = replace(
        winner,
        blocks=tuple(Block(latency_ns=runs(STOCK_MS * math.exp(winner.log_ratio), 40, generator)) for _ in range(80)),
    )
    speedup = math.exp(-winner.log_ratio)
    found = comparison(winner.config, Verdict.FASTER, (speedup, speedup * 0.985, speedup * 1.015))
    epochs = tuple(winner.log_ratio + generator.gauss(0, 0.012) for _ in range(9))
    clones = tuple(generator.gauss(0, 0.004) for _ in range(9))
    failures = (
        TrialFailure(
            config=TrialConfig(options=SessionOptions(parallel=True, inter_threads=4)),
            kind=FailureKind.CRASH,
            reason="the worker died:\nsignal 11 (segmentation fault)",
        ),
        TrialFailure(
            config=TrialConfig(recipe=Recipe(quantise=Quantisation())),
            kind=FailureKind.PARITY,
            reason="outputs agree only 0.891 with stock, and 0.98 is asked for",
            parity=parity(0.891),
        ),
    )
    stock = results[0]
    standings = [Standing(trial=stock, fate="stock", reason="what others are measured against", on_pareto_front=True)]
    standings += [
        Standing(
            trial=won if trial is winner else trial,
            fate="winner" if trial is winner else "screened",
            reason="proven faster" if trial is winner else "others looked better in the screen",
            on_pareto_front=trial is winner or trial.config.options.intra_threads == 1,
        )
        for trial in results[1:]
    ]
    standings += [Standing(trial=failure, fate="failed", reason=failure.reason) for failure in failures]
    return replace(
        FASTER,
        model=replace(FASTER.model, path=path),
        baseline=stock,
        winner=won,
        comparison=replace(found, epochs=epochs, clone_epochs=clones),
        standings=tuple(standings),
        plan=NO_FASTER.plan,
        notes=FASTER.notes[:1],
    )


def _product(layer: int, part: str, rows: int, columns: int) -> tuple[NodeTimes, Work]:
    name = f"/encoder/layer.{layer}/{part}/MatMul"
    node = Node(
        name=name,
        operator="MatMul",
        inputs=(tensor(f"x{layer}{part}", 128, rows), tensor(f"w{layer}{part}", rows, columns, is_constant=True)),
        outputs=(tensor(f"y{layer}{part}", 128, columns),),
        module=f"encoder.layer.{layer}.{part}",
    )
    operations = 2 * 128 * rows * columns
    moved = 4 * (128 * rows + rows * columns)
    work = Work(operations=operations, read_bytes=moved, written_bytes=4 * 128 * columns,
                weight_bytes=4 * rows * columns, precision="float32")  # fmt: skip
    return times(node, operations / 62.0 * (1 + 0.03 * layer), share=0.0), work


def _small(layer: int, operator: str, part: str) -> tuple[NodeTimes, Work]:
    node = Node(
        name=f"/encoder/layer.{layer}/{part}/{operator}",
        operator=operator,
        inputs=(tensor(f"a{layer}{part}{operator}", 128, 384),),
        outputs=(tensor(f"b{layer}{part}{operator}", 128, 384),),
        module=f"encoder.layer.{layer}.{part}",
    )
    work = Work(operations=8 * 128 * 384, read_bytes=196_608, written_bytes=196_608, weight_bytes=0,
                precision="float32", is_exact=False)  # fmt: skip
    return times(node, 31_000.0 + 900 * layer, share=0.0), work


def made_transformer() -> Profile:
    """A profile of twelve layers of nine nodes each, with floors and a course of memory that rises in each layer."""
    found: list[tuple[NodeTimes, Work]] = []
    for layer in range(LAYERS):
        for part in ("attention.query", "attention.key", "attention.value", "attention.output"):
            found.append(_product(layer, part, 384, 384))
        found += [_product(layer, "intermediate", 384, 1536), _product(layer, "output", 1536, 384)]
        found += [_small(layer, kind, "attention") for kind in ("Softmax", "LayerNormalization")]
        found.append(_small(layer, "Gelu", "intermediate"))
    whole = sum(node.time.value for node, _ in found)
    nodes = tuple(replace(node, share=node.time.value / whole) for node, _ in found)
    ceilings = made_roofline().ceilings
    rate, flow = ceilings.operations_per_s[0][1].value, ceilings.bandwidths[-1].bytes_per_s.value
    floors = tuple(
        NodeFloor(
            name=node.node.name,
            work=work,
            floor_ns=max(work.operations / rate, work.moved_bytes / flow) * 1e9,
            bound=Bound.COMPUTE if work.operations / rate > work.moved_bytes / flow else Bound.MEMORY,
        )
        for node, work in found
    )
    floor_ns = sum(floor.floor_ns for floor in floors)
    alive = tuple(round((1 + place % 9 * (1 if place % 9 < 5 else 0.6)) * 0.8 * MB) for place in range(len(nodes)))
    base = made_profile(nodes, subject="minilm.onnx")
    return replace(
        base,
        call=replace(base.call, latency=around(whole * 1.02, spread=0.01), unaccounted=None),
        roofline=Roofline(ceilings=ceilings, nodes=floors, floor_ns=floor_ns, counted_share=1.0),
        memory=MemoryCourse(
            alive_bytes=alive,
            peak_index=alive.index(max(alive)),
            holders=(Holder(tensor="h", bytes=2_359_296, written_by=nodes[4].node.name, needed_by=nodes[5].node.name),),
            weight_bytes=90 * MB,
            rss_before_bytes=60 * MB,
            rss_opened_bytes=160 * MB,
            rss_peak_bytes=172 * MB,
        ),
    )
