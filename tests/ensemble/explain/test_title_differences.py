import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.explain.title_differences import Span, title_differences
from ensemble.features.attributes import attribute_features
from ensemble.pool_views import PoolViews
from shared.schema import CandidatePairs, Catalog
from shared.titles import LONGEST
from tests.support.timing import at_most
from tests.support.titles import UNREADABLE, break_titles

SIGNS = {"same": "{}", "only": "[{}]", "conflict": "<{}>", "quantity_same": "={}=", "quantity_conflict": "!{}!"}
PIECES = [
    "5",
    " ",
    "kg",
    "x",
    "½",
    '"',
    "red",
    "merah",
    "洗发",
    "น้ำ",
    "&amp;",
    "\\x41",
    "'",
    ",",
    "g950",
    "\u0301",
    "ß",
    "كغ",
]
HOSTILE = ["a b1c ", "1 ", "洗发水", "น้ำ", "1½", "5 kg x ", "&#1", "½", "&amp;", '5"', "\\x41", "ﬁ", "\ud800", "\u0301"]


def marked(spans: list[Span]) -> str:
    return "".join(SIGNS[span.kind].format(span.text) for span in spans)


def joined(spans: list[Span]) -> str:
    return "".join(span.text for span in spans)


@pytest.mark.parametrize(
    ("left", "right", "left_marked", "right_marked"),
    [
        ("Tas Ransel", "tas  RANSEL!", "Tas Ransel", "tas  RANSEL!"),
        ("Sabun Cair 500 ml", "sabun 1 L", "Sabun [Cair] !500 ml!", "sabun !1 L!"),
        ("tepung ½ kg", "Tepung 500gr", "tepung =½ kg=", "Tepung =500gr="),
        ("cola 6x330ml", "cola 12 x 330 ml", "cola !6x330ml!", "cola !12 x 330 ml!"),
        ("cola 330 ml", "cola", "cola [330 ml]", "cola"),
        ("cola 330 ml isi 6", "cola 330 ml", "cola =330 ml= [isi 6]", "cola =330 ml="),
        ('TV 55" 4K', "tv 43 inch 4k", 'TV !55"! 4K', "tv !43 inch! 4k"),
        ('TV 55" 4K', "tv 139 cm 4k", 'TV [55"] 4K', "tv [139 cm] 4k"),
        ("masker 1 box", "masker 50 pcs", "masker [1 box]", "masker [50 pcs]"),
        ("sepatu 38,39,40", "sepatu 38, 39, 41", "sepatu 38,39,[40]", "sepatu 38, 39, [41]"),
        ("Case SM-G950 hitam", "case sm a520 black", "Case SM-<G950> hitam", "case sm <a520> black"),
        ("kaos merah XL", "kaos biru xxl", "kaos <merah XL>", "kaos <biru xxl>"),
        ("kaos red blue", "kaos merah hijau", "kaos red [blue]", "kaos merah [hijau]"),
        ("iPhone 11", "iphone 12", "iPhone <11>", "iphone <12>"),
        ("power bank", "Powerbank", "power bank", "Powerbank"),
        ("Caf&eacute; &amp; Tea", "café tea", "Caf&eacute; &amp; Tea", "café tea"),
        ("one two three four", "one four", "one [two three] four", "one four"),
        ("红色洗发水500ml装", "蓝色洗发水 250毫升 装", "[红]色洗发水!500ml!装", "[蓝]色洗发水 !250毫升! 装"),
        ("น้ำปลาแท้ 700 มล.", "น้ำปลา 700มล", "น้ำปลา[แท้] =700 มล=.", "น้ำปลา =700มล="),
        ("كريم مرطب 200 مل", "كريم 100 مل", "كريم [مرطب] !200 مل!", "كريم !100 مل!"),
        ("ＤＯＭＰＥＴ ungu", "dompet pink", "ＤＯＭＰＥＴ <ungu>", "dompet <pink>"),
        ("tas", "", "[tas]", ""),
    ],
)
def test_titles_are_marked(left: str, right: str, left_marked: str, right_marked: str) -> None:
    assert tuple(map(marked, title_differences(left, right))) == (left_marked, right_marked)
    assert tuple(map(marked, title_differences(right, left))) == (right_marked, left_marked)


titles = st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join))


@given(titles, titles)
def test_spans_joined_are_the_title(left: str, right: str) -> None:
    for spans, title in zip(title_differences(left, right), (left, right), strict=True):
        assert joined(spans) == title
        assert all(span.text for span in spans)


@given(titles)
def test_a_title_agrees_with_itself(title: str) -> None:
    assert {span.kind for span in title_differences(title, title)[0]} <= {"same", "quantity_same"}


@pytest.mark.parametrize("unit", ["100 g", "2 pcs 100 g", "1 kg", "1 L", "12 x 1 l", "", "4 pcs", "1000 gram"])
@pytest.mark.parametrize("other", ["100 g", "2 pcs", "500 ml"])
def test_quantities_are_in_conflict_where_the_feature_says_so(unit: str, other: str) -> None:
    left, right = f"tea {unit}", f"tea {other}"
    catalog = Catalog.from_columns({"posting_id": ["a", "b"], "title": [left, right]})
    rows = (row_of(0), row_of(1))
    conflict = attribute_features(PoolViews(catalog, {}), CandidatePairs(2, *rows))(slice(None))["quantity_conflict"][0]
    kinds = {span.kind for spans in title_differences(left, right) for span in spans}
    assert ("quantity_conflict" in kinds) == (conflict == 1)


def row_of(row: int) -> np.ndarray:
    return np.array([row], dtype=np.int32)


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_titles_of_any_length_take_little_time(unit: str) -> None:
    title = unit * (100_000 // len(unit))
    with at_most(8):
        spans = title_differences(title, f"{title} tea 5 kg 洗水")[0]
    assert joined(spans) == title


def test_what_follows_the_part_that_is_compared_is_not_marked() -> None:
    left, _ = title_differences("a" * LONGEST + "b", "c")
    assert [(len(span.text), span.kind) for span in left] == [(LONGEST, "only"), (1, "same")]


@pytest.mark.fault(31)
@pytest.mark.parametrize("error", [ValueError, MemoryError, RecursionError])
def test_title_that_cannot_be_read_is_shown_as_written(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    break_titles(monkeypatch, error)
    assert title_differences(UNREADABLE, "tea 1 kg") == ([Span(UNREADABLE, "same")], [Span("tea 1 kg", "same")])
