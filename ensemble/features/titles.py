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
    """Return the features of the titles, named `title_<feature>`, float32 [p]; NaN where a title is missing.

    Examples:
        >>> from shared.schema import Catalog
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b"], "title": ["red mug", "mug red"]})
        >>> pairs = CandidatePairs(2, np.array([0], np.int32), np.array([1], np.int32))
        >>> of_titles(PoolViews(catalog, {}), pairs)["title_token_sort_ratio"].tolist()
        [100.0]
    """
    titles = pool.titles
    both = (titles[pairs.left] != "") & (titles[pairs.right] != "")
    features = _fuzzy(titles, pairs, pool.threads) | _lengths(titles, pairs) | _words(pool, pairs)
    return {name: np.where(both, column, np.nan).astype(np.float32) for name, column in features.items()}


def _fuzzy(titles: NDArray[Any], pairs: CandidatePairs, threads: int) -> dict[str, Floats]:
    low, high = _by_text(object_array(title[:LONGEST] for title in titles), pairs)
    return {
        f"title_{name}": process.cpdist(low, high, scorer=scorer, dtype=np.float32, workers=threads)
        for name, scorer in SCORERS.items()
    }


def _by_text(titles: NDArray[Any], pairs: CandidatePairs) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return each pair's titles in alphabetical order, since some scorers depend on the order."""
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
    """Return the share of common words, weighed by idf, and the idf of the rarest word that only one title has."""
    words = [set(title.split()) for title in pool.titles]
    counts = pool.surroundings.words if pool.surroundings else Words.of(pool.titles)
    has, idf = incidence(words), counts.idf(distinct_items(words))
    weighted = sparse.csr_array(has.multiply(idf[None, :]).astype(np.float32))
    total = np.asarray(weighted.sum(axis=1)).ravel()
    a, b = total[pairs.left], total[pairs.right]
    common, odd_left, odd_right = _overlap(has, weighted, pairs)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "title_idf_jaccard": common / (a + b - common),
            "title_idf_low_share": common / np.maximum(a, b),
            "title_idf_high_share": common / np.minimum(a, b),
            "title_idf_shared": common,
            "title_idf_odd_low": np.minimum(odd_left, odd_right),
            "title_idf_odd_high": np.maximum(odd_left, odd_right),
        }


def _overlap(has: Any, weighted: Any, pairs: CandidatePairs, block: int = 1 << 16) -> tuple[Floats, Floats, Floats]:
    """Return for each pair the common idf, and the largest idf of a word that only the left or only the right has."""
    parts = []
    for start in range(0, len(pairs), block):
        left, right = pairs.left[start : start + block], pairs.right[start : start + block]
        common = weighted[left].multiply(has[right])
        only_left, only_right = weighted[left] - common, weighted[right] - common
        columns = [np.asarray(common.sum(axis=1)).ravel()]
        columns += [only.max(axis=1).toarray().ravel() for only in (only_left, only_right)]
        parts.append(np.stack(columns))
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((3, 0))
    common, left_odd, right_odd = joined.astype(np.float32)
    return common, left_odd, right_odd
