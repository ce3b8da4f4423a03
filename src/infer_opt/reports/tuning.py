"""A tuning for people (table, Markdown), for spreadsheets (CSV) and for programs (JSON)."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace

from infer_opt.reports import Format, columns, loads, sentences, shapes
from infer_opt.reports.documents import to_json, tuning_document
from infer_opt.reports.rows import Row, rows
from infer_opt.results import Readings, Tuning, TuningVerdict

WIDTH = 120
_ROWS_SHOWN = 12
_REASONS_SHOWN = 8
_LAYERS_SHOWN = 8
_EVERYTHING = "--format markdown, csv or json shows all"


def render(tuning: Tuning, format: Format | str = Format.TABLE) -> str:  # noqa: A002 (the word on the command line)
    """The tuning in one of the formats, without a line break at the end.

    Raises:
        ValueError: `format` is none of them.
    """
    return {
        Format.TABLE: table,
        Format.JSON: lambda tuning: to_json(tuning_document(tuning)),
        Format.MARKDOWN: markdown,
        Format.CSV: comma_separated,
    }[Format(format)](tuning)


def table(tuning: Tuning) -> str:
    """For a terminal of 120 columns, the answer first."""
    trials = rows(tuning)
    parts = [
        [*sentences.fallback_notes(tuning.notes), *_answer(tuning)],
        _winner(tuning),
        _shapes(tuning),
        _trials(trials),
        _section("Why the others lost", sentences.grouped_reasons(_rivals(trials)), limit=_REASONS_SHOWN),
        _section("Failed", sentences.grouped_reasons(_failures(trials)), limit=_REASONS_SHOWN),
        _section("Precision by layer", _precision(tuning), limit=_LAYERS_SHOWN),
        loads.table(tuning.plan, width=WIDTH),
        _section("Cautions", sentences.other_cautions(tuning.notes)),
        _bundle(tuning),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def markdown(tuning: Tuning) -> str:
    """A page with every trial and every reason."""
    trials = rows(tuning)
    winner = tuning.winner
    stock = tuning.baseline.config
    found = sentences.changes(winner.config, stock)
    changed = "; ".join(f"{what}: {how}" for what, how in found) or "nothing (stock settings)"
    answer = [("winner", f"`{winner.config.label_beside(stock)}`"), ("changed", changed), *_graph(tuning)]
    answer += [("parity", sentences.parity_sentence(winner.parity))]
    parts = [
        *(f"> **{columns.escaped(note)}**" for note in sentences.fallback_notes(tuning.notes)),
        f"**{columns.escaped(sentences.headline(tuning))}**",
        *_evidence(tuning),
        sentences.search(tuning.search),
        *sentences.diagnosed(tuning),
        sentences.setting(tuning),
        "\n".join(f"- {what}: {how}" for what, how in answer),
        *_shapes_page(tuning),
        "## Trials",
        columns.markdown(trials),
        _footnote(trials),
        *_list("Why the others lost", sentences.grouped_reasons(_rivals(trials))),
        *_list("Failed", sentences.grouped_reasons(_failures(trials))),
        *_list("Precision by layer", _precision(tuning)),
        *loads.markdown(tuning.plan),
        *_list("Cautions", sentences.other_cautions(tuning.notes)),
    ]
    if tuning.bundle is not None:
        first, *rest = sentences.usage(tuning)
        code = "\n".join([first, "", *rest])
        parts += ["## Bundle", f"`{tuning.bundle}`", f"```python\n{code}\n```"]
    return "\n\n".join(parts)


def comma_separated(tuning: Tuning) -> str:
    """One line a trial, units in the headings; what is not known is an empty cell."""
    text = io.StringIO()
    lines = [_cells(row) for row in rows(tuning)]
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().rstrip("\n")


def _answer(tuning: Tuning) -> list[str]:
    lines = [sentences.headline(tuning), *_evidence(tuning), sentences.search(tuning.search)]
    lines += [*sentences.diagnosed(tuning), sentences.setting(tuning)]
    return [piece for line in lines for piece in sentences.wrapped(line, WIDTH)]


def _evidence(tuning: Tuning) -> list[str]:
    if tuning.comparison is None:
        return []
    challenge = (
        []
        if tuning.verdict is TuningVerdict.FASTER
        else [sentences.challenge(tuning.comparison, tuning.baseline.config)]
    )
    return [*challenge, sentences.evidence(tuning.comparison)]


def _winner(tuning: Tuning) -> list[str]:
    changes = sentences.changes(tuning.winner.config, tuning.baseline.config)
    title = "Winner, as it differs from stock" if changes else "Handed back: the stock settings"
    lines = [*changes, *_graph(tuning), ("parity", sentences.parity_sentence(tuning.winner.parity))]
    return [title, *(f"  {what:8} {how}" for what, how in lines)]


def _readings(tuning: Tuning) -> tuple[Readings, Readings | None]:
    """Stock's and the winner's; None where stock is handed back."""
    won = tuning.verdict is TuningVerdict.FASTER
    return tuning.baseline.readings, tuning.winner.readings if won else None


def _shapes(tuning: Tuning) -> list[str]:
    if not tuning.baseline.readings.shapes:
        return []
    drawn = shapes.table(*_readings(tuning), layout="simple")
    return [shapes.TITLE, drawn, *sentences.wrapped(shapes.FOOTNOTE, WIDTH)]


def _shapes_page(tuning: Tuning) -> list[str]:
    if not tuning.baseline.readings.shapes:
        return []
    return [f"## {shapes.TITLE}", shapes.table(*_readings(tuning), layout="pipe"), shapes.FOOTNOTE]


def _graph(tuning: Tuning) -> list[tuple[str, str]]:
    found = tuning.winner.changes
    return [] if found is None else [("graph", sentences.graph_changes(found))]


def _trials(trials: Sequence[Row]) -> list[str]:
    worked = [row for row in trials if not row.failed]
    shown = [
        row
        for place, row in enumerate(worked)
        if place < _ROWS_SHOWN or row.is_baseline or row.is_winner or row.on_pareto_front
    ]
    drawn, left_out = columns.table(shown, width=WIDTH)
    lines = ["Trials, the fastest first" if len(worked) > 1 else "Trials", drawn]
    hidden = [f"{len(worked) - len(shown)} slower trials"] * (len(shown) < len(worked)) + left_out
    notes = [_footnote(trials)] + [f"Not shown: {', '.join(hidden)}; {_EVERYTHING}."] * bool(hidden)
    return lines + [piece for note in notes for piece in sentences.wrapped(note, WIDTH)]


def _footnote(trials: Sequence[Row]) -> str:
    missing = [
        f"p{q * 100:.0f} needs about {most:,} more runs"
        for q in (0.9, 0.95, 0.99)
        if (most := max((found.missing_runs for row in trials if (found := row.quantile(q))), default=0))
    ]
    parts = ["x stock (screen) is a first estimate, not a claim."]
    parts += ["* no other trial is better in time, memory and parity at once."] * any(r.on_pareto_front for r in trials)
    parts += [f"n/a: {', '.join(missing)}."] * bool(missing)
    return " ".join(parts)


def _precision(tuning: Tuning) -> list[str]:
    """Of the way to quantise that won; else of all that were looked at."""
    quantise = tuning.winner.config.recipe.quantise
    won = [
        frontier
        for frontier in tuning.frontiers
        if quantise is not None and frontier.recipe.quantise == replace(quantise, floats=())
    ]
    return [line for frontier in won or tuning.frontiers for line in sentences.precision(frontier)]


def _rivals(trials: Sequence[Row]) -> list[Row]:
    return [row for row in trials if not (row.failed or row.is_winner or row.is_baseline)]


def _failures(trials: Sequence[Row]) -> list[Row]:
    return [row for row in trials if row.failed]


def _section(title: str, lines: Sequence[str], *, limit: int | None = None) -> list[str]:
    if not lines:
        return []
    kept = lines[:limit]
    shown = [piece for line in kept for piece in sentences.wrapped(f"  - {line}", WIDTH, indent="    ")]
    rest = len(lines) - len(kept)
    return [title, *shown, *[f"    and {rest} more reasons; {_EVERYTHING}."] * (rest > 0)]


def _list(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {columns.escaped(line)}" for line in lines)] if lines else []


def _bundle(tuning: Tuning) -> list[str]:
    if tuning.bundle is None:
        return []
    return [f"Bundle: {tuning.bundle}", *(f"    {line}" for line in sentences.usage(tuning))]


def _cells(row: Row) -> dict[str, object]:
    speedup, parity = row.speedup, row.trial.parity
    return {
        "configuration": row.label,
        "key": row.config.key,
        "fate": sentences.one_line(row.fate),
        "reason": sentences.one_line(row.reason),
        "pareto_front": "yes" if row.on_pareto_front else "no",
        **{f"p{q * 100:.0f}_ns": row.quantile_ns(q) for q in (0.5, 0.9, 0.95, 0.99)},
        "items_per_s": row.reading("items_per_s"),
        "screen_speedup": speedup and speedup.value,
        "screen_speedup_low": speedup and speedup.low,
        "screen_speedup_high": speedup and speedup.high,
        "parity": row.parity_score,
        "task_metric": parity and parity.metric,
        "task_drop": parity and parity.drop,
        "open_ns": row.reading("open_ns"),
        "first_run_ns": row.reading("first_run_ns"),
        **{
            name: row.reading(name)
            for name in (
                "artefact_bytes", "peak_rss_bytes", "steady_rss_bytes", "device_memory_bytes", "cpu_cores_running",
                "cpu_cores_after", "gpu_utilisation", "power_watts", "energy_joules",
            )
        },
    }  # fmt: skip
