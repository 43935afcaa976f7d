"""The page: one file that needs nothing else, in which nothing that sellers write can do anything."""

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensemble.report.content import Answered, Report
from ensemble.report.intervals import Estimate
from ensemble.report.page import as_json, html
from ensemble.report.pool import MatchedPool
from ensemble.report.thumbnails import LARGE, thumbnail
from shared.catalog.placeholders import SetAside, SharedValues

PageOf = Callable[..., str]
MakePool = Callable[..., MatchedPool]


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.texts:
            self.texts[tag].append("")
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data


@pytest.fixture(scope="module")
def hostile_page(hostile_pool: MatchedPool, page_of: PageOf) -> str:
    return page_of(hostile_pool, hostile_pool)


@pytest.mark.fault(28)
def test_page_loads_nothing_and_its_policy_allows_its_own_script(hostile_page: str) -> None:
    read = Elements(hostile_page)
    for tag, attributes in read.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "video", "audio")
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for name in ("src", "href", "srcset", "action", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/jpeg;base64,")), attributes
    policy = next(a["content"] or "" for t, a in read.elements if a.get("http-equiv") == "Content-Security-Policy")
    curves, script = read.texts["script"]
    (style,) = read.texts["style"]
    for text in (script, style):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert json.loads(curves)[0]["chosen"] >= 0


@pytest.mark.fault(27)
def test_hostile_titles_stay_text(hostile_page: str) -> None:
    assert Elements(hostile_page).elements.count(("script", {})) == 1
    assert "{{7*7}}" in hostile_page
    assert "49 {%" not in hostile_page
    assert "<b>broken" not in hostile_page
    assert "&lt;b&gt;broken" in hostile_page
    assert "(100,000 characters)" in hostile_page
    assert "x" * 300 not in hostile_page


@pytest.mark.fault(27)
def test_data_of_the_script_cannot_end_its_element() -> None:
    text = str(as_json({"</script>": "<!--&"}))
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"</script>": "<!--&"}


def test_page_of_listings_without_any_match(make_pool: MakePool, page_of: PageOf) -> None:
    pool = make_pool(3, [])
    page = page_of(pool)
    assert "<b>3 listings</b>: 0 in <b>0 groups</b> of two or more; 3 listings have no match" in page
    assert "Quality is not known" in page
    for section in ("pairs", "groups", "branches"):
        assert f'id="{section}"' not in page
        assert f'href="#{section}"' not in page


def test_page_of_no_listing_at_all(make_pool: MakePool, page_of: PageOf) -> None:
    assert "<b>0 listings</b>" in page_of(make_pool(0, [], titles=[]))


def test_page_of_matches_without_labels_claims_no_quality(make_pool: MakePool, page_of: PageOf) -> None:
    page = page_of(make_pool(4, [(0, 1, 0.9), (2, 3, 0.4)]))
    assert "Quality is not known" in page
    assert "Of 100 matched pairs" not in page
    assert "different products</span>" not in page
    assert 'id="pairs"' in page
    assert "no image" in page


def test_page_says_how_many_matched_pairs_are_right(make_pool: MakePool, page_of: PageOf) -> None:
    pool = make_pool(8, [(0, 1, 0.9), (2, 3, 0.9), (4, 5, 0.9), (6, 7, 0.9)], [0, 0, 1, 1, 2, 2, 3, 4])
    page = re.sub(r"\s+", " ", page_of(pool, pool))
    assert re.search(
        r"Of 100 matched pairs about <b>75</b> are right \(90 % interval \d+–\d+, measured on a hold", page
    )


def test_page_does_not_call_matches_right_that_nobody_judged(make_pool: MakePool, page_of: PageOf) -> None:
    pool = make_pool(4, [(0, 1, 0.9), (2, 3, 0.9)], [0, -1, 0, -1])
    page = re.sub(r"\s+", " ", page_of(pool, pool))
    assert "is not known: no matched pair has two labels (a holdout of 4 listings)." in page
    assert "Of 100 matched pairs" not in page
    assert "beside the true ones, of the 2 listings with a label</p>" in page


@pytest.mark.fault(28)
def test_page_stays_small_for_many_pairs(make_pool: MakePool, page_of: PageOf) -> None:
    rng, n = np.random.default_rng(0), 4000
    keys = np.unique(rng.integers(0, n * n, 240_000))
    ends = [(int(a), int(b)) for a, b in zip(keys // n, keys % n, strict=True) if a < b][:100_000]
    assert len(ends) == 100_000
    pool = make_pool(n, [(a, b, float(s)) for (a, b), s in zip(ends, rng.beta(0.2, 5, len(ends)), strict=True)])
    assert len(page_of(pool).encode()) < 1_000_000


def test_page_of_several_catalogs_has_a_block_for_each(make_pool: MakePool, make_report: Callable[..., Report]) -> None:
    labeled = make_pool(4, [(0, 1, 0.9), (1, 2, 0.8), (2, 3, 0.4)], [0, 0, 1, 1])
    shop = make_report(labeled, labeled, "shop <1>")
    portal = make_report(make_pool(3, []), None, "portal")
    page = html(replace(shop, catalogs=[*shop.catalogs, *portal.catalogs]))
    assert "<h3>shop &lt;1&gt;</h3>" in page
    assert page.count("<h3>portal</h3>") == 4  # at the top, of threshold, sizes and evidence; there are no labels
    assert [curve["chosen"] >= 0 for curve in json.loads(Elements(page).texts["script"][0])] == [True, True]
    assert 'data-curve="1"' in page


def test_page_tells_what_answers_say(make_pool: MakePool, make_report: Callable[..., Report]) -> None:
    report = make_report(make_pool(2, [(0, 1, 0.9)]))
    parts = (Estimate(value, value - 0.05, value + 0.05) for value in (0.9, 0.8, 0.85))
    page = re.sub(r"\s+", " ", html(replace(report, answered=Answered(120, *parts))))
    assert "about <b>90</b> are right (90 % interval 85–95, estimated from 120 answers)" in page
    assert "<b>.800</b>" in page
    assert "not known" not in page


@pytest.mark.fault(36)
def test_evidence_that_was_set_aside_is_named_as_it_is_written(make_pool: MakePool, page_of: PageOf) -> None:
    pool = make_pool(2, [(0, 1, 0.9)])
    values = SetAside({"titles": SharedValues(values=1, listings=40, example="Shop-A7", value="TEST")})
    page = page_of(replace(pool, facts=replace(pool.facts, set_aside=values)))
    assert "Set aside since many unlike listings share it: 1 title of 40 listings (TEST, such as Shop-A7)." in page


def test_same_content_gives_the_same_page(hostile_pool: MatchedPool, page_of: PageOf, hostile_page: str) -> None:
    assert page_of(hostile_pool, hostile_pool) == hostile_page


# --- thumbnails -------------------------------------------------------------------------------------------------------


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")


def test_thumbnail_is_small_upright_and_over_white(jpeg: Callable[..., bytes], tmp_path: Path) -> None:
    (tmp_path / "turned.jpg").write_bytes(jpeg(1200, 600, orientation=6))
    turned = thumbnail(tmp_path / "turned.jpg", 10**7, LARGE)
    assert (turned.width, turned.height, turned.reason) == (LARGE // 2, LARGE, "")
    top, bottom = (decoded(turned.uri).getpixel((LARGE // 4, y)) for y in (10, LARGE - 10))
    assert top[0] > 200 > 100 > top[2]
    assert bottom[2] > 200 > 100 > bottom[0]
    assert len(turned.uri) < 20_000
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert decoded(thumbnail(tmp_path / "clear.png", 100, LARGE).uri).getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("data", "reason"),
    [(None, "no such file"), (b"", "empty file"), (b"<html>", "not an image but an HTML page")],
    ids=str,
)
def test_unreadable_images_say_why(data: bytes | None, reason: str, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "a.jpg").write_bytes(data)
    assert thumbnail(tmp_path / "a.jpg", 100, LARGE).reason == reason


@pytest.mark.fault(7)
def test_large_images_are_refused_undecoded(jpeg: Callable[..., bytes], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(2000, 1000))
    assert thumbnail(tmp_path / "a.jpg", 10**6, LARGE).reason == "too large: 2 megapixels"
