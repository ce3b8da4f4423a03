"""Pages as a browser shows them: charts with their data, keys, themes, widths, and no word to anybody."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from golden.tunings import BENCHMARK, FASTER, NO_FASTER, TOO_NOISY
from infer_opt.differences import compare
from infer_opt.reports.html.pages import Reported, render
from made_differences import profile, slowed
from made_reports import HOSTILE, made_transformer, made_tuning

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
)  # fmt: skip
RESULTS: dict[str, Callable[[], Reported]] = {
    "tuning": lambda: made_tuning(path=HOSTILE),
    "profile": made_transformer,
    "benchmark": lambda: BENCHMARK,
    "faster": lambda: FASTER,
    "no-faster": lambda: NO_FASTER,
    "too-noisy": lambda: TOO_NOISY,
}
WIDTHS = (360, 1400)

# kind of chart -> how many marks it must draw for its data
COUNTED = """
({kind, data}) => ({
  distribution: {selector: '[aria-label="line"] path', count: () => data.series.length},
  differences: {selector: '[aria-label="dot"] circle', count: () => data.groups[0].rows.length},
  epochs: {selector: '[aria-label="dot"] circle', count: () => data.rows.length},
  landscape: {selector: '[aria-label="dot"] circle, [aria-label="dot"] path', count: () => data.points.length},
  effects: {selector: '[aria-label="dot"] circle', count: () => data.rows.length},
  bars: {selector: '[aria-label="bar"] rect, [aria-label="bar"] path', count: () => data.groups[0].rows.length},
  load: {
    selector: '[aria-label="dot"] circle, [aria-label="dot"] path',
    count: () => data.series.flatMap((one) => one.points).length,
  },
  frontier: {selector: '[aria-label="dot"] circle, [aria-label="dot"] path', count: () => data.points.length},
  layers: {selector: '[aria-label="dot"] circle', count: () => data.points.length},
  roofline: {selector: '[aria-label="dot"] circle', count: () => data.points.length},
  course: {selector: '[aria-label="area"] path', count: () => 1},
  pairs: {selector: '[aria-label="dot"] circle', count: () => 2 * data.rows.length},
})[kind]
"""


@dataclass
class Shown:
    """A page in a browser, with all that it asked for and complained of."""

    page: Page
    url: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for name, build in RESULTS.items():
        (folder / f"{name}.html").write_text(render(build()), encoding="utf-8")
    subject = profile(seed=1, nodes=slowed("soft1", 2.0))
    beside = render(subject, difference=compare(subject, profile(seed=2), paired=True))
    (folder / "difference.html").write_text(beside, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(color_scheme="light", reduced_motion="reduce") as context:
        yield context


@pytest.fixture
def show(context: BrowserContext, folder: Path) -> Iterator[Callable[..., Shown]]:
    opened: list[Page] = []

    def shown(name: str, *, width: int = 1400) -> Shown:
        page = context.new_page()
        opened.append(page)
        found = Shown(page, (folder / f"{name}.html").as_uri())
        page.on("request", lambda request: found.requests.append(request.url))
        page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(found.url)
        return found

    yield shown
    for page in opened:
        page.close()


def boxes(page: Page, expression: str) -> Any:
    return page.evaluate(expression)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", [*RESULTS, "difference"])
def test_a_page_draws_every_chart_with_all_of_its_data_and_fits(
    show: Callable[..., Shown], name: str, width: int
) -> None:
    shown = show(name, width=width)
    page = shown.page
    data = json.loads(page.locator("#report-data").text_content() or "")["figures"]

    for identity, found in data.items():
        kind = page.locator(f"#{identity}").get_attribute("data-kind")
        counted = page.evaluate(
            f"""([identity, kind, data]) => {{
              const {{selector, count}} = ({COUNTED})({{kind, data}});
              const svg = document.querySelector(`#${{identity}} .plot svg`);
              const drawn = [...svg.querySelectorAll(selector)];
              const {{width, height}} = svg.getBoundingClientRect();
              return {{drawn: drawn.length, wanted: count(), label: svg.getAttribute("aria-label"), width, height,
                odd: svg.outerHTML.match(/NaN|undefined|Infinity/)?.[0] ?? null}};
            }}""",
            [identity, kind, found["data"]],
        )
        assert counted["drawn"] == counted["wanted"] > 0, identity
        assert counted["label"] == f"{found['title']}. {found['summary']}"
        assert counted["height"] > 80 and counted["width"] <= width
        assert counted["odd"] is None, identity
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert shown.requests == [shown.url]
    assert shown.complaints == []


def test_what_is_named_like_a_script_is_shown_and_not_run(show: Callable[..., Shown]) -> None:
    shown = show("tuning")
    asked: list[str] = []
    shown.page.on("dialog", lambda dialog: asked.append(dialog.message))

    assert HOSTILE in (shown.page.locator("#verdict").text_content() or "")
    assert shown.page.title().startswith("script>.onnx: "), "the last part of the path"
    assert asked == []


def test_a_script_that_was_slipped_in_is_refused_and_nothing_can_be_fetched(show: Callable[..., Shown]) -> None:
    page = show("benchmark").page

    page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.slippedIn = true";
      document.body.append(script);
    }""")
    fetched = page.evaluate("fetch(location.href).then(() => 'fetched', () => 'refused')")

    assert page.evaluate("window.slippedIn ?? null") is None
    assert fetched == "refused"


def test_the_theme_follows_the_system_until_the_switch_is_used(show: Callable[..., Shown]) -> None:
    page = show("benchmark").page
    paper = "getComputedStyle(document.body).backgroundColor"
    switch = page.locator("#theme")

    assert (page.evaluate(paper), switch.text_content()) == ("rgb(255, 255, 255)", "Dark theme")
    switch.focus()
    page.keyboard.press("Enter")
    dark = page.evaluate(paper)
    assert (dark, switch.text_content()) == ("rgb(21, 24, 28)", "Light theme")
    page.reload()
    assert page.evaluate(paper) == dark, "remembered"
    page.locator("#theme").click()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(show: Callable[..., Shown], scheme: Any) -> None:
    """WCAG AA: 4.5 to 1 for text; the plain colours of every visible text, against the nearest background."""
    page = show("tuning").page
    page.emulate_media(color_scheme=scheme)
    page.evaluate("document.documentElement.removeAttribute('data-theme')")
    low = page.evaluate("""() => {
      const channels = (text) => text.match(/[\\d.]+/g).map(Number);
      const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
      const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
      const over = ([r, g, b, a = 1], under) => [r, g, b].map((c, place) => c * a + under[place] * (1 - a));
      const behind = (element) => {
        if (element === null) return [255, 255, 255];
        return over(channels(getComputedStyle(element).backgroundColor), behind(element.parentElement));
      };
      const seen = new Map();
      for (const element of document.querySelectorAll("body *:not(script):not(style)")) {
        if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
        if (!element.checkVisibility() || element.closest(".skip")) continue;
        const style = getComputedStyle(element);
        const colour = element instanceof SVGElement ? style.fill : style.color;
        if (!colour.startsWith("rgb")) continue;
        const [one, other] = [light(over(channels(colour), behind(element))), light(behind(element))];
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (ratio < 4.5) seen.set(`${element.tagName}.${element.getAttribute("class")} ${colour}`, ratio);
      }
      return [...seen];
    }""")

    assert low == []


def test_a_table_is_sorted_by_keys_with_what_is_unknown_last(show: Callable[..., Shown]) -> None:
    page = show("tuning").page
    heading = page.locator("#trials thead th").nth(1)

    def column() -> list[str]:
        return page.locator("#trials tbody tr td:nth-child(2)").all_text_contents()

    heading.locator("button").focus()
    page.keyboard.press("Enter")
    ascending = column()
    assert heading.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    descending = column()
    assert heading.get_attribute("aria-sort") == "descending"

    known = [float(text) for text in ascending if text != "n/a"]
    assert known == sorted(known) and len(known) == 30
    assert ascending[30:] == descending[30:] == ["n/a", "n/a"]
    assert [float(text) for text in descending[:30]] == known[::-1]


def test_trials_are_filtered_by_words_and_by_failure(show: Callable[..., Shown]) -> None:
    page = show("tuning").page
    words, failures = page.locator("#trials input[type=search]"), page.locator("#trials input[type=checkbox]")

    def visible() -> int:
        return page.locator("#trials tbody tr:visible").count()

    assert visible() == 32
    words.fill("int8-static no spin")
    assert visible() == 2
    words.fill("")
    failures.check()
    assert visible() == 2
    assert page.locator("#trials output").text_content() == "2 of 32 rows"


def test_bars_are_grouped_as_the_reader_chooses(show: Callable[..., Shown]) -> None:
    page = show("profile").page
    label = page.locator("#time-by-group .plot svg text", has_text="encoder.layer.11")

    assert label.count() == 0
    page.get_by_role("radio", name="by layer").check()
    assert label.count() == 1
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("radio", name="by module").is_checked()


def test_pointing_at_a_point_says_which_configuration_it_is(show: Callable[..., Shown]) -> None:
    page = show("tuning").page
    star = page.locator("#pareto-memory .plot svg [aria-label=dot] path").last
    star.scroll_into_view_if_needed()
    star.hover(force=True)

    assert "int8-" in " ".join(page.locator("#pareto-memory [aria-label=tip]").all_text_contents())


def test_a_reader_who_uses_keys_alone_reaches_the_report_and_sees_where_he_is(show: Callable[..., Shown]) -> None:
    page = show("benchmark").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "report"
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("name", RESULTS)
def test_whatever_can_be_used_has_a_name(show: Callable[..., Shown], name: str) -> None:
    page = show(name).page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    nameless = page.evaluate("""() => {
      const used = document.querySelectorAll("button, a, input, summary, svg[role=img], [role=region], nav, figure");
      const named = (one) => one.textContent.trim() || one.getAttribute("aria-label")
        || one.labels?.[0]?.textContent.trim() || document.getElementById(one.getAttribute("aria-labelledby"));
      return [...used].filter((one) => !named(one)).map((one) => one.outerHTML.slice(0, 80));
    }""")
    bare = page.evaluate(
        "[...document.querySelectorAll('.plot svg')].filter((one) => one.getAttribute('role') !== 'img').length"
    )
    twice = page.evaluate("""() => {
      const found = [...document.querySelectorAll("[id]")].map((one) => one.id);
      return found.filter((one, place) => found.indexOf(one) !== place);
    }""")

    assert nameless == []
    assert bare == 0
    assert twice == []


def saved(page: Page, words: str) -> str:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=words, exact=True).click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def test_data_is_saved_from_the_page_itself(show: Callable[..., Shown]) -> None:
    shown = show("tuning")
    tuning = made_tuning(path=HOSTILE)

    document = json.loads(saved(shown.page, "Everything (JSON)"))
    trials = list(csv.DictReader(io.StringIO(saved(shown.page, "Trials (CSV)"))))
    runs = list(csv.DictReader(io.StringIO(saved(shown.page, "Raw run times (CSV)"))))

    assert document["model"]["path"] == HOSTILE
    assert len(trials) == len(document["trials"]) == 32
    expected = [run for block in tuning.baseline.blocks for run in block.latency_ns]
    assert [int(run["latency_ns"]) for run in runs if run["configuration"] == "stock"] == expected
    assert {url.partition(":")[0] for url in shown.requests} <= {"file", "blob"}


def test_paper_shows_the_report_and_no_switches(show: Callable[..., Shown]) -> None:
    page = show("tuning").page
    page.emulate_media(media="print", color_scheme="dark")

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible() and not page.locator("#theme").is_visible()
    assert page.locator("#epochs .plot svg").is_visible()
