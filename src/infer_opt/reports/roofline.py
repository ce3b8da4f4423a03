"""How far a model is from what the machine can do: a sentence, the ceilings, and the nodes with most to be won."""

from collections.abc import Sequence

from tabulate import SEPARATING_LINE, tabulate

from infer_opt.profiles.nodes import NodeTimes
from infer_opt.profiles.profile import Profile
from infer_opt.profiles.roofline import Ceilings, NodeFloor
from infer_opt.reports.columns import escaped
from infer_opt.reports.quantities import duration, number, percent, ratio, size
from infer_opt.reports.sentences import one_line

COUNTED = 0.95  # of the time is in counted nodes: no word about the rest
NARROWEST_NAME = 16
HEADINGS = ("node", "time", "floor", "x floor", "above", "bound by", "work")
GIVEN_UP = ("work", "bound by")  # for want of width, in this order

_RATE_UNITS = (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


def lines(profile: Profile) -> list[str]:
    """What is to be said, a sentence each; empty where the profile has no roofline."""
    found = profile.roofline
    if found is None:
        return []
    at = ratio(profile.call.latency.value / found.floor_ns if found.floor_ns else None)
    said = [f"The floor on this machine is {duration(found.floor_ns)}; this model is at {at}."]
    if found.counted_share < COUNTED:
        rest = percent(1 - found.counted_share)
        said.append(f"{rest} of the nodes' time is in operators that are not counted: their floor is their launch.")
    return [*said, ceilings_line(found.ceilings)]


def ceilings_line(ceilings: Ceilings) -> str:
    """`With 2 threads, this machine computes at most 371 GOP/s in float32, moves ...`"""
    threads = f"{ceilings.threads} thread{'s' * (ceilings.threads != 1)}"
    products = ", ".join(
        f"{operations_per_s(rate.value)} in {precision}" for precision, rate in ceilings.operations_per_s
    )
    levels = ", ".join(f"{size(level.bytes_per_s.value)}/s in {level.level}" for level in ceilings.bandwidths)
    where = f"With {threads}, this machine" if ceilings.threads else "The device"
    text = (
        f"{where} computes at most {products}, moves {levels}, and starts a node in {duration(ceilings.launch.value)}"
    )
    return text + ("." if ceilings.disturbed_by is None else ", as measured while something else ran.")


def operations_per_s(rate: float) -> str:
    """`371 GOP/s`: operations a second, in the unit that fits."""
    unit, scale = next(((unit, scale) for unit, scale in _RATE_UNITS if rate >= scale), ("k", 1e3))
    return f"{number(rate / scale)} {unit}OP/s"


def table(profile: Profile, *, top: int = 10, width: int | None = 120) -> str:
    """The nodes farthest from their floors, by the time between; "" where there are none. `width` None: Markdown."""
    farthest = farthest_nodes(profile)[:top]
    if not farthest:
        return ""
    names = [one_line(times.node.name) for times, _ in farthest]
    figures = [_figures(times, least) for times, least in farthest]
    headings = list(HEADINGS)
    if width is None:
        rows = [[escaped(name), *texts] for name, texts in zip(names, figures, strict=True)]
        return tabulate(rows, headings, tablefmt="pipe", colalign=_alignment(headings), disable_numparse=True)
    for given_up in (None, *GIVEN_UP):
        headings = [heading for heading in headings if heading != given_up]
        kept = [[text for heading, text in zip(HEADINGS[1:], texts, strict=True) if heading in headings]
                for texts in figures]  # fmt: skip
        taken = sum(2 + max(map(len, column)) for column in zip(headings[1:], *kept, strict=True))
        if width - taken >= min(NARROWEST_NAME, max(map(len, names))):
            break
    room = max(NARROWEST_NAME, width - taken)
    rows = [[_end_of(name, room), *texts] for name, texts in zip(names, kept, strict=True)]
    # As the first row, and not as headers: tabulate makes headers wider than they are.
    return tabulate(
        [headings, SEPARATING_LINE, *rows], tablefmt="simple", colalign=_alignment(headings), disable_numparse=True
    )


def farthest_nodes(profile: Profile) -> list[tuple[NodeTimes, NodeFloor]]:
    """Each node with its floor, where it takes longer, the most time between them first."""
    if profile.roofline is None:
        return []
    pairs = zip(profile.nodes, profile.roofline.nodes, strict=True)
    slower = [(times, least) for times, least in pairs if times.time.value > least.floor_ns]
    return sorted(slower, key=lambda pair: pair[1].floor_ns - pair[0].time.value)


def _figures(times: NodeTimes, least: NodeFloor) -> list[str]:
    time_ns = times.time.value
    return [
        duration(time_ns),
        duration(least.floor_ns),
        ratio(time_ns / least.floor_ns if least.floor_ns else None),
        duration(time_ns - least.floor_ns),
        str(least.bound),
        _work(least),
    ]


def _work(least: NodeFloor) -> str:
    """`75.5 MOP float32, 491 kB`: what it computes and moves."""
    work = least.work
    if work is None:
        return "not counted"
    scale, unit = next(((scale, unit) for unit, scale in _RATE_UNITS if work.operations >= scale), (1e3, "k"))
    computed = f"{number(work.operations / scale)} {unit}OP {work.precision}, " if work.operations else ""
    return f"{computed}{size(work.moved_bytes)}"


def _alignment(headings: Sequence[str]) -> list[str]:
    return ["left" if heading in ("node", "bound by", "work") else "right" for heading in headings]


def _end_of(text: str, room: int) -> str:
    """At most `room` characters: of a path the end tells more."""
    return text if len(text) <= room else f"…{text[len(text) - room + 1 :]}"
