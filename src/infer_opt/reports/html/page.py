"""One file with everything in it: markup, style, the drawing library, and the data that is drawn.

Its content security policy forbids every connection, and names the scripts that may run by their hashes.
"""

import base64
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import PurePath

from infer_opt.reports.html.layout import Download, Fact, Figure, Section, facts, section
from infer_opt.reports.html.markup import Markup, data_script, element, joined
from infer_opt.reports.sentences import one_line

DATA = "report-data"
_ASSETS = files("infer_opt.reports.html") / "assets"
_LIBRARIES = ("vendored/d3.min.js", "vendored/plot.umd.min.js")
_LICENCES = ("vendored/plot.LICENSE", "vendored/d3.LICENSE")  # they ask to go wherever the libraries go
_OWN = ("charts.js", "report.js")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A report before it is HTML: the verdict in one sentence, what goes with it, and the sections.

    `alerts` stand above everything, `lines` below the verdict. `measured_ms` (since 1970) and `identity` say when it
    was measured and what the store calls it, where that is known.
    """

    kind: str
    title: str
    headline: str
    alerts: tuple[str, ...]
    lines: tuple[str, ...]
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]
    downloads: tuple[Download, ...]
    measured_ms: int | None = None
    identity: str | None = None


def written(page: Page) -> str:
    """The page as HTML, whole."""
    scripts = [_asset(name) for name in (*_LIBRARIES, *_OWN)]
    name = PurePath(one_line(page.title)).name or one_line(page.title)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy(scripts)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{name}: {one_line(page.headline)}"),
        element("style", Markup(_asset("report.css"))),
    )
    body = element(
        "body",
        element("a", "Skip to the report", href="#report", class_="skip"),
        _banner(page),
        element("div", _contents(page), _main(page), class_="columns"),
        _footer(page),
        data_script(DATA, _data(page)),
        *(element("script", Markup(script)) for script in scripts),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def policy(scripts: Sequence[str]) -> str:
    """Nothing from anywhere; these scripts alone; styles within the page, which charts set on what they draw."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _asset(name: str) -> str:
    return _ASSETS.joinpath(name).read_text(encoding="utf-8")


def _banner(page: Page) -> Markup:
    switch = element("button", "Dark theme", type="button", id="theme", class_="switch", hidden=True)
    return element(
        "header",
        element(
            "p",
            element("span", "infer-opt", class_="brand"),
            " ",
            element("span", f"{page.kind} report", class_="kind"),
            class_="masthead",
        ),
        switch,
        class_="banner",
    )


def _contents(page: Page) -> Markup:
    links = [element("a", found.title, href=f"#{found.identity}") for found in page.sections]
    if page.downloads:
        links.append(element("a", "Data to take away", href="#data"))
    return element("nav", element("ul", *(element("li", link) for link in links)), aria_label="Sections")


def _main(page: Page) -> Markup:
    alerts = [element("p", alert, class_="alert", role="note") for alert in page.alerts]
    verdict = element(
        "section",
        element("p", element("code", one_line(page.title)), _when(page), class_="subject"),
        element("h1", page.headline, id="verdict-title"),
        *(element("p", line) for line in page.lines),
        facts(page.facts),
        id="verdict",
        aria_labelledby="verdict-title",
    )
    noscript = element("noscript", element("p", "Charts are drawn by scripts, which are off: their data stands below "
                                           "each of them as a table."))  # fmt: skip
    return element(
        "main",
        *alerts,
        verdict,
        noscript,
        *(section(found) for found in page.sections),
        _downloads(page.downloads),
        id="report",
        tabindex="-1",
    )


def _when(page: Page) -> Markup:
    words = []
    if page.measured_ms is not None:
        words.append(time.strftime("measured on %Y-%m-%d at %H:%M", time.localtime(page.measured_ms / 1000)))
    if page.identity is not None:
        words.append(f"result {page.identity}")
    return joined(element("span", word, class_="when") for word in words)


def _downloads(found: Sequence[Download]) -> Markup | None:
    if not found:
        return None
    buttons = [
        element("button", one.words, type="button", class_="download", data_download=str(place))
        for place, one in enumerate(found)
    ]
    return element(
        "section",
        element("h2", "Data to take away", id="data-title"),
        element("p", "Saved from this file itself; nothing is fetched.", class_="lead"),
        element("p", *buttons, class_="downloads"),
        id="data",
        aria_labelledby="data-title",
    )


def _footer(page: Page) -> Markup:
    return element(
        "footer",
        element(
            "p", f"Written by infer-opt {version('infer-opt')}. This file is whole: it loads nothing and calls nobody."
        ),
        element(
            "details",
            element("summary", "Charts by Observable Plot 0.6.17 and D3 7.9.2: their licences"),
            *(element("pre", _asset(name), tabindex="0") for name in _LICENCES),
        ),
    )


def _data(page: Page) -> dict[str, object]:
    figures = [part for found in page.sections for part in found.parts if isinstance(part, Figure)]
    return {
        "figures": {
            one.identity: {"title": one.title, "summary": one.summary, "data": one.data} for one in figures
        },
        "downloads": [{"file": one.file, "kind": one.kind, "content": one.content} for one in page.downloads],
    }  # fmt: skip
