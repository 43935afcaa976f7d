"""The page in a browser without a network: silent, inert, readable at a phone's width and in the dark."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ensemble.report.pool import MatchedPool

pytestmark = pytest.mark.slow

PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file; the test fails if the page says anything on the console, or asks for anything."""
    troubles: list[str] = []
    contexts = []

    def open_file(path: Path, viewport: dict[str, int] = DESKTOP, scheme: str = "light") -> Any:
        context = browser.new_context(viewport=viewport, color_scheme=scheme, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append(dialog.message))
        page.on("request", lambda request: troubles.append(request.url) if "data:" not in request.url[:5] else None)
        page.goto(path.as_uri())
        assert troubles == [path.as_uri()]
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert len(troubles) == len(contexts)


@pytest.fixture
def hostile_file(hostile_pool: MatchedPool, page_of: Callable[..., str], written: Callable[[str], Path]) -> Path:
    return written(page_of(hostile_pool, hostile_pool))


@pytest.mark.fault(27, 28)
def test_hostile_titles_are_inert(hostile_file: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(hostile_file)
    assert page.title() == "What was matched · run test"
    assert page.locator("script").count() == 2
    assert page.get_by_text("{{7*7}}").count() > 0
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")


def test_titles_are_written_in_their_own_direction(hostile_file: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(hostile_file)
    directions = "(titles) => titles.map((title) => [title.textContent, getComputedStyle(title).direction])"
    shown = page.locator(".title").evaluate_all(directions)
    assert {direction for text, direction in shown if "كوب" in text} == {"rtl"}
    assert {direction for text, direction in shown if "แก้ว" in text} == {"ltr"}


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_nothing_is_wider_than_the_window(
    viewport: dict[str, int], hostile_file: Path, open_page: Callable[..., Any]
) -> None:
    page = open_page(hostile_file, viewport)
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]


def test_dark_mode_is_dark(hostile_file: Path, open_page: Callable[..., Any]) -> None:
    brightness = (
        "(name) => getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3).reduce((a, b) => +a + +b, 0)"
    )
    page = open_page(hostile_file, scheme="dark")
    assert page.evaluate(brightness, "backgroundColor") < 150
    assert page.evaluate(brightness, "color") > 600


def test_slider_reads_the_curve_off_by_keys(hostile_file: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(hostile_file)
    slider, cell = page.locator("input[type=range]"), page.locator("[data-read='points.threshold']")
    groups = page.locator("[data-read='points.groups']")
    assert (cell.inner_text(), page.locator("button").is_disabled()) == (".500", True)
    chosen = groups.inner_text()
    slider.press("End")
    assert cell.inner_text() == ".980"
    assert groups.inner_text() == "0" != chosen
    assert ".980" in slider.get_attribute("aria-valuetext")
    page.locator("button").click()
    assert (cell.inner_text(), groups.inner_text()) == (".500", chosen)


@pytest.mark.fault(28)
def test_page_is_complete_without_script(hostile_file: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(hostile_file.as_uri())
    assert page.locator("[data-read='points.threshold']").inner_text() == ".500"
    assert not page.locator("input[type=range]").is_visible()
    context.close()


def test_page_prints(hostile_file: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(hostile_file)
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.pdf().startswith(b"%PDF")
