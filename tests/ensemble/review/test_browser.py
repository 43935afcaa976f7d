"""The page in a real browser: answers survive, keys suffice, any width, scheme and script is served."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ensemble.answers.answer import Answer, now
from ensemble.answers.file import FILE, AnswerFile
from shared.catalog.copies import content_digests
from tests.support.paths import ROOT
from tests.support.review import HOSTILE
from tests.support.review_server import review_in

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
Page = Any
LONGEST_WAIT_MS = 100.0  # from a key to the next pair, for 95 of 100 keys
NEXT_PAIR = """async ([keys]) => {
  const times = [];
  const shown = () => [...document.querySelectorAll(".pair bdi")].map((each) => each.textContent).join();
  for (const key of keys) {
    const [start, before] = [performance.now(), shown()];
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    do await new Promise(requestAnimationFrame); while (shown() === before && performance.now() < start + 5000);
    times.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return times;
}"""
WAITING = "Object.keys(localStorage).filter((key) => key.split(':').length > 3).length"  # answers not yet kept
CONTRAST = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => numbers(color).slice(0, 3).map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (each) => {
    const color = getComputedStyle(each).backgroundColor;
    return (numbers(color)[3] ?? 1) > 0 || !each.parentElement ? color : ground(each.parentElement);
  };
  const texts = [...document.querySelectorAll("p, button, a, mark, td, th, h1, h2, kbd, bdi, label, span")];
  return texts.filter((each) => each.checkVisibility() && each.textContent.trim() && !each.disabled).map((each) => {
    const [one, other] = [light(getComputedStyle(each).color), light(ground(each))].sort((a, b) => b - a);
    return [(one + 0.05) / (other + 0.05), each.className || each.tagName, each.textContent.slice(0, 30)];
  });
}"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server of a review in a process of its own."""

    def __init__(self, folder: Path, n: int = 60, pairs: int = 2000, name: str = "anna") -> None:
        self.port = free_port()
        self.words = [str(folder), str(self.port), str(n), str(pairs), name]
        self.start()

    def start(self) -> None:
        words = [sys.executable, "-m", "tests.support.review_server", *self.words]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        self.url = next(line.split()[-1] for line in lines if line.startswith("review at "))

    def end(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=30)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def serve(**options: Any) -> Server:
        servers.append(Server(tmp_path, **options))
        return servers[-1]

    yield serve
    for server in servers:
        if server.process.poll() is None:
            server.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Page]]:
    """Opens pages, each in a profile of its own; a script that fails or is refused fails the test."""
    contexts, faults = [], []

    def open_page(server: Server, width: int = 1200, height: int = 850, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if "Security Policy" in line.text else None)
        page.goto(server.url)
        page.wait_for_selector(".pair .listing")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def shown(page: Page) -> tuple[str, ...]:
    """Return the ids of the pair that is shown."""
    return tuple(sorted(page.locator(".pair bdi").all_text_contents()))


def answer(page: Page, key: str) -> tuple[str, ...]:
    """Answer the shown pair by key, and return its ids."""
    page.wait_for_selector(".pair .listing")
    pair = shown(page)
    page.keyboard.press(key)
    return pair


def kept(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return pair → who → verdict, as the file of answers has it."""
    verdicts = AnswerFile(folder / FILE).read().verdicts
    return {pair: {by: said.verdict for by, said in of_pair.items()} for pair, of_pair in verdicts.items()}


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def wait_for(page: Page, expression: str) -> None:
    """Wait until an expression holds; the page lets nobody evaluate text by itself, so this asks again and again."""
    wait_until(lambda: bool(page.evaluate(expression)))


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.fault(37)
def test_no_answer_is_lost_when_the_server_is_killed(serve: Any, open_page: Any, tmp_path: Path) -> None:
    server = serve(n=300, pairs=4000)
    page, said, verdicts = open_page(server), {}, {"y": "yes", "n": "no", "u": "unsure"}
    rng = np.random.default_rng(0)

    def decide(count: int) -> None:
        for key in rng.choice(list(verdicts), count):
            said[answer(page, key)] = {"anna": verdicts[key]}

    decide(100)
    wait_until(lambda: len(kept(tmp_path)) == 100)
    page.wait_for_timeout(2000)
    server.end(signal.SIGKILL)
    decide(6)  # the page has pairs in store, and keeps what it cannot send
    wait_for(page, "document.getElementById('warning').textContent.includes('wait')")
    server.start()
    page.goto(server.url)
    decide(94)
    assert len(said) == 200
    wait_until(lambda: page.evaluate(WAITING) == 0)
    assert kept(tmp_path) == said
    assert "200 answers" in page.locator("#counts").text_content()


@pytest.mark.fault(37)
def test_two_reviewers_and_two_servers_share_a_file(serve: Any, open_page: Any, tmp_path: Path) -> None:
    one, other = serve(n=200, pairs=3000, name="anna"), serve(n=200, pairs=3000, name="بن")
    pages = {"anna": [open_page(one)], "بن": [open_page(other)], "carla": [open_page(one)]}
    pages["carla"][0].locator("#person").click()
    pages["carla"][0].locator("#name").fill("carla")
    pages["carla"][0].keyboard.press("Enter")
    wait_for(pages["carla"][0], "document.getElementById('person').textContent === 'carla'")
    said: dict[tuple[str, ...], dict[str, str]] = {}
    for _ in range(20):
        for by, [page] in pages.items():
            said.setdefault(answer(page, "y"), {})[by] = "yes"
    wait_until(lambda: sum(map(len, kept(tmp_path).values())) == 60)
    assert kept(tmp_path) == said
    for [page] in pages.values():
        wait_for(page, f"document.getElementById('counts').textContent.startsWith('{len(said)} answers')")


def test_undo_by_key_shows_the_pair_again(serve: Any, open_page: Any, tmp_path: Path) -> None:
    page = open_page(serve())
    first, second = answer(page, "y"), answer(page, "n")
    page.keyboard.press("z")
    wait_for(page, "document.getElementById('last').textContent.startsWith('Taken back')")
    assert shown(page) == second
    assert kept(tmp_path) == {first: {"anna": "yes"}}


@pytest.mark.fault(37)
def test_contradiction_opens_and_is_settled(serve: Any, open_page: Any, tmp_path: Path) -> None:
    page, digests = open_page(serve()), content_digests(review_in(tmp_path, 60, 2000).catalog)
    for pair, verdict in (((20, 21), "yes"), ((21, 22), "yes"), ((20, 22), "no")):
        (left, right), (of_left, of_right) = (f"id{row:05}" for row in pair), (digests[row] for row in pair)
        AnswerFile(tmp_path / FILE).append(Answer(left, right, of_left, of_right, verdict, by="ben", at=now()))
    page.keyboard.press("c")
    page.wait_for_selector(".contradiction")
    assert "different products (ben)" in page.locator(".contradiction li").first.text_content()
    page.locator(".contradiction button").first.click()
    wait_until(lambda: shown(page) == ("id00020", "id00022"))  # the question before may be about one of the two
    page.keyboard.press("y")
    wait_until(lambda: len(kept(tmp_path)[("id00020", "id00022")]) == 2)


# --- keys, width, schemes and scripts --------------------------------------------------------------------------------


def test_keys_alone_suffice(serve: Any, open_page: Any, tmp_path: Path) -> None:
    page = open_page(serve())
    pairs = [answer(page, key) for key in ("ArrowRight", "ArrowLeft", "ArrowDown")]
    wait_until(lambda: len(kept(tmp_path)) == 3)
    assert [kept(tmp_path)[pair]["anna"] for pair in pairs] == ["yes", "no", "unsure"]
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("y")  # no answer while the help is open
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()
    page.keyboard.press("g")
    page.wait_for_selector("#group label")
    members = page.locator("#group label").count()
    page.keyboard.press("1")
    assert page.locator("#group label.out").count() == 1
    page.keyboard.press("1")
    before = kept(tmp_path)
    page.keyboard.press("y")  # the group may hold pairs that were answered above
    wait_until(lambda: kept(tmp_path) != before)
    wait_until(lambda: verdicts_of(tmp_path, "anna").count("yes") >= members - 1)
    page.keyboard.press("p")
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert float(outline.removesuffix("px")) >= 2


def verdicts_of(folder: Path, person: str) -> list[str]:
    return [verdicts[person] for verdicts in kept(folder).values() if person in verdicts]


def test_key_in_the_name_is_no_answer(serve: Any, open_page: Any, tmp_path: Path) -> None:
    page = open_page(serve())
    page.locator("#person").click()
    page.keyboard.type("yny")
    page.keyboard.press("Enter")
    wait_for(page, "document.getElementById('person').textContent === 'yny'")
    answer(page, "y")
    wait_until(lambda: kept(tmp_path) != {})
    assert list(kept(tmp_path).values()) == [{"yny": "yes"}]


def test_nothing_is_wider_than_a_phone(serve: Any, open_page: Any) -> None:
    page = open_page(serve(), width=360, height=740, has_touch=True)
    for _ in range(12):
        assert overflow(page) == 0
        page.locator("[data-verdict=no]").tap()
    low = page.locator("footer div:not([hidden]) button").evaluate_all("all => all.map((b) => b.offsetHeight)")
    assert min(low) >= 44
    for view in ("groups", "contradictions"):
        page.locator(f"[data-view={view}]").tap()
        page.wait_for_selector(f"#{view}:not([hidden]) > *")
        page.wait_for_timeout(300)
        assert overflow(page) == 0
    page.keyboard.press("?")
    assert overflow(page) == 0
    assert page.locator("#help").bounding_box()["width"] <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(serve: Any, open_page: Any, scheme: str) -> None:
    page = open_page(serve(), color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 300) == (scheme == "dark")
    weak = []
    for key in ("y", "g", "2", "?"):
        page.keyboard.press(key)
        page.wait_for_timeout(400)
        weak += [line for line in page.evaluate(CONTRAST) if line[0] < 4.5 and "out" not in line[1]]
    assert weak == []


@pytest.mark.fault(27)
def test_titles_of_any_script_are_text_and_nothing_else(serve: Any, open_page: Any) -> None:
    page = open_page(serve())
    for row, title in enumerate(HOSTILE):
        page.evaluate(
            "(row) => import('/page/pairs.js').then(() => fetch(`/api/pairs/${row}/20?by=anna`)).then((r) => r.json())"
            ".then((item) => import('/page/dom.js').then(({ card }) => document.getElementById('pair')"
            ".replaceChildren(...item.listings.map((listing) => card(listing, 'large')))))",
            row,
        )
        line = page.locator(".pair .title").first
        assert line.text_content() == title
        direction = line.evaluate("(each) => getComputedStyle(each).direction")
        assert direction == ("rtl" if title.startswith("ش") else "ltr")
        assert overflow(page) == 0
    assert page.evaluate("window.hostile") is None
    assert page.locator(".pair script, .pair b, .pair .text img").count() == 0


def test_page_stays_where_it_is_while_images_load(serve: Any, open_page: Any) -> None:
    page = open_page(serve())
    page.route("**/image/**", lambda route: route.abort())
    place = "document.querySelector('.pair .text').getBoundingClientRect().top"
    before = page.evaluate(place)
    for _ in range(14):
        page.keyboard.press("n")
    page.wait_for_timeout(300)
    assert page.evaluate(place) == before


# --- speed -----------------------------------------------------------------------------------------------------------


def test_ten_thousand_pairs_do_not_stutter(serve: Any, open_page: Any) -> None:
    page = open_page(serve(n=3000, pairs=12_000))
    page.wait_for_timeout(1000)
    times = np.array(page.evaluate(NEXT_PAIR, [["y", "n", "u", "n"] * 25]))
    print(
        f"from a key to the next pair: median {np.median(times):.0f} ms, 95 % within {np.quantile(times, 0.95):.0f} ms"
    )
    assert np.quantile(times, 0.95) < LONGEST_WAIT_MS
