"""A benchmark as the sections of a page."""

from pathlib import PurePath

from infer_opt.reports import sentences, shapes
from infer_opt.reports.benchmark import answer_lines, measured, reading_lines
from infer_opt.reports.documents import benchmark_document
from infer_opt.reports.html import comparisons, latencies, surroundings
from infer_opt.reports.html.layout import Download, Fact, Section, Table, paragraphs
from infer_opt.reports.html.page import Page
from infer_opt.reports.quantities import agreement, duration, ratio_and_interval, size
from infer_opt.results import Benchmark

_HOW_PAIRED = (
    "Both were started in fresh processes, epoch after epoch, beside a second copy of the reference, and ran in rounds "
    "that take turns: whatever slows the machine slows both. What the two copies of the reference differ by is the "
    "noise floor, and a verdict must clear it."
)
_HOW_ALONE = (
    "It was started in one fresh process after another: the process is what replicates, for runs within one share its "
    "luck. The interval of the median is over processes."
)


def page(benchmark: Benchmark) -> Page:
    """The whole page of a benchmark, the answer first."""
    alerts = sentences.fallback_notes(benchmark.notes)
    headline, *lines = [line for line in answer_lines(benchmark) if line not in alerts]
    found = [
        _latency(benchmark),
        _shapes(benchmark),
        _comparison(benchmark),
        _readings(benchmark),
        surroundings.section(benchmark.machine, None),
        surroundings.cautions(benchmark.notes),
        Section(
            identity="measurement",
            title="How it was measured",
            parts=(paragraphs([_HOW_ALONE if benchmark.comparison is None else _HOW_PAIRED]),),
        ),
    ]
    runs = latencies.raw_runs(_named(benchmark), file="runs.csv")
    return Page(
        kind="Benchmark",
        title=benchmark.subject,
        headline=headline,
        alerts=tuple(alerts),
        lines=tuple(lines),
        facts=tuple(_facts(benchmark)),
        sections=tuple(section for section in found if section is not None),
        downloads=(
            Download(
                file="benchmark.json",
                words="Everything (JSON)",
                kind="json",
                content=benchmark_document(benchmark),
            ),
            *([] if runs is None else [runs]),
        ),
    )


def _named(benchmark: Benchmark) -> list[latencies.Named]:
    """The reference first, for it is what the subject is seen against."""
    found = [(sentences.one_line(name), trial) for name, trial in measured(benchmark)]
    return found[::-1]


def _facts(benchmark: Benchmark) -> list[Fact]:
    found = []
    if benchmark.comparison is not None:
        value, interval = ratio_and_interval(benchmark.comparison.speedup)
        reference = PurePath(benchmark.reference or "stock").name
        found.append(Fact(value=value, name=f"against {reference}", detail=interval))
    readings = benchmark.trial.readings
    other = None if benchmark.reference_trial is None else benchmark.reference_trial.readings

    def beside(name: str, ours: str, theirs: str | None) -> Fact:
        return Fact(value=ours, name=name, detail="" if theirs is None else f"reference {theirs}")

    for q in (0.5, 0.99):
        if readings.quantile_ns(q) is not None:
            theirs = None if other is None else duration(other.quantile_ns(q))
            found.append(beside(f"p{q * 100:.0f} of a call", duration(readings.quantile_ns(q)), theirs))
    theirs = None if other is None else size(other.peak_rss_bytes)
    found.append(beside("peak memory", size(readings.peak_rss_bytes), theirs))
    if benchmark.parity is not None:
        found.append(Fact(value=agreement(benchmark.parity.score), name="parity"))
    return found


def _latency(benchmark: Benchmark) -> Section | None:
    figure = latencies.distribution(_named(benchmark))
    return None if figure is None else Section(identity="latency", title="Latency", parts=(figure,))


def _shapes(benchmark: Benchmark) -> Section | None:
    ours = benchmark.trial.readings
    if not ours.shapes:
        return None
    if benchmark.reference_trial is None:
        headings, lines = shapes.cells(ours, None, first="measured")
    else:
        headings, lines = shapes.cells(benchmark.reference_trial.readings, ours, first="reference", second="subject")
    table = Table(caption=shapes.TITLE, headings=tuple(headings), rows=tuple(tuple(line) for line in lines))
    return Section(identity="shapes", title=shapes.TITLE, parts=(table,), lead=shapes.FOOTNOTE)


def _comparison(benchmark: Benchmark) -> Section | None:
    if benchmark.comparison is None:
        return None
    figure = comparisons.figure(
        benchmark.comparison, name="the subject", reference="the reference", objective=benchmark.objective
    )
    return Section(identity="comparison", title="The comparison", parts=(figure,))


def _readings(benchmark: Benchmark) -> Section:
    found = measured(benchmark)
    lines = [
        ["configuration", *(trial.config.label for _, trial in found)],
        *reading_lines([trial for _, trial in found]),
    ]
    table = Table(
        caption="What each was seen to do",
        headings=("reading", *(sentences.one_line(name) for name, _ in found)),
        rows=tuple(tuple(line) for line in lines),
    )
    return Section(identity="readings", title="All readings", parts=(table,))
