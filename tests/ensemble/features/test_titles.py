from collections.abc import Callable
from math import log
from typing import Any

import numpy as np
import pytest
from rapidfuzz import fuzz
from rapidfuzz.distance import JaroWinkler

from ensemble.features.titles import of_titles
from ensemble.pool_views import PoolViews, Surroundings, Words
from tests.support.timing import at_most

Make = Callable[..., Any]


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


@pytest.mark.fault(3)
def test_endless_titles_are_compared_in_seconds(make_catalog: Make, every_pair: Make) -> None:
    rng = np.random.default_rng(0)
    titles = ["".join(rng.choice(list("abcdefgh "), 100_000)) for _ in range(4)]
    with at_most(8):
        features = of_titles(PoolViews(make_catalog([*titles, titles[0] + "z"]), {}), every_pair(5))(slice(None))
    assert features["title_ratio"].argmax() == 3  # the first and the last


def test_rare_is_what_is_rare_in_the_larger_pool(make_random_catalog: Make, every_pair: Make) -> None:
    """Some listings of a pool of which one joined later and another left."""
    whole = PoolViews(make_random_catalog(20, 3), {})
    expected = of_titles(whole, every_pair(20))(slice(None))
    some = whole.catalog.take(np.array([0, 5, 7, 19]))
    words = Words.of([*whole.titles[:19], "left since"]).changed(whole.titles[19:], ["left since"])
    pairs = every_pair(4)
    surroundings = Surroundings(words, pairs, np.zeros(len(pairs), dtype=np.float32), {})
    found = of_titles(PoolViews(some, {}, surroundings=surroundings), pairs)(slice(None))
    at = {ends: place for place, ends in enumerate(zip(*np.triu_indices(20, 1), strict=True))}
    rows = [at[ends] for ends in ((0, 5), (0, 7), (0, 19), (5, 7), (5, 19), (7, 19))]
    for name, column in found.items():
        np.testing.assert_array_equal(column, expected[name][rows])
