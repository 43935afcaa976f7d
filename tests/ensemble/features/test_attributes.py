from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ensemble.features.attributes import PARSERS, attribute_features, quantity_conflict
from ensemble.pool_views import PoolViews
from shared.schema import CandidatePairs
from shared.titles import normalize
from tests.support.timing import at_most

ONE = CandidatePairs(2, np.array([0], dtype=np.int32), np.array([1], dtype=np.int32))


def stated(kind: str, title: str) -> set[str]:
    return set(PARSERS[kind](normalize(title)))


@pytest.fixture
def described(make_catalog: Callable[..., Any]) -> Callable[[str, str], dict[str, float]]:
    """All attribute features of two titles."""

    def describe(one: str, other: str) -> dict[str, float]:
        features = attribute_features(PoolViews(make_catalog([one, other]), {}), ONE)(slice(None))
        return {name: float(column[0]) for name, column in features.items()}

    return describe


# --- what a title states ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Sabun cair 500 ml", "sabun 0.5 L"),
        ("sabun 0,5 liter", "sabun 500ML"),
        ("air 1.000 ml", "air 1 ltr"),
        ("beras 1 kg", "beras 1000 gram"),
        ("beras 1,5kg", "rice 1500 gr"),
        ("susu 16 oz", "susu 454 g"),
        ("susu 5 lbs", "susu 2.27 kg"),
        ("pita 10 mm", "pita 1 cm"),
        ("kabel 2 meter", "cable 200cm"),
        ("tv 32 inch", "tv 32 inci"),
        ("masker isi 10", "masker 10 pcs"),
        ("masker isi10", "mask pack of 10"),
        ("gelas 1 lusin", "glass 12 pcs"),
        ("2 dozen eggs", "telur 24 butir isi 24"),
        ("lampu 5 watt", "lamp 5W"),
        ("baterai 5.000mAh", "battery 5000 mah"),
        ("kopi x3", "kopi 3 sachet"),
        ("kopi 3x", "kopi 3 pcs"),
    ],
)
def test_quantities_in_other_spellings(one: str, other: str) -> None:
    assert stated("quantity", one) & stated("quantity", other)
    assert len(stated("quantity", one)) == 1


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("sabun 500 ml isi 2", {"volume:500", "count:2"}),
        ("2 x 500 ml", {"count:2", "volume:500"}),
        ("susu 350gr 3 pack", {"mass:350", "count:3"}),
        ("kaos a10 l", set()),  # the number is part of a model, and l a size
        ("canon g7 x", set()),
        ("iphone 8", set()),
        ("lipstik merah", set()),
        ("mlbb 500 mlbb", set()),  # ml is not a word here
        ("", set()),
    ],
)
def test_quantities_of_titles(title: str, expected: set[str]) -> None:
    assert stated("quantity", title) == expected


@pytest.mark.parametrize(
    ("kind", "title", "expected"),
    [
        ("model", "Samsung SM-G950F 64GB", {"g950f"}),
        ("model", "oppo a5s 2020 32 gb", {"a5s"}),
        ("model", "sabun 500ml isi 10", set()),
        ("model", "Kabel LAN Cat 6 5m", set()),
        ("model", "Oli SAE 5W-30 4L", set()),
        ("model", "Pipa 1 1/4 inch", set()),
        ("model", "Baut M6x20mm", {"m6"}),
        ("model", "Baut M6 x 20 mm", {"m6"}),
        ("model", "适用小米13pro手机壳", {"13pro"}),
        ("model", "เคสiphone15pro", {"iphone15pro"}),
        ("model", "ケースiphone15pro用", {"iphone15pro"}),
        ("model", "케이스s23케이스", {"s23"}),
        ("model", "éa5 чехолa5 5aé", set()),
        ("model", "洗发水500ml装", set()),
        ("number", "iphone 8 64gb 1,5m", {"8", "64", "1.5"}),
        ("number", "tas wanita", set()),
        ("color", "Kaos Hitam / Black", {"black"}),
        ("color", "tas merah marun biru navy", {"red", "blue"}),
        ("color", "rok abu-abu, grey", {"grey"}),
        ("color", "blackberry hitamku", set()),
        ("size", "Kaos XXL jumbo", {"2xl", "jumbo"}),
        ("size", "kaos m/l", {"m", "l"}),
        ("size", "kaos Large", {"l"}),
        ("size", "xlsx mini-me", {"mini"}),
    ],
)
def test_parsers_of_titles(kind: str, title: str, expected: set[str]) -> None:
    assert stated(kind, title) == expected


@pytest.mark.parametrize("unit", ["1", "1 ", "1.1 ", "1.", "a1", "1x", "x1 ", "isi 1", "12é", "isi "])
def test_parsers_are_fast_on_long_titles(unit: str) -> None:
    title = "isi " + unit * (100_000 // len(unit))
    with at_most(5):
        for parse in PARSERS.values():
            parse(title)


# --- agree, conflict, absent -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ("sabun 500 ml", "sabun 0.5 l", 0),
        ("sabun 500 ml", "sabun 250 ml", 1),
        ("sabun isi 10", "sabun 10 pcs", 0),
        ("telur 1 lusin", "telur 10 pcs", 1),
        ("sabun 500 ml 2 pcs", "sabun 500 ml 3 pcs", 1),  # one dimension in conflict is a conflict
        ("sabun 500 ml 2 pcs", "sabun 500 ml", 0),
        ("sabun 500 ml", "sabun 500 gr", np.nan),  # nothing to compare
        ("sabun 500 ml", "sabun", np.nan),
        ("sabun", "", np.nan),
    ],
)
def test_quantity_conflict(one: str, other: str, conflict: float, described: Callable[..., dict[str, float]]) -> None:
    assert np.array_equal(described(one, other)["quantity_conflict"], conflict, equal_nan=True)
    assert np.array_equal(described(other, one)["quantity_conflict"], conflict, equal_nan=True)


def test_attribute_features_of_colors_and_sizes(described: Callable[..., dict[str, float]]) -> None:
    features = described("kaos hitam putih merah xl", "kaos black biru")
    assert [features[f"color_{name}"] for name in ("shared", "odd_low", "odd_high")] == [1, 1, 2]
    assert [features[f"size_{name}"] for name in ("shared", "odd_low", "odd_high")] == [0, 0, 1]


def test_attribute_features_absent(described: Callable[..., dict[str, float]]) -> None:
    assert np.isnan(list(described("tas wanita", "tas pria").values())).all()
    assert np.isnan(list(described("", "").values())).all()


def test_attribute_features_equal_set_arithmetic(
    make_random_catalog: Callable[..., Any], every_pair: Callable[[int], CandidatePairs]
) -> None:
    pool = PoolViews(make_random_catalog(25, seed=3), {})
    pairs = every_pair(25)
    features = attribute_features(pool, pairs)(slice(None))
    for kind, parse in PARSERS.items():
        sets = [parse(title) for title in pool.titles]
        for at, (i, j) in enumerate(zip(pairs.left, pairs.right, strict=True)):
            a, b = sets[i], sets[j]
            low, high = sorted((len(a - b), len(b - a)))
            expected = [len(a & b), low, high] if a | b else [np.nan] * 3
            found = [features[f"{kind}_{name}"][at] for name in ("shared", "odd_low", "odd_high")]
            assert np.array_equal(found, expected, equal_nan=True)


def test_attribute_features_without_pairs(
    make_catalog: Callable[..., Any], every_pair: Callable[[int], CandidatePairs]
) -> None:
    for n in (0, 1):
        pool = PoolViews(make_catalog(["sabun 2 pcs"] * n), {})
        assert all(column.shape == (0,) for column in attribute_features(pool, every_pair(n))(slice(None)).values())
        assert quantity_conflict(pool, every_pair(n))(slice(None))["quantity_conflict"].shape == (0,)
