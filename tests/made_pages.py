"""Pages of results of every kind, and what is looked at of them."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from golden.tunings import AGAINST_BY_SHAPE, ALONE, BENCHMARK, BY_SHAPE, FASTER, NO_FASTER, TOO_NOISY
from html_reading import Element, read
from infer_opt.profiles.nodes import MemoryCourse
from infer_opt.profiles.profile import Profile
from infer_opt.reports.html.pages import Reported, render
from made_profiles import made_profile
from made_reports import made_transformer, made_tuning

RESULTS: dict[str, Callable[[], Reported]] = {
    "a full tuning": made_tuning,
    "faster": lambda: FASTER,
    "by shape": lambda: BY_SHAPE,
    "no faster": lambda: NO_FASTER,
    "too noisy": lambda: TOO_NOISY,
    "a comparison": lambda: BENCHMARK,
    "a comparison by shape": lambda: AGAINST_BY_SHAPE,
    "one alone": lambda: ALONE,
    "a small profile": made_profile,
    "a transformer": made_transformer,
    "a bare profile": lambda: bare(),
}


def bare() -> Profile:
    """A profile of nothing: no node, no memory, no floor."""
    memory = MemoryCourse(alive_bytes=(), peak_index=0, holders=(), weight_bytes=0)
    return replace(made_profile(()), nodes=(), memory=memory, roofline=None, diagnoses=(), trace=())


@cache
def page_of(name: str) -> str:
    return render(RESULTS[name](), measured_ms=1_790_000_000_000, identity="19c2f00d12abcd")


def sections(page: str) -> list[str]:
    return [section.attributes["id"] or "" for section in read(page).all("section")]


def figure(page: str, identity: str) -> Element:
    return next(read(page).all("figure", id=identity))
