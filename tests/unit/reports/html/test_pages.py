"""What every page has, and what none must ever do."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import pytest

from golden.tunings import BENCHMARK
from html_reading import Element, data_of, read, text_of
from infer_opt.reports.html import page as page_module
from infer_opt.reports.html.pages import Reported, render
from infer_opt.results import Block
from made_pages import RESULTS, page_of, sections
from made_reports import HOSTILE, made_transformer, made_tuning

VENDORED = {
    "d3.min.js": "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1",
    "d3.LICENSE": "2a6d2d5f32ba0b755ddbc1c833f766e30cdbe6ebe9a6d4e3e24427721f0b63d3",
    "plot.umd.min.js": "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",
    "plot.LICENSE": "4b295e011e0e046170041b5b46f1349393aeceb95797793a55bd21dbb543363a",
}


# Every page


@pytest.mark.parametrize("name", RESULTS)
def test_a_page_is_whole_and_calls_nobody(name: str) -> None:
    root = read(page_of(name))
    policy = next(found for found in root.all("meta") if "http-equiv" in found.attributes).attributes["content"] or ""

    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src" not in policy and "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert not any(found.attributes.get("src") for found in root.all())
    assert [found.name for found in root.all() if found.name in ("link", "iframe", "img", "object", "form")] == []
    links = [found.attributes["href"] or "" for found in root.all("a")]
    assert links and all(link.startswith("#") for link in links)
    style = next(root.all("style")).text
    assert "url(" not in style and "@import" not in style


@pytest.mark.parametrize("name", RESULTS)
def test_every_script_of_a_page_is_named_by_the_policy_and_no_other(name: str) -> None:
    root = read(page_of(name))
    scripts = [found.text for found in root.all("script") if "type" not in found.attributes]
    content = next(found for found in root.all("meta") if "http-equiv" in found.attributes).attributes["content"] or ""

    assert content == page_module.policy(scripts)
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/]{43}='", content)) == len(scripts) == 4


@pytest.mark.parametrize("name", RESULTS)
def test_a_page_can_be_read_by_its_structure(name: str) -> None:
    root = read(page_of(name))
    identities = [found.attributes["id"] for found in root.all() if "id" in found.attributes]

    assert next(root.all("html")).attributes["lang"] == "en"
    assert [found.name for found in root.all() if found.name in ("header", "nav", "main", "footer")] == [
        "header", "nav", "main", "footer",
    ]  # fmt: skip
    assert len(list(root.all("h1"))) == 1
    assert len(identities) == len(set(identities))
    levels = [int(found.name[1]) for found in root.all() if re.fullmatch("h[1-6]", found.name)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    named = {found.attributes["aria-labelledby"] for found in root.all() if "aria-labelledby" in found.attributes}
    targets = {(found.attributes["href"] or "")[1:] for found in root.all("a")}
    assert named | targets <= set(identities)


@pytest.mark.parametrize("name", RESULTS)
def test_every_chart_has_a_title_a_summary_and_its_data_as_a_table(name: str) -> None:
    page = page_of(name)
    data = data_of(page)["figures"]

    assert {found.attributes["id"] for found in read(page).all("figure")} == set(data)
    for found in read(page).all("figure"):
        details = next(found.all("details"))
        tables = list(details.all("table"))
        assert next(found.all("h3")).text and len(next(next(found.all("figcaption")).all("p")).text) > 10
        assert tables and all(list(next(table.all("tbody")).all("tr")) for table in tables)
        assert all(next(table.all("caption")).text for table in tables)


@pytest.mark.parametrize("name", RESULTS)
def test_every_row_of_a_table_has_a_cell_for_each_heading(name: str) -> None:
    for table in read(page_of(name)).all("table"):
        headings = list(next(table.all("thead")).all("th"))
        rows = [
            [cell for cell in row.children if isinstance(cell, Element)] for row in next(table.all("tbody")).all("tr")
        ]
        assert {len(row) for row in rows} <= {len(headings)}
        assert all(heading.attributes["scope"] == "col" for heading in headings)
        assert all(row[0].name == "th" and row[0].attributes["scope"] == "row" for row in rows)


@pytest.mark.parametrize("name", RESULTS)
def test_nothing_unknown_reads_as_a_number(name: str) -> None:
    text = text_of(page_of(name))

    assert not re.search(r"\b(nan|None|inf)\b", text)


def test_a_page_says_when_it_was_measured_and_what_the_store_calls_it() -> None:
    text = text_of(page_of("faster"))

    assert "result 19c2f00d12abcd" in text
    assert re.search(r"measured on \d{4}-\d\d-\d\d at \d\d:\d\d", text)


@pytest.mark.parametrize("build", [lambda: made_tuning(path=HOSTILE), lambda: replace(BENCHMARK, subject=HOSTILE),
                                   lambda: replace(made_transformer(), subject=HOSTILE)])  # fmt: skip
def test_a_name_from_outside_is_never_a_script(build: Callable[[], Reported]) -> None:
    page = render(build())

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.onnx" in page
    assert len(list(read(page).all("script"))) == 5
    assert HOSTILE in text_of(page)


def test_the_libraries_are_those_that_were_released_and_carry_their_licences() -> None:
    folder = files("infer_opt.reports.html") / "assets" / "vendored"
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir() if file.is_file()}

    assert found == VENDORED
    for name, words in (("d3.min.js", "d3js.org v7.9.2"), ("plot.umd.min.js", "plot v0.6.17")):
        text = (folder / name).read_text(encoding="utf-8")
        assert words in text[:100]
        assert "</script" not in text and "<!--" not in text and "\r" not in text
    page = page_of("faster")
    assert "Copyright 2020-2025 Observable, Inc." in page and "Permission to use, copy, modify" in page


def test_a_page_stays_light_with_thousands_of_runs_and_trials() -> None:
    tuning = made_tuning()
    many = tuple(Block(latency_ns=tuple(range(10**7, 10**7 + 2000))) for _ in range(400))
    standings = tuple(tuning.standings[place % len(tuning.standings)] for place in range(2000))
    found = replace(
        tuning,
        baseline=replace(tuning.baseline, blocks=many),
        winner=replace(tuning.winner, blocks=many),
        standings=standings,
    )

    page = render(found)

    assert len(page.encode()) < 5_000_000
    assert "Raw run times, every 14th (CSV)" in page
    assert "All but the 1,600 slowest trials (JSON)" in page
    assert len(data_of(page)["downloads"][0]["content"]["trials"]) == 400


# A benchmark


def test_a_comparison_begins_with_its_claim_and_shows_both_sides() -> None:
    page = page_of("a comparison")

    assert next(read(page).all("h1")).text == "The bundle's claim holds here: 2.31x faster than stock [2.10 to 2.52]."
    assert sections(page) == [
        "verdict", "latency", "comparison", "readings", "surroundings", "cautions", "measurement", "data",
    ]  # fmt: skip
    series = data_of(page)["figures"]["latency-distribution"]["data"]["series"]
    assert [(one["name"], one["mark"]) for one in series] == [("minilm.onnx", "reference"), ("minilm-tuned", "subject")]


def test_one_model_alone_has_no_comparison() -> None:
    page = page_of("one alone")

    assert "comparison" not in sections(page)
    assert [one["mark"] for one in data_of(page)["figures"]["latency-distribution"]["data"]["series"]] == ["subject"]
