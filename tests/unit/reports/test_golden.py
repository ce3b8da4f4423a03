"""Whole reports, kept as files in tests/golden.

After a wanted change: `REGENERATE_GOLDEN=1 pytest tests/unit/reports/test_golden.py`, then read the difference.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from golden.tunings import (
    AGAINST_BY_SHAPE,
    ALONE,
    BENCHMARK,
    BY_SHAPE,
    FASTER,
    FINDINGS,
    GPU_MACHINE,
    NO_FASTER,
    TOO_NOISY,
)
from html_reading import text_of
from infer_opt.reports import benchmark, findings, picture, tuning
from infer_opt.reports.html import pages
from made_profiles import made_profile

GOLDEN = Path(__file__).parents[2] / "golden"
TUNINGS = {"faster": FASTER, "by_shape": BY_SHAPE, "no_faster": NO_FASTER, "too_noisy": TOO_NOISY}
ENDINGS = {"table": "txt", "json": "json", "markdown": "md", "csv": "csv"}

REPORTS: dict[str, Callable[[], str]] = {
    **{
        f"{name}.{ending}": partial(tuning.render, found, layout)
        for name, found in TUNINGS.items()
        for layout, ending in ENDINGS.items()
    },
    **{f"{name}.svg": partial(picture.draw, found) for name, found in TUNINGS.items()},
    **{
        f"bench_{name}.{ending}": partial(benchmark.render, found, layout)
        for name, found in (("against", BENCHMARK), ("by_shape", AGAINST_BY_SHAPE), ("alone", ALONE))
        for layout, ending in ENDINGS.items()
        if layout != "csv"
    },
    "page_of_faster.txt": lambda: text_of(pages.render(FASTER)),
    "page_of_bench_against.txt": lambda: text_of(pages.render(BENCHMARK)),
    "page_of_profile.txt": lambda: text_of(pages.render(made_profile())),
    "doctor.txt": partial(findings.render, FINDINGS, GPU_MACHINE, "table"),
    "doctor.json": partial(findings.render, FINDINGS, GPU_MACHINE, "json"),
}


@pytest.mark.parametrize("name", REPORTS)
def test_the_report_is_the_one_that_was_read_and_kept(name: str) -> None:
    path = GOLDEN / name
    report = REPORTS[name]() + "\n"
    if os.environ.get("REGENERATE_GOLDEN"):
        path.write_text(report, encoding="utf-8")

    assert report == path.read_text(encoding="utf-8")


def test_every_kept_report_is_still_made() -> None:
    kept = {path.name for path in GOLDEN.iterdir() if path.suffix in (".txt", ".json", ".md", ".csv", ".svg")}

    assert kept == set(REPORTS)
