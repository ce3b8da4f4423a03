"""A tuning as one SVG picture: each trial a dot with its interval, relative to stock, on a logarithmic axis."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from infer_opt.config import TrialConfig
from infer_opt.reports.columns import broken
from infer_opt.reports.quantities import percent, ratio, ratio_and_interval
from infer_opt.reports.rows import Row, rows
from infer_opt.reports.sentences import headline, one_line, setting, wrapped
from infer_opt.results import Comparison, Estimate, TrialFailure, Tuning, Verdict

# Pixels. The card is white whatever the page around it, so the colours hold in light and dark themes.
_WIDTH = 960
_MARGIN = 28
_PLOT_LEFT, _PLOT_RIGHT = 350, 706
_VALUES_LEFT, _FATES_LEFT = 724, 782
_ROW, _TALL_ROW, _GAP = 26, 34, 8
_TICK_ROOM = 36
_LETTER = 6.4  # the mean width of a letter at 12 px, on the generous side

_INK, _FAINT, _RULE = "#1f2328", "#59636e", "#d1d9e0"
_WINNER, _STOCK, _FAILED = "#1a7f37", "#1f2328", "#cf222e"
_OTHERS = ("#0969da", "#8250df", "#9a6700", "#bf3989", "#57606a")
# The ticks that matter most first: a later one gives way where there is no room.
_TICKS = (1, 2, 0.5, 5, 10, 0.2, 20, 0.1, 50, 100, 0.05, 200, 1.5, 3, 0.7, 1.2, 4, 2.5, 0.8, 7, 0.3, 0.9, 1.1, 1.3)
_ROWS_SHOWN, _FAILURES_SHOWN = 20, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """From a speed-up to a place on the page, by its logarithm."""

    low: float
    high: float

    def x(self, speedup: float) -> float:
        inside = min(max(speedup, self.low), self.high)
        share = math.log(inside / self.low) / math.log(self.high / self.low)
        return round(_PLOT_LEFT + share * (_PLOT_RIGHT - _PLOT_LEFT), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Band:
    """One line of the picture: how tall it is, and what it holds when its middle is at a given height."""

    height: float
    drawn: Callable[[float], list[str]]


def draw(tuning: Tuning) -> str:
    """The picture as SVG text; it stands alone and loads nothing."""
    trials = rows(tuning)
    worked = [row for row in trials if row.speedup is not None]
    shown = [row for place, row in enumerate(worked) if place < _ROWS_SHOWN or row.is_baseline or row.is_winner]
    failed = [row for row in trials if row.failed]
    scale = _scale(shown, tuning.comparison)
    colours = _colours(shown)

    title, plot_top = _title(tuning)
    comparison = tuning.comparison
    claim = (
        []
        if comparison is None
        else [_section(_claim_title(tuning, comparison)), _claim(comparison, tuning.baseline.config, scale)]
    )
    screen = [_section("The screen: first estimates, not claims")]
    screen += [_trial(row, scale, colours[_class(row)]) for row in shown]
    plot, bottom = _stacked([*claim, *screen], plot_top + _GAP)
    failures = [_section("Failed")] * bool(failed) + [_failure(row) for row in failed[:_FAILURES_SHOWN]]
    notes = _notes(comparison, len(worked) - len(shown), len(failed) - _FAILURES_SHOWN)
    below, end = _stacked([*failures, *map(_section, notes)], bottom + 3 * _GAP)
    grid = _grid(scale, plot_top + _GAP, bottom)
    return _document([*title, *grid, *plot, *below], height=math.ceil(end + _MARGIN / 2), title=headline(tuning))


def _stacked(bands: Sequence[_Band], top: float) -> tuple[list[str], float]:
    """The bands drawn one below the other, and where the last one ends."""
    parts: list[str] = []
    for band in bands:
        parts += band.drawn(top + band.height / 2)
        top += band.height
    return parts, top


def _title(tuning: Tuning) -> tuple[list[str], float]:
    parts, y = [], _MARGIN - 4.0
    for line in wrapped(headline(tuning), 104):
        y += 20
        parts.append(_text(_MARGIN, y, line, size=16, weight=600))
    for line in wrapped(setting(tuning), 140):
        y += 19
        parts.append(_text(_MARGIN, y, line, colour=_FAINT))
    return parts, y + _GAP


def _scale(shown: Sequence[Row], comparison: Comparison | None) -> _Scale:
    intervals = [row.speedup for row in shown if row.speedup is not None]
    intervals += [] if comparison is None else [comparison.speedup, comparison.remeasure]
    # Stock stays in sight, and one hopeless trial does not press all others together.
    low = max(0.05, min([0.85, *(interval.low for interval in intervals)]))
    high = min(200.0, max([1.25, *(interval.high for interval in intervals)]))
    return _Scale(low=low / 1.04, high=high * 1.04)


def _class(row: Row) -> str:
    if row.is_winner:
        return "winner"
    return "stock" if row.is_baseline else one_line(row.fate)


def _colours(shown: Sequence[Row]) -> dict[str, str]:
    """A colour for each fate, in the order in which they appear."""
    colours = {"winner": _WINNER, "stock": _STOCK}
    present = list(dict.fromkeys(_class(row) for row in shown))
    for name in present:
        colours.setdefault(name, _OTHERS[(len(colours) - 2) % len(_OTHERS)])
    return {name: colours[name] for name in present}


def _claim_title(tuning: Tuning, comparison: Comparison) -> str:
    who = "The claim" if comparison.config == tuning.winner.config else "The best challenger"
    return f"{who}, from fresh processes"


def _claim(comparison: Comparison, stock: TrialConfig, scale: _Scale) -> _Band:
    speedup, again = comparison.speedup, comparison.remeasure
    colour = _WINNER if comparison.verdict is Verdict.FASTER else _OTHERS[0]
    value, interval = ratio_and_interval(speedup)
    label = comparison.config.label_beside(stock)

    def drawn(y: float) -> list[str]:
        return [
            *_label(y, label, weight=600),
            _line(scale.x(again.low), y, scale.x(again.high), y, colour=colour, width=1.5),
            _line(scale.x(speedup.low), y, scale.x(speedup.high), y, colour=colour, width=7, opacity=0.35),
            _dot(scale.x(speedup.value), y, colour, radius=6),
            _text(_VALUES_LEFT, y + 4, value, colour=colour, weight=600),
            _text(_FATES_LEFT, y + 4, interval, colour=_FAINT),
        ]

    return _Band(height=_row_height(label), drawn=drawn)


def _trial(row: Row, scale: _Scale, colour: str) -> _Band:
    speedup = row.speedup or Estimate(value=1, low=1, high=1)
    weight = 600 if row.is_winner or row.is_baseline else 400

    def drawn(y: float) -> list[str]:
        return [
            *_label(y, row.label, weight=weight),
            _line(scale.x(speedup.low), y, scale.x(speedup.high), y, colour=colour, width=2),
            _dot(scale.x(speedup.value), y, colour, radius=4.5),
            _text(_VALUES_LEFT, y + 4, ratio(speedup.value)),
            _text(_FATES_LEFT, y + 4, _shortened(one_line(row.fate), _WIDTH - _MARGIN - _FATES_LEFT), colour=_FAINT),
        ]

    return _Band(height=_row_height(row.label), drawn=drawn)


def _failure(row: Row) -> _Band:
    kind = row.trial.kind if isinstance(row.trial, TrialFailure) else ""

    def drawn(y: float) -> list[str]:
        return [
            *_label(y, row.label, colour=_FAINT),
            _cross(_PLOT_LEFT + 6, y),
            _text(_PLOT_LEFT + 20, y + 4, _shortened(f"{kind}: {one_line(row.reason)}", 570), colour=_FAILED),
        ]

    return _Band(height=_row_height(row.label), drawn=drawn)


def _notes(comparison: Comparison | None, trials: int, failures: int) -> list[str]:
    """What is not shown, and how to read the bars."""
    hidden = [f"{trials} slower trials"] * (trials > 0) + [f"{failures} more failed trials"] * (failures > 0)
    notes = [f"Not shown: {' and '.join(hidden)}."] * bool(hidden)
    lines = "Lines: 95 % intervals."
    if comparison is not None:
        lines = (
            f"Thick bar: {percent(comparison.speedup.confidence)} interval; the thin line through it: where a new "
            "measurement falls. Other lines: 95 % intervals."
        )
    return [*notes, lines]


def _section(title: str) -> _Band:
    return _Band(height=_ROW, drawn=lambda y: [_text(_MARGIN, y + 4, title, colour=_FAINT, size=11)])


def _grid(scale: _Scale, top: float, bottom: float) -> Iterator[str]:
    taken: list[float] = []
    for tick in _TICKS:
        x = scale.x(tick)
        if not scale.low <= tick <= scale.high or any(abs(x - other) < _TICK_ROOM for other in taken):
            continue
        taken.append(x)
        is_stock = tick == 1
        yield _line(x, top, x, bottom, colour=_FAINT if is_stock else _RULE, width=1.2 if is_stock else 1)
        yield _text(x, bottom + 16, "stock" if is_stock else f"{tick:g}x", colour=_FAINT, anchor="middle", size=11)
    yield _text(_FATES_LEFT, bottom + 16, "faster →", colour=_FAINT, size=11)


def _document(parts: Sequence[str], *, height: int, title: str) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
            f'viewBox="0 0 {_WIDTH} {height}" role="img" '
            'font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
            f"<title>{escape(title)}</title>",
            f'<rect x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8" fill="#fff" stroke="{_RULE}"/>',
            *parts,
            "</svg>",
        ]
    )


def _label(y: float, label: str, *, colour: str = _INK, weight: int = 400) -> list[str]:
    """The configuration beside the plot, over two smaller lines where one has no room for it."""
    lines = _label_lines(label)
    if len(lines) == 1:
        return [_text(_MARGIN, y + 4, label, colour=colour, weight=weight)]
    return [
        _text(_MARGIN, y - 2, lines[0], colour=colour, weight=weight, size=11),
        _text(_MARGIN, y + 11, lines[1], colour=_FAINT, size=11),
    ]


def _label_lines(label: str) -> list[str]:
    room = _PLOT_LEFT - _MARGIN - 12
    lines = broken(label, int(room / _LETTER)).split("\n")
    return [lines[0], *[_shortened(" ".join(line.strip() for line in lines[1:]), room)] * (len(lines) > 1)]


def _row_height(label: str) -> int:
    return _ROW if len(_label_lines(label)) == 1 else _TALL_ROW


def _shortened(text: str, room: float) -> str:
    letters = int(room / _LETTER)
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def _text(
    x: float,
    y: float,
    words: str,
    *,
    colour: str = _INK,
    size: int = 12,
    weight: int = 400,
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, *, colour: str, width: float, opacity: float = 1) -> str:
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" stroke-width="{width:g}" '
        f'stroke-opacity="{opacity:g}"/>'
    )


def _dot(x: float, y: float, colour: str, *, radius: float) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{colour}" stroke="#ffffff" stroke-width="1.5"/>'


def _cross(x: float, y: float) -> str:
    return (
        f'<path d="M{x - 4:g} {y - 4:g} l8 8 m0 -8 l-8 8" stroke="{_FAILED}" stroke-width="2" '
        'stroke-linecap="round" fill="none"/>'
    )
