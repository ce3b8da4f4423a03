"""From a result to one HTML file: a tuning, a benchmark or a profile."""

from dataclasses import replace

from infer_opt.profiles.comparing import ProfileDifference
from infer_opt.profiles.profile import Profile
from infer_opt.reports.html import benchmarks, profiles, tunings
from infer_opt.reports.html.page import Page, written
from infer_opt.results import Benchmark, Tuning

Reported = Tuning | Benchmark | Profile


def render(
    found: Reported, *, measured_ms: int | None = None, identity: str | None = None,
    difference: ProfileDifference | None = None,
) -> str:  # fmt: skip
    """The report as HTML that stands alone: no file beside it, no network.

    Arguments:
        measured_ms: when it was measured, in ms since 1970; None where that is not known.
        identity: what the store calls it.
        difference: of a profile, what it differs by from another.
    """
    return written(replace(_page(found, difference), measured_ms=measured_ms, identity=identity))


def _page(found: Reported, difference: ProfileDifference | None) -> Page:
    if isinstance(found, Tuning):
        return tunings.page(found)
    return benchmarks.page(found) if isinstance(found, Benchmark) else profiles.page(found, difference)
