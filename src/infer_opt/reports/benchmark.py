"""What `bench` found: one configuration, or a paired comparison of two."""

import math
from collections.abc import Callable, Sequence

from tabulate import tabulate

from infer_opt.config import Objective
from infer_opt.errors import ConfigError
from infer_opt.reports import Format, sentences, shapes
from infer_opt.reports.columns import broken
from infer_opt.reports.documents import benchmark_document, to_json
from infer_opt.reports.quantities import NOT_KNOWN, duration, number, percent, ratio_and_interval, size, with_unit
from infer_opt.results import Benchmark, Comparison, Quantile, Readings, TrialResult, Verdict

WIDTH = 120

# What a reader wants to know, in this order: name -> how it is shown.
_LINES: dict[str, Callable[[Readings], str]] = {
    "p50": lambda readings: _quantile(readings, 0.5),
    "p90": lambda readings: _quantile(readings, 0.9),
    "p95": lambda readings: _quantile(readings, 0.95),
    "p99": lambda readings: _quantile(readings, 0.99),
    "items a second": lambda readings: number(readings.items_per_s),
    "open": lambda readings: duration(readings.open_ns),
    "first run": lambda readings: duration(readings.first_run_ns),
    "file": lambda readings: size(readings.artefact_bytes),
    "peak memory": lambda readings: size(readings.peak_rss_bytes),
    "steady memory": lambda readings: size(readings.steady_rss_bytes),
    "GPU memory": lambda readings: size(readings.device_memory_bytes),
    "CPU cores while running": lambda readings: number(readings.cpu_cores_running),
    "CPU cores in the 200 ms after": lambda readings: number(readings.cpu_cores_after),
    "GPU utilisation": lambda readings: percent(readings.gpu_utilisation),
    "power": lambda readings: with_unit(readings.power_watts, "W"),
    "energy a run": lambda readings: with_unit(readings.energy_joules, "J"),
}

# Better, worse and no different, for each objective.
_WORDS = {
    Objective.LATENCY: ("is faster than", "is slower than", "is as fast as"),
    Objective.THROUGHPUT: ("is faster than", "is slower than", "is as fast as"),
    Objective.COLD_START: ("starts faster than", "starts slower than", "starts as fast as"),
    Objective.MEMORY: ("takes less memory than", "takes more memory than", "takes as much memory as"),
    Objective.ENERGY: ("takes less energy than", "takes more energy than", "takes as much energy as"),
}

_VERDICTS = {
    Verdict.FASTER: "{subject} {better} {reference}: {ratio} [{interval}]; measure again and expect {again}.",
    Verdict.SLOWER: "{subject} {worse} {reference}: {ratio} [{interval}]; measure again and expect {again}.",
    Verdict.EQUIVALENT: "{subject} {equal} {reference}, within {margin}: {ratio} [{interval}].",
    Verdict.INCONCLUSIVE: "Inconclusive: {subject} against {reference} came to {ratio} [{interval}].",
    Verdict.TOO_NOISY: "Too noisy to tell: {subject} against {reference} came to {ratio} [{interval}].",
}


def render(benchmark: Benchmark, format: Format | str = Format.TABLE) -> str:  # noqa: A002 (the word on the command line)
    """The benchmark as a table, a Markdown page or JSON, without a line break at the end.

    Raises:
        ConfigError: another format: one or two trials make no spreadsheet.
    """
    if format == Format.JSON:
        return to_json(benchmark_document(benchmark))
    if format not in (Format.TABLE, Format.MARKDOWN):
        raise ConfigError(f"a benchmark cannot be written as {format}", hint="--format table, markdown or json")
    answer = answer_lines(benchmark)
    cautions = [f"- {caution}" for caution in sentences.other_cautions(benchmark.notes)]
    if format == Format.MARKDOWN:
        page = [*answer, *_shapes(benchmark, "pipe"), _readings(benchmark, "pipe"), "\n".join(cautions)]
        return "\n\n".join(page).rstrip("\n")
    wrapped = [piece for line in answer for piece in sentences.wrapped(line, WIDTH)]
    lines = [piece for caution in cautions for piece in sentences.wrapped(caution, WIDTH, indent="  ")]
    parts = [
        "\n".join(wrapped),
        *_shapes(benchmark, "simple"),
        _readings(benchmark, "simple"),
        "\n".join(["Cautions", *lines] if lines else []),
    ]
    return "\n\n".join(part for part in parts if part)


def answer_lines(benchmark: Benchmark) -> list[str]:
    """What was found, sentence by sentence, the answer first."""
    lines = sentences.fallback_notes(benchmark.notes)
    if benchmark.claim is not None:
        word = {True: "holds here", False: "does NOT hold here", None: "cannot be told true or false here"}
        found = (
            "The bundle's claim"
            if benchmark.comparison is None
            else f"The bundle's claim {word[benchmark.claim_holds]}"
        )
        lines.append(f"{found}: {sentences.one_line(benchmark.claim)}.")
    if benchmark.median_ns is not None:
        median = benchmark.median_ns
        what = "Expected time a call" if benchmark.trial.readings.shapes else "Median"
        interval = f"{duration(median.low)} to {duration(median.high)}"
        shown = interval if math.isfinite(median.high) else "no interval yet"
        processes = f"{benchmark.processes} fresh process{'es' * (benchmark.processes != 1)}"
        lines.append(f"{what} {duration(median.value)} [{shown}] over {processes}.")
    if benchmark.comparison is not None:
        lines += [_verdict(benchmark, benchmark.comparison), sentences.evidence(benchmark.comparison)]
    if benchmark.parity is not None:
        lines.append(f"Parity: {sentences.parity_sentence(benchmark.parity)}.")
    return [*lines, f"Measured on {sentences.machine_sentence(benchmark.machine)}."]


def _verdict(benchmark: Benchmark, comparison: Comparison) -> str:
    value, interval = ratio_and_interval(comparison.speedup)
    better, worse, equal = _WORDS[benchmark.objective]
    return _VERDICTS[comparison.verdict].format(
        better=better,
        worse=worse,
        equal=equal,
        subject=sentences.one_line(benchmark.subject),
        reference=sentences.one_line(benchmark.reference or "stock"),
        ratio=value,
        interval=interval,
        again=ratio_and_interval(comparison.remeasure)[1],
        margin=percent(comparison.margin),
    )


def measured(benchmark: Benchmark) -> list[tuple[str, TrialResult]]:
    """Who was measured, by name: the subject, and what it was compared with."""
    found = [(benchmark.subject, benchmark.trial)]
    if benchmark.reference_trial is not None:
        found.append((benchmark.reference or "reference", benchmark.reference_trial))
    return found


def reading_lines(trials: Sequence[TrialResult]) -> list[list[str]]:
    """A line for each reading: its name, and what it is of each trial."""
    return [[name, *(show(trial.readings) for trial in trials)] for name, show in _LINES.items()]


def _readings(benchmark: Benchmark, layout: str) -> str:
    found = measured(benchmark)
    trials = [trial for _, trial in found]
    shown = [trial.config.label if layout == "pipe" else broken(trial.config.label, 40) for trial in trials]
    lines = [["configuration", *shown], *reading_lines(trials)]
    headings = ["", *(sentences.one_line(name) for name, _ in found)]
    return tabulate(lines, headings, tablefmt=layout, disable_numparse=True)


def _shapes(benchmark: Benchmark, layout: str) -> list[str]:
    """Time by shape, where there are several; the reference in the place of stock."""
    subject = benchmark.trial.readings
    if not subject.shapes:
        return []
    if benchmark.reference_trial is None:
        return [shapes.table(subject, None, layout=layout, first="measured")]
    names = {"first": "reference", "second": "subject"}
    return [shapes.table(benchmark.reference_trial.readings, subject, layout=layout, **names)]


def _quantile(readings: Readings, q: float) -> str:
    found = next((quantile for quantile in readings.quantiles if quantile.q == q), Quantile(q=q, value_ns=None))
    if found.value_ns is None:
        return f"{NOT_KNOWN} (needs about {found.missing_runs:,} more runs)" if found.missing_runs else NOT_KNOWN
    if found.low_ns is None or found.high_ns is None:
        return duration(found.value_ns)
    return f"{duration(found.value_ns)} [{duration(found.low_ns)} to {duration(found.high_ns)}]"
