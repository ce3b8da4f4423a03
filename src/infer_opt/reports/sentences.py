"""What a tuning found, in sentences: the same words stand in the table and in the Markdown page."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace

from infer_opt.config import Objective, TrialConfig
from infer_opt.facts import MachineFacts
from infer_opt.recipes import Recipe
from infer_opt.reports.quantities import agreement, elapsed, memory, number, percent, ratio_and_interval
from infer_opt.reports.rows import Row
from infer_opt.results import (
    Caution,
    Changes,
    Comparison,
    Frontier,
    LayerCost,
    Note,
    Parity,
    Search,
    Tuning,
    TuningVerdict,
)

# A field of a configuration -> what is tried when it is varied.
KNOB_WORDS = {
    "quantise": "quantised recipes",
    "fuse": "fused recipes",
    "rewrite": "rewritten recipes",
    "fp16": "FP16",
    "fixed_shapes": "fixed shapes",
    "buckets": "padding",
    "saved_level": "saved graphs",
    "graph_level": "levels of graph optimisation",
    "intra_threads": "thread counts",
    "instances": "instances",
    "spin": "ways of waiting",
    "flush_denormals": "subnormal numbers taken for zero",
    "io_binding": "IO binding",
    "cuda_graph": "CUDA graphs",
    "cudnn_search": "ways to search in cuDNN",
    "nhwc": "channels-last layout",
}
_NAMES_SHOWN = 2
_OPERATORS_SHOWN = 2


def one_line(text: str) -> str:
    """The text without line breaks and control characters: reasons quote what libraries and files say."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def fallback_notes(notes: Sequence[Note]) -> list[str]:
    """What must stand on the first line: another provider ran in place of the one asked for."""
    return [f"FALLBACK: {one_line(note.text)}" for note in notes if note.caution is Caution.FALLBACK]


def other_cautions(notes: Sequence[Note]) -> list[str]:
    """Each other caution: `few-samples: 3 samples were given`."""
    return [f"{note.caution}: {one_line(note.text)}" for note in notes if note.caution is not Caution.FALLBACK]


def headline(tuning: Tuning) -> str:
    """The verdict in plain words."""
    reason = one_line(tuning.reason).rstrip(".")
    if tuning.verdict is TuningVerdict.TOO_NOISY:
        return f"Too noisy to tell: keep the stock settings, because {reason}."
    if tuning.verdict is TuningVerdict.NO_FASTER:
        return f"Nothing is proven {tuning.objective.better} than the stock settings: keep stock, because {reason}."
    if tuning.comparison is None:
        return f"{tuning.objective.better.capitalize()} than the stock settings: {reason}."
    return claim(tuning.comparison, tuning.objective)


def claim(comparison: Comparison, objective: Objective) -> str:
    """`2.31x faster than stock [2.10 to 2.52]; measure again and expect 2.05 to 2.58.`"""
    value, interval = ratio_and_interval(comparison.speedup)
    _, again = ratio_and_interval(comparison.remeasure)
    return f"{value} {objective.gain} [{interval}]; measure again and expect {again}."


def evidence(comparison: Comparison) -> str:
    """What a comparison rests on, and how large a difference it can tell from none."""
    discarded = f", {comparison.discarded_rounds} more discarded" if comparison.discarded_rounds else ""
    return (
        f"{percent(comparison.speedup.confidence)} interval from {len(comparison.epochs)} epochs of fresh processes "
        f"({comparison.rounds} rounds{discarded}). Noise floor, from two copies of stock: "
        f"{percent(comparison.noise_floor)}; a claim must clear {percent(comparison.margin)}."
    )


def challenge(comparison: Comparison, stock: TrialConfig) -> str:
    """What became of the best challenger, where stock is handed back: `no spin came to 1.003x [0.998 to 1.008]`."""
    value, interval = ratio_and_interval(comparison.speedup)
    label = comparison.config.label_beside(stock)
    return f"The best challenger, {label}, came to {value} [{interval}]: {comparison.verdict}."


def changes(config: TrialConfig, stock: TrialConfig) -> list[tuple[str, str]]:
    """What differs from stock: `model`, `inputs`, `session`, `batch`, `at once`, `runtime` -> how."""
    file = replace(config.recipe, buckets=())
    found = [] if file.is_stock else [("model", file.label)]
    found += [("inputs", replace(Recipe(), buckets=config.recipe.buckets).label)] * bool(config.recipe.buckets)
    found += [("session", config.options.label)] * (config.options.label != "stock settings")
    found += [("batch", str(config.batch))] * (config.batch != 1)
    found += [("at once", f"{config.instances} instances")] * (config.instances != 1)
    return found + [("runtime", config.runtime)] * (config.runtime != stock.runtime)


def graph_changes(found: Changes) -> str:
    """What a recipe changed, in short: `48 Mul, 24 Cast and 96 more nodes added; 24 MatMul removed; 12 changed`."""
    parts = [_counted(found.operators_added, found.added, "added")]
    parts += [_counted(found.operators_removed, found.removed, "removed")]
    parts += [f"{found.changed:,} changed"] * bool(found.changed)
    parts += [f"other {' and '.join(found.besides)}"] * bool(found.besides)
    return "; ".join(part for part in parts if part) or "nothing"


def _counted(operators: Sequence[tuple[str, int]], nodes: int, what: str) -> str:
    """The operators that most nodes are of, and how many nodes there are beside them."""
    if not nodes and not operators:
        return ""
    named = operators[:_OPERATORS_SHOWN]
    rest = nodes - sum(count for _, count in named)
    words = [f"{count:,} {one_line(kind)}" for kind, count in named]
    more = f" and {rest:,} more node{'s' * (rest != 1)}" if named else f"{rest:,} node{'s' * (rest != 1)}"
    return f"{', '.join(words)}{more * (rest > 0)} {what}"


def parity_sentence(parity: Parity) -> str:
    """How far outputs agree with those of stock: the score, the samples, and the task's metric when there is one."""
    if parity.samples == 0 and not parity.outputs:
        return "not checked"
    metric = "" if parity.metric is None else f"; task metric {number(parity.metric)}"
    metric += "" if parity.drop is None else f", {percent(parity.drop)} below stock"
    samples = f"{parity.samples} sample{'s' * (parity.samples != 1)}"
    return f"{agreement(parity.score)} at worst over outputs and {samples}{metric}"


def setting(tuning: Tuning) -> str:
    """What was tuned, where, for what and how long."""
    return (
        f"{one_line(tuning.model.path)} for {tuning.objective} on {machine_sentence(tuning.machine)}; "
        f"{elapsed(tuning.elapsed_s)} of {elapsed(tuning.budget_s)} used."
    )


def search(found: Search) -> str:
    """How much of the space was tried, and what its model says of the rest: as what it is, a model's opinion."""
    guided = f", guided by {found.earlier:,} trials of earlier tunings" if found.earlier else ""
    sentence = (
        f"{found.screened:,} of {found.configurations:,} configurations were screened ({found.strategy}{guided})."
    )
    if found.chance_left is None or found.screened >= found.configurations:
        return sentence
    chance = "under 1 %" if found.chance_left < 0.01 else percent(round(found.chance_left, 2))
    return f"{sentence} Its model gives {chance} chance that one of the others is more than 1 % faster than the best."


def diagnosed(tuning: Tuning) -> list[str]:
    """What a short profile of stock found, and what was tried first for it; none where it found nothing."""
    if not tuning.diagnoses:
        return []
    found = f"A short profile of stock: {', '.join(one.cause for one in tuning.diagnoses)}"
    words = [KNOB_WORDS.get(knob, knob) for knob in tuning.search.suspected]
    return [f"{found}; {joined(words)} were tried first." if words else f"{found}."]


def joined(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def precision(frontier: Frontier) -> list[str]:
    """How far fewer bits go in this model, and what the best whole model leaves in float, and why."""
    bits = _bits(frontier.recipe)
    best = next((point for point in frontier.points if point.passed), None)
    label, total = frontier.recipe.label, len(frontier.layers)
    beyond = max((point for point in frontier.points if not point.passed), key=lambda p: p.layers, default=None)
    refused = ""
    if beyond is not None:
        refused = f"; {beyond.layers} agree only to {agreement(beyond.score)}, which is too little"
    if best is None:
        tried = f"{len(frontier.points)} whole models tried"
        return [f"{label}: none of the {tried} with some of its {total} layers in {bits} agrees{refused}"]
    lines = [f"{label}: {best.layers} of {total} layers in {bits} agree to {agreement(best.score)}{refused}"]
    kept = [layer for layer in frontier.layers if set(layer.nodes) <= set(best.floats)]
    return lines + [f"in float {one_line(layer.name)}: {_why_in_float(layer, frontier)}" for layer in kept]


def _bits(recipe: Recipe) -> str:
    weight_only = None if recipe.quantise is None else recipe.quantise.weight_only
    return "INT8" if weight_only is None else f"{weight_only.bits}-bit weights"


def _why_in_float(layer: LayerCost, frontier: Frontier) -> str:
    if layer.saved_ns is None:
        return "the runtime's profile does not say what it takes"
    if layer.saved_ns <= 0:
        return f"no faster there in {_bits(frontier.recipe)}"
    if layer.error is None:
        return "there was no time to try it, or it cannot be quantised alone"
    share = percent(layer.saved_ns / frontier.call_ns) if frontier.call_ns else "some"
    return f"would save {share} of a call, and alone moves the outputs by {layer.error:.2g}"


def machine_sentence(machine: MachineFacts) -> str:
    """`AMD EPYC 7B13, 2 of 4 cores, 7.64 GiB, NVIDIA H100`."""
    gpus = "".join(f", {one_line(gpu.name)}" for gpu in machine.gpus)
    cores = f"{machine.usable_cores:g} of {machine.logical_cores} cores"
    return f"{one_line(machine.cpu_model)}, {cores}, {memory(machine.memory_bytes)}{gpus}"


def grouped_reasons(rows: Sequence[Row]) -> list[str]:
    """One line for each reason, with the configurations that it holds for, in the order of the rows."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(one_line(row.reason) or one_line(row.fate), []).append(row.label)
    return [f"{_names(labels)}: {reason}" for reason, labels in groups.items()]


def usage(tuning: Tuning) -> list[str]:
    """The three lines that use the bundle."""
    feeds = ", ".join(f'"{one_line(spec.name)}": ...' for spec in tuning.model.inputs)
    return [
        "import infer_opt",
        f'session = infer_opt.load("{tuning.bundle}")',
        f"outputs = session.run({{{feeds}}})",
    ]


def _names(labels: list[str]) -> str:
    rest = len(labels) - _NAMES_SHOWN
    return "; ".join(labels[:_NAMES_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def wrapped(text: str, width: int, *, indent: str = "") -> list[str]:
    """The text in lines of at most `width`; a number and its per cent sign stay together."""
    lines = textwrap.wrap(text.replace(" %", "\u00a0%"), width, subsequent_indent=indent, break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in lines]
