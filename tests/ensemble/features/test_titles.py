import time
from collections.abc import Callable
from math import log
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rapidfuzz import fuzz
from rapidfuzz.distance import JaroWinkler

from ensemble.features import titles
from ensemble.features.titles import PAIRWISE_FEATURES, of_titles
from ensemble.pool_views import PoolViews, Words
from shared.schema import CandidatePairs, PairFeatures

Make = Callable[..., Any]
original = titles._compared


def naive(titles: list[str], i: int, j: int) -> dict[str, float]:
    """From the definitions: idf of a word is ln((1 + listings) / (1 + listings with the word))."""
    words = [set(title.split()) for title in titles]
    idf = {w: log((1 + len(titles)) / (1 + sum(w in has for has in words))) for has in words for w in has}
    a, b = words[i], words[j]

    def weight(some: set[str]) -> float:
        return sum(idf[word] for word in some)

    def share(part: float, whole: float) -> float:
        return part / whole if whole else np.nan

    odd = sorted(max((idf[w] for w in only), default=0.0) for only in (a - b, b - a))
    low, high = sorted((titles[i], titles[j]))
    lengths = sorted((len(low), len(high))), sorted((len(low.split()), len(high.split())))
    return {
        "ratio": fuzz.ratio(low, high),
        "partial_ratio": fuzz.partial_ratio(low, high),
        "token_sort_ratio": fuzz.token_sort_ratio(low, high),
        "token_set_ratio": fuzz.token_set_ratio(low, high),
        "jaro_winkler": JaroWinkler.normalized_similarity(low, high),
        "chars_low": lengths[0][0],
        "chars_high": lengths[0][1],
        "words_low": lengths[1][0],
        "words_high": lengths[1][1],
        "idf_jaccard": share(weight(a & b), weight(a | b)),
        "idf_low_share": share(weight(a & b), max(weight(a), weight(b))),
        "idf_high_share": share(weight(a & b), min(weight(a), weight(b))),
        "idf_shared": weight(a & b),
        "idf_odd_low": odd[0],
        "idf_odd_high": odd[1],
    }


def test_compared_titles_are_not_compared_again(
    make_random_catalog: Make, every_pair: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, pairs = make_random_catalog(20, 0), every_pair(20)
    expected = of_titles(PoolViews(catalog, {}), pairs)
    known = np.arange(len(pairs)) % 3 != 0
    columns = pd.DataFrame({name: expected[name] for name in PAIRWISE_FEATURES})
    compared = []
    monkeypatch.setattr(titles, "_compared", lambda *given: compared.append(len(given[1])) or original(*given))
    before = PairFeatures(pairs.n, pairs.left, pairs.right, columns).only(known)
    found = of_titles(PoolViews(catalog, {}, described=before), pairs)
    assert compared == [int((~known).sum())]
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column)


@pytest.mark.parametrize("seed", range(3))
def test_features_equal_their_definitions(make_random_catalog: Make, every_pair: Make, seed: int) -> None:
    pool = PoolViews(make_random_catalog(20, seed), {})
    pairs: CandidatePairs = every_pair(20)
    features = of_titles(pool, pairs)
    titles = pool.titles.tolist()
    for at, (i, j) in enumerate(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)):
        expected = naive(titles, i, j)
        known = bool(titles[i] and titles[j])
        assert {name.removeprefix("title_") for name in features} == set(expected)
        for name, value in expected.items():
            assert features[f"title_{name}"][at] == pytest.approx(
                value if known else np.nan, rel=1e-5, abs=1e-5, nan_ok=True
            )


def test_the_rarest_odd_word_is_what_tells_siblings_apart(make_catalog: Make, every_pair: Make) -> None:
    titles = ["lem serbaguna merah", "lem serbaguna zq7", *["lem serbaguna merah biru"] * 6]
    features = of_titles(PoolViews(make_catalog(titles), {}), every_pair(8))
    assert features["title_idf_odd_high"][0] == pytest.approx(log(9 / 2))
    assert features["title_idf_odd_low"][0] == pytest.approx(log(9 / 8))


def test_one_word_shared_by_all_weighs_nothing(make_catalog: Make, every_pair: Make) -> None:
    features = of_titles(PoolViews(make_catalog(["lem"] * 3), {}), every_pair(3))
    assert np.isnan(features["title_idf_jaccard"]).all()
    assert (features["title_ratio"] == 100).all()
    assert not any(np.isinf(column).any() for column in features.values())


@pytest.mark.parametrize("titles", [[None, None, None], ["", "  ", "!!!"], ["tas", None, "…"]])
def test_a_missing_title_is_unknown(make_catalog: Make, every_pair: Make, titles: list[str | None]) -> None:
    features = of_titles(PoolViews(make_catalog(titles), {}), every_pair(3))
    assert all(np.isnan(column).all() for column in features.values())


def test_titles_reach_a_scorer_in_one_order(
    make_catalog: Make, every_pair: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(titles, "SCORERS", {"lopsided": lambda one, other, **_: float(one < other)})
    for both in (["kaos", "tas"], ["tas", "kaos"]):
        assert titles.of_titles(PoolViews(make_catalog(both), {}), every_pair(2))["title_lopsided"] == 1


def test_endless_titles_are_compared_in_seconds(make_catalog: Make, every_pair: Make) -> None:
    rng = np.random.default_rng(0)
    titles = ["".join(rng.choice(list("abcdefgh "), 100_000)) for _ in range(4)]
    start = time.process_time()
    features = of_titles(PoolViews(make_catalog([*titles, titles[0] + "z"]), {}), every_pair(5))
    assert time.process_time() - start < 8
    assert features["title_ratio"].argmax() == 3  # the first and the last


def test_rare_is_what_is_rare_in_the_larger_pool(make_random_catalog: Make, every_pair: Make) -> None:
    """Some listings of a pool, told how many of it hold each word, and one that joins it."""
    whole = PoolViews(make_random_catalog(20, 3), {})
    expected = of_titles(whole, every_pair(20))
    some = whole.catalog.take(np.array([0, 5, 7, 19]))
    words = Words.of(whole.titles[:19]).and_of(whole.titles[19])
    found = of_titles(PoolViews(some, {}, words=words), every_pair(4))
    at = {ends: place for place, ends in enumerate(zip(*np.triu_indices(20, 1), strict=True))}
    rows = [at[ends] for ends in ((0, 5), (0, 7), (0, 19), (5, 7), (5, 19), (7, 19))]
    for name, column in found.items():
        np.testing.assert_array_equal(column, expected[name][rows])
