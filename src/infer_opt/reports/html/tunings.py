"""A tuning as the sections of a page."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from infer_opt.config import Objective
from infer_opt.reports import columns, sentences, shapes
from infer_opt.reports.documents import tuning_document
from infer_opt.reports.html import comparisons, diagnoses, knobs, landscapes, latencies, loads, precisions, surroundings
from infer_opt.reports.html.layout import Cell, Download, Fact, Figure, Section, Table, pairs, paragraphs
from infer_opt.reports.html.markup import element, joined
from infer_opt.reports.html.page import Page
from infer_opt.reports.quantities import NOT_KNOWN, agreement, duration, number, ratio_and_interval, size, with_unit
from infer_opt.reports.rows import Row, rows
from infer_opt.reports.tuning import comma_separated
from infer_opt.results import Comparison, Readings, TrialResult, Tuning, TuningVerdict, Verdict

_MOST_ROWS = 500  # of the table of trials
_MOST_TRIALS = 400  # in the JSON that a page carries along, 3 kB each

# What stands large at the top: a reading -> how it is shown; which of them in any case, and which first of all.
_READINGS_SHOWN: dict[str, Callable[[Readings], str]] = {
    "median of a call": lambda readings: duration(readings.quantile_ns(0.5)),
    "p99 of a call": lambda readings: duration(readings.quantile_ns(0.99)),
    "items a second": lambda readings: number(readings.items_per_s),
    "cold start": lambda readings: duration(readings.open_ns + readings.first_run_ns),
    "peak memory": lambda readings: size(readings.peak_rss_bytes),
    "GPU memory": lambda readings: size(readings.device_memory_bytes),
    "energy of a call": lambda readings: with_unit(readings.energy_joules, "J"),
    "model file": lambda readings: size(readings.artefact_bytes),
}
_READINGS = ("median of a call", "p99 of a call", "peak memory", "model file")
_FIRST = {
    Objective.THROUGHPUT: ("items a second",),
    Objective.COLD_START: ("cold start",),
    Objective.MEMORY: ("peak memory", "GPU memory"),
    Objective.ENERGY: ("energy of a call",),
}

_HOW = (
    "Every configuration runs in a process of its own, beside stock, in rounds that take turns: whatever slows the "
    "machine slows both, and a ratio does not see it. The screen's numbers are first estimates; they choose what goes "
    "on, and claim nothing.",
    "A claim comes from the confirmation alone: fresh processes, measured after the choice was made, with a second "
    "copy of stock beside them. What the two copies of stock differ by is the noise floor, and a claim must clear it.",
)


def page(tuning: Tuning) -> Page:
    """The whole page of a tuning, the answer first."""
    trials = rows(tuning)
    found = [
        _answer(tuning),
        surroundings.section(tuning.machine, tuning.model),
        _latency(tuning),
        _shapes(tuning),
        _confirmation(tuning),
        _pareto(trials),
        _knobs(tuning),
        _trials(trials),
        _diagnoses(tuning),
        _precision(tuning),
        _load(tuning),
        surroundings.cautions(tuning.notes),
        _how(tuning),
    ]
    return Page(
        kind="Tuning",
        title=tuning.model.path,
        headline=sentences.headline(tuning),
        alerts=tuple(sentences.fallback_notes(tuning.notes)),
        lines=tuple(_lines(tuning)),
        facts=tuple(_facts(tuning)),
        sections=tuple(section for section in found if section is not None and section.parts),
        downloads=tuple(_downloads(tuning)),
    )


def compared(tuning: Tuning) -> list[latencies.Named]:
    """Stock, and beside it the winner where there is one."""
    found = [("stock", tuning.baseline)]
    return found + ([("winner", tuning.winner)] if tuning.verdict is TuningVerdict.FASTER else [])


def _lines(tuning: Tuning) -> list[str]:
    found = []
    if tuning.comparison is not None and tuning.verdict is not TuningVerdict.FASTER:
        found.append(sentences.challenge(tuning.comparison, tuning.baseline.config))
    return [*found, sentences.search(tuning.search), sentences.setting(tuning)]


def _facts(tuning: Tuning) -> list[Fact]:
    found, stock, winner = [], tuning.baseline, tuning.winner
    if tuning.comparison is not None and tuning.verdict is TuningVerdict.FASTER:
        value, interval = ratio_and_interval(tuning.comparison.speedup)
        found.append(Fact(value=value, name=tuning.objective.gain, detail=f"{interval}, proven"))
    for name in dict.fromkeys((*_FIRST.get(tuning.objective, ()), *_READINGS)):
        before, after = (_READINGS_SHOWN[name](one.readings) for one in (stock, winner))
        if before != NOT_KNOWN:
            found.append(Fact(value=after, name=name, detail="as stock" if before == after else f"stock {before}"))
    if winner is not stock and winner.parity.samples:
        samples = winner.parity.samples
        detail = f"at worst over {samples} sample{'s' * (samples != 1)}"
        found.append(Fact(value=agreement(winner.parity.score), name="parity with stock", detail=detail))
    return found


def _answer(tuning: Tuning) -> Section:
    stock, winner = tuning.baseline.config, tuning.winner
    changed = [(what, element("code", how)) for what, how in sentences.changes(winner.config, stock)]
    graph = [] if winner.changes is None else [("graph", sentences.graph_changes(winner.changes))]
    lead = "The winner, as it differs from stock:" if changed else "The stock settings."
    found = pairs([*changed, *graph, ("parity", sentences.parity_sentence(winner.parity))])
    code = None
    if tuning.bundle is not None:
        first, *rest = sentences.usage(tuning)
        code = element("pre", element("code", "\n".join([first, "", *rest])), tabindex="0", aria_label="How to use it")
    return Section(identity="answer", title="What to run", parts=(joined((found, code)),), lead=lead)


def _latency(tuning: Tuning) -> Section | None:
    figure = latencies.distribution(compared(tuning))
    return None if figure is None else Section(identity="latency", title="Latency", parts=(figure,))


def _shapes(tuning: Tuning) -> Section | None:
    if not tuning.baseline.readings.shapes:
        return None
    won = tuning.verdict is TuningVerdict.FASTER
    headings, lines = shapes.cells(tuning.baseline.readings, tuning.winner.readings if won else None)
    table = Table(caption=shapes.TITLE, headings=tuple(headings), rows=tuple(tuple(line) for line in lines))
    return Section(identity="shapes", title=shapes.TITLE, parts=(table,), lead=shapes.FOOTNOTE)


def _confirmation(tuning: Tuning) -> Section | None:
    comparison = tuning.comparison
    if comparison is None:
        return None
    won = comparison.config == tuning.winner.config
    figure = comparisons.figure(
        comparison,
        name="the winner" if won else "the best challenger",
        reference="stock",
        objective=tuning.objective,
    )
    return Section(identity="confirmation", title="The proof", parts=(figure,), lead=_decision(comparison))


def _decision(comparison: Comparison) -> str:
    value, interval = ratio_and_interval(comparison.speedup)
    word = "clears" if comparison.verdict is Verdict.FASTER else "does not clear"
    return f"{value} [{interval}] {word} the margin: {comparison.verdict}."


def _pareto(trials: Sequence[Row]) -> Section:
    return Section(identity="pareto", title="Trade-offs", parts=tuple(landscapes.figures(trials)))


def _knobs(tuning: Tuning) -> Section | None:
    ran = [standing.trial for standing in tuning.standings if isinstance(standing.trial, TrialResult)]
    found = knobs.effects(tuning.baseline.config, ran)
    if found is None:
        return None
    return Section(
        identity="knobs", title="What each setting did", parts=(knobs.figure(found, gain=tuning.objective.gain),)
    )


def _trials(trials: Sequence[Row]) -> Section:
    shown = columns.trial_columns(trials)
    headings = [column.heading.replace("\n", " ") for column in shown]
    kept = trials[:_MOST_ROWS]
    table = Table(
        caption="Every trial: the winner, then by time, then what failed",
        headings=(*headings, "reason"),
        rows=tuple((*(column.show(row) for column in shown), _reason(row)) for row in kept),
        texts=frozenset({*(place for place, column in enumerate(shown) if column.is_text), len(headings)}),
        row_tones=tuple(_tone(row) for row in kept),
        filtered=True,
    )
    failed = sum(row.failed for row in trials)
    lead = f"{len(trials) - failed} configurations ran and {failed} failed. * no other trial is better in time, memory "
    lead += "and parity at once; x stock is the screen's estimate, not a claim."
    lead += f" The slowest {len(trials) - len(kept)} are in the CSV alone." if len(trials) > len(kept) else ""
    return Section(identity="trials", title="All trials", parts=(table,), lead=lead)


def _reason(row: Row) -> Cell:
    return Cell(text=sentences.one_line(row.reason), tone="wide")


def _tone(row: Row) -> str:
    if row.is_winner:
        return "winner"
    return "failed" if row.failed else "stock" if row.is_baseline else ""


def _diagnoses(tuning: Tuning) -> Section | None:
    if not tuning.diagnoses:
        return None
    latency_ns = tuning.baseline.readings.quantile_ns(0.5) or 0.0
    found = diagnoses.section(tuning.diagnoses, latency_ns=latency_ns, title="What a profile of stock suspects")
    return replace(found, lead=" ".join([*sentences.diagnosed(tuning), found.lead]))


def _precision(tuning: Tuning) -> Section | None:
    figures = [
        figure for place, found in enumerate(tuning.frontiers, start=1) for figure in precisions.figures(found, place)
    ]
    return Section(identity="precision", title="Precision by layer", parts=tuple(figures))


def _load(tuning: Tuning) -> Section | None:
    figure: Figure | None = None if tuning.plan is None else loads.figure(tuning.plan)
    return None if figure is None else Section(identity="serving", title="Serving many callers", parts=(figure,))


def _how(tuning: Tuning) -> Section:
    settings = [(name, element("code", surroundings.setting(value))) for name, value in tuning.settings.items()]
    asked = element("details", element("summary", "What was asked for"), pairs(settings)) if settings else None
    how = paragraphs([*_HOW, "docs/measurement.md of infer-opt describes each step with its sources."])
    return Section(identity="measurement", title="How it was measured", parts=(joined((how, asked)),))


def _downloads(tuning: Tuning) -> list[Download]:
    runs = latencies.raw_runs(compared(tuning), file="runs.csv")
    document = tuning_document(tuning)
    left_out = max(0, len(document["trials"]) - _MOST_TRIALS)
    words = f"All but the {left_out:,} slowest trials (JSON)" if left_out else "Everything (JSON)"
    document["trials"] = document["trials"][:_MOST_TRIALS]
    return [
        Download(file="tuning.json", words=words, kind="json", content=document),
        Download(file="trials.csv", words="Trials (CSV)", kind="text", content=comma_separated(tuning)),
        *([] if runs is None else [runs]),
    ]
