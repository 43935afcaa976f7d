"""Features of a pair's titles: rapidfuzz scores, overlap of words weighed by their rarity, lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rapidfuzz import fuzz, process
from rapidfuzz.distance import JaroWinkler
from scipy import sparse

from ensemble.features.incidence import word_incidence
from ensemble.pool_views import Chosen, Describe, PoolViews, idf_of
from shared.arrays import object_array
from shared.schema import CandidatePairs, Floats, Rows

SCORERS: dict[str, Any] = {
    "ratio": fuzz.ratio,
    "partial_ratio": fuzz.partial_ratio,
    "token_sort_ratio": fuzz.token_sort_ratio,
    "token_set_ratio": fuzz.token_set_ratio,
    "jaro_winkler": JaroWinkler.normalized_similarity,
}
LONGEST = 500  # characters of a title that are compared; the time of some scorers grows with their square


def of_titles(pool: PoolViews, pairs: CandidatePairs) -> Describe:
    """Return what describes some of the pairs by their titles: `title_<feature>`, float32; NaN where one is missing.

    Examples:
        >>> from shared.schema import Catalog
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b"], "title": ["red mug", "mug red"]})
        >>> pairs = CandidatePairs(2, np.array([0], np.int32), np.array([1], np.int32))
        >>> of_titles(PoolViews(catalog, {}), pairs)(slice(None))["title_token_sort_ratio"].tolist()
        [100.0]
    """
    titles = object_array(title[:LONGEST] for title in pool.titles)
    place = _places(titles)
    has_title = pool.titles != ""
    chars = np.array([len(title) for title in pool.titles], dtype=np.float32)
    words = np.array([len(title.split()) for title in pool.titles], dtype=np.float32)
    has, weighted = _weighted_words(pool)
    total = np.asarray(weighted.sum(axis=1)).ravel()

    def describe(rows: Chosen) -> dict[str, Floats]:
        left, right = pairs.left[rows], pairs.right[rows]
        both = has_title[left] & has_title[right]
        features = _fuzzy(titles, place, left, right)
        for name, of_listing in (("chars", chars), ("words", words)):
            a, b = of_listing[left], of_listing[right]
            features |= {f"title_{name}_low": np.minimum(a, b), f"title_{name}_high": np.maximum(a, b)}
        features |= _words(total[left], total[right], *_overlap(has, weighted, left, right))
        return {name: np.where(both, column, np.nan).astype(np.float32) for name, column in features.items()}

    return describe


def _places(titles: NDArray[Any]) -> Rows:
    """Return the place of each title in alphabetical order, int32 [n]; equal titles share one."""
    rank = pc.rank(pa.array(titles, pa.large_string()), tiebreaker="min")  # by bytes of UTF-8, as by code points
    places: Rows = rank.to_numpy().astype(np.int32)
    return places


def _fuzzy(titles: NDArray[Any], place: Rows, left: Rows, right: Rows) -> dict[str, Any]:
    """Return the scores of rapidfuzz; titles are given in alphabetical order, since some scorers depend on it."""
    swap = place[left] > place[right]
    low, high = titles[np.where(swap, right, left)], titles[np.where(swap, left, right)]
    return {
        f"title_{name}": process.cpdist(low, high, scorer=scorer, dtype=np.float32) for name, scorer in SCORERS.items()
    }


def _weighted_words(pool: PoolViews) -> tuple[Any, Any]:
    """Return which title has which word, and the same weighed by idf; float32 CSR [n, words]."""
    has, words = word_incidence(pool.titles)
    if pool.surroundings is None:
        idf = idf_of(len(pool), np.asarray(has.sum(axis=0)).ravel())
    else:
        idf = pool.surroundings.words.idf(words)
    return has, sparse.csr_array(has.multiply(idf[None, :]).astype(np.float32))


def _words(a: Floats, b: Floats, common: Floats, odd_left: Floats, odd_right: Floats) -> dict[str, Any]:
    """Return the share of common words, weighed by idf, and the idf of the rarest word that only one title has."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "title_idf_jaccard": common / (a + b - common),
            "title_idf_low_share": common / np.maximum(a, b),
            "title_idf_high_share": common / np.minimum(a, b),
            "title_idf_shared": common,
            "title_idf_odd_low": np.minimum(odd_left, odd_right),
            "title_idf_odd_high": np.maximum(odd_left, odd_right),
        }


def _overlap(
    has: Any, weighted: Any, left_rows: Rows, right_rows: Rows, block: int = 1 << 16
) -> tuple[Floats, Floats, Floats]:
    """Return for each pair the common idf, and the largest idf of a word that only the left or only the right has."""
    parts = []
    for start in range(0, len(left_rows), block):
        left, right = left_rows[start : start + block], right_rows[start : start + block]
        common = weighted[left].multiply(has[right])
        only_left, only_right = weighted[left] - common, weighted[right] - common
        columns = [np.asarray(common.sum(axis=1)).ravel()]
        columns += [only.max(axis=1).toarray().ravel() for only in (only_left, only_right)]
        parts.append(np.stack(columns))
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((3, 0))
    common, left_odd, right_odd = joined.astype(np.float32)
    return common, left_odd, right_odd
