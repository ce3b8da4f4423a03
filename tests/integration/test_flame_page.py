"""The flame graph in a browser: it asks for nothing, complains of nothing, and can be used without a mouse."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infer_opt.reports.flame import page as drawn
from made_surroundings import SURROUNDING

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open pages in")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as tools:
        found = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def shown(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """The page as it is opened; whatever it says to the console or asks for fails the test."""
    (tmp_path / "flame.html").write_text(drawn(SURROUNDING), encoding="utf-8")
    page = browser.new_page(viewport={"width": 900, "height": 700})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("data:") else None)
    address = (tmp_path / "flame.html").as_uri()
    page.goto(address)
    page.wait_for_selector(".frames button")
    yield page
    page.close()
    assert said == [address]


def titles(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all(".frames button", "all => all.map(one => one.title)")
    return found


def test_frames_are_drawn_and_a_click_zooms_in_and_out(shown: Any) -> None:
    assert titles(shown)[0] == "all: 10 s, 100 % of all"
    assert any(title.startswith("prepare (serve.py:6): 3 s, 30 %") for title in titles(shown))

    shown.click('.frames button[title^="prepare (serve.py:6)"]')
    assert not any(title.startswith("Session.run") for title in titles(shown))
    assert shown.evaluate("document.activeElement.title").startswith("prepare (serve.py:6)")
    shown.click("text=Zoom out")
    assert any(title.startswith("Session.run") for title in titles(shown))


def test_the_keyboard_moves_zooms_and_comes_back(shown: Any) -> None:
    shown.focus(".frames button")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        shown.keyboard.press(key)

    assert shown.evaluate("document.activeElement.title").startswith("main (serve.py:15): 4 s, 40 %")
    assert not any(title.startswith("Session.run") for title in titles(shown))
    shown.keyboard.press("Escape")
    assert any(title.startswith("main (serve.py:16)") for title in titles(shown))  # one step out, to its caller
    assert shown.evaluate("document.activeElement.title").startswith("main (serve.py:15)")
    shown.keyboard.press("ArrowUp")
    assert shown.inner_text(".said").startswith("<module> (serve.py:30): 10 s")


def test_a_search_marks_frames_and_adds_them_up(shown: Any) -> None:
    shown.keyboard.press("/")
    shown.keyboard.type("PREPARE")

    assert shown.locator(".frames button.found").count() == 2
    assert shown.inner_text(".said") == "In 40 % of all (4 s)"
    shown.fill("input[type=search]", "no such function")
    assert shown.inner_text(".said") == "No frame has these letters."


def test_memory_is_a_tab_in_bytes(shown: Any) -> None:
    shown.locator("[role=tab]").last.click()

    assert titles(shown)[0] == "all: 10 MB, 100 % of all"
    assert shown.get_attribute("[role=tab][aria-selected=true] >> nth=0", "aria-selected") == "true"


def test_a_narrow_page_does_not_scroll_sideways(shown: Any) -> None:
    shown.set_viewport_size({"width": 380, "height": 700})
    shown.wait_for_timeout(100)

    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
