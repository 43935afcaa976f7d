"""Features of a pair's titles: rapidfuzz scores, overlap of words weighed by their rarity, lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process
from rapidfuzz.distance import JaroWinkler
from scipy import sparse

from ensemble.features.incidence import distinct_items, incidence
from ensemble.pool_views import PoolViews, Words
from shared.arrays import object_array
from shared.schema import CandidatePairs, Flags, Floats

SCORERS: dict[str, Any] = {
    "ratio": fuzz.ratio,
    "partial_ratio": fuzz.partial_ratio,
    "token_sort_ratio": fuzz.token_sort_ratio,
    "token_set_ratio": fuzz.token_set_ratio,
    "jaro_winkler": JaroWinkler.normalized_similarity,
}
LONGEST = 500  # characters of a title that are compared; the time of some scorers grows with their square


def of_titles(pool: PoolViews, pairs: CandidatePairs) -> dict[str, Floats]:
    """The features of the titles, named `title_<feature>`, float32 [p]; NaN where a title is missing."""
    titles = pool.titles
    known = (titles[pairs.left] != "") & (titles[pairs.right] != "")
    features = _fuzzy(titles, pairs, pool.threads) | _lengths(titles, pairs) | _words(pool, pairs)
    return {name: np.where(known, column, np.nan).astype(np.float32) for name, column in features.items()}


def _fuzzy(titles: NDArray[Any], pairs: CandidatePairs, threads: int) -> dict[str, Floats]:
    low, high = _by_text(object_array(title[:LONGEST] for title in titles), pairs)
    return {
        f"title_{name}": process.cpdist(low, high, scorer=scorer, dtype=np.float32, workers=threads)
        for name, scorer in SCORERS.items()
    }


def _by_text(titles: NDArray[Any], pairs: CandidatePairs) -> tuple[NDArray[Any], NDArray[Any]]:
    """Each pair's titles, the first in alphabet first: some scorers depend on which comes first."""
    a, b = titles[pairs.left], titles[pairs.right]
    swap: Flags = np.array([x > y for x, y in zip(a, b, strict=True)], dtype=bool)
    return np.where(swap, b, a), np.where(swap, a, b)


def _lengths(titles: NDArray[Any], pairs: CandidatePairs) -> dict[str, Any]:
    features: dict[str, Any] = {}
    for name, of_listing in (
        ("chars", np.array([len(t) for t in titles], dtype=np.float32)),
        ("words", np.array([len(t.split()) for t in titles], dtype=np.float32)),
    ):
        a, b = of_listing[pairs.left], of_listing[pairs.right]
        features |= {f"title_{name}_low": np.minimum(a, b), f"title_{name}_high": np.maximum(a, b)}
    return features


def _words(pool: PoolViews, pairs: CandidatePairs) -> dict[str, Any]:
    """How much of the titles' words is shared, each word weighing its idf; and the rarest word only one title has."""
    words = [set(title.split()) for title in pool.titles]
    counts = pool.surroundings.words if pool.surroundings else Words.of(pool.titles)
    has, idf = incidence(words), counts.idf(distinct_items(words))
    weighted = sparse.csr_array(has.multiply(idf[None, :]).astype(np.float32))
    total = np.asarray(weighted.sum(axis=1)).ravel()
    a, b = total[pairs.left], total[pairs.right]
    shared, odd_left, odd_right = _overlap(has, weighted, pairs)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "title_idf_jaccard": shared / (a + b - shared),
            "title_idf_low_share": shared / np.maximum(a, b),
            "title_idf_high_share": shared / np.minimum(a, b),
            "title_idf_shared": shared,
            "title_idf_odd_low": np.minimum(odd_left, odd_right),
            "title_idf_odd_high": np.maximum(odd_left, odd_right),
        }


def _overlap(has: Any, weighted: Any, pairs: CandidatePairs, block: int = 1 << 16) -> tuple[Floats, Floats, Floats]:
    """For each pair: idf shared, and the largest idf of a word that only the left, only the right title has."""
    parts = []
    for start in range(0, len(pairs), block):
        left, right = pairs.left[start : start + block], pairs.right[start : start + block]
        shared = weighted[left].multiply(has[right])
        only_left, only_right = weighted[left] - shared, weighted[right] - shared
        columns = [np.asarray(shared.sum(axis=1)).ravel()]
        columns += [only.max(axis=1).toarray().ravel() for only in (only_left, only_right)]
        parts.append(np.stack(columns))
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((3, 0))
    shared, left_odd, right_odd = joined.astype(np.float32)
    return shared, left_odd, right_odd
