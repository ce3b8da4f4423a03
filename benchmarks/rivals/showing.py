"""A comparison for people: tables for a terminal and for the documentation, and a picture."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.rivals.standings import HINDSIGHT, Contest, Duel, Kind, Mean, Standing, duels, lead, names, speed
from tabulate import tabulate

from infer_opt.results import Estimate, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADINGS = (
    "contestant", "agrees", "x stock, geometric mean", "infer-opt over it", "infer-opt ahead", "behind",
)  # fmt: skip
COLUMNS_OF_PICTURE = 3
ROW_IN, WIDTH_IN = 0.27, 13.0
WORDS = {Verdict.FASTER: "ahead", Verdict.SLOWER: "BEHIND", Verdict.EQUIVALENT: "level", Verdict.INCONCLUSIVE: "open"}


def rows(contests: Sequence[Contest]) -> list[list[str]]:
    """A line for each contestant over all models, and for what would have been the best of each kind."""
    found = [duel for contest in contests for duel in duels(contest)]
    everybody = [*names(contests), *HINDSIGHT]
    return [_row(contests, name, [duel for duel in found if duel.rival == name]) for name in everybody]


def _row(contests: Sequence[Contest], name: str, against: Sequence[Duel]) -> list[str]:
    own: Mean = speed(contests, name)
    is_ours = any(contest.ours.name == name for contest in contests)
    ratio = "" if is_ours else interval(lead(contests, name).estimate)
    ahead = sum(duel.verdict is Verdict.FASTER for duel in against)
    behind = sum(duel.verdict is Verdict.SLOWER for duel in against)
    seems = sum(duel.seems_behind for duel in against) - behind
    counts = ["", ""] if is_ours or name in HINDSIGHT else [str(ahead), _behind(behind, seems)]
    return [name, f"{own.counted} of {own.models}", interval(own.estimate), ratio, *counts]


def _behind(proven: int, seems: int) -> str:
    return str(proven) + f" (and {seems} not proven)" * bool(seems)


def interval(estimate: Estimate) -> str:
    """`1.52 [1.48, 1.57]`."""
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def terminal(contests: Sequence[Contest]) -> str:
    """For a terminal."""
    return tabulate(rows(contests), HEADINGS, tablefmt="simple", disable_numparse=True)


def markdown(contests: Sequence[Contest], about: Mapping[str, Any]) -> str:
    """For the documentation: over all models, then model by model."""
    whole = tabulate(rows(contests), HEADINGS, tablefmt="github", disable_numparse=True)
    headings = ["contestant", *(contest.model for contest in contests)]
    cells = [[name, *(cell(contest, name) for contest in contests)] for name in names(contests)]
    single = tabulate(cells, headings, tablefmt="github", disable_numparse=True)
    asked = ", ".join(sorted({f"{contest.parity:g}" for contest in contests}))
    versions = "; ".join(f"{tool}: {', '.join(f'{k} {v}' for k, v in held.items())}" for tool, held in about.items())
    notes = (
        "Speeds in times of stock's, with 95 % intervals. Who does not agree with stock to "
        f"{asked}, or gave no file, counts as stock (1.00) in the geometric means."
    )
    legend = (
        "In brackets: out of the competition, with its agreement and the speed of a first look. "
        "A dash: it gave no file that runs. Empty: not tried on this model."
    )
    return f"{notes}\n\n{whole}\n\n{legend}\n\n{single}\n\nVersions of the other tools: {versions}."


def cell(contest: Contest, name: str) -> str:
    """One contestant on one model, in a few letters."""
    standing = contest.named(name)
    if standing is None:
        return ""
    shown = standing.speedup
    if standing.is_in and shown is not None:
        return f"{shown.value:.2f}" + f" {_word(contest, name)}".rstrip()
    if standing.score is None:
        return "–"
    return f"({standing.score:.3f}" + (f", {shown.value:.2f})" if shown is not None else ")")


def _word(contest: Contest, name: str) -> str:
    """Who is ahead, where it is not infer-opt: proven or by the centre alone."""
    found = next((duel for duel in duels(contest) if duel.rival == name), None)
    if found is None or not (found.seems_behind or found.verdict is Verdict.SLOWER):
        return ""
    return "**ahead**" if found.verdict is Verdict.SLOWER else "(seems ahead)"


def reasons(contests: Sequence[Contest]) -> list[list[str]]:
    """Who is out, model by model, and why."""
    return [
        [contest.model, one.name, "" if one.score is None else f"{one.score:.4f}", one.reason]
        for contest in contests
        for one in contest.standings
        if one.reason is not None
    ]


def draw(contests: Sequence[Contest], path: Path) -> None:
    """A panel for each model: everybody's speed with its interval; hollow for those that do not agree with stock."""
    import matplotlib as mpl
    from benchmarks.simulation.pictures import STYLE

    everybody = [name for name in names(contests) if any(_speed(contest, name) for contest in contests)]
    with mpl.rc_context(STYLE | {"font.size": 10.0}):
        from matplotlib.figure import Figure

        columns = min(COLUMNS_OF_PICTURE, len(contests))
        lines = math.ceil(len(contests) / columns)
        figure = Figure(figsize=(WIDTH_IN, lines * (ROW_IN * len(everybody) + 1.0) + 0.6), layout="constrained")
        panels = list(figure.subplots(lines, columns, sharey=True, squeeze=False).flat)
        for axes, contest in zip(panels, contests, strict=False):
            _panel(axes, contest, everybody)
        for axes in panels[len(contests) :]:
            axes.set_visible(False)
        figure.suptitle(
            "Speed in times of stock's: infer-opt (blue), all layers in INT8 (black), other tools (orange). "
            "Hollow: its answers do not agree with stock's",
            x=0.01,
            ha="left",
            fontsize=12,
        )
        figure.savefig(path, metadata={"Date": None})


def _panel(axes: "Axes", contest: Contest, everybody: Sequence[str]) -> None:
    from benchmarks.simulation.pictures import BLUE, INK, ORANGE, PALE
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.axvline(1.0, color=PALE, linewidth=1.0)
    for place, name in enumerate(everybody):
        standing, shown = contest.named(name), _speed(contest, name)
        if standing is None or shown is None:
            continue
        colour = BLUE if standing.kind is Kind.OURS else ORANGE if standing.kind is not Kind.UNIFORM else INK
        axes.plot([shown.low, shown.high], [place, place], color=colour, linewidth=1.6)
        face = colour if standing.is_in else "white"
        axes.plot([shown.value], [place], "o", color=colour, markerfacecolor=face, markersize=7, zorder=3)
    axes.set_yticks(range(len(everybody)), everybody)
    axes.set_ylim(len(everybody) - 0.4, -0.6)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0), numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="y", color=PALE, alpha=0.25)
    axes.set_title(contest.model, loc="left", fontsize=12)


def _speed(contest: Contest, name: str) -> Estimate | None:
    standing: Standing | None = contest.named(name)
    return None if standing is None else standing.speedup
