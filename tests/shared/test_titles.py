import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.titles import LONGEST, fold, normalize, normalize_all
from tests.support.timing import at_most
from tests.support.titles import HOSTILE, UNREADABLE, break_titles

EXAMPLES = [
    ("[BPOM] FREEMAN MASK ( FULL SIZE / 175ml )", "bpom freeman mask full size 175ml"),
    ("Sabun 500 ML", "sabun 500ml"),
    ("Sabun 0.5 L", "sabun 0.5l"),
    ("Air 1,5 L", "air 1.5l"),
    ("١٫٥ لتر", "1.5 لتر"),
    ("١٠٬٠٠٠ مل", "10000 مل"),
    ("Powerbank 10.000mAh", "powerbank 10000mah"),
    ("Powerbank 10,000 mAh", "powerbank 10000mah"),
    ("Berat 2.345 kg", "berat 2.345kg"),  # three digits, but not round: a decimal
    ("isi 2 - 3 pcs", "isi 2 3 pcs"),
    ("3 in 1", "3 in 1"),
    ("Katun 100 %, asli", "katun 100% asli"),
    ("Samsung S20+ / S20", "samsung s20+ s20"),
    ("baju+celana", "baju celana"),
    ("RAM 4+64GB", "ram 4 64gb"),
    ("BGA-110 B666", "bga 110 b666"),
    ("Wipes 50's", "wipes 50s"),
    ("USB♻️Timbangan ❤", "usb timbangan"),
    ("【COD】ＡＢＣ ①", "cod abc 1"),
    ("Schär", "schär"),
    ("Scha\u0308r", "schär"),
    ("Straße", "strasse"),
    ("Tas &amp; Dompet &#39;Kulit&#39;", "tas dompet kulit"),
    ("Tas &amp;amp; Dompet", "tas dompet"),
    (r"b'\xe2\x9c\x85 Kaos \xf0\x9f\x98\x80 Polos'", "kaos polos"),
    (r"Caf\xc3\xa9 \u2019Latte\u2019", "café latte"),
    (r"Rusak \xff\xfe byte", "rusak byte"),
    ("a\u200bb\u00adc\ufe0f", "abc"),
    ("tab\tnewline\nnul\0end", "tab newline nul end"),
    ("عطر رجالي ١٠٠ مل", "عطر رجالي 100 مل"),
    ("آیفون ۱۳", "آیفون 13"),
    ("ไอโฟน ๑๓ 500 มล", "ไอโฟน 13 500 มล"),
    ("आईफोन १३", "आईफोन 13"),
    ("১২ পিস", "12 পিস"),
    ("1 LİTRE SÜT", "1litre süt"),
    ("1 L\u0049\u0307TRE", "1litre"),
    ("KIRMIZI Kırmızı kirmizi", "kirmizi kirmizi kirmizi"),
    ("İI\u0307\u0307 ı\u0307", "ii i"),
    ("กางเกง 2 ชิ้น", "กางเกง 2 ชิ้น"),
    ("café\u0301\u0301", "café\u0301\u0301"),
    ("Gula ½ kg", "gula 1 2kg"),
    ("Susu 1½ L", "susu 1 1 2l"),
    ("Sepatu 38⅓", "sepatu 38 1 3"),
    ("tea &#65; &#0000000065;", "tea a a"),
    ("tea &#" + "9" * 4301 + ";", "tea"),
    ("tea &#" + "0" * 5000 + "65;", "tea a"),
    ("tea &amp;#" + "1" * 5000 + ";", "tea"),
    ("Men&#39s shirt", "mens shirt"),
    ("pen&notebook", "pen notebook"),
    ("pen&notebook;", "pen notebook"),
    ("grill&microwave", "grill microwave"),
    ("Seal &copy&reg ring", "seal copy reg ring"),
    ("caf&eacute;&nbsp;&NotEqualTilde; &#233;&#xE9;", "café éé"),
    ("sepatu 38,39,40,41", "sepatu 38 39 40 41"),
    ("sepatu 38.5,39,39.5", "sepatu 38.5 39 39.5"),
    ("size 0,250,500", "size 0 250 500"),
    ("versi 4.2.1", "versi 4.2.1"),
    ("1,000,000 / 1.000.000 / 1'000'000", "1000000 1000000 1000000"),
    ("1,234,567 1.234,5 1,234.5", "1.234.567 1.234.5 1.234.5"),
    ("Cable 5'10", "cable 5 10"),
    ("Cable 5\u201910 1'500 y'2000 90's", "cable 5 10 1500 y2000 90s"),
    ("tea &#x" + "f" * 5000 + "; mug", "tea mug"),
]
NOTHING = [
    "",
    " \t\r\n",
    "...!!",
    "- / |",
    "´",
    "\u0301\u0302",
    "👨\u200d👩\u200d👧 ❤️",
    "\ufeff\u200b",
    "\ud800",
    "\u3164\u3164",
    "+ % . ,",
    "&nbsp;",
]


@pytest.mark.parametrize(("title", "expected"), EXAMPLES)
def test_examples(title: str, expected: str) -> None:
    assert normalize(title) == expected


@pytest.mark.fault(3)
@pytest.mark.parametrize("title", NOTHING)
def test_nothing_left_is_no_title(title: str) -> None:
    assert normalize(title) == ""


# Pieces that interact, so that random titles meet the rules' seams.
PIECES = st.sampled_from(
    [
        *("1", "+", "%", "'", ",", ".", " ", "23", "000", "1.000", "_", "ml", "kg", "b'", "&amp;", "&", "#39;", "\\"),
        *("\\xe2", "\\u0301", "\u0301", "\u200d", "\ufe0f", "ﬁ", "İ", "ς", "Ⅷ", "½", "\ue000", "\ue001", "\ud83d"),
        *("ㅎ", "각", "²", "a", "Z", "％", "⒈"),
    ]
)
TITLES = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=12).map("".join))


@pytest.mark.fault(3)
@given(TITLES)
@example("_+")
@example("ᄀ'ᅡ")
@example(".1.000")
@example("a+\u200bb")
@example("1.000.000.000,5 %")
@example("5 500 ml ml")
@example("e\u200d\u0301")
@example("&amp;amp;amp;lt;")
@example("1.00'0")
@example("38,1.000")
@example("1,000,38'000,5")
@example("&amp;not;in;")
def test_properties(title: str) -> None:
    text = normalize(title)
    assert normalize(text) == text
    assert text == " ".join(text.split())
    assert text == unicodedata.normalize("NFKC", text)
    assert all(c in " .+%" or unicodedata.category(c)[0] in "LNM" for c in text)
    assert normalize(f"  {text}!! ") == text
    text.encode()


@pytest.mark.fault(3, 31)
@pytest.mark.parametrize("piece", HOSTILE)
def test_a_million_hostile_characters_take_no_time(piece: str) -> None:
    title = piece * (1_000_000 // len(piece))
    with at_most(5):
        assert len(normalize(title)) <= LONGEST


@pytest.mark.fault(3)
@pytest.mark.parametrize(
    "title",
    [
        *("\u0301\u0323" * 50_000, "a" + "\u0301\u0323" * 50_000, "a" + "\u0344\u0323" * 50_000, "½" * 100_000),
        *("a" + ("\u0301\u0323" * 14 + "\u200d") * 3000, "a'" + ("\u0301\u0323" * 14 + "'") * 3000),
        *("&#" * 50_000, "&#9" * 30_000, "&#" + "9" * 100_000, "\u0301&#x323;" * 10_000),
        *("x" * 100_000, "\u0301" * 100_000, "&amp;" * 30_000, "&" + "amp;" * 30_000, "1.000" * 20_000, "1," * 50_000),
        *("'" * 100_000, "b'" + "' " * 50_000, "5 ml " * 20_000, "\\x" * 50_000, "\u202eعطر" * 25_000, "☃1+" * 30_000),
    ],
)
def test_long_titles_take_no_time(title: str) -> None:
    with at_most(5):
        text = normalize(title)
        assert normalize(text) == text


def test_marks_up_to_thirty_stay() -> None:
    marks = "\u0323" * 30
    assert normalize(f"q{marks}") == f"q{marks}"
    assert normalize(f"q{marks}\u0323\u0323 mug") == f"q{marks} mug"


def test_fold_keeps_signs() -> None:
    assert fold('TV 55" ×2 ½ &quot;Ｆ&quot; 1,5') == 'tv 55" ×2 1⁄2 "f" 1,5'
    assert fold("1½ ℓ") == "1 1⁄2 l"


def test_all_in_order() -> None:
    titles = ["B 1", "", "A"]
    assert normalize_all(titles) == ["b 1", "", "a"]
    assert normalize_all([]) == []


@pytest.mark.fault(31)
@pytest.mark.parametrize("error", [ValueError, MemoryError, RecursionError, OverflowError])
def test_title_that_raises_has_no_form_and_ends_nothing(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_titles(monkeypatch, error)
    assert normalize_all(["red mug", UNREADABLE, "...", "blue mug"]) == ["red mug", None, "", "blue mug"]


def test_an_interrupt_is_no_unreadable_title(monkeypatch: pytest.MonkeyPatch) -> None:
    break_titles(monkeypatch, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        normalize_all([UNREADABLE])


@pytest.mark.fault(3, 31)
def test_what_follows_the_longest_title_is_not_read() -> None:
    title = "red mug " * (LONGEST // 8)
    assert normalize(title + "blue") == normalize(title)
    assert len(normalize("\ufdfa" * LONGEST)) <= LONGEST  # a character that becomes eighteen


@pytest.mark.slow
def test_many_titles_take_seconds() -> None:
    with at_most(5):
        normalize_all(f"Promo❤ Sabun Cuci {n} ml [isi {n % 7}] &amp; Bonus, 1.5 L" for n in range(5_000))
