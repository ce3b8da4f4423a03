"""The proof as pictures, for readers without statistics: one finding each, said in its title."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS = "infer-opt"
BLUE, ORANGE, INK, PALE = "#0072B2", "#D55E00", "#222222", "#9a9a9a"  # Okabe and Ito's: apart for every kind of sight
SHADES = {  # rule -> colour and dashes: told apart without colour as well
    "mean of 20 after 10 warm-ups": (ORANGE, "-"),
    "do_bench: median of a stretch": ("#E69F00", "--"),
    "three windows within 10 %": ("#CC79A7", "-."),
    "t-test after every round": ("#009E73", ":"),
    OURS: (BLUE, "-"),
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "infer-opt",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 13.0,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
WIDTH_IN = 10.0
GAINS = {"0.02": "2 %", "0.05": "5 %", "0.1": "10 %"}

PLAIN = {  # the six models of noise, for readers who do not know their names
    "Gaussian": "even\njitter",
    "Student t3": "rare large\njumps",
    "10 % bursts": "bursts",
    "AR(1) 0.3": "good and\nbad spells",
    "drift and steps": "machine\ndrifts",
    "1 % process effect": "lucky\nprocesses",
}
FALSE_SHARE, FEWEST_HELD = 0.05, 0.90  # where a square turns orange

Regret = Mapping[str, Any]


def draw_all(contest: Mapping[str, Any], regrets: Sequence[Regret], folder: Path) -> list[Path]:
    """Every picture that there is data for, as SVG in `folder`; their paths.

    Arguments:
        contest: `figures` of benchmarks.simulation.contest.
        regrets: one a strategy and grid, as `regret` takes them; none draws no such picture.
    """
    import matplotlib as mpl

    drawn: dict[str, Callable[[], Figure]] = {
        "false_winners": lambda: false_winners(contest),
        "false_winners_with_time": lambda: false_winners_with_time(contest),
        "coverage": lambda: coverage(contest),
        "power": lambda: power(contest),
        "best_of_64": lambda: best_of_64(contest),
    }
    if regrets:
        drawn["regret"] = lambda: regret(regrets)
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        return [_save(draw(), folder / f"{name}.svg") for name, draw in drawn.items()]


def false_winners(contest: Mapping[str, Any]) -> "Figure":
    """A table of squares: rule by noise, how often one of two equals is called the winner."""
    title = "Two identical configurations: how often is one of them called faster?"
    note = "In 100 tries, each rule as it is commonly used. Right would be 0; infer-opt promises at most 1."
    return _squares(contest["false_winner"], (title, note), is_bad=_is_too_often)


def false_winners_with_time(contest: Mapping[str, Any]) -> "Figure":
    """The same when every rule is given the same time."""
    title = f"With {contest['seconds']:g} s for each rule: more runs do not cure drift or luck"
    note = "Two identical configurations, as many runs as fit: one of them is called faster so often in 100 tries."
    return _squares(contest["false_winner_with_time"], (title, note), is_bad=_is_too_often)


def _is_too_often(share: float) -> bool:
    return share > FALSE_SHARE


def coverage(contest: Mapping[str, Any]) -> "Figure":
    """A table of squares: rule by noise, how often a second measurement falls into what was printed."""
    title = "Measure again: how often is the second result in the printed range?"
    note = "In 100 tries, for ranges that are printed as 95 % certain. Right would be 95 or more."
    return _squares(contest["coverage"], (title, note), is_bad=lambda share: share < FEWEST_HELD)


def power(contest: Mapping[str, Any]) -> "Figure":
    """For three true gains: how often each rule finds it, against the time that it is given."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, 5.6))
    panels = figure.subplots(1, len(GAINS), sharey=True)
    for axes, (gain, label) in zip(panels, GAINS.items(), strict=True):
        for rule, curves in contest["power"].items():
            _curve(axes, rule, curves[gain])
        axes.set_title(f"truly {label} faster", fontsize=14)
        axes.set_xlabel("seconds spent")
        axes.set_ylim(-3, 103)
        axes.grid(axis="y", color="#eeeeee")
    panels[0].set_ylabel("found, times in 100")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=2, frameon=False, fontsize=12.5, handlelength=3.0)
    _headline(figure, "Others answer sooner, because they always answer; infer-opt waits for proof",
              "Average over six kinds of noise. The same rules also call winners where there are none.")  # fmt: skip
    figure.subplots_adjust(left=0.09, right=0.98, top=0.76, bottom=0.34, wspace=0.1)
    return figure


def _curve(axes: "Axes", rule: str, curve: Mapping[str, Sequence[float]]) -> None:
    colour, dashes = SHADES[rule]
    found = [100.0 * share for share in curve["found"]]
    width = 3.5 if rule == OURS else 2.0
    axes.plot(curve["seconds"], found, dashes, color=colour, linewidth=width, label=rule)


def best_of_64(contest: Mapping[str, Any]) -> "Figure":
    """Bars: the speed-up that the best of 64 equals seems to have, averaged over the noises."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, 4.2))
    axes = figure.subplots()
    rules = list(contest["best_of_64_identical"].items())[::-1]
    values = [sum(by_noise.values()) / len(by_noise) for _, by_noise in rules]
    shown = [0.0 if abs(value) < 0.05 else value for value in values]
    axes.barh([rule for rule, _ in rules], shown, color=[_colour(rule) for rule, _ in rules], height=0.6)
    for place, value in enumerate(shown):
        axes.text(max(value, 0.0) + 0.12, place, f"{value:.1f} %", va="center", fontweight="bold")
    axes.set_xlim(min(0.0, *shown), max(1.0, *shown) * 1.15)
    axes.set_xlabel("how much faster the best one looks, in %")
    axes.tick_params(axis="y", length=0)
    _headline(figure, "Try 64 identical settings: how much faster does the best one look?",
              "The truth is 0: the winner was only lucky. infer-opt measures it again before it prints.")  # fmt: skip
    figure.subplots_adjust(left=0.31, right=0.97, top=0.74, bottom=0.19)
    return figure


def regrets_of(document: Mapping[str, Any]) -> list[Regret]:
    """The lines of a replay's result that `regret` draws: those with a strategy, a grid, a share and a p95.

    They are found wherever they stand in it, so that the replay may order its result as it likes.
    """
    found: list[Regret] = []
    waiting: list[Any] = [document.get("results", document)]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, Mapping) and {"strategy", "grid", "share", "median", "p95"} <= value.keys():
            found.append(value)
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


def regret(regrets: Sequence[Regret]) -> "Figure":
    """Points: share of the grid's cost against the regret, one panel a grid; median and p95 of each strategy.

    What is worse than `HIGHEST` leaves its panel, and its number stands at the edge.

    Arguments:
        regrets: dicts with `strategy`, `grid`, and `share`, `median` and `p95` in %, as the replay gives them.
    """
    from matplotlib.figure import Figure

    grids = list(dict.fromkeys(one["grid"] for one in regrets))
    figure = Figure(figsize=(WIDTH_IN, 2.0 + 3.4 * ((len(grids) + 1) // 2)))
    panels = figure.subplots((len(grids) + 1) // 2, min(2, len(grids)), squeeze=False).ravel()
    for axes, grid in zip(panels, grids, strict=False):
        lines = [one for one in regrets if one["grid"] == grid]
        for one in lines:
            _regret_point(axes, one)
        axes.set_title(grid, fontsize=13)
        axes.set_xlim(0, 1.3 * max(one["share"] for one in lines))
        axes.set_ylim(-0.05 * HIGHEST, HIGHEST)
        axes.set_xlabel("cost, in % of trying everything")
        axes.set_ylabel("slower than the best, in %")
    for axes in panels[len(grids) :]:
        axes.remove()
    _headline(figure, "How close to the best does each search come, and at what cost?",
              "Down and left is better. Dot: half of the searches end below it. Top of bar: 95 in 100 do.")  # fmt: skip
    height = figure.get_figheight()
    for place, name in enumerate(dict.fromkeys(str(one["strategy"]) for one in regrets)):
        figure.text(0.09 + 0.15 * place, 1.0 - 1.05 / height, f"\u25cf {name}", color=_of_strategy(name), va="top")
    figure.subplots_adjust(
        left=0.09, right=0.98, top=1.0 - 1.75 / height, bottom=0.75 / height, hspace=0.55, wspace=0.25
    )
    return figure


HIGHEST = 10.0  # regret in %, at the top of a panel
STRATEGY_COLOURS = {"gp": BLUE, "tpe": ORANGE, "random": PALE, "exhaustive": "#009E73", "greedy": "#CC79A7"}


def _of_strategy(name: str) -> str:
    return STRATEGY_COLOURS.get(name, INK)


def _regret_point(axes: "Axes", one: Regret) -> None:
    share, median, p95 = (float(one[name]) for name in ("share", "median", "p95"))
    colour = _of_strategy(str(one["strategy"]))
    axes.plot([share, share], [median, min(p95, HIGHEST)], color=colour, linewidth=2.5)
    axes.plot(share, min(median, HIGHEST), "o", color=colour, markersize=8, clip_on=False)
    if p95 > HIGHEST:
        place: dict[str, Any] = {"xytext": (-5, -12), "textcoords": "offset points"}
        axes.annotate(f"{p95:.0f} %", (share, HIGHEST), ha="right", color=colour, fontsize=12, **place)


def _squares(
    shares: Mapping[str, Mapping[str, Any]], texts: tuple[str, str], *, is_bad: Callable[[float], bool]
) -> "Figure":
    """A row a rule and a column a noise, each square with its number; bad ones are orange, the others blue."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rules, noises = list(shares), list(next(iter(shares.values())))
    figure = Figure(figsize=(WIDTH_IN, 5.0))
    axes = figure.subplots()
    for row, rule in enumerate(rules):
        for column, noise in enumerate(noises):
            share = float(shares[rule][noise]["share"])
            fill = "#F8CBAD" if is_bad(share) else "#CFE4F2"
            axes.add_patch(Rectangle((column - 0.46, row - 0.4), 0.92, 0.8, facecolor=fill, edgecolor="white"))
            axes.text(column, row, in_hundred(share), ha="center", va="center", fontsize=15,
                      fontweight="bold" if rule == OURS else "normal")  # fmt: skip
    axes.set_xlim(-0.5, len(noises) - 0.5)
    axes.set_ylim(len(rules) - 0.5, -0.5)
    axes.set_xticks(range(len(noises)), [PLAIN.get(noise, noise) for noise in noises], fontsize=12)
    axes.set_yticks(range(len(rules)), rules)
    axes.get_yticklabels()[rules.index(OURS)].set_fontweight("bold")
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    _headline(figure, *texts)
    figure.text(0.31, 0.025, "Blue: as it should be. Orange: not.", fontsize=12)
    figure.subplots_adjust(left=0.31, right=0.98, top=0.8, bottom=0.2)
    return figure


def in_hundred(share: float) -> str:
    """`0`, `0.3`, `47`: how many times in a hundred, with a decimal only where it matters."""
    times = 100.0 * share
    return f"{times:.1f}" if 0.0 < times < 1.0 or 99.0 < times < 100.0 else f"{times:.0f}"


def _headline(figure: "Figure", title: str, note: str) -> None:
    height = figure.get_figheight()
    figure.text(0.02, 1.0 - 0.2 / height, title, fontsize=16, fontweight="bold", va="top")
    figure.text(0.02, 1.0 - 0.58 / height, note, fontsize=12, va="top")


def _colour(rule: str) -> str:
    return BLUE if rule == OURS else ORANGE


def _save(figure: "Figure", path: Path) -> Path:
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    # Text was measured with DejaVu; a page without it takes its own sans-serif.
    text = path.read_text().replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    return path
