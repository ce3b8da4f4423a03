"""The first and the last line of the screen."""

from dataclasses import dataclass

from infer_opt.terminal.inks import Ink, Line, Span, cells, fitted
from infer_opt.terminal.keys import hints
from infer_opt.terminal.seen import Seen
from infer_opt.terminal.texts import clean, fit, interval, span, time_of_day, width_of

NOTICE_S = 8.0  # that a notice stays
_LEAST_TITLE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What the header says beside the sample."""

    title: str
    interval_s: float
    recording: str | None = None
    is_frozen: bool = False


def header(seen: Seen, width: int, heading: Heading) -> Line:
    """The machine at the left; at the right what matters most, the rest as far as there is room for it."""
    right: list[Span] = []
    for piece in _pieces(seen, heading):
        if right and cells((*right, piece)) + 2 + _LEAST_TITLE > width:
            continue
        right = [piece, ("  ", Ink.TEXT), *right] if right else [piece]
    room = width - cells(tuple(right)) - 2
    name = " infer-opt monitor  " if room >= 20 + width_of(heading.title) else " "
    title: Line = ((name, Ink.TITLE), (fit(clean(heading.title), max(0, room - len(name))), Ink.TEXT))
    return fitted((*title, (" ", Ink.TEXT), *right, (" ", Ink.TEXT)), width)


def _pieces(seen: Seen, heading: Heading) -> list[Span]:
    """The most important first; it will stand at the far right."""
    pieces: list[Span] = []
    if seen.at_s is not None:
        pieces.append((time_of_day(seen.at_s), Ink.BOLD))
    firing = seen.ledger.firing
    if firing:
        pieces.append((f"▲ {firing} alert" + ("s" if firing > 1 else ""), Ink.CRITICAL))
    if heading.is_frozen:
        pieces.append(("frozen", Ink.WARNING))
    pieces.append((interval(heading.interval_s), Ink.TEXT))
    if heading.recording is not None:
        pieces.append(("● rec", Ink.CRITICAL))
    pieces.append((span(seen.length_s), Ink.DIM))
    return pieces


def footer(width: int, *, notice: str | None = None, is_filtering: bool = False) -> Line:
    """What is to be said, or else the keys; while a filter is typed, only what stands before it."""
    if is_filtering:
        return (("/", Ink.KEY),)
    if notice is not None:
        return ((" " + fit(clean(notice), width - 1), Ink.WARNING),)
    return hints(width)
